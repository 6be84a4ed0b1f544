#!/usr/bin/env bash
# Ingest a small code project and two PDFs, ask questions, and see that a second ingest reads nothing again.
# Leaves nothing behind: the caches live in a temporary folder.
#
#     examples/demo.sh
set -euo pipefail
cd "$(dirname "$0")"

GFQA_HOME=$(mktemp -d)
export GFQA_HOME
trap 'rm -rf "$GFQA_HOME"' EXIT

# fields of one JSON object on standard input; jq would do as well, but is not everywhere.
fields() {
  python3 -c '
import functools, json, sys
data = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = functools.reduce(lambda part, key: part[key], name.split("."), data)
    print(f"  {name} = {value}")
' "$@"
}

ask() { # ask CACHE QUESTION
  printf '\n> %s\n' "$2"
  gfqa ask "$2" --cache "$1" --quiet
}

echo "== ingest: read once"
for name in inkwell pdfs; do
  echo "$name"
  gfqa ingest "$name" --name "$name" --json |
    fields documents.ingested tokens.total tokens.prefilled cache.bytes seconds
done
gfqa caches list

echo
echo "== ask: every process loads the caches from the disk"
ask inkwell "What is the default timeout of fetch_rates?"
ask inkwell "Where is compute_discount defined?"
ask inkwell "Which press prints booklets?"
ask pdfs "What is the name of the station boat?"
ask pdfs "At what height did the aeroplane fly?"
ask pdfs "How tall is the lighthouse?"

printf '\n== ask: what one question costs\n'
time gfqa ask "Which port does the server listen on?" --cache inkwell --json |
  fields answer found tokens.reused tokens.prefilled tokens.question timing

printf '\n== ingest again: nothing has changed, so nothing is read again\n'
for name in inkwell pdfs; do
  echo "$name"
  gfqa ingest "$name" --name "$name" --json | fields documents.ingested documents.unchanged tokens.prefilled seconds
done
