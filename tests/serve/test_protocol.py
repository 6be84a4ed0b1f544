"""Frames: what is sent comes out again, and nothing else is read, whoever writes it."""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path

import pytest

from gfqa.errors import GfqaError
from gfqa.serve import protocol
from gfqa.serve.protocol import BadFrame


@pytest.fixture
def pair():  # type: ignore[no-untyped-def]
    ends = socket.socketpair()
    for end in ends:
        end.settimeout(5)
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize("text", ["plain", "ümlaut \U0001f600", "\udcff lone", "\x1b]0;x\x07", "x" * 300_000])
def test_frames_come_out_as_they_went_in(pair: tuple[socket.socket, socket.socket], text: str) -> None:
    import threading

    frames = [{"text": text, "nested": [1, {"a": None}]}, {}]
    sender = threading.Thread(target=lambda: [protocol.send(pair[0], frame) for frame in frames])
    sender.start()
    assert [protocol.receive(pair[1]) for _ in frames] == frames
    sender.join()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00",
        struct.pack(">I", 10) + b"{}",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 3) + b"{x}",
        struct.pack(">I", 2) + b"\xff\xfe",
        struct.pack(">I", 20000) + b"[" * 20000,
        struct.pack(">I", 0xFFFFFFFF) + b"{}",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_nonsense_is_a_bad_frame(pair: tuple[socket.socket, socket.socket], data: bytes) -> None:
    pair[0].sendall(data)
    pair[0].close()
    with pytest.raises(BadFrame):
        protocol.receive(pair[1])


def test_lengths_are_bounded_on_both_sides(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BadFrame, match="more than the 10 allowed"):
        protocol.send(pair[0], {"text": "x" * 20}, 10)
    protocol.send(pair[0], {"text": "x" * 20})
    with pytest.raises(BadFrame, match="more than the 10 allowed"):
        protocol.receive(pair[1], 10)


def test_what_is_not_a_number_is_not_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ValueError):
        protocol.send(pair[0], {"score": float("nan")})


def test_a_request_names_protocol_version_and_installation() -> None:
    mine = protocol.request("status")
    assert protocol.stranger(mine) is None
    assert protocol.stranger(json.loads(json.dumps(mine))) is None
    for name in ("protocol", "version", "package"):
        assert name in (protocol.stranger({**mine, name: "other"}) or "")
        assert protocol.stranger({key: value for key, value in mine.items() if key != name}) is not None


def test_only_a_socket_of_this_user_alone_is_trusted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = protocol.socket_path()
    assert path.is_relative_to(home)
    with pytest.raises(FileNotFoundError):
        protocol.distrust(path)
    path.parent.mkdir(mode=0o700)
    path.write_text("no socket")
    path.chmod(0o600)
    assert "not what it should be" in (protocol.distrust(path) or "")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        assert protocol.distrust(path) is None
        path.chmod(0o660)
        assert "open to other users" in (protocol.distrust(path) or "")
        path.chmod(0o600)
        path.parent.chmod(0o755)
        assert "open to other users" in (protocol.distrust(path) or "")
        path.parent.chmod(0o700)
        user = os.geteuid()
        monkeypatch.setattr("os.geteuid", lambda: user + 1)
        assert "another user" in (protocol.distrust(path) or "")


def test_the_other_end_is_this_user(pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    assert protocol.is_this_user(pair[0])
    if hasattr(socket, "SO_PEERCRED"):
        user = os.geteuid()
        monkeypatch.setattr("os.geteuid", lambda: user + 1)
        assert not protocol.is_this_user(pair[0])


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    protocol.check_length(Path("/short/serve.sock"))
    with pytest.raises(GfqaError, match="too long for a socket"):
        protocol.check_length(tmp_path / ("x" * 100))
