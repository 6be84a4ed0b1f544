"""Many questions over one memory: `ask --batch`. One answer object a question, in order; a bad line does not stop the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gfqa.ask import ask
from gfqa.errors import GfqaError, UsageError
from gfqa.memory import Memory, restricted

FIELDS = {"id", "question", "only"}


@dataclass(frozen=True)
class Outcome:
    """How a batch went: lines that failed, questions that the documents do not answer."""

    failed: int
    not_found: int


def run(
    memory: Memory,
    lines: str,
    on_answer: Callable[[dict[str, Any]], None],
    *,
    citations: int = 3,
    max_tokens: int = 64,
    reread: bool = True,
) -> Outcome:
    """Answer every line: a question, or an object {"id", "question", "only"} where the line starts with `{`.

    only: a glob or a list of globs (gitignore syntax) on the documents' paths. Each answer object carries `id`, or `line`
    where there is none; a failed line gives {"schema", "line", "question", "error": {"code", "message"}}.
    """
    failed = not_found = 0
    for number, text in _lines(lines):
        question: str | None = None
        try:
            name, question, only = _parsed(text)
            chosen = restricted(memory, only) if only else memory
            answer = ask(chosen, question, citations=citations, max_tokens=max_tokens, reread=reread)
        except GfqaError as error:
            failed += 1
            problem = {"code": error.exit_code, "message": error.message}
            on_answer({"schema": 1, "line": number, "question": question or text, "error": problem})
            continue
        not_found += not answer.found
        label = {"line": number} if name is None else {"id": name}
        on_answer({"schema": 1, **label, **answer.to_json()})
    return Outcome(failed, not_found)


def _lines(lines: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _parsed(line: str) -> tuple[str | int | None, str, tuple[str, ...]]:
    """(id, question, only) of a line. UsageError for an object that is not as documented."""
    if not line.startswith("{"):
        return None, line, ()
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("The line starts with { but is no JSON object.") from None
    unknown = sorted(set(data) - FIELDS)
    if unknown:
        raise UsageError(f"The line has unknown fields: {', '.join(unknown)}.")
    name, question, only = data.get("id"), data.get("question"), data.get("only", [])
    globs = [only] if isinstance(only, str) else only
    if not isinstance(question, str) or not isinstance(name, str | int | None):
        raise UsageError("The line needs a text as its question, and a text or number as its id.")
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        raise UsageError("The line's only is neither a glob nor a list of globs.")
    return name, question, tuple(globs)
