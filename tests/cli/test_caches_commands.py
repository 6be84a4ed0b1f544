"""verify, prune, rename, diff, text, export, import, rebuild: what they do, and what a user can get wrong."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from gfqa import views_caches
from gfqa.commands import units
from gfqa.errors import UsageError
from tests.cli.test_bad_input import check
from tests.cli.test_ingest_inputs import files, world_model
from tests.conftest import Result

Run = Callable[..., Result]


def damage(home: Path) -> None:
    for pack in home.rglob("*.pack"):
        data = bytearray(pack.read_bytes())
        data[200] ^= 0x40
        pack.chmod(0o600)
        pack.write_bytes(data)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["caches", "verify", "nope"], 3, "'nope'"),
        (["caches", "rename", "nope", "new"], 3, "'nope'"),
        (["caches", "rename", "nope"], 2, "NEW"),
        (["caches", "diff", "nope", "none"], 3, "'nope'"),
        (["caches", "text", "nope"], 3, "'nope'"),
        (["caches", "text", "nope", "a.txt"], 3, "'nope'"),
        (["caches", "export", "nope", "file"], 3, "'nope'"),
        (["caches", "export", "nope"], 2, "FILE"),
        (["caches", "import", "nowhere.gfqa"], 2, "nowhere.gfqa"),
        (["caches", "import", "."], 2, "no file ."),
        (["caches", "rebuild", "nope"], 3, "'nope'"),
        (["caches", "prune", "--older-than", "soon"], 2, "'soon'"),
        (["caches", "prune", "--max-size", "-5"], 2, "'-5'"),
        (["caches", "prune", "--max-size", "5 parsecs"], 2, "parsecs"),
        (["status", "nope"], 3, "'nope'"),
        (["watch", "nowhere"], 2, "nowhere"),
        (["watch", "-"], 2, "watched"),
        (["watch", ".", "--interval", "0"], 2, "interval"),
    ],
)
def test_wrong_arguments(
    gfqa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    check(gfqa(*arguments), code, word)
    failed = gfqa(*arguments, "--jsonl" if arguments[0] == "watch" else "--json")
    assert (failed.code, failed.json["error"]["code"]) == (code, code)
    assert word in failed.json["error"]["message"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", "PROJECT"],
        ["caches", "rename", "proj", "new"],
        ["caches", "remove", "proj"],
        ["caches", "prune"],
        ["caches", "import", "FILE", "--name", "twin"],
        ["caches", "rebuild", "proj"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_whoever_waits_for_another_writer_says_so(
    gfqa: Run, project: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr("gfqa.cachestore.store.NOTICE_SECONDS", 0.05)
    gfqa("ingest", project)
    gfqa("caches", "export", "proj", tmp_path / "file")
    places = {"PROJECT": str(project), "FILE": str(tmp_path / "file")}
    arguments = [places.get(word, word) for word in arguments]
    notice = "Another gfqa is writing to the store: waiting for it, 30 s at most.\n"
    [lock] = home.rglob("LOCK")

    def beside_a_writer(*more: str) -> Result:
        other = FileLock(lock, thread_local=False)
        other.acquire()
        release = threading.Timer(1.5, other.release)
        release.start()
        try:
            return gfqa(*arguments, *more)
        finally:
            release.join()

    told = beside_a_writer()
    assert (told.code, told.err.count(notice)) == (0, 1)
    shutil.rmtree(home / "store-v1")
    gfqa("ingest", project)
    silent = beside_a_writer("--json")
    assert (silent.code, silent.err) == (0, "")


def test_verify(gfqa: Run, project: Path, home: Path) -> None:
    gfqa("ingest", project)
    gfqa("ingest", project / "docs")
    report = gfqa("caches", "verify", "--json").json
    assert report["ok"] is True
    assert [row["name"] for row in report["caches"]] == ["docs", "proj"]
    assert report["caches"][1]["tokens"] > 100
    assert "proj: whole, 4 chains" in gfqa("caches", "verify", "proj").out
    damage(home)
    failed = gfqa("caches", "verify", "--json")
    assert (failed.code, failed.json["ok"]) == (3, False)
    assert any("checksum" in row["error"] for row in failed.json["caches"] if not row["ok"])
    human = gfqa("caches", "verify")
    assert human.code == 3
    assert "is damaged" in human.out


def test_rename(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    gfqa("ingest", project / "docs")
    assert gfqa("caches", "rename", "proj", "mine", "--json").json == {"schema": 1, "renamed": "proj", "name": "mine"}
    assert gfqa("ask", "q", "-c", "mine").code == 0
    check(gfqa("caches", "rename", "mine", "docs"), 2, "'docs' already")
    check(gfqa("caches", "rename", "mine", "../x"), 2, "../x")
    assert [row["name"] for row in gfqa("caches", "list", "--json").json["caches"]] == ["docs", "mine"]


def test_diff(gfqa: Run, project: Path, tmp_path: Path, other_model: Path) -> None:
    gfqa("ingest", project, "--name", "old")
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    (copy / "notes.txt").write_text("alpha\n")
    (copy / "new.txt").write_text("new\n")
    (copy / "app.py").unlink()
    gfqa("ingest", copy, "--name", "new")
    result = gfqa("caches", "diff", "old", "new", "--json").json
    assert [row["path"] for row in result["added"]] == ["new.txt"]
    assert [row["path"] for row in result["removed"]] == ["app.py"]
    assert [(row["path"], row["tokens"]) for row in result["changed"]] == [("notes.txt", [28, 17])]
    assert (result["unchanged"], result["same_model"]) == (2, True)
    human = gfqa("caches", "diff", "old", "new")
    assert human.code == 0
    assert human.out.splitlines()[0] == "+ new.txt  (13 tokens)"
    assert "1 added, 1 removed, 1 changed, 2 unchanged" in human.err
    gfqa("ingest", project, "--name", "other", "--model", other_model)
    assert "different models" in gfqa("caches", "diff", "old", "other").err
    assert gfqa("caches", "diff", "old", "old", "--json").json["unchanged"] == 4


def test_text(gfqa: Run, project: Path) -> None:
    (project / "odd.txt").write_bytes(b"one\r\ntwo \x1b[31mred\nno newline at the end")
    gfqa("ingest", project)
    assert gfqa("caches", "text", "proj").out.splitlines() == [
        ".gitignore", "app.py", "docs/guide.md", "notes.txt", "odd.txt",
    ]  # fmt: skip
    assert gfqa("caches", "text", "proj", "docs/guide.md").out == (project / "docs" / "guide.md").read_text()
    shown = gfqa("caches", "text", "proj", "odd.txt").out
    assert shown == "one\ntwo \\x1b[31mred\nno newline at the end\n"
    assert (
        gfqa("caches", "text", "proj", "odd.txt", "--json").json["text"]
        == "one\r\ntwo \x1b[31mred\nno newline at the end"
    )
    shutil.rmtree(project)
    assert gfqa("caches", "text", "proj", project / "app.py").code == 0, "the cache holds the text itself"
    missing = gfqa("caches", "text", "proj", "note.txt")
    check(missing, 2, "'note.txt'", "Did you mean notes.txt")
    check(gfqa("caches", "text", "proj", "../../etc/passwd"), 2, "no document")


def test_raw_text_is_the_very_bytes(start: Callable[..., Any], gfqa: Run, project: Path) -> None:
    data = "one\r\ntwo \x1b[31mred – dash".encode()
    (project / "odd.txt").write_bytes(data)
    gfqa("ingest", project)
    assert start("caches", "text", "proj", "odd.txt", "--raw").communicate(timeout=60)[0] == data


def test_export_and_import(
    gfqa: Run, project: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gfqa("ingest", project)
    file = tmp_path / "proj.gfqa"
    exported = gfqa("caches", "export", "proj", file)
    assert exported.code == 0
    assert "holds the documents' text" in exported.err
    assert file.stat().st_mode & 0o777 == 0o600
    check(gfqa("caches", "export", "proj", file), 2, "exists already")
    again = gfqa("caches", "export", "proj", file, "--force", "--json").json
    assert (again["bytes"], again["holds_text"]) == (file.stat().st_size, True)
    check(gfqa("caches", "export", "proj", tmp_path / "no" / "x"), 2, "no folder")
    expected = gfqa("ask", "Which port?", "--json").json

    monkeypatch.setenv("GFQA_HOME", str(tmp_path / "elsewhere"))
    imported = gfqa("caches", "import", file, "--json").json
    assert (imported["name"], imported["document_count"], imported["imported"], imported["usable"]) == (
        "proj",
        4,
        True,
        True,
    )
    answer = gfqa("ask", "Which port?", "--json", "-c", "proj").json
    assert (answer["answer"], answer["citations"]) == (expected["answer"], expected["citations"])
    shutil.rmtree(project)
    assert gfqa("ask", "q", "-c", "proj", "--json").json["stale"] is False, "its files are on another machine"
    check(gfqa("caches", "import", file), 2, "'proj' already", "--name")
    human = gfqa("caches", "import", file, "--name", "two")
    assert human.code == 0
    assert "caches rebuild two" in human.err
    assert gfqa("caches", "import", file, "--name", "two", "--replace", "--trust").code == 0
    assert gfqa("caches", "show", "two", "--json").json["imported"] is False
    check(gfqa("caches", "import", file, "--name", "../x"), 2, "../x")


def test_an_import_that_cannot_be(gfqa: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gfqa("ingest", project)
    file = tmp_path / "proj.gfqa"
    gfqa("caches", "export", "proj", file)
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("GFQA_HOME", str(elsewhere))
    whole = file.read_bytes()
    for data in (
        b"",
        b"nothing of the kind\n",
        whole[:200],
        whole[:-1],
        whole + b"x",
        whole[:-40] + b"y" + whole[-39:],
    ):
        file.write_bytes(data)
        check(gfqa("caches", "import", file), 3, "proj.gfqa")
    assert gfqa("caches", "list", "--json").json["caches"] == []
    usage = shutil.disk_usage(tmp_path)
    file.write_bytes(whole)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=100))
    check(gfqa("caches", "import", file), 1, "100 free")


def test_an_imported_source_decides_nothing_here(
    gfqa: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's cache that claims the folder one is in must not be asked by default, nor reach for files."""
    gfqa("ingest", project)
    file = tmp_path / "evil.gfqa"
    gfqa("caches", "rename", "proj", "evil")
    gfqa("caches", "export", "evil", file)
    gfqa("caches", "remove", "evil")
    gfqa("caches", "import", file)
    gfqa("ingest", project / "docs")
    monkeypatch.chdir(project)
    check(gfqa("ask", "q"), 3, "No cache holds")
    status = gfqa("status", "evil", "--json").json["caches"][0]
    assert status["documents"] == {"fresh": 0, "changed": 0, "new": 0, "gone": 0, "unchecked": 4}


