"""Where documents come from: lists, standard input, notebooks, several roots; and the dry run that says what it would cost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gfqa.cachestore import Store
from tests.cli.test_bad_input import check
from tests.conftest import Result, make_model

Run = Callable[..., Result]


def paths(gfqa: Run, name: str) -> list[str]:
    return [row["path"] for row in gfqa("caches", "text", name, "--json").json["documents"]]


def files(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


# Lists of files


def test_a_list_is_its_own_set_of_files(gfqa: Run, project: Path, tmp_path: Path) -> None:
    (project / "gone-later.txt").write_text("x\n")
    listed = b"app.py\0docs/guide.md\0gone-later.txt\0"
    report = gfqa("ingest", project, "--from", "-", "-0", "--json", stdin=listed).json
    assert report["cache"]["name"] == "proj"
    assert report["documents"]["ingested"] == 3
    # A file that is listed no more, or listed and gone, disappears; the others are not read again.
    (project / "gone-later.txt").unlink()
    again = gfqa("ingest", project, "--from", "-", "-0", "--json", stdin=b"app.py\0gone-later.txt\0notes.txt\0").json
    assert again["documents"] == {"ingested": 1, "unchanged": 1, "removed": 2}
    assert again["skipped"] == {"missing": 1}
    assert paths(gfqa, "proj") == ["app.py", "notes.txt"]
    # A walk of the same root takes the list's place.
    assert gfqa("ingest", project, "--json").json["documents"] == {"ingested": 2, "unchanged": 2, "removed": 0}


def test_git_ls_files_of_the_current_folder(gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    for command in (["git", "init", "-q"], ["git", "add", "app.py", "docs", ".gitignore"]):
        subprocess.run(command, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True).stdout
    report = gfqa("ingest", "--from", "-", "-0", "--json", stdin=listed).json
    assert report["documents"]["ingested"] == 3
    assert gfqa("caches", "show", "proj", "--json").json["sources"] == [str(project)]
    by_line = project.parent / "list.txt"
    by_line.write_text("app.py\n\nnotes.txt\n")
    assert gfqa("ingest", "--from", by_line, "--json").json["documents"] == {
        "ingested": 1, "unchanged": 1, "removed": 2,
    }  # fmt: skip


def test_a_list_may_come_through_a_pipe(gfqa: Run, project: Path, tmp_path: Path) -> None:
    """As a shell's `--from <(git ls-files)` names one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("app.py\n",), daemon=True)
    writer.start()
    assert gfqa("ingest", project, "--from", pipe, "--json").json["documents"]["ingested"] == 1


def test_bad_lists(gfqa: Run, project: Path, home: Path, tmp_path: Path) -> None:
    check(gfqa("ingest", project, "--from", "-", "-0", stdin=b""), 4, "list of files is empty")
    check(gfqa("ingest", project, "--from", "-", stdin=b"nowhere.txt\n"), 4, "1 missing")
    check(gfqa("ingest", project, "--from", "-", stdin=b"a\0b\0"), 2, "NUL")
    check(gfqa("ingest", project, "--from", "-", stdin=b"../outside.txt\n"), 2, "../outside.txt")
    check(gfqa("ingest", project, tmp_path, "--from", "-", stdin=b"a\n"), 2, "one folder")
    check(gfqa("ingest", project / "app.py", "--from", "-", stdin=b"a\n"), 2, "is a file")
    check(gfqa("ingest", project, "--from", tmp_path / "nowhere"), 2, "nowhere")
    check(gfqa("ingest", project, "--from", tmp_path), 2, "There is no file")
    check(gfqa("ingest", project, "-0"), 2, "--from")
    assert not list(home.iterdir())


# A document from standard input


def test_a_document_from_standard_input(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project, "--name", "both")
    report = gfqa("ingest", "-", "--as", "log/today.txt", "--name", "both", "--json", stdin="the port is 9090\n").json
    assert report["documents"] == {"ingested": 1, "unchanged": 0, "removed": 0}
    assert "log/today.txt" in paths(gfqa, "both")
    answer = gfqa("ask", "port?", "-c", "both", "--json", "--sources", "9").json
    assert answer["stale"] is False, "it never was a file, so it cannot have changed"
    cited = {citation["path"]: citation["source"] for citation in answer["citations"]}
    assert cited["log/today.txt"] == "<stdin>"
    # The same name is replaced, another one added; ingesting the folder leaves both.
    again = gfqa("ingest", "-", "--as", "log/today.txt", "-n", "both", "--json", stdin="the port is 9091\n").json
    assert again["documents"] == {"ingested": 1, "unchanged": 0, "removed": 0}
    same = gfqa("ingest", "-", "--as", "log/today.txt", "-n", "both", "--json", stdin="the port is 9091\n").json
    assert same["documents"] == {"ingested": 0, "unchanged": 1, "removed": 0}
    gfqa("ingest", "-", "--as", "two.txt", "-n", "both", stdin="two\n")
    gfqa("ingest", project, "-n", "both")
    assert {"log/today.txt", "two.txt", "app.py"} < set(paths(gfqa, "both"))
    assert gfqa("caches", "text", "both", "log/today.txt").out == "the port is 9091\n"


