"""The plainest question to a warm server: asked without the command line, with the same request and the same output."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gfqa import quick
from gfqa.errors import CacheError
from gfqa.serve import client, protocol


@pytest.mark.parametrize(
    ("arguments", "plain"),
    [
        (["ask", "Why?"], ("Why?", [], False)),
        (["ask", "--json", "Why?", "-c", "a", "--cache", "b"], ("Why?", ["a", "b"], True)),
        (["ask"], None),
        (["ask", " "], None),
        (["ask", "-"], None),
        (["ask", "Why?", "-"], None),
        (["ask", "Why?", "now?"], None),
        (["ask", "Why?", "--quote"], None),
        (["ask", "Why?", "--cache"], None),
        (["ask", "Why?", "--cache", "--json"], None),
        (["ask", "Why?", "--cache=a"], None),
        (["ask", "--", "Why?"], None),
        (["find", "Why?"], None),
        ([], None),
    ],
)
def test_what_is_plain(arguments: list[str], plain: Any) -> None:
    assert quick._plain(arguments) == plain


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A socket file, and what is sent there: a list of requests; replies are put in front of them."""
    for name in ("GFQA_CONFIG", "GFQA_MODEL", "GFQA_DEVICE", "GFQA_CACHE", "GFQA_NO_SERVER", "GFQA_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    path = tmp_path / "serve.sock"
    path.touch()
    monkeypatch.setattr(protocol, "socket_path", lambda: path)
    monkeypatch.setattr(quick, "_begun", None)
    seen: list[Any] = []

    def replies(frame: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seen.append(frame)
        yield {"type": "text", "text": "80"}
        yield {"type": "error", "code": 3, "message": "It is damaged.", "hint": None}

    monkeypatch.setattr(client, "_replies", replies)
    return seen


@pytest.mark.parametrize("flags", [[], ["--cache", "a"]])
@pytest.mark.parametrize(
    "settings", ["", 'cache = ["c", "d"]\nmodel = "m"\ndevice = "cpu"\nsources = 5\nreread = false\n']
)
def test_the_request_is_that_of_the_command(
    server: list[Any],
    flags: list[str],
    settings: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gfqa.cli import app

    arguments = ["ask", "Which port?", *flags, "--json"]
    if settings:
        file = tmp_path / "config.toml"
        file.write_text(settings)
        monkeypatch.setenv("GFQA_CONFIG", str(file))
        monkeypatch.setenv("GFQA_DEVICE", "cuda:1")
    assert quick.answered(arguments) == 3
    monkeypatch.setattr(quick, "_begun", None)
    assert app(arguments, standalone_mode=False) == 3
    assert server[0] == server[1]


@pytest.mark.parametrize("name", ["GFQA_DEBUG", "GFQA_NO_SERVER", "_GFQA_COMPLETE"])
def test_what_else_is_set_is_left_to_the_command_line(
    server: list[Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert quick.answered(["ask", "Which port?"]) is None
    assert not server


@pytest.mark.parametrize("text", [None, "sources = 1000\n", "other = 1\n", "server = false\n", "no toml"])
def test_settings_in_disorder_are_left_to_the_command_line(
    server: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    file = tmp_path / "config.toml"
    monkeypatch.setenv("GFQA_CONFIG", str(file))
    if text is not None:
        file.write_text(text)
    assert quick.answered(["ask", "Which port?"]) is None
    assert not server


def test_an_error_of_the_server_is_said_at_once(
    server: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*given: Any, **named: Any) -> Any:
        raise CacheError("There is no cache.")

    monkeypatch.setattr(client, "ask", refuses)
    assert quick.answered(["ask", "Which port?"]) == 3
    assert "There is no cache." in capsys.readouterr().err


def test_text_of_a_server_that_dies_is_not_shown_twice(
    server: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is the server asked twice; what shows the rest is the console of whoever goes on."""
    frames = []

    def dies(frame: dict[str, Any]) -> Iterator[dict[str, Any]]:
        frames.append(frame)
        yield {"type": "text", "text": "80"}
        raise client.Unavailable("it is gone")

    monkeypatch.setattr(client, "_replies", dies)
    assert quick.answered(["ask", "Which port?"]) is None
    shown = quick.begun()
    assert shown is not None
    assert shown.any
    rest: list[str] = []
    shown.to(rest.append)("8080")
    assert capsys.readouterr().out == "80"
    assert rest == ["80"]
    from gfqa.cli import app

    assert app(["ask", "Which port?"], standalone_mode=False) == 3  # There is no cache.
    assert len(frames) == 1


@pytest.mark.parametrize("value", ["banana", " 1 ", "yes"])
def test_a_word_that_is_not_no_is_left_to_the_command_line(
    server: list[Any], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GFQA_NO_SERVER", value)
    assert quick.answered(["ask", "Which port?"]) is None
    monkeypatch.setenv("GFQA_NO_SERVER", "Off")
    assert quick.answered(["ask", "Which port?"]) == 3


def test_a_place_that_cannot_be_looked_at_is_left_to_the_command_line(
    server: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> Path:
        raise OSError(36, "File name too long")

    monkeypatch.setattr(protocol, "socket_path", fails)
    assert quick.answered(["ask", "Which port?"]) is None


def on_terminal(*arguments: str) -> str:
    """What is left to be seen of a command: lines that were taken away again are not."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gfqa.entry", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # The terminal of a process that has ended.
        while chunk := os.read(master, 4096):
            seen += chunk
    os.close(master)
    assert process.wait() == 0
    return re.sub(r"[^\n]*\r\x1b\[K", "", seen.decode())


def test_a_question_that_a_server_refuses_is_answered_on_a_terminal(gfqa: Any, project: Path, home: Path) -> None:
    """The answer stays to be seen: whose line says what is under way is who takes it away."""
    assert gfqa("ingest", str(project), "-q").code == 0
    run_folder = home / "run"
    run_folder.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(run_folder / "serve.sock"))
        (run_folder / "serve.sock").chmod(0o600)
        listener.listen()  # Nobody accepts: the client gives the server up.
        given_up = on_terminal("ask", "Which port?")
    assert "proj" in given_up or ":" in given_up
    assert given_up == on_terminal("ask", "Which port?", "--no-server")


def test_without_a_server_nothing_is_imported() -> None:
    code = (
        "import sys\nfrom gfqa import quick\nassert quick.answered(['ask', 'Which port?']) is None\n"
        "print(sorted({'typer', 'torch', 'rich', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
