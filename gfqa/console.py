"""The only place that prints. Everything that did not come from gfqa's own source passes `neutralise` on its way out.

stdout carries answers, tables and JSON; everything else goes to stderr. Colour and animation appear only on a terminal that
wants them (NO_COLOR, TERM=dumb, FORCE_COLOR); under --json or --quiet stderr carries errors only.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from gfqa.ingest import IngestReport

# C0 except \n and \t, DEL, C1, marks and overrides of writing direction, line and paragraph separators, lone surrogates
# (file names that are no UTF-8), the tag block. Terminals act on these, or hide text with them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_LOUD = ("unreadable", "undecodable", "too_large", "missing", "notebook_damaged")
"""Skips that a user would want to know by name, besides those of PDFs."""
_PLAIN_LINE_EVERY = 10.0
"""Seconds between two lines of progress where stderr is no terminal."""

Progress = Callable[[str, int, int], None]
"""progress(phase, done, total); phase is "reading" (files) or "pre-filling" (tokens)."""


def neutralise(text: str) -> str:
    """Untrusted text made safe for a terminal: unsafe characters become visible escapes such as \\x1b or \\u202e.

    Each character is replaced on its own account, so neutralising a stream chunk by chunk gives the same as all at once.
    """
    return _UNSAFE.sub(lambda match: _escape(match.group()), text)


def neutralise_line(text: str) -> str:
    """As `neutralise`, for text that must stay on one line: file names and messages."""
    return neutralise(text).replace("\n", "\\n").replace("\t", "\\t")


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Console:
    """One command's output. `quiet` leaves errors and results only; `as_json` implies it. `verbose` adds details. `collects`:
    results do not go to stdout, but into `collected`, as a pipe would get them.
    """

    def __init__(
        self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False, collects: bool = False
    ) -> None:
        self.as_json = as_json
        self.silenced = quiet
        self.quiet = quiet or as_json
        self.verbose = verbose
        # Looked up once per command, not at import: tests and embedders replace the streams.
        self._out, self._err = io.StringIO() if collects else sys.stdout, sys.stderr
        self._passing = False

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads stdout."""
        return _is_terminal(self._out)

    @property
    def collected(self) -> str:
        """The results so far, where they are collected."""
        return self._out.getvalue() if isinstance(self._out, io.StringIO) else ""

    def binary(self, chunks: Iterable[bytes]) -> None:
        """Bytes on stdout as they are: for another program, never for a terminal."""
        self._erase()
        for chunk in chunks:
            self._out.buffer.write(chunk)
        self._out.flush()

    def stream(self, text: str) -> None:
        """A piece of the answer, at once."""
        self._write(self._out, neutralise(text))

    def line(self, text: str = "", style: str = "") -> None:
        """One line of result on stdout."""
        self._write(self._out, _styled(neutralise_line(text), style, self._out) + "\n")

    @property
    def width(self) -> int | None:
        """Columns of the terminal that shows stdout; None in a pipe, where nothing is folded."""
        return shutil.get_terminal_size().columns if _is_terminal(self._out) else None

    def ask_line(self, prompt: str) -> str:
        """A line typed at a prompt on the terminal. EOFError at its end (Ctrl-D)."""
        return input(prompt)

    def json(self, value: Any) -> None:
        """One JSON document on one line of stdout, ASCII only (so it is safe on a terminal, too)."""
        self._write(self._out, json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns on a terminal, tab separated in a pipe; the first row is the heading.

        Where the terminal is too narrow, the widest cells are shortened in their middle.
        """
        self._erase()
        safe = [[neutralise_line(cell) for cell in row] for row in rows]
        if self.width is None:
            self._out.writelines("\t".join(row) + "\n" for row in safe)
        else:
            widths = [max(len(row[i]) for row in safe) for i in range(len(safe[0]))]
            for _ in range(sum(widths) + 2 * (len(widths) - 1) - self.width):
                widths[widths.index(max(widths))] -= 1
            for number, row in enumerate(safe):
                cells = (_shortened(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
                text = "  ".join(cells).rstrip()
                self._out.write(_styled(text, "bold" if number == 0 else "", self._out) + "\n")
        self._out.flush()

    def note(self, text: str) -> None:
        """One line of commentary on stderr."""
        if not self.quiet:
            self._write(self._err, _folded(neutralise_line(text), self._err) + "\n")

    def detail(self, text: str) -> None:
        """A line on stderr for those who asked for details (-v)."""
        if self.verbose:
            self.note(text)

    def waiting(self, seconds: float) -> None:
        """Another process is writing to the store, and this one waits for it, so long at most."""
        self.note(f"Another gfqa is writing to the store: waiting for it, {seconds:.0f} s at most.")

    def warn(self, text: str) -> None:
        """A warning on stderr."""
        if not self.quiet:
            self._labelled("warning: ", "yellow", text)

    def error(self, code: int, message: str, hint: str | None = None) -> None:
        """The one sentence of a failure: on stderr, and under --json as an object on stdout."""
        self._labelled("gfqa: ", "red", message)
        if hint and not self.as_json:
            self._write(self._err, _folded("  " + neutralise_line(hint), self._err) + "\n")
        if self.as_json:
            self.json({"schema": 1, "error": {"code": code, "message": message, "hint": hint}})

    def failing(self, reason: str) -> None:
        """Why a command fails whose results are printed already: one sentence on stderr, with --quiet too."""
        self._labelled("gfqa: ", "red", reason)

    def block(self, text: str) -> None:
        """Several lines of gfqa's own on stdout: a help page."""
        self._write(self._out, neutralise(text) + "\n")

    def record(self, values: Mapping[str, Any]) -> None:
        """A flat object: JSON, or one `name: value` a line."""
        if self.as_json:
            self.json(values)
            return
        for name, value in values.items():
            if name != "schema":
                self.line(f"{name.replace('_', ' ')}: {json.dumps(value) if isinstance(value, dict | list) else value}")

    def measured(self, result: Mapping[str, Any]) -> None:
        """One result of `gfqa eval`: JSON, or its figures one a line."""
        if self.as_json:
            self.json(result)
            return
        self.line(f"{result['measure']}: {result['title']} ({result['seconds']} s)", "bold")
        for name, value in _flat(result["figures"]):
            self.line(f"  {name}: {value:.4g}" if isinstance(value, float) else f"  {name}: {value}")

    def ingested(self, report: IngestReport) -> None:
        """The summary of an ingest, on stderr."""
        from gfqa.documents import REMEDIES

        counts = [(report.ingested, "read"), (report.unchanged, "unchanged"), (report.removed, "removed")]
        self.note(
            f"{report.name}: " + ", ".join(f"{plural(count, 'document')} {what}" for count, what in counts if count)
        )
        pace = f" ({report.prefilled / report.seconds:,.0f} tokens/s)" if report.prefilled and report.seconds else ""
        self.note(
            f"  {report.total:,} tokens, {report.prefilled:,} read by the model in {report.seconds:.1f} s{pace}; "
            f"{size(report.bytes)}"
        )
        if report.skipped:
            reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in report.reasons().items())
            self.note(f"  skipped: {reasons}")
        if self.verbose:
            rest = report.seconds - sum(report.timing.values())
            parts = (*report.timing.items(), ("the rest", rest))
            self.detail("  seconds: " + ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts))
            for item in report.skipped:
                if item.reason != "ignored":
                    self.detail(f"  skipped: {item.path} ({item.reason.replace('_', ' ')})")
        unexpected = [item for item in report.skipped if item.reason.startswith("pdf") or item.reason in _LOUD]
        for item in unexpected[:10]:
            self.warn(f"{item.path} was skipped: {item.reason.replace('_', ' ')}")
        if len(unexpected) > 10:
            self.warn(f"{len(unexpected) - 10} more files were skipped; --json lists them")
        for reason in dict.fromkeys(item.reason for item in unexpected):
            if reason in REMEDIES:
                self.note(f"  {reason.replace('_', ' ')}: {REMEDIES[reason]}")
        for path, pages in report.pages_without_text:
            numbers = joined(map(str, pages), 20)
            self.warn(
                f"{path}: no text on page{'s' if len(pages) > 1 else ''} {numbers} (scanned?), so nothing there can be found"
            )

    def models(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """`models list`: one line a model."""
        if not rows:
            self.note("There is no model: this installation holds none, and neither does gfqa's data directory.")
            return
        lines = [("NAME", "LAYOUT", "SIZE", "BYTES/TOKEN", "FOLDER")]
        for row in rows:
            lines.append((row["name"], row["layout"], size(row["bytes"]), f"{row['bytes_per_token']}", row["folder"]))
        self.table(lines)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """A bar with tokens/s and the time left on a terminal, else a plain line every ten seconds, on stderr."""
        if self.quiet:
            yield lambda phase, done, total: None
        elif _is_terminal(self._err):
            with _bar(self._err) as show:
                yield show
        else:
            yield _PlainProgress(self.note)

    @contextlib.contextmanager
    def working(self, what: str) -> Iterator[Callable[[str], None]]:
        """A line on the terminal that says what takes its time, or what the function given says next.

        It goes with the first output, and at the end of the block. Elsewhere than on a terminal, nothing is shown.
        """
        columns = None if self.quiet else _columns(self._err)

        def say(text: str) -> None:
            if columns is not None:
                self._write(self._err, neutralise_line(text)[: columns - 1])
                self._passing = True

        say(what)
        try:
            yield say
        finally:
            self._erase()

    def _write(self, stream: TextIO, text: str) -> None:
        self._erase()
        stream.write(text)
        stream.flush()

    def _labelled(self, label: str, style: str, text: str) -> None:
        """A line on stderr with a coloured word before it."""
        line = _folded(label + neutralise_line(text), self._err)
        self._write(self._err, _styled(label, style, self._err) + line.removeprefix(label) + "\n")

    def _erase(self) -> None:
        """Take back the line of `working`."""
        if self._passing:
            self._passing = False
            self._err.write("\r\x1b[K")
            self._err.flush()


class _PlainProgress:
    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._phase = ""
        self._began = self._last = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began, self._last = phase, now, now
        elif now - self._last >= _PLAIN_LINE_EVERY:
            self._last = now
            self._note(f"{phase}: {done:,} of {total:,} {_unit(phase)}{_pace(phase, done, total, now - self._began)}")


def _unit(phase: str) -> str:
    return "files" if phase == "reading" else "tokens"


def _pace(phase: str, done: int, total: int, seconds: float) -> str:
    if phase == "reading" or done <= 0 or seconds <= 0:
        return ""
    rate = done / seconds
    return f", {rate:,.0f} tokens/s, {duration((total - done) / rate)} left"


@contextlib.contextmanager
def _bar(stream: TextIO) -> Iterator[Progress]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    console = RichConsole(file=stream, markup=False, highlight=False, emoji=False)
    with RichProgress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, tuple[Any, float]] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = (bars.add_task(phase, total=total, figures=""), time.monotonic())
            task, began = tasks[phase]
            figures = f"{done:,}/{total:,} {_unit(phase)}" + _pace(phase, done, total, time.monotonic() - began)
            bars.update(task, completed=done, total=total, figures=figures)

        yield show


