"""`gfqa serve`: a model kept warm for every `gfqa ask`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gfqa.commands.shared import AsJson, Device, Model
from gfqa.console import Console
from gfqa.guard import Terminated


def serve(
    cache: Annotated[
        list[str] | None, typer.Option("--cache", "-c", help="Load this cache at once; may be repeated.")
    ] = None,
    model: Model = None,
    device: Device = "auto",
    idle: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Stop when nobody asked for so long.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep the model and the caches loaded, so that gfqa ask answers at once. Ctrl-C stops it.

    Every gfqa ask of this user with the same data directory, model and device uses it by itself, through a socket that only
    this user can open; the answers are the same. GFQA_NO_SERVER=1 or --no-server asks without it.
    """
    console = Console(as_json=as_json)
    from gfqa.serve import server as use_case
    from gfqa.serve.engine import Engine

    with use_case.only_one() as path:
        try:
            engine = Engine(model, device)
            engine.warm_up(tuple(cache or ()))
            server = use_case.Server(engine, idle)
            with use_case.listening(server, path):
                if as_json:
                    console.json({"schema": 1, "socket": str(path), "pid": os.getpid(), **server.status()})
                console.note(f"Serving {engine.reader.name} on {engine.reader.device} at {path}; Ctrl-C stops it.")
                server.run()
                console.note("Nobody asked for a while: stopped.")
        except (KeyboardInterrupt, Terminated):
            # How a server is meant to end: no failure.
            console.note("Stopped.")
