"""What `ask` can be told: which documents, which form, how sure, how random; and what it says of its citations."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfqa.answer.citations import Place
from tests.cli.test_bad_input import check
from tests.conftest import Result
from tests.documents.pdf_bytes import lines, pdf

Run = Callable[..., Result]
QUICK = ("--max-tokens", "4", "--sources", "9")


@pytest.fixture
def asked(gfqa: Run, project: Path) -> Run:
    """gfqa ask over the ingested project, with short answers and every citation."""
    assert gfqa("ingest", project).code == 0
    return lambda *arguments, **more: gfqa("ask", *arguments, *QUICK, **more)


def paths(result: Result) -> set[str]:
    return {citation["path"] for citation in result.json["citations"]}


def test_only_some_documents_are_asked(asked: Run) -> None:
    assert paths(asked("q", "--json")) == {".gitignore", "app.py", "docs/guide.md", "notes.txt"}
    assert paths(asked("q", "--json", "--only", "docs/")) == {"docs/guide.md"}
    some = asked("q", "--json", "--only", "*.py", "--only", "notes.*")
    assert paths(some) == {"app.py", "notes.txt"}
    assert paths(asked("q", "--json", "--only", "!*.md")) == {".gitignore", "app.py", "notes.txt"}
    assert paths(asked("q", "--json", "--only", "!docs/", "--only", "!.*")) == {"app.py", "notes.txt"}
    assert paths(asked("q", "--json", "--only", "*.*", "--only", "!docs", "--only", "!/.*")) == {"app.py", "notes.txt"}
    assert paths(asked("q", "--json", "--only", "!*", "--only", "app.py")) == {"app.py"}
    check(asked("q", "--only", "!*"), 2, "No document", "!*")
    check(asked("q", "--only", " "), 2, "' '", ".gitignore")
    sizes = [len(text) + len(path) + 2 for path, text in TEXTS.items() if path in ("app.py", "notes.txt")]
    assert some.json["tokens"]["reused"] == sum(sizes)
    assert paths(asked("q", "-", "-c", "proj", "--json", "--only", "<stdin>", stdin="text\n")) == {"<stdin>"}


TEXTS = {"app.py": "def connect():\n    return open_port(8080)\n", "notes.txt": "alpha\nbeta\ngamma\n"}


def test_require_cache_reads_nothing_anew(asked: Run) -> None:
    assert asked("q", "--require-cache").code == 0
    check(asked("q", "-", "--require-cache", stdin="text\n"), 3, "Standard input", "--require-cache")
    refused = asked("q", "-", "--require-cache", "--json", stdin="text\n")
    assert (refused.code, refused.json["error"]["code"]) == (3, 3)


def test_quote_gives_the_documents_words_alone(asked: Run) -> None:
    answer, shown = asked("q", "--json").json, asked("q", "--quote")
    places = [line for line in shown.out.splitlines() if not line.startswith(" ")]
    assert [place.split(":")[0] for place in places] == [citation["path"] for citation in answer["citations"]]
    assert shown.out.splitlines()[1] == "    " + answer["citations"][0]["quote"].split("\n")[0].expandtabs(4)
    assert len(asked("q", "--quote", "--sources", "0").out) > 0
    check(asked("q", "--quote", "--format", "vimgrep"), 2, "--quote", "vimgrep")


@pytest.mark.parametrize(
    "flags", [["--format", "json"], ["--jsonl"], ["--format=jsonl"], ["--json", "--format", "json"]]
)
def test_the_names_of_json(asked: Run, flags: list[str]) -> None:
    plain, other = asked("q", "--json"), asked("q", *flags)
    assert {**other.json, "timing": 0} == {**plain.json, "timing": 0}
    failed = asked("", *flags)
    assert (failed.code, failed.json["error"]["code"]) == (2, 2)


def test_formats_that_contradict_or_are_none(asked: Run) -> None:
    check(asked("q", "--format", "xml"), 2, "--format", "xml")
    mixed = asked("q", "--json", "--format", "vimgrep")
    assert mixed.code == 2
    assert "json and vimgrep" in mixed.json["error"]["message"]


def test_vimgrep_points_where_an_editor_can_go(asked: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    citations = asked("q", "--json").json["citations"]
    shown = asked("q", "--format", "vimgrep").out.splitlines()
    assert len(shown) == len(citations) > 1
    for line, citation in zip(shown, citations, strict=True):
        match = re.fullmatch(r"(.+?):(\d+):(\d+):(.*)", line)
        assert match
        file, number, column, text = match.groups()
        cited = Path(file).read_text().split("\n")[int(number) - 1]
        assert (file, int(number)) == (str(project / citation["path"]), citation["start_line"])
        assert text in cited.expandtabs(4)
        assert cited[int(column) - 1 :].strip() != "" or not cited.strip()
    monkeypatch.chdir(project)
    here = {line.split(":")[0] for line in asked("q", "--format", "vimgrep").out.splitlines()}
    assert here == {citation["path"] for citation in citations}
    piped = asked("q", "-", "--format", "vimgrep", stdin="only line\n").out
    assert re.fullmatch(r"<stdin>:1:\d+:only line\n", piped)


def test_vimgrep_of_a_pdf_names_the_page(gfqa: Run, tmp_path: Path) -> None:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "a.pdf").write_bytes(pdf(lines("Page about retries")))
    gfqa("ingest", tmp_path / "shelf")
    assert re.fullmatch(r".*a\.pdf:1:1:\[page 1\] \S.*\n", gfqa("ask", "retries?", "--format", "vimgrep", *QUICK).out)


def test_streamed_or_not_it_is_the_same(asked: Run) -> None:
    assert asked("q", "--no-stream").out == asked("q").out


def test_a_citation_says_whether_its_file_changed(asked: Run, project: Path) -> None:
    assert "changed" not in asked("q").out
    (project / "app.py").write_text("other\n")
    (project / "notes.txt").unlink()
    changed = {citation["path"]: citation["changed"] for citation in asked("q", "--json").json["citations"]}
    assert changed == {".gitignore": False, "app.py": True, "docs/guide.md": False, "notes.txt": True}
    shown = [line for line in asked("q").out.splitlines() if line.endswith("  (changed since the ingest)")]
    assert sorted(line.split(":")[0] for line in shown) == ["app.py", "notes.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are no UTF-8")
def test_a_file_whose_name_is_no_utf_8_is_found_again(gfqa: Run, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    file = Path(os.fsdecode(os.fsencode(tmp_path / "odd") + b"/bad\xff.txt"))
    file.write_text("one")
    gfqa("ingest", tmp_path / "odd")
    assert gfqa("ask", "q", "--json", *QUICK).json["stale"] is False
    file.write_text("another")
    assert gfqa("ask", "q", "--json", *QUICK).json["stale"] is True


def test_a_citation_that_the_cache_does_not_hold_is_marked(asked: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from gfqa import ask as use_case

    plain = use_case.locate

    def forged(*arguments: Any, **more: Any) -> Place:
        return replace(plain(*arguments, **more), quote="root:x:0:0")

    monkeypatch.setattr(use_case, "locate", forged)
    assert {citation["verified"] for citation in asked("q", "--json").json["citations"]} == {False}
    human = asked("q")
    assert "(not verified)" in human.out
    assert "does not hold a quote" in human.err


def test_a_low_score_is_said(asked: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    score = asked("q", "--json").json["score"]
    monkeypatch.setattr("gfqa.answer.result.LOW_SCORE", score + 0.01)
    assert f"low confidence (score {score:.2f})" in asked("q").err
    assert asked("q", "--quiet").err == ""
    monkeypatch.setattr("gfqa.answer.result.LOW_SCORE", score - 0.01)
    assert "low confidence" not in asked("q").err


def test_greedy_by_default_and_deterministic_with_a_seed(asked: Run) -> None:
    def said(*flags: str) -> str:
        text: str = asked("q", "--json", "--max-tokens", "12", *flags).json["answer"]
        return text

    greedy = said()
    assert said("--seed", "5") == greedy
    assert said("--temperature", "1", "--top-k", "1") == greedy
    warm = ["--temperature", "2"]
    assert said(*warm, "--seed", "5") == said(*warm, "--seed", "5")
    assert len({said(*warm, "--seed", str(seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--top-k", "5"], "temperature 0"),
        (["--top-p", "0.5"], "temperature 0"),
        (["--temperature", "-1"], "temperature"),
        (["--temperature", "1", "--top-p", "0"], "top-p"),
        (["--temperature", "nan"], "temperature"),
        (["--top-p", "2"], "top-p"),
        (["--only", "nothing.here"], "nothing.here"),
        (["--context", "0"], "context"),
        (["--context", "9", "--quote"], "--context"),
    ],
)
def test_options_that_make_no_sense(asked: Run, flags: list[str], word: str) -> None:
    check(asked("q", *flags), 2, word)
    failed = asked("q", *flags, "--json")
    assert (failed.code, failed.json["error"]["code"]) == (2, 2)
    assert word in failed.json["error"]["message"]


def test_details_for_those_who_ask(asked: Run) -> None:
    assert asked("q").err == ""
    details = asked("q", "-v").err
    assert re.search(r"seconds: start \d+\.\d+, load .*first look .*second look .*citations", details)
    assert re.search(r"tokens: \d+ reused, 0 pre-filled, \d+ question", details)
    assert asked("q", "-v", "--json").err == ""


def test_a_batch_in_every_form(asked: Run, tmp_path: Path) -> None:
    questions = tmp_path / "q.txt"
    questions.write_text('Which port?\n{"question": 5}\nHow many retries are there?\n')
    text = asked("--batch", questions, "--format", "text")
    assert text.code == 1
    assert "gfqa: 1 line of the batch failed; what is said of each tells why." in text.err
    assert [line for line in text.out.splitlines() if line.startswith("> ")] == [
        "> Which port?",
        "> How many retries are there?",
    ]
    assert "Line 2: " in text.err
    places = asked("--batch", questions, "--format", "vimgrep")
    assert len(places.out.splitlines()) == 8
    for flags in ([], ["--jsonl"], ["--json"], ["--format", "jsonl"]):
        rows = [json.loads(line) for line in asked("--batch", questions, *flags).out.splitlines()]
        assert [row["line"] for row in rows] == [1, 2, 3]
    check(asked("--batch", tmp_path / "missing"), 2, "missing")


def test_lines_of_a_batch_for_the_same_documents_share_their_memory(
    asked: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gfqa import batch

    made: list[tuple[str, ...]] = []
    plain = batch.restricted
    monkeypatch.setattr(batch, "restricted", lambda memory, globs: made.append(globs) or plain(memory, globs))
    questions = tmp_path / "q.txt"
    rows = [{"question": f"question {n}", "only": "docs/" if n % 2 else ["*.py"]} for n in range(40)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = [json.loads(line) for line in asked("--batch", questions, "--max-tokens", "1").out.splitlines()]
    assert [answer["question"] for answer in answers] == [row["question"] for row in rows]
    for number, answer in enumerate(answers):
        assert {citation["path"] for citation in answer["citations"]} == {"docs/guide.md" if number % 2 else "app.py"}
    assert sorted(made) == [("*.py",), ("docs/",)]


def test_a_memory_budget_that_is_too_small(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    check(gfqa("ask", "q", "--memory-budget", "1kB"), 6, "more than the budget", "--memory-budget")
    check(gfqa("ask", "q", "--memory-budget", "much"), 2, "'much' is no size")
    assert gfqa("ask", "q", "--memory-budget", "100MB", "--max-tokens", "2").code == 0
    assert gfqa("chat", "--memory-budget", "much", stdin="q\n").code == 2


def test_the_cache_that_was_meant(asked: Run) -> None:
    check(asked("q", "--cache", "prj"), 3, "There is no cache named 'prj'", "Did you mean 'proj'? Caches: proj.")
    check(asked("q", "--cache", "zzz"), 3, "There is no cache named 'zzz'", "Caches: proj.")


@pytest.mark.parametrize(("written", "waits"), [(b"port 9", True), (b"", False)])
def test_what_was_piped_in_and_not_read_is_noticed(written: bytes, waits: bool) -> None:
    code = "from gfqa.commands.shared import waiting_input; print(waiting_input())"
    end, begin = os.pipe()
    os.write(begin, written)
    os.close(begin)
    with os.fdopen(end) as pipe:
        out = subprocess.run(
            [sys.executable, "-c", code], stdin=pipe, capture_output=True, text=True, check=True
        ).stdout
    assert out == f"{waits}\n"
    nothing = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert nothing.stdout == "False\n"