def duration(seconds: float) -> str:
    """3 s, 4 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """1.2 MB; powers of ten."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def plural(count: int, noun: str) -> str:
    """1 document, 2 documents."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def joined(items: Iterable[str], limit: int = 10) -> str:
    """a, b, c and 4 more."""
    names = list(items)
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _shortened(text: str, width: int) -> str:
    """At most `width` characters, the middle left out: paths and names differ at their ends."""
    if len(text) <= width:
        return text
    head = max(0, width - 1) // 3
    return text[:head] + "…" + text[len(text) - max(0, width - 1 - head) :]


def _flat(figures: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as (dotted name, value)."""
    if isinstance(figures, Mapping):
        for name, value in figures.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, figures


def _columns(stream: TextIO) -> int | None:
    """Columns of the terminal behind a stream; None where there is none, and nothing is folded."""
    if not _is_terminal(stream):
        return None
    columns = shutil.get_terminal_size((0, 0)).columns
    if not columns:  # stdout is a pipe
        with contextlib.suppress(OSError, ValueError):
            columns = os.get_terminal_size(stream.fileno()).columns
    return max(columns or 80, 20)


def _folded(line: str, stream: TextIO) -> str:
    """On a terminal a line longer than its width is folded between words, and what follows is indented."""
    columns = _columns(stream)
    if columns is None or len(line) <= columns:
        return line
    import textwrap  # Seldom needed.

    margin = line[: len(line) - len(line.lstrip(" "))]
    parts = textwrap.wrap(
        line.lstrip(" "),
        columns,
        initial_indent=margin,
        subsequent_indent=margin + "  ",
        break_long_words=False,  # a path or URL longer than the line stays whole
        break_on_hyphens=False,
    )
    return "\n".join(parts)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _styled(text: str, style: str, stream: TextIO) -> str:
    codes = {"bold": "1", "dim": "2", "red": "31", "yellow": "33"}
    wanted = (_is_terminal(stream) or bool(os.environ.get("FORCE_COLOR"))) and not os.environ.get("NO_COLOR")
    return f"\x1b[{codes[style]}m{text}\x1b[0m" if style and wanted else text
