"""Passages instead of answers: `gfqa find` and `gfqa ask --context`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_bad_input import check
from tests.conftest import Result
from tests.documents.pdf_bytes import lines, pdf

Run = Callable[..., Result]


@pytest.fixture
def find(gfqa: Run, project: Path) -> Run:
    assert gfqa("ingest", project).code == 0
    return lambda *arguments, **more: gfqa("find", *arguments, **more)


@pytest.mark.parametrize("flags", [[], ["--fast"]])
def test_the_passage_with_the_words_comes_first(find: Run, project: Path, flags: list[str]) -> None:
    result = find("How large is the retry count?", "--json", *flags)
    assert (result.code, result.err) == (0, "")
    assert list(result.json) == ["schema", "question", "passages", "cache"]
    first = result.json["passages"][0]
    assert list(first) == [
        "cache", "source", "path", "start_line", "end_line", "page", "line", "quote", "text", "score", "changed", "similar",
    ]  # fmt: skip
    assert (first["path"], first["line"], first["quote"]) == ("docs/guide.md", 3, "The retry count is 7.")
    text = (project / "docs" / "guide.md").read_text()
    assert first["text"] in text
    assert text.split("\n")[first["line"] - 1] == first["quote"]
    assert find("retry count", *flags).out.startswith("docs/guide.md:3\n    The retry count is 7.\n")


def test_forms_and_bounds(find: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    vim = find("retry count port", "--format", "vimgrep", "--fast").out.splitlines()
    assert vim[0] == "docs/guide.md:3:1:The retry count is 7."
    rows = [json.loads(line) for line in find("port", "--jsonl", "--fast").out.splitlines()]
    assert {row["schema"] for row in rows} == {1}
    assert {row["path"] for row in rows} >= {"docs/guide.md", "app.py"}
    assert len(find("port", "-n", "1", "--jsonl", "--fast").out.splitlines()) == 1
    only = find("port", "--only", "*.py", "--json", "--fast").json["passages"]
    assert [row["path"] for row in only] == ["app.py"]
    (project / "app.py").unlink()
    assert "(changed since the ingest)" in find("port", "--only", "*.py", "--fast").out
    assert re.search(r"seconds: open .*tokens searched", find("port", "--fast", "-v").err)


def test_nothing_found(find: Run) -> None:
    nothing = find("zyzzyva", "--fast")
    assert (nothing.code, nothing.out) == (0, "")
    assert "No passage" in nothing.err
    assert find("zyzzyva", "--fast", "--json").json["passages"] == []
    assert find("zyzzyva", "--fast", "--fail-not-found").code == 5


HEADER = "".join(f"// Clause {n} of the licence: no warranty of any kind.\n" for n in "abcdefgh")


def test_what_says_the_same_is_one_line(gfqa: Run, tmp_path: Path) -> None:
    folder = tmp_path / "headers"
    folder.mkdir()
    for number in range(9):
        (folder / f"{number}.js").write_text(HEADER + f"let x{number} = {number}\n")
    (folder / "LICENCE").write_text("The licence in full: no warranty for anything that you do with this.\n")
    gfqa("ingest", folder)
    for flags in ([], ["--fast"]):
        rows = gfqa("find", "no warranty clause of the licence", "--json", *flags).json["passages"]
        by_path = {row["path"]: row["similar"] for row in rows}
        assert by_path.pop("LICENCE") == 0
        # A header of two windows is two passages, each of which is shown once.
        assert sum(by_path.values()) + len(rows) - 1 >= 9
        assert len({row["quote"] for row in rows}) == len(rows)
        assert set(by_path.values()) != {0}
    shown = gfqa("find", "no warranty clause of the licence", "--fast").out
    assert re.search(r"^\d\.js:\d+  \(and 8 more like it\)$", shown, re.M)
    # For another model only what is wholly said already is left out: each file's own line stays.
    texts = gfqa("ask", "no warranty clause of the licence", "--context", 9999).out
    assert all(f"let x{number} = {number}\n" in texts for number in range(9))


def test_a_line_of_a_file_is_quoted_once(gfqa: Run, tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    folder.mkdir()
    fillers = ["".join(f"{word}{number} " for number in range(12)) for word in ("apple", "birch", "cedar", "larch")]
    stretches = [f"{filler}\n{' ' * 2 * number}zebra  limit\n{filler}\n" for number, filler in enumerate(fillers)]
    (folder / "a.txt").write_text("".join(stretches))
    (folder / "b.txt").write_text("maple willow poplar\nzebra limit\n")
    (folder / "c.txt").write_text("".join(f"zebra number {filler}\n" for filler in fillers))
    gfqa("ingest", folder)
    for flags in ([], ["--fast"]):
        rows = gfqa("find", "zebra limit", "--json", *flags, "-n", "4").json["passages"]
        places = [(row["path"], " ".join(row["quote"].split())) for row in rows]
        # The same line of another file is another place, and what follows moves up.
        assert len(set(places)) == len(places) == 4
        assert {("a.txt", "zebra limit"), ("b.txt", "zebra limit")} < set(places)
        assert [row["similar"] for row in rows if row["path"] == "a.txt"] == [3]
    # Another model reads the passages whole.
    assert gfqa("ask", "zebra limit", "--context", "9999").out.count("zebra  limit") == 4


def test_several_caches_and_pages(gfqa: Run, find: Run, tmp_path: Path) -> None:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "a.pdf").write_bytes(pdf(lines("First about ports"), lines("Second about the retry count")))
    gfqa("ingest", tmp_path / "shelf")
    flags = ["-c", "shelf", "-c", "proj", "--fast"]
    both = find("retry count", *flags, "--json").json
    assert both["cache"]["names"] == ["proj", "shelf"]
    assert {row["cache"] for row in both["passages"]} == {"proj", "shelf"}
    assert find("Second", *flags).out.startswith("a.pdf, page ")
    assert "[shelf]" in find("retry count", *flags).out
    assert re.search(r"a\.pdf:1:1:\[page \d\] ", find("retry count", *flags, "--format", "vimgrep").out)


def test_what_cannot_be_searched(gfqa: Run, find: Run, other_model: Path, tmp_path: Path) -> None:
    check(find(" ", "--fast"), 2, "empty")
    check(find("q", "-n", "0"), 2, "count")
    check(find("q", "--cache", "nope", "--fast"), 3, "'nope'")
    check(find("q", "--only", "none.such", "--fast"), 2, "none.such")
    check(find("q", "--model", tmp_path, "--fast"), 6, "not a model folder")
    failed = find("q", "--cache", "nope", "--format", "json")
    assert (failed.code, failed.json["error"]["code"]) == (3, 3)
    # Words alone need the same tokenizer, not the same model.
    assert find("retry", "--model", other_model, "--fast").code == 0
    check(find("retry", "--model", other_model), 3, "another model")
    assert gfqa("find").code == 2


def test_fast_means_without_torch(find: Run) -> None:
    code = (
        "import sys\nfrom gfqa.cli import app\n"
        "try: app(['find', 'retry count', '--fast'])\nexcept SystemExit as end: assert end.code in (0, None)\n"
        "assert 'torch' not in sys.modules"
    )
    find("q", "--fast")
    import os

    model = os.environ["GFQA_MODEL"]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GFQA_MODEL": model},
    )
    assert done.stdout.startswith("docs/guide.md:3\n")


def test_context_stays_within_its_budget(gfqa: Run, find: Run, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.txt").write_text(f"The beacon of tower {number} is lit at dusk.\n" * 3)
    gfqa("ingest", folder)
    sizes = []
    for budget in (200, 800):
        result = gfqa("ask", "When is the beacon lit?", "--context", budget, "-c", "long", "--json").json
        assert list(result) == ["schema", "question", "passages", "tokens"]
        printed = gfqa("ask", "When is the beacon lit?", "--context", budget, "-c", "long").out
        # The tiny model's tokens are bytes.
        assert len(printed.encode()) <= result["tokens"] <= budget
        assert printed.count("--- ") == len(result["passages"])
        for passage in result["passages"]:
            assert (
                f"--- {passage['path']}:{passage['start_line']}-{passage['end_line']}\n{passage['text']}\n" in printed
            )
        sizes.append(len(result["passages"]))
    assert 1 <= sizes[0] < sizes[1]
    check(gfqa("ask", "When is the beacon lit?", "--context", "5", "-c", "long"), 2, "5 tokens")
