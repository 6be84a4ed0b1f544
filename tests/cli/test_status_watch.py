"""status and watch: what counts as stale, and a process that follows its folder and stops cleanly."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gfqa import watch as watching
from gfqa.errors import UsageError
from gfqa.ingest import open_model
from tests.cli.test_bad_input import check
from tests.conftest import Result
from tests.documents.pdf_bytes import pdf

Run = Callable[..., Result]


def status(gfqa: Run, name: str) -> dict[str, Any]:
    row: dict[str, Any] = gfqa("status", name, "--json").json["caches"][0]
    return row


def names(row: dict[str, Any], kind: str) -> list[str]:
    return [place["path"] for place in row[kind]]


def test_status_says_what_an_ingest_would_find(gfqa: Run, project: Path, home: Path) -> None:
    (project / "scan.pdf").write_bytes(pdf(b""))  # without text: never a document, so never new
    gfqa("ingest", project)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    fresh = status(gfqa, "proj")
    assert fresh["documents"] == {"fresh": 4, "changed": 0, "new": 0, "gone": 0, "unchecked": 0}
    assert gfqa("status", "--exit-code").code == 0
    os.utime(project / "app.py", (1, 1))
    stamp = (project / "notes.txt").stat()
    (project / "notes.txt").write_text("ALPHA\nbeta\ngamma\n")
    os.utime(project / "notes.txt", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (project / "new.txt").write_text("new\n")
    (project / "new.log").write_text("ignored\n")
    (project / "docs" / "guide.md").unlink()
    row = status(gfqa, "proj")
    assert row["stale"] is True
    assert (names(row, "changed"), names(row, "new"), names(row, "gone")) == (
        ["notes.txt"], ["new.txt"], ["docs/guide.md"],
    )  # fmt: skip
    assert gfqa("status").code == 0
    human = gfqa("status", "proj", "--exit-code")
    assert human.code == 3
    assert "2 documents up to date, 1 changed, 1 new, 1 gone" in human.out
    assert "changed: notes.txt" in human.out
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    report = gfqa("ingest", project, "--json").json
    assert report["documents"] == {"ingested": 2, "unchanged": 2, "removed": 1}
    assert status(gfqa, "proj")["stale"] is False


def test_status_looks_as_the_ingest_did(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project, "--name", "globs", "--include", "*.txt")
    gfqa("ingest", project, "--name", "secrets", "--include-secrets")
    gfqa("ingest", project, "--name", "list", "--from", "-", stdin="app.py\nnotes.txt\n")
    gfqa("ingest", project / "notes.txt", "--name", "file")
    gfqa("ingest", "-", "--as", "x", "--name", "stdin", stdin="x\n")
    for name, count in (("globs", 1), ("secrets", 5), ("list", 2), ("file", 1)):
        assert status(gfqa, name)["documents"] == {"fresh": count, "changed": 0, "new": 0, "gone": 0, "unchecked": 0}
    assert status(gfqa, "stdin")["documents"]["unchecked"] == 1
    (project / "more.txt").write_text("more\n")
    assert [names(status(gfqa, name), "new") for name in ("globs", "secrets", "list")] == [
        ["more.txt"],
        ["more.txt"],
        [],
    ]
    (project / "notes.txt").unlink()
    assert names(status(gfqa, "list"), "gone") == ["notes.txt"]
    row = status(gfqa, "file")
    assert (names(row, "gone"), row["missing_sources"]) == (["notes.txt"], [str(project / "notes.txt")])


def test_status_of_a_root_that_is_gone_and_of_a_damaged_cache(gfqa: Run, project: Path, home: Path) -> None:
    assert gfqa("status", "--json").json == {"schema": 1, "caches": []}
    gfqa("ingest", project)
    shutil.rmtree(project)
    assert f"the source {project} is gone" in gfqa("status").out
    assert status(gfqa, "proj")["documents"]["gone"] == 4
    manifest = next(home.rglob("*.manifest"))
    manifest.chmod(0o600)
    manifest.write_bytes(b"nonsense")
    check(gfqa("status", "proj"), 3, "damaged")
    every = gfqa("status", "--exit-code", "--json")
    assert every.code == 3
    assert "damaged" in every.json["caches"][0]["error"]


def wait(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_watch_follows_and_stops(
    start: Callable[..., Any], project: Path, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "out.jsonl"
    with out.open("wb") as stream:
        process = start("watch", project, "--jsonl", "--interval", "0.1", "--debounce", "0.1", stdout=stream)
    wait(lambda: out.read_bytes().count(b"\n") == 1, process)
    (project / "notes.txt").write_text("changed\n")
    (project / "new.txt").write_text("new\n")
    wait(lambda: out.read_bytes().count(b"\n") == 2, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, b"")
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert first["documents"] == {"ingested": 4, "unchanged": 0, "removed": 0}
    assert second["documents"] == {"ingested": 2, "unchanged": 3, "removed": 0}


def test_watch_waits_until_the_tree_is_quiet_and_survives_failures(tiny_model: Path, project: Path, home: Path) -> None:
    """Driven by a clock of its own: each sleep is one step of what the tree goes through."""
    steps = iter(
        [
            lambda: None,  # nothing happens: no refresh
            lambda: (project / "a.txt").write_text("one\n"),
            lambda: (project / "a.txt").write_text("one, two\n"),  # still being written while it is waited for
            lambda: None,  # quiet: refresh
            lambda: shutil.move(project, project.with_name("away")),
            lambda: None,  # quiet: the root is gone, which is an error
            lambda: shutil.move(project.with_name("away"), project),
            lambda: None,  # it is back: refresh
        ]
    )

    class Over(Exception):
        pass

    def sleep(seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise Over
        step()

    seen: list[watching.Refresh] = []
    reader = open_model(tiny_model, "cpu")
    refreshes = watching.watch([project], reader=reader, home=home, sleep=sleep)
    with pytest.raises(Over):
        collect(refreshes, seen)
    counts = [(r.report.ingested, r.report.unchanged) if r.report else type(r.error) for r in seen]
    assert counts == [(4, 0), (1, 4), UsageError, (0, 5)]


def test_each_ingest_of_a_watch_shows_its_progress(tiny_model: Path, project: Path, home: Path) -> None:
    shown: list[list[tuple[str, int, int]]] = []

    @contextlib.contextmanager
    def progress() -> Iterator[Callable[[str, int, int], None]]:
        shown.append([])
        yield lambda phase, done, total: shown[-1].append((phase, done, total))

    steps = iter([lambda: (project / "a.txt").write_text("one\n"), lambda: None])
    reader = open_model(tiny_model, "cpu")
    refreshes = watching.watch(
        [project], reader=reader, home=home, sleep=lambda seconds: next(steps)(), progress=progress
    )
    assert next(refreshes).report
    assert next(refreshes).report
    first, second = shown
    assert first[0] == ("reading", 0, 5)
    assert first[-1][0] == "pre-filling"
    assert first[-1][1] == first[-1][2] > 0
    assert second[-1][0] == "pre-filling"
    assert second[-1][2] < first[-1][2]


def collect(refreshes: Iterator[watching.Refresh], into: list[watching.Refresh]) -> None:
    for refresh in refreshes:
        into.append(refresh)  # one by one: the iterator ends with an exception


def test_a_first_ingest_that_fails_ends_the_watch(gfqa: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check(gfqa("watch", tmp_path / "empty"), 4, "empty")
    failed = gfqa("watch", tmp_path / "empty", "--jsonl")
    assert (failed.code, failed.json["error"]["code"]) == (4, 4)
