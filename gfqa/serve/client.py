"""The client of a warm server: commands call `ask` or `find` first and go on by themselves where that gives None. Torch-free.

Whatever is wrong with the server (none, dead, another version, another model) only means that the question is answered
without it; an error that the question itself meets is raised as it would be without a server.
"""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gfqa.errors import GfqaError
from gfqa.serve import protocol
from gfqa.serve.protocol import BadFrame
from gfqa.serve.wire import ResultView

if TYPE_CHECKING:
    from gfqa.answer.result import Answer, Passages


class Unavailable(Exception):
    """There is no server for this request; says why."""


class Shown:
    """Where an answer's text goes, once: text that a dying server had streamed is not shown again by who takes over."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._shown = self._at = 0

    def __call__(self, text: str) -> None:
        fresh = text[max(0, self._shown - self._at) :]
        self._at += len(text)
        if fresh:
            self._shown = self._at
            self._on_text(fresh)

    def to(self, on_text: Callable[[str], None]) -> Shown:
        """The same text from now on shown by another."""
        self._on_text = on_text
        return self

    @property
    def any(self) -> bool:
        """Whether text has been shown."""
        return self._shown > 0

    def again(self) -> None:
        """The same answer is coming once more, from its beginning."""
        self._at = 0


def ask(
    question: str,
    *,
    caches: Sequence[str] = (),
    document: bytes | None = None,
    only: Sequence[str] = (),
    model: str | None = None,
    device: str = "auto",
    require_fresh: bool = False,
    options: Mapping[str, bool | int | float | str | None] | None = None,
    on_text: Shown | None = None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Answer | None:
    """The answer of the warm server, or None where the caller has to answer: no server, or none for this model and device.

    options: keyword arguments of `gfqa.ask.ask`. on_text receives the answer as it comes; on_note one sentence on why
    there is no warm answer. Raises the GfqaError that the question meets in the server, with its exit code.
    """
    frame = _request("ask", question, caches, document, only, model, device, require_fresh, options=dict(options or {}))
    shown = on_text or Shown(lambda text: None)
    result = _result(frame, "answer", shown, on_note)
    if result is None:
        shown.again()
    return cast("Answer | None", result)


def find(
    question: str,
    *,
    count: int | None = None,
    budget: int | None = None,
    caches: Sequence[str] = (),
    document: bytes | None = None,
    only: Sequence[str] = (),
    model: str | None = None,
    device: str = "auto",
    require_fresh: bool = False,
    on_note: Callable[[str], None] = lambda note: None,
) -> Passages | None:
    """The passages of the warm server, `count` of them or those that fit a budget of tokens; None and errors as of `ask`."""
    place = caches, document, only, model, device, require_fresh
    frame = _request("find", question, *place, count=count, budget=budget)
    return cast("Passages | None", _result(frame, "passages", Shown(lambda text: None), on_note))


def _request(
    op: str,
    question: str,
    caches: Sequence[str],
    document: bytes | None,
    only: Sequence[str],
    model: str | None,
    device: str,
    require_fresh: bool,
    **wanted: Any,
) -> dict[str, Any]:
    return protocol.request(
        op,
        question=question,
        caches=list(caches),
        document=None if document is None else base64.b64encode(document).decode("ascii"),
        only=list(only),
        folder=_here(),
        model=model,
        device=device,
        require_fresh=require_fresh,
        **{"options": {}, "count": None, "budget": None, **wanted},
    )


def _result(
    frame: dict[str, Any], kind: str, shown: Callable[[str], None], on_note: Callable[[str], None]
) -> ResultView | None:
    """What the server makes of a request, or None."""
    try:
        for reply in _replies(frame):
            match reply:
                case {"type": "text", "text": str(text)}:
                    shown(text)
                case {"type": str(name), "view": {"@": dict(fields)}, "json": dict(result)} if name == kind:
                    return ResultView(fields, result)
                case {"type": "error", "code": int(code), "message": str(message), "hint": str() | None as hint}:
                    raise _error(code, message, hint)
    except Unavailable as reason:
        on_note(f"Answered without the warm server: {reason}.")
    return None


def status() -> dict[str, Any] | None:
    """What the running server says of itself: {"model", "device", "pid", "caches", …}; None where there is none."""
    try:
        for reply in _replies(protocol.request("status")):
            if reply.get("type") == "status":
                return reply
    except Unavailable:
        pass
    return None


def _replies(frame: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Send a request and give the frames that come back. Unavailable where there is no server, or no longer."""
    try:
        path = protocol.socket_path()
        if (reason := protocol.distrust(path)) is not None:
            raise Unavailable(reason)
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            connection.settimeout(protocol.ACCEPT_SECONDS)
            connection.connect(str(path))
            if not protocol.is_this_user(connection):
                raise Unavailable("it belongs to another user")
            protocol.send(connection, frame, protocol.REQUEST_BYTES)
            while True:
                reply = protocol.receive(connection)
                if reply.get("type") == "refused":
                    raise Unavailable(str(reply.get("reason")))
                connection.settimeout(protocol.SILENCE_SECONDS)
                yield reply
    except FileNotFoundError:
        raise Unavailable("none is running") from None
    except (BadFrame, OSError) as error:
        raise Unavailable(f"it is gone ({error})") from None


def _here() -> str:
    """The current folder: which cache is asked, and which folder a model's relative path means, depend on it."""
    return str(Path.cwd())


def _error(code: int, message: str, hint: str | None) -> GfqaError:
    error = GfqaError(message, hint=hint)
    error.exit_code = code
    return error
