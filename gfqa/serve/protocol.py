"""What client and server of the local socket agree on: where it is, who may use it, and the frames that pass through it.

A frame is four bytes of length, big-endian, and one JSON object in UTF-8; nothing else is ever read, and nothing beyond a
bound. A request names the protocol and gfqa's version; a server of another one refuses it, and the client goes on without.

    client -> server   one request: {"protocol", "version", "package", "op", ...}
    server -> client   {"type": "accepted" | "wait" | "text" | "answer" | "passages" | "status" | "error" | "refused", ...}
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any, Final

import gfqa
from gfqa import config
from gfqa.errors import GfqaError

PROTOCOL: Final = 2
"""Raised whenever a frame changes its meaning."""
REQUEST_BYTES: Final = 64 << 20
"""The longest request: a question and a document from standard input."""
REPLY_BYTES: Final = 16 << 20
"""The longest reply: an answer with its quotes."""
ACCEPT_SECONDS: Final = 2.0
"""A server that has not taken the request by then hangs: the client goes on without it."""
SILENCE_SECONDS: Final = 30.0
"""The longest silence after that; a server that works says `wait` every second."""
PATH_BYTES: Final = 100
"""Socket paths are limited to 104 or 108 bytes by the operating systems."""

_LENGTH = struct.Struct(">I")


class BadFrame(Exception):
    """The other side sent something that is no frame, or broke off in the middle of one."""


def run_folder() -> Path:
    """Where the socket and the server's lock live: in gfqa's data directory, so a server serves the caches beside it."""
    return config.home() / "run"


def socket_path() -> Path:
    """The one socket of this data directory."""
    return run_folder() / "serve.sock"


def check_length(path: Path) -> None:
    """GfqaError where the path is too long for a socket."""
    if len(os.fsencode(path)) > PATH_BYTES:
        raise GfqaError(
            f"The path {path} is too long for a socket ({len(os.fsencode(path))} bytes, at most {PATH_BYTES}).",
            hint="Choose a shorter data directory with GFQA_HOME.",
        )


def distrust(path: Path) -> str | None:
    """Why the socket is not to be used; None if it and its folder belong to this user alone. OSError where it is missing."""
    for place, kind in ((path.parent, stat.S_ISDIR), (path, stat.S_ISSOCK)):
        status = place.lstat()
        if not kind(status.st_mode):
            return f"{place} is not what it should be"
        if status.st_uid != os.geteuid():
            return f"{place} belongs to another user"
        if status.st_mode & 0o077:
            return f"{place} is open to other users"
    return None


def is_this_user(connection: socket.socket) -> bool:
    """Whether the other end is a process of this user; True where the platform cannot tell (file modes still guard)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.geteuid())


def request(op: str, **fields: Any) -> dict[str, Any]:
    """A request of this protocol, version and installation."""
    return {"protocol": PROTOCOL, "version": gfqa.__version__, "package": package(), "op": op, **fields}


def package() -> str:
    """The folder this gfqa was imported from: two installations of one version may differ."""
    return os.path.dirname(os.path.abspath(gfqa.__file__))


def stranger(frame: dict[str, Any]) -> str | None:
    """Why a request is not from this protocol, version and installation; None if it is."""
    for name, mine in (("protocol", PROTOCOL), ("version", gfqa.__version__), ("package", package())):
        if frame.get(name) != mine:
            return f"the server's {name} is {mine}, the request's {frame.get(name)!r:.200}"
    return None


def send(connection: socket.socket, frame: dict[str, Any], limit: int = REPLY_BYTES) -> None:
    """Send one frame. BadFrame if it is longer than `limit` bytes; OSError if the other side is gone."""
    data = json.dumps(frame, ensure_ascii=True, allow_nan=False).encode("ascii")
    if len(data) > limit:
        raise BadFrame(f"{len(data)} bytes are more than the {limit} allowed")
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket, limit: int = REPLY_BYTES) -> dict[str, Any]:
    """The next frame, at most `limit` bytes. BadFrame for anything else; OSError, TimeoutError included, of the socket."""
    [length] = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > limit:
        raise BadFrame(f"{length} bytes are more than the {limit} allowed")
    try:
        frame = json.loads(_exactly(connection, length))
    except (ValueError, RecursionError):
        raise BadFrame("no JSON") from None
    if not isinstance(frame, dict):
        raise BadFrame("no JSON object")
    return frame


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise BadFrame("the other side broke off")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