def test_bad_documents_from_standard_input(gfqa: Run, project: Path, home: Path) -> None:
    check(gfqa("ingest", "-", "-n", "c", stdin="x"), 2, "--as")
    check(gfqa("ingest", "-", "--as", "a.txt", stdin="x"), 2, "--name")
    check(gfqa("ingest", project, "--as", "a.txt"), 2, "--as")
    check(gfqa("ingest", "-", "--as", "a.txt", "--from", "-", "-n", "c", stdin="x"), 2, "both")
    for name in ("", "/etc/passwd", "../up", "a\x1b[2J", "x" * 600):
        check(gfqa("ingest", "-", "--as", name, "-n", "c", stdin="x"), 2, "cannot be the name of a document")
    check(gfqa("ingest", "-", "--as", "a", "-n", "c", stdin=b""), 4, "empty")
    check(gfqa("ingest", "-", "--as", "a", "-n", "c", stdin=b"\0\1" * 20), 4, "binary")
    failed = gfqa("ingest", "-", "--as", "a", "-n", "c", "--json", stdin=b"")
    assert (failed.code, failed.json["error"]["code"]) == (4, 4)
    assert not list(home.iterdir())


# Notebooks and several roots


def test_a_notebook_is_cited_by_the_lines_that_text_prints(gfqa: Run, tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Tides\n", "Read twice a day."]},
        {"cell_type": "code", "source": "port = 8080\n", "outputs": [{"text": "SECRET OUTPUT"}]},
    ]
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "tides.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    (folder / "broken.ipynb").write_text('{"cells": [')
    report = gfqa("ingest", folder, "--json").json
    assert report["skipped"] == {"notebook_damaged": 1}
    text = gfqa("caches", "text", "books", "tides.ipynb").out
    assert text == "# %% cell 1 [markdown]\n# Tides\nRead twice a day.\n\n# %% cell 2 [code]\nport = 8080\n"
    citation = gfqa("ask", "Which port?", "--json", "--sources", "1").json["citations"][0]
    lines = text.split("\n")[citation["start_line"] - 1 : citation["end_line"]]
    assert citation["quote"] == "\n".join(lines[:3])
    assert "broken.ipynb" in gfqa("ingest", folder).err


def test_several_sources_in_one_command(gfqa: Run, project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "app.py").write_text("another app\n")
    (other / "single.txt").write_text("single\n")
    report = gfqa("ingest", project, other, project / "notes.txt", "--name", "all", "--json").json
    assert report["documents"]["ingested"] == 4 + 2 + 1
    twins = gfqa("caches", "text", "all", "app.py")
    check(twins, 2, "several documents")
    assert gfqa("caches", "text", "all", other / "app.py").out == "another app\n"
    (other / "app.py").unlink()
    again = gfqa("ingest", other, "--name", "all", "--json").json
    assert again["documents"] == {"ingested": 0, "unchanged": 1, "removed": 1}
    assert str(project) in gfqa("caches", "show", "all", "--json").json["sources"]


# The dry run


def test_a_dry_run_says_what_the_ingest_then_does(gfqa: Run, project: Path, home: Path) -> None:
    for number in range(40):
        (project / f"more{number}.txt").write_text("words and more words\n" * 40)
    planned = gfqa("ingest", project, "--dry-run", "--json")
    assert (planned.code, planned.err) == (0, "")
    assert not list(home.iterdir()), "a dry run writes nothing"
    plan = planned.json
    assert list(plan) == [
        "schema", "dry_run", "cache", "documents", "skipped", "skipped_files", "pages_without_text", "tokens", "largest",
        "estimate",
        "seconds",
    ]  # fmt: skip
    assert plan["documents"] == {"new": 44, "changed": 0, "unchanged": 0, "removed": 0}
    assert plan["skipped"] == {"binary": 1, "ignored": 1, "secret": 1}
    assert plan["estimate"]["rate"] == "measured"
    assert plan["estimate"]["seconds"] > 0
    assert plan["estimate"]["memory_bytes"] > 100_000_000
    report = gfqa("ingest", project, "--json").json
    assert report["tokens"]["prefilled"] == plan["tokens"]["to_read"]
    assert report["cache"]["bytes"] == pytest.approx(plan["estimate"]["disk_bytes"], rel=0.1)
    store = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    assert store == pytest.approx(plan["estimate"]["disk_bytes"], rel=0.1)


