"""`gfqa ask --output FILE`: the same bytes as on standard output, in a file that is whole or as it was."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gfqa.cachestore import fs
from gfqa.errors import GfqaError, UsageError
from tests.cli.test_bad_input import check
from tests.conftest import Result

Run = Callable[..., Result]


@pytest.fixture
def asked(gfqa: Run, project: Path) -> Run:
    assert gfqa("ingest", project).code == 0
    return lambda *arguments, **more: gfqa("ask", *arguments, "--max-tokens", "4", **more)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder for answers."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def untimed(text: str) -> str:
    """JSON without what differs from run to run; other text as it is."""
    if not text.startswith("{"):
        return text
    return json.dumps([{**json.loads(line), "timing": 0} for line in text.splitlines()])


@pytest.mark.parametrize(
    "flags",
    [[], ["--no-stream"], ["--json"], ["--jsonl"], ["--format", "vimgrep"], ["--quote"], ["--context", "200"]],
    ids=" ".join,
)
def test_a_file_holds_what_a_pipe_would_get(asked: Run, place: Path, flags: list[str]) -> None:
    file = place / "answer"
    plain = asked("How large is the retry count?", *flags)
    written = asked("How large is the retry count?", *flags, "--output", file)
    assert (written.code, written.out, written.err) == (plain.code, "", plain.err)
    assert untimed(file.read_text()) == untimed(plain.out) != ""
    assert os.listdir(place) == ["answer"]


def test_a_dash_is_standard_output(asked: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert asked("q", "-o", "-").out == asked("q").out
    assert os.listdir(place) == []


def test_an_exit_code_of_its_own_comes_after_the_file(asked: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place / "answers.jsonl"
    questions = place / "q.txt"
    questions.write_text('Which port?\n{"question": 5}\nHow many retries?\n')
    batch = asked("--batch", questions, "-o", file)
    assert (batch.code, batch.out) == (1, "")
    assert [list(json.loads(line))[:2] for line in file.read_text().splitlines()] == [["schema", "line"]] * 3
    text = asked("--batch", questions, "--format", "text", "-o", file)
    assert (text.code, text.out) == (1, "")
    assert "Line 2: " in text.err
    assert file.read_text().count("> ") == 2
    # No passage at all: the tiny model always answers.
    monkeypatch.setattr("gfqa.find.find", lambda *_, **__: [])
    nothing = asked("q", "--context", "99", "--json", "--fail-not-found", "-o", file)
    assert (nothing.code, nothing.out) == (5, "")
    assert json.loads(file.read_text())["passages"] == []


def test_modes_and_links_are_kept(asked: Run, place: Path) -> None:
    before = os.umask(0o027)
    try:
        new, old, link = place / "new", place / "old", place / "link"
        old.write_text("old")
        old.chmod(0o600)
        link.symlink_to(old)
        assert asked("q", "-o", new).code == asked("q", "-o", link).code == 0
    finally:
        os.umask(before)
    assert new.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert old.read_text() == new.read_text()
    assert old.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with the file is told before a model is loaded."""
    monkeypatch.setenv("GFQA_MODEL", "/nowhere/at/all")


@pytest.mark.usefixtures("no_model")
def test_what_is_no_place_for_a_file(gfqa: Run, place: Path) -> None:
    file = place / "file"
    file.write_text("kept")
    os.mkfifo(place / "pipe")
    for wrong, words in [
        (place / "none" / "x", ["There is no folder", "none"]),
        (file / "x", ["There is no folder"]),
        (place, [str(place), "no name of a file"]),
        ("", ["''", "no name of a file"]),
        (f"{place}/new/", ["no name of a file"]),
        (place / "pipe", ["pipe", "no regular file"]),
        ("/dev/null", ["/dev/null", "no regular file"]),
    ]:
        check(gfqa("ask", "q", "-o", wrong), 2, *words)
        failed = gfqa("ask", "q", "--output", wrong, "--json")
        assert (failed.code, failed.json["error"]["code"]) == (2, UsageError.exit_code)
        assert words[-1] in failed.json["error"]["message"]
    check(gfqa("ask", "--batch", file, "-o", file), 2, "questions", str(file))
    assert file.read_text() == "kept"
    assert sorted(os.listdir(place)) == ["file", "pipe"]


@pytest.mark.usefixtures("no_model")
def test_what_may_not_be_written(gfqa: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root, who may do everything
    (place / "old").write_text("kept")
    for name in ("old", "new"):
        check(gfqa("ask", "q", "-o", place / name), 1, f"Cannot write {place / name}: permission denied.")
    check(gfqa("ask", "q", "-o", place / ("x" * 300)), 1, "file name too long")
    assert os.listdir(place) == ["old"]


@pytest.mark.parametrize("call", ["create", "write", "fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=type)
def test_nothing_half_written_stays(
    asked: Run, place: Path, monkeypatch: pytest.MonkeyPatch, call: str, failure: BaseException
) -> None:
    file = place / "answer"
    file.write_text("the last answer")

    def failing(*_: Any, **__: Any) -> Any:
        raise failure

    monkeypatch.setattr(fs.system, call, failing)
    full = isinstance(failure, OSError)
    words = [f"Cannot write {file}: no space left on device."] if full else ["Interrupted"]
    check(asked("q", "-o", file), GfqaError.exit_code if full else 130, *words)
    failed = asked("q", "-o", file, "--json")
    assert failed.json["error"]["code"] == failed.code == (1 if full else 130)
    assert file.read_text() == "the last answer"
    assert os.listdir(place) == ["answer"]
