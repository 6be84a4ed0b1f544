#!/usr/bin/env bash
# gfqa in pipelines: the answer or JSON on standard output, everything else on standard error, one exit code per outcome.
#
#     examples/pipeline.sh
set -euo pipefail
cd "$(dirname "$0")"

GFQA_HOME=$(mktemp -d)
export GFQA_HOME
trap 'rm -rf "$GFQA_HOME"' EXIT

gfqa ingest inkwell --name inkwell --json >"$GFQA_HOME/report.json"

echo "== what was left out, by reason"
python3 -c 'import json, sys; print(json.load(sys.stdin)["skipped"])' <"$GFQA_HOME/report.json"

echo "== the answer alone, in a variable"
port=$(gfqa ask "Which port does the server listen on?" --cache inkwell --json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["answer"])')
echo "port: $port"

echo "== the places it comes from, for an editor or a grep"
gfqa ask "Where is compute_discount defined?" --cache inkwell --json |
  python3 -c 'import json, sys
for place in json.load(sys.stdin)["citations"]:
    print("{path}:{start_line}: {quote}".format(**place))'

echo "== the question from standard input"
echo "Who maintains Inkwell?" | gfqa ask - --cache inkwell

echo "== a document from standard input: read for this question, kept nowhere"
gfqa ask "For how many days are failed jobs kept?" - <inkwell/CHANGELOG.md
git diff HEAD~1 -- . 2>/dev/null | gfqa ask "Which files were changed?" - || echo "(nothing to compare)"

echo "== exit codes: 5 not found, 3 no such cache, 2 usage"
code=0
gfqa ask "How old is the captain?" --cache inkwell --fail-not-found || code=$?
echo "exit code $code"
code=0
gfqa ask "Which port?" --cache absent || code=$?
echo "exit code $code"
code=0
gfqa ingest no/such/folder || code=$?
echo "exit code $code"

echo "== a gate: a script goes on only when the documents answer"
if gfqa ask "What is the largest quantity of an order?" --cache inkwell --fail-not-found --quiet; then
  echo "documented"
else
  echo "not documented"
fi
