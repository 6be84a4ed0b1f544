#!/usr/bin/env bash
# Ask about PDFs: any number of files or folders. Citations name the page.
#
#     examples/ask_pdfs.sh                                         # the two example PDFs
#     examples/ask_pdfs.sh manual.pdf papers/ -- "How is the filter cleaned?"
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

paths=()
while [ $# -gt 0 ] && [ "$1" != "--" ]; do
  paths+=("$1")
  shift
done
[ $# -eq 0 ] || shift # the --
[ ${#paths[@]} -gt 0 ] || paths=("$here/pdfs")
[ $# -gt 0 ] || set -- "Who is the cook?" "How much is the fee per night?" "When will the next census take place?"

# --replace: the cache holds these PDFs and no others. Pages without text (scans) are listed in the report.
gfqa ingest "${paths[@]}" --name my-pdfs --replace
for question in "$@"; do
  printf '\n> %s\n' "$question"
  gfqa ask "$question" --cache my-pdfs
done
