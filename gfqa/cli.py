"""The command line: every command in its place. Imports no torch until a model is needed."""

from __future__ import annotations

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


if __name__ == "__main__":
    from gfqa.entry import main

    main()
