"""What is said about a failure, and the exit code: every failure becomes one sentence, whatever raised it. Free of Typer.

GFQA_DEBUG=1 lets unexpected exceptions through with their tracebacks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from gfqa.console import Console
from gfqa.errors import GfqaError


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; unwinds like KeyboardInterrupt, so that finished work is kept."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Failure(NamedTuple):
    """What is said, on stderr, and how the process ends; code 0: nothing is said."""

    code: int
    message: str
    hint: str | None = None


def run(
    command: Callable[[], Any], console: Console, said: Callable[[BaseException], Failure | None] | None = None
) -> int:
    """Run a command: its exit code, or that of its failure, which is said. said: `failure_of`, or what does more."""
    try:
        code = command()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BaseException as error:
        failure = (said or failure_of)(error)
        if failure is None:
            raise
    if failure.code:
        with contextlib.suppress(OSError):
            console.error(*failure)
    _discard_unwritten()
    return failure.code


def failure_of(error: BaseException) -> Failure | None:
    """What to say about an exception; None for those that are no failure of a command."""
    match error:
        case GfqaError():
            return Failure(error.exit_code, error.message, error.hint)
        case KeyboardInterrupt():
            return Failure(130, "Interrupted.")
        case Terminated():
            return Failure(128 + error.number, "Terminated.")
        case BrokenPipeError():
            return Failure(0, "")
        case MemoryError():
            return Failure(6, "There is not enough memory.")
        case OSError():
            return Failure(1, _os_sentence(error), _OS_HINTS.get(error.errno or 0) if error.filename else None)
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


def _unexpected(error: Exception) -> Failure:
    """A bug, or torch out of memory. The message of the exception may hold document text, so it is not shown."""
    name = type(error).__name__
    if name == "OutOfMemoryError" or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):
        return Failure(6, "There is not enough memory for this model and cache.", "Try --device cpu, or fewer caches.")
    import traceback  # Seldom needed.

    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Failure(1, f"This is a bug in gfqa: {name}{place}.", "GFQA_DEBUG=1 shows the traceback.")


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
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
