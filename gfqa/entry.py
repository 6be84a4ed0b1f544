"""Where the process starts and ends: its streams, its cores, and what has to be quick before the command line is built."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys

from gfqa import quick

BUSY = 0.5
"""Load (processes that want a core, over the last minute) from which on other work counts."""


def share_cores() -> None:
    """On a busy machine, let torch's threads sleep while they wait for each other; before torch is loaded.

    They spin by default, on cores that other processes want, thousands of times a second: with one of two cores taken, ingest
    is 3.6 times faster without. On a quiet machine sleeping costs up to a fifth. OMP_WAIT_POLICY, where set, is left alone.
    """
    with contextlib.suppress(AttributeError, OSError):  # a system that has no load average
        if os.getloadavg()[0] >= BUSY:
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def open_streams() -> None:
    """The standard streams, for callers that closed some, and for encodings that lack characters of the documents.

    A closed one is opened, so that no file takes its number: standard input at its end, standard error to nowhere, standard
    output so that writing to it fails, as it should. What an encoding cannot say is written as an escape.
    """
    for name, access in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(os.open(os.devnull, access), mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """The console script: runs a command and ends the process; a plain question to a warm server before anything else.

    Torch makes some hundred thousand objects that stay to the end. Looking among them for garbage every 700 new ones, and
    taking them apart one by one when all is done, is a good part of a short command's time, so neither is done.
    """
    open_streams()
    gc.set_threshold(50_000, 10, 10)
    if (done := quick.answered(sys.argv[1:])) is not None:
        sys.exit(done)
    share_cores()
    code = 1

    def leave() -> None:
        if "torch" in sys.modules:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    # What is registered first is called last: after whatever else has something to do at the end.
    atexit.register(leave)
    # Imported only now: building the command line takes longer than a warm answer.
    from gfqa.cli import app

    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


if __name__ == "__main__":
    main()
