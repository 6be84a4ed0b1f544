"""`gfqa serve`: a model kept warm for every `gfqa ask`."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from gfqa.commands import units
from gfqa.commands.shared import AsJson, Device, MemoryBudget, Model
from gfqa.console import Console
from gfqa.failures import Terminated

if TYPE_CHECKING:
    from gfqa.serve.server import Server


def serve(
    cache: Annotated[
        list[str] | None,
        typer.Option("--cache", "-c", metavar="NAME", help="Load this cache at once; may be repeated."),
    ] = None,
    model: Model = None,
    device: Device = "auto",
    memory_budget: MemoryBudget = None,
    idle: Annotated[
        float | None, typer.Option("--idle", min=1, metavar="SECONDS", help="Stop when nobody asked for so long.")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Also an OpenAI-compatible endpoint on 127.0.0.1.")] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="Its port; 0: any that is free.")
    ] = 8484,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Its token; default: a new one, shown once.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep the model and the caches loaded, so that gfqa ask answers at once. Ctrl-C stops it.

    Every gfqa ask of this user with the same data directory, model and device uses it by itself, through a socket that only
    this user can open; the answers are the same. GFQA_NO_SERVER=1 or --no-server asks without it.

    --http adds /v1/models and /v1/chat/completions, where a cache is the model gfqa/NAME and requests carry a token.
    """
    console = Console(as_json=as_json)
    budget = None if memory_budget is None else units.byte_count(memory_budget)
    from gfqa.serve import server as use_case
    from gfqa.serve.engine import Engine

    with contextlib.ExitStack() as stack:
        path = stack.enter_context(use_case.only_one())
        endpoint = _endpoint(port, token_file) if http else None
        try:
            engine = Engine(model, device, memory_budget=budget)
            engine.warm_up(tuple(cache or ()))
            server = use_case.Server(engine, idle)
            stack.enter_context(use_case.listening(server, path))
            ready = {"schema": 1, "socket": str(path), **server.status()}
            console.note(f"Serving {engine.reader.name} on {engine.reader.device} at {path}; Ctrl-C stops it.")
            if endpoint is not None:
                ready |= _open(stack, server, endpoint, console)
            if as_json:
                console.json(ready)
            server.run()
            console.note("Nobody asked for a while: stopped.")
        except (KeyboardInterrupt, Terminated):
            # How a server is meant to end: no failure.
            console.note("Stopped.")


class Endpoint(NamedTuple):
    """Where the endpoint will be; the token is shown only if it is new."""

    listener: socket.socket
    token: str
    is_new: bool


def _endpoint(port: int, token_file: Path | None) -> Endpoint:
    """What can be wrong with the endpoint is found before the model is loaded."""
    from gfqa.serve import http

    http.require_libraries()
    token = http.new_token() if token_file is None else http.read_token(token_file)
    return Endpoint(http.bound(port), token, token_file is None)


def _open(stack: contextlib.ExitStack, server: Server, endpoint: Endpoint, console: Console) -> dict[str, str]:
    from gfqa.serve import http

    stack.enter_context(http.listening(server, endpoint.listener, endpoint.token))
    url = f"http://{http.ADDRESS}:{endpoint.listener.getsockname()[1]}/v1"
    console.note(f"OpenAI-compatible endpoint: {url}")
    if endpoint.is_new:
        console.note(f"Token, shown only now: {endpoint.token}")
    return {"url": url, **({"token": endpoint.token} if endpoint.is_new else {})}
