"""The command line: every command in its place. Imports no torch until a model is needed."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
from typing import Annotated

import typer

from gfqa import __version__
from gfqa.commands import (
    ask,
    caches,
    chat,
    config,
    doctor,
    evaluate,
    find,
    ingest,
    mcp,
    models,
    serve,
    status,
    train,
    watch,
)
from gfqa.commands.shared import group, no_command
from gfqa.console import Console
from gfqa.guard import Commands

EXIT_CODES = """\b
Exit codes:
  0    done, also when the reader of a pipe goes away
  1    failure (I/O, full disk, permission), a skip under --strict
  2    usage, a missing path, a name conflict
  3    cache missing, ambiguous, damaged, or of another model
  4    nothing readable to ingest
  5    not found in the documents (--fail-not-found)
  6    model, GPU or memory
  75   busy: another process holds the store
  130  interrupted; what was finished is kept
  143  terminated; likewise"""

app = group(
    "Long-context question answering over a codebase or PDFs.\n\n\b\n"
    'gfqa ingest PATH         read a folder, file or PDF once into a cache\ngfqa ask "QUESTION"      ask it, with citations',
    cls=Commands,
    epilog=EXIT_CODES,
)
app.command("ingest")(ingest.ingest)
app.command("ask", short_help="Answer a question, with the places the answer comes from.")(ask.ask)
app.command("find", short_help="Find the passages that speak of a question.")(find.find)
app.command("chat", short_help="Ask one question after another.")(chat.chat)
app.command("status")(status.status)
app.command("watch", short_help="Ingest again whenever something changes, until Ctrl-C.")(watch.watch)
app.add_typer(caches.app, name="caches")
app.add_typer(models.app, name="models")
app.command("serve", short_help="Keep the model loaded, so that ask answers at once.")(serve.serve)
app.command("mcp", short_help="Serve agents and editors (Model Context Protocol).")(mcp.mcp)
app.command("doctor", short_help="Look at this machine, the model and the caches.")(doctor.doctor)
app.add_typer(config.app, name="config", short_help="Show and change the defaults of flags.")
app.command("eval", short_help="Measure a model.", context_settings=evaluate.SETTINGS)(evaluate.evaluate)
app.command("train", short_help="Train a model (docs/training.md).", context_settings=train.SETTINGS)(train.train)

Version = Annotated[bool, typer.Option("--version", help="Show the version.")]


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, version: Version = False) -> None:
    if version:
        Console().line(f"gfqa {__version__}")
        raise typer.Exit
    no_command(context)
    config.apply(context)


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
    """The console script: runs a command and ends the process.

    Torch makes some hundred thousand objects that stay to the end. Looking among them for garbage every 700 new ones, and
    taking them apart one by one when all is done, is a good part of a short command's time, so neither is done.
    """
    open_streams()
    gc.set_threshold(50_000, 10, 10)
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
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


if __name__ == "__main__":
    main()
