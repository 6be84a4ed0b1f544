"""What answers and passages look like: for people, for editors, for other programs. Everything goes through the console."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfqa.console import Console, joined, neutralise

if TYPE_CHECKING:
    from gfqa.answer.result import Answer, Citation, Found

INDENT = "    "


def answered(console: Console, answer: Answer) -> None:
    """What follows a streamed answer: the end of its line, then the places it came from; warnings on stderr."""
    if not answer.found:
        # Where places come close, the documents may well say it: only the reader does not.
        console.line("No sure answer in the documents." if answer.closest else "Not found in the documents.")
        _closest(console, answer)
    else:
        console.line()
    if answer.citations:
        console.line()
    _cited(console, answer)
    _warnings(console, answer)


def at_once(console: Console, answer: Answer) -> None:
    """The whole answer as a person reads it, where it was not streamed."""
    console.stream(answer.text)
    answered(console, answer)


def asked(console: Console, answer: Answer) -> None:
    """One of several answers: its question first, an empty line last."""
    console.line(f"> {answer.question.strip()}", "bold")
    at_once(console, answer)
    console.line()


def quoted(console: Console, answer: Answer) -> None:
    """What the documents say, word for word, instead of the model's words."""
    if not answer.citations:
        console.line("Not found in the documents." if not answer.found else "There is no place to quote.")
    _cited(console, answer)
    _warnings(console, answer)


def vimgrep(console: Console, answer: Answer) -> None:
    """path:line:column:text, one citation a line, as editors read it."""
    for citation in answer.citations:
        vimgrep_line(
            console, citation.file or citation.path, citation.start_line, citation.column, citation.page, citation.quote
        )
    if not answer.found:
        console.note("Not found in the documents.")
    _warnings(console, answer)


def vimgrep_line(console: Console, file: str, line: int | None, column: int, page: int | None, text: str) -> None:
    """One place. A page of a PDF has no line: its number stands before the text."""
    here = file if file.startswith("<") else _from_here(file)
    shown = text.split("\n")[0].removesuffix("\r").expandtabs(4)
    where = f"{line}:{column}" if page is None else "1:1"
    console.line(f"{here}:{where}:" + (shown if page is None else f"[page {page}] {shown.strip()}"))


def figures(console: Console, answer: Answer, ready: float) -> None:
    """-v: seconds and tokens of an answer, on stderr. ready: seconds from the start of the command to an opened model."""
    names = {"load": "load", "decode": "first look", "search": "search", "reread": "second look", "cite": "citations"}
    spent = [("start", ready), *((label, answer.timing.get(name, 0.0)) for name, label in names.items())]
    console.detail("seconds: " + ", ".join(f"{label} {seconds:.3f}" for label, seconds in spent))
    console.detail(
        "tokens: "
        + ", ".join(f"{count:,} {name.replace('prefilled', 'pre-filled')}" for name, count in answer.tokens.items())
    )
    console.detail(f"score: {answer.score:.3f}; model {answer.model}, layout {answer.layout}")


def found(console: Console, results: Sequence[Found]) -> None:
    """Ranked passages, each with its place and the line that shares most with the question."""
    if not results:
        console.note("No passage shares a word with the question.")
    several = len({result.cache for result in results}) > 1
    for result in results:
        marks = _marks(result.cache if several else None, True, result.changed)
        marks += f"  (and {result.similar:,} more like it)" * (result.similar > 0)
        console.line(result.place + marks, "bold")
        _quote(console, result.quote)


def context(console: Console, results: Sequence[Found]) -> None:
    """Whole passages under headers, for another model to read."""
    for number, result in enumerate(results):
        if number:
            console.line()
        console.line(f"--- {result.span}")
        console.block(result.text)


def _cited(console: Console, answer: Answer) -> None:
    for citation in answer.citations:
        console.line(citation.place + _citation_marks(answer, citation), "bold")
        _quote(console, citation.quote)


def _closest(console: Console, answer: Answer) -> None:
    """Where nothing was found: places to look at, on stderr, since they are no answer."""
    if not answer.closest:
        console.note("gfqa find shows the passages that come closest.")
        return
    console.note("Closest (gfqa find shows more):")
    for citation in answer.closest:
        console.note(INDENT + citation.place + _citation_marks(answer, citation))
        console.note(2 * INDENT + citation.quote.strip())


def _citation_marks(answer: Answer, citation: Citation) -> str:
    cache = citation.cache if len(answer.caches) > 1 else None
    return _marks(cache, citation.verified, citation.changed)


def _marks(cache: str | None, verified: bool, changed: bool) -> str:
    marks = [] if cache is None else [f"[{cache}]"]
    if not verified:
        marks.append("(not verified)")
    if changed:
        marks.append("(changed since the ingest)")
    return "".join(f"  {mark}" for mark in marks)


def _quote(console: Console, quote: str) -> None:
    """Quoted lines, indented; on a terminal folded at its width, so that a long line stays one block."""
    # Its last lines may be empty: they are part of the place, and nothing to see.
    for raw in quote.rstrip().split("\n"):
        line = neutralise(raw.removesuffix("\r")).expandtabs(4)
        parts = [line]
        if console.width is not None and len(INDENT) + len(line) > console.width:
            import textwrap  # Seldom needed.

            room = max(20, console.width - len(INDENT))
            # The indentation of code is kept, the space at which a line is folded is not.
            own = line[: len(line) - len(line.lstrip())]
            parts = textwrap.wrap(line.strip(), max(20, room - len(own)), break_on_hyphens=False) or [line]
            parts = [own + part for part in parts]
        for part in parts:
            console.line(INDENT + part, "dim")


def _warnings(console: Console, answer: Answer) -> None:
    if answer.doubtful:
        console.warn(f"low confidence (score {answer.score:.2f}): check the places.")
    if answer.unknown_paths:
        where = "cache" if len(answer.caches) == 1 else "caches"
        console.note(f"The answer names {joined(answer.unknown_paths, 3)}: not in the {where}.")
    if any(not citation.verified for citation in answer.citations):
        console.warn("the cache does not hold a quote at the place given: ingest its sources again.")
    if answer.found and not answer.located:
        console.note("The model has no GOLD layers, so the answer cannot be traced to a place.")
    gone = [place for place in answer.changed if not os.path.lexists(place)]
    changed = [place for place in answer.changed if place not in gone]
    if changed:
        console.warn(f"{joined(changed, 3)} changed since the ingest: run gfqa ingest again.")
    if gone:
        console.warn(f"{joined(gone, 3)}: gone since the ingest.")


def _from_here(file: str) -> str:
    """The path as it is shortest: relative to the current folder where it lies in it."""
    path = Path(file)
    try:
        return os.fspath(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file
