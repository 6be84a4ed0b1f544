"""The OpenAI-compatible endpoint on 127.0.0.1, for programs of this user: starlette and uvicorn, of the extra `serve`.

Two things keep others out: a token, as every program and every page in a browser of this machine reaches the loopback, and the
name in the Host header, as a page may make its own name point here (DNS rebinding).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from gfqa.errors import CacheError, UsageError
from gfqa.serve import openai
from gfqa.serve.engine import Question
from gfqa.serve.openai import Refusal
from gfqa.serve.server import Job, Server

ADDRESS: Final = "127.0.0.1"
HOSTS: Final = ("127.0.0.1", "localhost")
BODY_BYTES: Final = 4 << 20
"""The longest request; a conversation that some client keeps sending along, of which the last message is read."""
TOKEN_CHARACTERS: Final = 16
"""The shortest token a file may hold."""

App = Callable[[Any, Any, Any], Awaitable[None]]


def require_libraries() -> None:
    """UsageError where the extra is missing."""
    try:
        import starlette
        import uvicorn
    except ImportError:
        raise UsageError(
            "gfqa serve --http needs starlette and uvicorn.", hint='Install them: pip install "gfqa[serve]"'
        ) from None
    del starlette, uvicorn


def new_token() -> str:
    """A token nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


def read_token(path: Path) -> str:
    """The token in the first line of a file. UsageError for a file that is missing, too short, or open to other users."""
    try:
        status = path.stat()
        lines = path.read_bytes()[:10_000].decode("ascii").split("\n")
    except OSError as error:
        raise UsageError(f"Cannot read the token file {path}: {(error.strerror or 'error').lower()}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"The token file {path} holds no ASCII text.") from None
    if status.st_mode & 0o077:
        raise UsageError(f"The token file {path} is open to other users.", hint=f"Run: chmod 600 {path}")
    token = lines[0].strip()
    if len(token) < TOKEN_CHARACTERS or not token.isprintable() or " " in token:
        raise UsageError(f"The token file {path} must begin with a line of {TOKEN_CHARACTERS} characters or more.")
    return token


def bound(port: int) -> socket.socket:
    """A socket at a port of the loopback; 0: any that is free. UsageError if the port is taken or not allowed."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
    except OSError as error:
        listener.close()
        reason = (error.strerror or "error").lower()
        raise UsageError(
            f"Cannot listen at port {port} of {ADDRESS}: {reason}.", hint="Choose another --port."
        ) from None
    return listener


@contextlib.contextmanager
def listening(server: Server, listener: socket.socket, token: str) -> Iterator[None]:
    """The endpoint at a bound socket, until the end of the block."""
    import uvicorn

    settings = uvicorn.Config(
        application(server, token),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=1,
    )
    web = uvicorn.Server(settings)
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True, name="gfqa-http")
    thread.start()
    try:
        while not web.started and thread.is_alive():
            time.sleep(0.01)
        yield
    finally:
        web.should_exit = True
        thread.join(5)
        listener.close()


def application(server: Server, token: str) -> App:
    """The ASGI application."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = Refusal(error.status_code, f"{request.method} {request.url.path}: {error.detail}.")
        if not isinstance(error, Refusal):
            # Its message may hold document text.
            error = Refusal(500, f"gfqa failed ({type(error).__name__}).")
        headers = {"www-authenticate": "Bearer"} if error.status == 401 else None
        return JSONResponse(error.to_json(), error.status, headers)

    async def list_models(request: Request) -> Response:
        return JSONResponse(openai.models(await run_in_threadpool(_caches, server)))

    async def chat(request: Request) -> Response:
        body = await _body(request.stream())
        asked = openai.parse_chat(body, list(await run_in_threadpool(_caches, server)))
        options = {} if asked.max_tokens is None else {"max_tokens": asked.max_tokens}
        job = server.submit(Question(asked.question, Path("/"), asked.caches, options=options))
        id, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        events = _events(job)
        first = await anext(events)
        while first["type"] == "wait" and not await request.is_disconnected():
            first = await anext(events)
        if first["type"] in ("error", "refused"):
            raise _refusal(first)
        if asked.stream:
            return StreamingResponse(_stream(asked, first, events, id, created), media_type="text/event-stream")
        last = first
        async for last in events:
            if last["type"] == "wait" and await request.is_disconnected():
                job.cancelled = True
        if last["type"] != "answer":
            raise _refusal(last)
        return JSONResponse(openai.completion(asked, last["json"], id, created))

    routes = [Route("/v1/models", list_models), Route("/v1/chat/completions", chat, methods=["POST"])]
    handlers = {HTTPException: refused, Refusal: refused, Exception: refused}
    return _guarded(Starlette(routes=routes, exception_handlers=handlers), server, token)


def _guarded(app: App, server: Server, token: str) -> App:
    """Lets through only requests to this machine's own name that carry the token."""
    from starlette.datastructures import Headers
    from starlette.responses import JSONResponse

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = Headers(scope=scope)
        name = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        scheme, _, given = headers.get("authorization", "").partition(" ")
        with server.connection() as welcome:
            refusal = None
            if name not in HOSTS:
                refusal = Refusal(403, "The Host header names another machine than this one.", code="wrong_host")
            elif scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), token.encode()):
                refusal = Refusal(401, "The token is missing or wrong.", code="invalid_api_key")
            elif not welcome:
                refusal = Refusal(503, "Too many questions wait.", code="overloaded")
            if refusal is None:
                await app(scope, receive, send)
            else:
                challenge = {"www-authenticate": "Bearer"} if refusal.status == 401 else None
                await JSONResponse(refusal.to_json(), refusal.status, challenge)(scope, receive, send)

    return guarded