def test_a_cache_of_another_model_is_imported_only_for_a_rebuild(
    gfqa: Run, project: Path, tmp_path: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gfqa("ingest", project, "--model", other_model)
    file = tmp_path / "proj.gfqa"
    gfqa("caches", "export", "proj", file)
    monkeypatch.setenv("GFQA_HOME", str(tmp_path / "elsewhere"))
    check(gfqa("caches", "import", file), 3, "another model", "caches rebuild")
    assert gfqa("caches", "list", "--json").json["caches"] == []
    kept = gfqa("caches", "import", file, "--any-model")
    assert kept.code == 0
    assert "caches rebuild proj" in kept.err
    check(gfqa("ask", "q", "-c", "proj"), 3, "another model", "caches rebuild proj")
    rebuilt = gfqa("caches", "rebuild", "proj", "--json").json
    assert rebuilt["cache"]["model"] == "tiny"
    assert rebuilt["was"] == {"model": "other"}
    assert rebuilt["tokens"]["prefilled"] == rebuilt["tokens"]["total"]
    assert gfqa("ask", "q", "-c", "proj").code == 0
    assert gfqa("caches", "show", "proj", "--json").json["imported"] is False


def test_export_and_import_through_a_pipe(start: Callable[..., Any], gfqa: Run, project: Path, tmp_path: Path) -> None:
    gfqa("ingest", project)
    export = start("caches", "export", "proj", "-")
    other = {"GFQA_HOME": str(tmp_path / "elsewhere")}
    imported = start("caches", "import", "-", "--name", "piped", "--json", stdin=export.stdout, env=other)
    out, err = imported.communicate(timeout=120)
    assert imported.returncode == 0, err
    assert json.loads(out)["name"] == "piped"
    assert gfqa("caches", "export", "proj", "-", "--json").json["error"]["code"] == 2


def test_rebuild_needs_no_source_and_gives_what_an_ingest_would(
    gfqa: Run, project: Path, tmp_path: Path, other_model: Path, home: Path
) -> None:
    gfqa("ingest", project, "--model", world_model(tmp_path / "world"))
    gfqa("ingest", project, "--name", "plain")
    expected = gfqa("ask", "Which port?", "-c", "plain", "--json").json
    gfqa("caches", "remove", "plain")
    shutil.move(project, tmp_path / "away")
    rebuilt = gfqa("caches", "rebuild", "proj", "--json").json
    assert rebuilt["documents"] == 4
    assert rebuilt["tokens"]["prefilled"] == rebuilt["tokens"]["total"] > 0
    answer = gfqa("ask", "Which port?", "-c", "proj", "--json").json
    for key in ("answer", "score"):
        assert answer[key] == expected[key]
    assert [(c["path"], c["quote"]) for c in answer["citations"]] == [
        (c["path"], c["quote"]) for c in expected["citations"]
    ]
    shutil.move(tmp_path / "away", project)
    assert gfqa("ingest", project, "--json").json["documents"]["unchanged"] == 4
    again = gfqa("caches", "rebuild", "proj", "--json").json
    assert again["tokens"]["prefilled"] == 0
    human = gfqa("caches", "rebuild", "proj", "--model", other_model)
    assert "with other (before: tiny)" in human.err


@pytest.mark.parametrize("which", ["chained_model", "recurrent_model"])
def test_rebuild_between_layouts(gfqa: Run, project: Path, which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    gfqa("ingest", project)
    assert gfqa("caches", "rebuild", "proj", "--model", model).code == 0
    assert gfqa("caches", "show", "proj", "--json").json["layout"] == "chained"
    assert gfqa("caches", "text", "proj", "notes.txt").out == "alpha\nbeta\ngamma\n"
    answer = gfqa("ask", "q", "--model", model, "--json").json
    fresh = gfqa("ingest", project, "--name", "fresh", "--model", model, "--json").json
    assert fresh["tokens"]["prefilled"] == 0, "the rebuilt chain is the one an ingest makes"
    assert answer["tokens"]["reused"] == fresh["tokens"]["total"]
    assert gfqa("caches", "rebuild", "proj").code == 0
    assert gfqa("ask", "q", "-c", "proj").code == 0


def test_a_rebuild_that_fails_leaves_the_old_cache_and_resumes(
    gfqa: Run, project: Path, home: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gfqa import prefill
    from gfqa.model.prefill_graph import SegmentReader

    gfqa("ingest", project, "--model", other_model)
    manifest = next(home.rglob("*.manifest")).read_bytes()
    monkeypatch.setitem(prefill.TOKENS_AT_ONCE, "cpu", 32)
    monkeypatch.setattr("gfqa.cachestore.writer.FLUSH_SECONDS", 0.0)
    plain, calls = SegmentReader.read, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentReader, "read", failing)
        interrupted = gfqa("caches", "rebuild", "proj")
        assert interrupted.code == 130
        assert "run the same command to go on" in interrupted.err
        calls.clear()
    assert next(home.rglob("*.manifest")).read_bytes() == manifest
    assert gfqa("ask", "q", "--model", other_model).code == 0
    resumed = gfqa("caches", "rebuild", "proj", "--json").json
    assert resumed["tokens"]["reused"] > 0
    assert resumed["tokens"]["prefilled"] > 0


def test_rebuild_of_what_cannot_be_read(gfqa: Run, project: Path, home: Path, attention_model: Path) -> None:
    gfqa("ingest", project)
    check(gfqa("caches", "rebuild", "proj", "--model", attention_model), 6, "attention layers")
    damage(home)
    before = files(home)
    check(gfqa("caches", "rebuild", "proj"), 3, "damaged")
    assert files(home) == before


def test_prune(gfqa: Run, project: Path, home: Path) -> None:
    gfqa("ingest", project)
    gfqa("ingest", project / "docs")
    before = files(home)
    dry = gfqa("caches", "prune", "--max-size", "1kB", "--dry-run", "--json").json
    assert dry["removed"] == ["proj", "docs"]
    assert files(home) == before
    assert gfqa("caches", "prune", "--older-than", "1d", "--json").json["removed"] == []
    pruned = gfqa("caches", "prune", "--max-size", "1kB")
    assert "Removed 2 caches (proj, docs)" in pruned.err
    assert not list(home.rglob("*.pack"))
    nothing = gfqa("caches", "prune")
    assert "Removed 0 caches" in nothing.err


def test_amounts() -> None:
    assert [units.seconds(text) for text in ("90s", "5m", "12h", "30d", "2w", "1.5 h")] == [
        90, 300, 43200, 2592000, 1209600, 5400,
    ]  # fmt: skip
    assert [units.byte_count(text) for text in ("500", "1kB", "2MB", "1.5GiB", "3 TB", "0")] == [
        500, 1000, 2_000_000, 1610612736, 3 * 10**12, 0,
    ]  # fmt: skip
    for text in ("", "d", "-1d", "1 year", "1e3d", "nan", "1d1h"):
        with pytest.raises(UsageError):
            units.seconds(text)
    for text in ("", "GB", "-1", "1 GBs", "inf", "1,5GB"):
        with pytest.raises(UsageError):
            units.byte_count(text)


def test_list_fits_a_terminal(gfqa: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    deep = tmp_path / ("a-rather-long-folder-name" * 3) / "inner"
    shutil.copytree(project, deep)
    gfqa("ingest", deep, "--name", "a-cache-with-a-name-that-is-quite-long-indeed")
    gfqa("ingest", project)
    piped = gfqa("caches", "list").out
    assert str(deep) in piped
    from gfqa.console import Console

    rows = gfqa("caches", "list", "--json").json["caches"]
    for columns in (80, 120, 60):
        stream = Terminal()
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stdout", stream)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        views_caches.cache_list(Console(), rows)
        lines = stream.getvalue().splitlines()
        assert max(map(len, lines)) <= max(columns, 75), lines
        assert lines[2].split()[0] == "proj"
        assert "tiny" in lines[1]


def test_show_says_age_and_how_it_was_made(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    shown = gfqa("caches", "show", "proj").out
    assert "imported: no" in shown
    for words in ("model: tiny", "layout: independent", "age: ", "made: 20", "tokens: ", "size: ", "docs/guide.md"):
        assert words in shown
    assert views_caches.age(0).endswith("days")
    assert views_caches.shortened("/home/someone/projects/x", 12) == "/ho…ojects/x"


def test_commands_about_caches_import_no_torch(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    code = (
        "import sys\nfrom gfqa.cli import app\n"
        "for words in (['caches', 'text', 'proj', 'app.py'], ['caches', 'diff', 'proj', 'proj'], ['caches', 'verify'],\n"
        "              ['caches', 'export', 'proj', '-'], ['caches', 'prune', '--dry-run'], ['status']):\n"
        "    try: app(words)\n"
        "    except SystemExit as end: assert end.code in (0, None), (words, end.code)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env={**os.environ}, timeout=120)