def test_a_dry_run_names_what_takes_most_of_the_reading(
    gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gfqa.plan._LARGE", (0.5, 1000))
    (project / "some.lock").write_text("0123456789" * 200)
    largest = gfqa("ingest", project, "--dry-run", "--json").json["largest"]
    assert [item["path"] for item in largest] == ["some.lock"]
    assert f"  {largest[0]['tokens']:,} of them in some.lock (--exclude leaves it out)" in gfqa(
        "ingest", project, "--dry-run"
    ).out.split("\n")
    assert gfqa("ingest", project, "--dry-run", "--json", "--exclude", "*.lock").json["largest"] == []


def test_a_dry_run_of_what_is_known_needs_no_weights(
    gfqa: Run, project: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        (project / f"more{number}.txt").write_text("words and more words\n" * 40)
    gfqa("ingest", project)
    monkeypatch.setattr("gfqa.reader.load_model", lambda *_: pytest.fail("the weights were loaded"))
    nothing = gfqa("ingest", project, "--dry-run", "--json").json
    assert nothing["tokens"]["to_read"] == nothing["estimate"]["seconds"] == 0
    assert nothing["documents"] == {"new": 0, "changed": 0, "unchanged": 12, "removed": 0}
    (project / "notes.txt").write_text("delta\n")
    (project / "new.txt").write_text("new\n")
    (project / "app.py").unlink()
    before = files(home)
    plan = gfqa("ingest", project, "--dry-run", "--json").json
    assert plan["documents"] == {"new": 1, "changed": 1, "unchanged": 10, "removed": 1}
    assert plan["tokens"]["to_read"] == len("notes.txt\ndelta\n") + 1 + len("new.txt\nnew\n") + 1
    assert plan["estimate"]["rate"] == "noted", "the last ingest was long enough to tell"
    assert files(home) == before
    human = gfqa("ingest", project, "--dry-run")
    assert "1 document new, 1 document changed, 10 documents unchanged, 1 document gone" in human.out
    assert "tokens/s on cpu (as at an earlier ingest)" in human.out


def test_a_dry_run_fails_as_the_ingest_would(gfqa: Run, project: Path, other_model: Path, tmp_path: Path) -> None:
    check(gfqa("ingest", tmp_path / "none", "--dry-run"), 2, "none")
    gfqa("ingest", project)
    check(gfqa("ingest", project, "--dry-run", "--model", other_model), 3, "caches rebuild proj")
    assert gfqa("ingest", project, "--dry-run", "--model", other_model, "--replace").code == 0
    assert gfqa("ingest", project, "--dry-run", "--strict").code == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    check(gfqa("ingest", empty, "--dry-run"), 4, "empty")


def test_a_dry_run_of_a_chained_cache(gfqa: Run, project: Path, chained_model: Path) -> None:
    plan = gfqa("ingest", project, "--model", chained_model, "--dry-run", "--json").json
    report = gfqa("ingest", project, "--model", chained_model, "--json").json
    assert plan["tokens"]["to_read"] == report["tokens"]["prefilled"]
    assert report["cache"]["bytes"] == pytest.approx(plan["estimate"]["disk_bytes"], rel=0.15)


def test_a_note_of_a_rate_that_is_nonsense_is_none(gfqa: Run, project: Path, home: Path) -> None:
    gfqa("ingest", project)
    (project / "new.txt").write_text("new\n")
    for note in ("[1, 2]", "{", '{"x": "y"}', "9" * 100_000):
        (home / "store-v1" / "rates.json").write_text(note)
        assert gfqa("ingest", project, "--dry-run", "--json").json["estimate"]["rate"] == "measured"


def test_the_tokenizer_is_kept_with_the_caches(home: Path, project: Path, tmp_path: Path, gfqa: Run) -> None:
    folder = world_model(tmp_path / "world")
    gfqa("ingest", project, "--model", folder)
    [kept] = (home / "store-v1" / "tokenizers").iterdir()
    assert kept.read_bytes() == (folder / "rwkv_vocab_tiny.txt").read_bytes()
    identity = Store.open(home).manifest("proj").identity
    assert Store.open(home).tokenizer_file(identity) == kept
    (folder / "config.json").unlink()
    assert gfqa("caches", "text", "proj", "notes.txt").out == "alpha\nbeta\ngamma\n", "the model itself is gone"
    kept.write_bytes(b"1 'a' 1\n")
    check(gfqa("caches", "text", "proj", "notes.txt"), 3, "not on this machine")


def world_model(folder: Path) -> Path:
    """A tiny model with a World vocabulary of its own: all bytes and a few words."""
    make_model(folder, tokenizer="rwkv_vocab_tiny.txt", vocab_size=300)
    pieces = [bytes([value]) for value in range(256)] + [b"the ", b" port", b"return"]
    lines = [f"{number} {piece!r} {len(piece)}" for number, piece in enumerate(pieces, 1)]
    (folder / "rwkv_vocab_tiny.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_details_of_an_ingest_are_said_where_they_are_asked_for(gfqa: Run, project: Path) -> None:
    result = gfqa("ingest", project, "-v")
    assert re.search(r"seconds: read \d+\.\d\d, prefill \d+\.\d\d, the rest \d+\.\d\d", result.err)
    assert "skipped: image.bin (binary)" in result.err
    assert "skipped: image.bin" not in gfqa("ingest", project).err