async def _body(stream: AsyncIterator[bytes]) -> bytes:
    parts, size = [], 0
    async for part in stream:
        size += len(part)
        if size > BODY_BYTES:
            raise Refusal(413, f"The body is longer than {BODY_BYTES} bytes.")
        parts.append(part)
    return b"".join(parts)


def _caches(server: Server) -> dict[str, float]:
    """The caches that the server's model can be asked about, and when each was made."""
    found = {}
    store, identity = server.engine.store, server.engine.reader.identity
    for name in store.names():
        with contextlib.suppress(CacheError):
            info = store.info(name)
            if info.identity.difference(identity) is None:
                found[name] = info.created
    return found


async def _events(job: Job) -> AsyncIterator[dict[str, Any]]:
    """The job's events; whoever stops listening gives the question up."""
    from starlette.concurrency import run_in_threadpool

    events = job.events()
    try:
        while (event := await run_in_threadpool(next, events, None)) is not None:
            yield event
    finally:
        job.cancelled = True


async def _stream(
    chat: openai.Chat, first: dict[str, Any], events: AsyncIterator[dict[str, Any]], id: str, created: int
) -> AsyncIterator[bytes]:
    """Server-sent events of an answer, from its first event on."""

    def data(value: Any) -> bytes:
        return b"data: " + json.dumps(value, allow_nan=False).encode("ascii") + b"\n\n"

    yield data(openai.chunk(chat, id, created, {"role": "assistant", "content": ""}))
    event = first
    while True:
        if event["type"] == "text":
            yield data(openai.chunk(chat, id, created, {"content": event["text"]}))
        elif event["type"] == "answer":
            for last in openai.last_chunks(chat, event["json"], id, created):
                yield data(last)
            break
        elif event["type"] == "wait":
            # A comment: keeps the connection alive, and fails where the client is gone.
            yield b": wait\n\n"
        else:
            yield data(_refusal(event).to_json())
            return
        event = await anext(events)
    yield b"data: [DONE]\n\n"


def _refusal(event: dict[str, Any]) -> Refusal:
    """What the engine could not answer."""
    if event["type"] != "error":
        return Refusal(503, "The question could not be answered.")
    return Refusal({2: 400, 3: 404}.get(event["code"], 500), event["message"])
