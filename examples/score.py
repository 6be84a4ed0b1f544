"""Ask every question of questions.jsonl and compare with the expected answers: how good the installed reader is here.

    python examples/score.py

Caches live in a temporary folder. An answer counts as right if it contains the expected one, whatever the case; a question
without an answer in the documents if gfqa says so; a place if the first citation names the file, and the line to within two
lines or the page.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NEAR = 2


def gfqa(*arguments: str, given: str | None = None) -> str:
    """The standard output of one command."""
    command = [sys.executable, "-m", "gfqa.cli", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


def judged(expected: dict[str, Any], got: dict[str, Any]) -> tuple[bool, bool]:
    """(the answer is right, the place is right); of an unanswerable question both are, where nothing was found."""
    if expected["answer"] is None:
        return not got["found"], not got["found"]
    right = got["found"] and expected["answer"].casefold() in got["answer"].casefold()
    if not got["citations"]:
        return right, False
    first = got["citations"][0]
    place = Path(first["path"]).name == Path(expected["path"]).name
    if place and expected.get("page") is not None:
        place = first["page"] == expected["page"]
    elif place and expected.get("line") is not None:
        place = first["start_line"] - NEAR <= expected["line"] <= first["end_line"] + NEAR
    return right, place


def main() -> None:
    questions = [json.loads(line) for line in (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    rights = places = 0
    with tempfile.TemporaryDirectory() as home:
        os.environ["GFQA_HOME"] = home
        for source in sorted({question["source"] for question in questions}):
            gfqa("ingest", str(HERE / source), "--name", source, "--quiet")
            asked = [question for question in questions if question["source"] == source]
            lines = "\n".join(question["question"] for question in asked)
            answers = gfqa("ask", "--batch", "-", "--cache", source, given=lines)
            for question, line in zip(asked, answers.splitlines(), strict=True):
                got = json.loads(line)
                right, place = judged(question, got)
                rights, places = rights + right, places + place
                wanted = "" if right else f"   (expected: {question['answer'] or 'not found'})"
                print(f"{'yes' if right else 'NO ':4}{'here' if place else '-':6}{question['question']}")
                print(f"          {got['answer'] or 'not found'}  [{got['score']:.2f}]{wanted}")
    print(f"{rights} of {len(questions)} answers right, {places} first citations right")


if __name__ == "__main__":
    main()
