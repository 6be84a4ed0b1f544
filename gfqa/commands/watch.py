"""`gfqa watch`: a cache that follows its sources."""

from __future__ import annotations

from typing import Annotated

import typer

from gfqa import config
from gfqa.commands.ingest import Exclude, Include, IncludeSecrets, limits_of
from gfqa.commands.shared import Device, Model, Quiet
from gfqa.console import Console
from gfqa.errors import UsageError
from gfqa.failures import Terminated


def watch(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Folders or files.")],
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="NAME", help="The cache's name; default: the folder's.")
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", min=0.05, max=86400, metavar="SECONDS", help="Seconds between two looks.")
    ] = 1.0,
    debounce: Annotated[
        float,
        typer.Option(
            "--debounce", min=0.0, max=3600, metavar="SECONDS", help="Seconds without a change before it is read."
        ),
    ] = 0.5,
    model: Model = None,
    device: Device = "auto",
    include: Include = None,
    exclude: Exclude = None,
    include_secrets: IncludeSecrets = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a refresh on stdout.")] = False,
    quiet: Quiet = False,
) -> None:
    """Ingest, then again whenever something has changed, until Ctrl-C. Needs no service and no extra package.

    Exit code 130 after Ctrl-C, 143 after SIGTERM; what was read is kept, and so is the part of an ingest under way.
    """
    console = Console(as_json=jsonl, quiet=quiet)
    limits = limits_of(include, exclude, include_secrets)
    from gfqa.documents import open_source

    for path in paths:
        if path == "-":
            raise UsageError("Standard input cannot be watched.", hint="Name folders or files.")
        open_source(path, limits)

    from gfqa.reader import open_model
    from gfqa.watch import watch as refreshes

    try:
        reader = open_model(model, device)
        watching = False
        for refresh in refreshes(
            paths,
            reader=reader,
            home=config.home(),
            name=name,
            limits=limits,
            interval=interval,
            debounce=debounce,
            progress=console.progress,
            on_wait=console.waiting,
        ):
            if refresh.report is not None:
                console.json(refresh.report.to_json()) if jsonl else console.ingested(refresh.report)
            elif refresh.error is not None:
                error = refresh.error
                console.error(error.exit_code, error.message, error.hint)
            if not watching:
                watching = True
                console.note("Watching for changes; Ctrl-C stops.")
    except KeyboardInterrupt:
        code = 130
    except Terminated as terminated:
        code = 128 + terminated.number
    console.note("Stopped.")
    raise typer.Exit(code)
