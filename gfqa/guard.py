"""How a command ends: every failure becomes one sentence and an exit code, whatever raised it, and never a traceback.

GFQA_DEBUG=1 lets unexpected exceptions through with theirs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from gfqa.console import Console
from gfqa.errors import GfqaError


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; unwinds like KeyboardInterrupt, so that finished work is kept."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Commands(TyperGroup):
    """The group of all commands: runs one of them and turns whatever it raises into a sentence and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        run = super().main
        console = Console(as_json=_wants_json(options))
        if complete_var is None and (help := self._help(given)) is not None:
            code = _run(lambda: console.block(help), console)
        else:
            resumes = not _RESUMABLE.isdisjoint(given[:2])
            code = _run(lambda: run(given, "gfqa", complete_var, False, windows_expand_args, **extra), console, resumes)
        if standalone_mode:
            sys.exit(code)
        return code

    def _help(self, given: list[str]) -> str | None:
        """The help of `COMMAND… --help`, without parsing: that would load what checks values, two thirds of the time."""
        if not given or given[-1] not in ("-h", "--help"):
            return None
        command: Any = self
        context = command.context_class(command, info_name="gfqa", **command.context_settings)
        for word in given[:-1]:
            command = command.get_command(context, word) if isinstance(command, TyperGroup) else None
            if command is None or not command.context_settings.get("help_option_names", True):
                return None
            context = command.context_class(command, info_name=word, parent=context, **command.context_settings)
        help: str = context.get_help()
        return help

    def invoke(self, ctx: Any) -> Any:
        try:
            with _signals_raise():
                return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, OSError) as error:
            # Typer has its own ideas about these three; ours are in `_failure`.
            raise _Carried(error) from error


_RESUMABLE = {"ingest", "watch", "rebuild"}
"""The commands that go on where they were interrupted; the others have nothing to go on with."""


def _wants_json(options: Sequence[str]) -> bool:
    """Whether errors, too, are to be JSON: as the flags will be read once parsed, which an error may prevent."""
    formats = {following for option, following in pairwise(options) if option == "--format"}
    formats |= {option.removeprefix("--format=") for option in options if option.startswith("--format=")}
    return not {"--json", "--jsonl"}.isdisjoint(options) or not {"json", "jsonl"}.isdisjoint(formats)


class _Carried(BaseException):
    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class _Failure(NamedTuple):
    code: int
    message: str
    hint: str | None = None


def _run(command: Callable[[], Any], console: Console, resumes: bool = False) -> int:
    try:
        code = command()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BaseException as error:
        failure = _failure(error.error if isinstance(error, _Carried) else error)
        if failure is not None and resumes and failure.code in (130, 143):
            failure = failure._replace(hint="Finished documents are kept: run the same command to go on.")
        if failure is None:
            raise
    if failure.code:
        with contextlib.suppress(OSError):
            console.error(*failure)
    _discard_unwritten()
    return failure.code


def _failure(error: BaseException) -> _Failure | None:
    """What to say about an exception; None for those that are no failure of a command."""
    match error:
        case GfqaError():
            return _Failure(error.exit_code, error.message, error.hint)
        case KeyboardInterrupt():
            return _Failure(130, "Interrupted.")
        case Terminated():
            return _Failure(128 + error.number, "Terminated.")
        case BrokenPipeError():
            return _Failure(0, "")
        case MemoryError():
            return _Failure(6, "There is not enough memory.")
        case OSError():
            return _Failure(1, _os_sentence(error), _OS_HINTS.get(error.errno or 0) if error.filename else None)
        case typer.Abort():
            return _Failure(1, "Aborted.")
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):
            return _Failure(0, "")  # Typer's own end of a closed pipe, while it printed help.
        case SystemExit() | GeneratorExit() | typer.Exit():
            return None
    if callable(getattr(error, "format_message", None)):
        return _usage(error)
    if isinstance(error, Exception) and not os.environ.get("GFQA_DEBUG"):
        return _unexpected(error)
    return None


_OS_HINTS = {
    errno.ENOSPC: "Free some space and run the same command again: finished documents are kept.",
    errno.EROFS: "GFQA_HOME chooses another place for gfqa's data.",
    errno.EACCES: "GFQA_HOME chooses another place for gfqa's data.",
}


def _os_sentence(error: OSError) -> str:
    """Which file it is about; one without a name, that is broken or full, is the output."""
    reason = error.strerror or type(error).__name__
    place = error.filename or ("standard output" if error.errno in (errno.EBADF, errno.ENOSPC, errno.EIO) else "")
    return f"{reason}: {place}." if place else f"{reason}."


def _usage(error: Any) -> _Failure:
    """A wrong flag or argument, as Typer reports it."""
    context = getattr(error, "ctx", None)
    hint = f"See {context.command_path} --help." if context is not None else None
    message = str(error.format_message()).strip()
    if (
        message.startswith("Got unexpected extra argument")
        and context is not None
        and context.info_name in ("ask", "find")
    ):
        hint = f'A question of several words needs quotes: gfqa {context.info_name} "…"'
    # Pydantic, whom Typer asks, says what "Input" should be but not what it was.
    details = getattr(error.__cause__, "errors", None)
    if callable(details) and (found := details()):
        message = message.replace(": Input should", f": {str(found[0].get('input'))!r:.200} should", 1)
        message = message.replace(": Value error, ", ": ", 1)
    return _Failure(int(error.exit_code), message if message.endswith((".", "?")) else message + ".", hint)


def _unexpected(error: Exception) -> _Failure:
    """A bug, or torch out of memory. The message of the exception may hold document text, so it is not shown."""
    name = type(error).__name__
    if name == "OutOfMemoryError" or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):
        return _Failure(6, "There is not enough memory for this model and cache.", "Try --device cpu, or fewer caches.")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return _Failure(1, f"This is a bug in gfqa: {name}{place}.", "GFQA_DEBUG=1 shows the traceback.")


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Terminated while a command runs, unless they were ignored (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _discard_unwritten() -> None:
    """What a closed or full stdout still buffers would fail once more, loudly, when the interpreter exits."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
