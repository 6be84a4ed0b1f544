"""Many questions over one memory: `ask --batch`. One answer a question, in order; a bad line does not stop the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gfqa.answer.result import Answer
from gfqa.ask import ask_many
from gfqa.errors import GfqaError, UsageError
from gfqa.memory import Memory, restricted

FIELDS = {"id", "question", "only"}
WINDOW = 32
"""Lines read before any is answered, so that questions of similar length can share passes."""


@dataclass(frozen=True)
class Outcome:
    """How a batch went: lines that failed, questions that the documents do not answer."""

    failed: int
    not_found: int


@dataclass(frozen=True)
class Result:
    """What one line gave: an answer or an error. name is the line's id, None where it has none."""

    line: int
    name: str | int | None
    question: str
    answer: Answer | None
    error: GfqaError | None

    def to_json(self) -> dict[str, Any]:
        """The documented object: with `id` or `line`, and {"error": {"code", "message"}} for a failed line."""
        if self.answer is None:
            error = self.error or GfqaError("The question was not answered.")
            problem = {"code": error.exit_code, "message": error.message}
            return {"schema": 1, "line": self.line, "question": self.question, "error": problem}
        label = {"line": self.line} if self.name is None else {"id": self.name}
        return {"schema": 1, **label, **self.answer.to_json()}


@dataclass(frozen=True)
class _Line:
    number: int
    name: str | int | None
    question: str
    only: tuple[str, ...] = ()
    error: GfqaError | None = None


def run(
    memory: Memory,
    lines: str,
    on_result: Callable[[Result], None],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Outcome:
    """Answer every line: a question, or an object {"id", "question", "only"} where the line starts with `{`.

    on_progress: lines answered so far, of so many; results come a window of lines later. only: a glob or a list of globs
    (gitignore syntax) on the documents' paths. options: as of `gfqa.ask.ask`; those that make no sense are a UsageError,
    since no line could be answered.
    """
    failed = not_found = answered = 0
    total = sum(bool(line.strip()) for line in lines.split("\n"))

    def one() -> None:
        nonlocal answered
        answered += 1
        on_progress(answered, total)

    memories: dict[tuple[str, ...], Memory] = {(): memory}
    waiting = _lines(lines)
    while window := [_parsed(number, text) for number, text in islice(waiting, WINDOW)]:
        for result in _answered(memories, window, {**options, "on_answered": one}):
            failed += result.error is not None
            not_found += result.answer is not None and not result.answer.found
            on_result(result)
    return Outcome(failed, not_found)


def _answered(
    memories: dict[tuple[str, ...], Memory], lines: Sequence[_Line], options: dict[str, Any]
) -> Iterator[Result]:
    """The results of some lines, in order; questions to the same documents are asked together."""
    groups: dict[tuple[str, ...], list[_Line]] = {}
    results: dict[int, Result] = {}
    for line in lines:
        error = line.error
        if error is None and line.only not in memories:
            try:
                # Kept for later lines: making keys for attention costs more than many questions.
                memories[line.only] = restricted(memories[()], line.only)
            except GfqaError as refused:
                error = refused
        if error is None:
            groups.setdefault(line.only, []).append(line)
        else:
            results[line.number] = Result(line.number, line.name, line.question, None, error)
    for only, asked in groups.items():
        answers = ask_many(memories[only], [line.question for line in asked], **options)
        for line, answer in zip(asked, answers, strict=True):
            results[line.number] = Result(line.number, line.name, line.question, answer, None)
    return (results[line.number] for line in lines)


def _lines(lines: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _parsed(number: int, text: str) -> _Line:
    """A line as what it asks, or with the UsageError for one that is not as documented."""
    if not text.startswith("{"):
        return _Line(number, None, text)
    try:
        name, question, only = _fields(text)
    except UsageError as error:
        return _Line(number, None, text, error=error)
    return _Line(number, name, question, only)


def _fields(text: str) -> tuple[str | int | None, str, tuple[str, ...]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("The line starts with { but is no JSON object.") from None
    unknown = sorted(set(data) - FIELDS)
    if unknown:
        raise UsageError(f"The line has unknown fields: {', '.join(unknown)}.")
    name, question, only = data.get("id"), data.get("question"), data.get("only", [])
    globs = [only] if isinstance(only, str) else only
    if not isinstance(question, str) or not isinstance(name, str | int | None):
        raise UsageError("The line needs a text as its question, and a text or number as its id.")
    if not question.strip():
        raise UsageError("The question is empty.")
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        raise UsageError("The line's only is neither a glob nor a list of globs.")
    return name, question, tuple(globs)
