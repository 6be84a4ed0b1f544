#!/usr/bin/env bash
# Ask about a code repository. The first call ingests it, later calls read only what has changed since.
#
#     examples/ask_a_repo.sh                                       # the example project
#     examples/ask_a_repo.sh ~/src/myproject "Where are retries configured?" "Which port is used?"
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

repo=${1:-$here/inkwell}
if [ $# -gt 1 ]; then
  shift
else
  set -- "Which port does the server listen on?" "Which class is the queue of print jobs?" "What is the tax in percent?"
fi
name=$(basename "$(cd "$repo" && pwd)")

gfqa ingest "$repo" --name "$name"
for question in "$@"; do
  printf '\n> %s\n' "$question"
  gfqa ask "$question" --cache "$name"
done
