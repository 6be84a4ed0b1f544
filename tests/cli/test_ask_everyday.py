"""ask and its relatives as real processes: pipes that stay open, an 80-column terminal, completion; the command reference."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gfqa.cli import EXIT_CODES
from tests.conftest import ROOT, Result, drained

Run = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[bytes]"]


def finish(process: subprocess.Popen[bytes], timeout: float = 120) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out.decode(), err.decode()


def test_an_open_stdin_is_read_by_nobody_who_was_not_told_to(start: Start, gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    questions = project.parent / "questions.txt"
    questions.write_text("one?\ntwo?\n")
    commands = [["ask", "--batch", questions, "--max-tokens", "2", "--format", "vimgrep", "--require-cache"]]
    if importlib.util.find_spec("gfqa.passages"):
        commands.append(["find", "retry", "--fast"])
    reading, writing = os.pipe()
    try:
        for arguments in commands:
            code, out, err = finish(start(*arguments, stdin=reading), timeout=90)
            assert (code, bool(out)) == (0, True), err
    finally:
        os.close(reading)
        os.close(writing)


def on_terminal(start: Start, columns: int, *arguments: str | Path, **variables: str) -> str:
    pty = pytest.importorskip("pty")
    main, terminal = pty.openpty()
    process = start(*arguments, stdout=terminal, env={"TERM": "xterm", "COLUMNS": str(columns), **variables})
    os.close(terminal)
    shown = drained(main)
    assert process.wait(60) == 0
    return shown.decode().replace("\r\n", "\n")


def test_long_lines_stay_blocks_on_80_columns(start: Start, gfqa: Run, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    words = " ".join(f"word{number}" for number in range(60))
    (folder / "wide.txt").write_text(f"{words}\n\tindented {words}\n" + "x" * 300 + "\n")
    gfqa("ingest", folder)
    question = ["ask", "word7?", "--quote", "--sources", "3"]
    shown = on_terminal(start, 80, *question)
    quoted = [line for line in re.sub(r"\x1b\[\d+m", "", shown).splitlines() if line.startswith(" ")]
    assert len(quoted) > 1
    assert max(map(len, quoted)) <= 80
    assert "\x1b[2m" in shown
    # In a pipe nothing is folded.
    piped = gfqa(*question).out.splitlines()
    whole = "".join(line for line in piped if line.startswith(" "))
    assert "".join("".join(quoted).split()) == "".join(whole.split())
    assert max(map(len, piped)) > 80


def test_no_color_and_marks_of_a_passage(monkeypatch: pytest.MonkeyPatch) -> None:
    from gfqa import views
    from gfqa.answer.result import Found
    from gfqa.console import Console

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    result = Found("one", "/s", "a\x1b.py", 1, 2, None, 1, 1, "\tcode \x1b[2J", "text", 1.0, "/s/a.py", True)
    shown = []
    for variables in ({"TERM": "xterm"}, {"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}):
        for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        stream = Terminal()
        monkeypatch.setattr("sys.stdout", stream)
        views.found(Console(), [result, replace(result, cache="two")])
        shown.append(stream.getvalue())
    place = "a\\x1b.py:1  [{}]  (changed since the ingest)\n        code \\x1b[2J\n"
    assert shown[1] == shown[2] == place.format("one") + place.format("two")
    assert shown[0] != shown[1]
    assert re.sub(r"\x1b\[\d+m", "", shown[0]) == shown[1]


@pytest.mark.parametrize(
    "words", ["gfqa ask --cache ", "gfqa chat -c al", "gfqa caches show al", "gfqa caches remove beta al"]
)
def test_the_shell_completes_cache_names_without_torch(start: Start, tmp_path: Path, words: str) -> None:
    from gfqa import config
    from gfqa.cachestore import Identity, Store

    for name in ("alpha", "alps", "beta"):
        identity = Identity("0" * 64, "1" * 64, "independent", "int8", 8)
        with Store.open(config.home(), create=True).writer(name, identity) as writer:
            writer.commit([str(tmp_path)], [])
    code = (
        "import sys\nsys.argv = ['gfqa']\nfrom gfqa.cli import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    asked = {"_GFQA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert done.returncode == 0, done.stderr
    expected = ["alpha", "alps"] if words.endswith("al") else ["alpha", "alps", "beta"]
    assert done.stdout.split() == expected


def _skip_with_another_typer() -> None:
    pinned = re.search(r"^typer==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    if importlib.metadata.version("typer") != pinned[1]:
        pytest.skip("the pages are laid out by Typer, and another version may do it otherwise")


def test_the_command_reference_is_up_to_date() -> None:
    _skip_with_another_typer()
    from gfqa.commands.reference import reference

    made = (ROOT / "docs" / "commands.md").read_text()
    assert made == reference(), "run: python -m gfqa.commands.reference > docs/commands.md"


@pytest.mark.parametrize("words", [[], ["caches"], ["models"], ["config"]], ids=" ".join)
def test_no_line_of_a_list_of_commands_is_cut_at_80_columns(
    gfqa: Run, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = gfqa(*words, "--help").out
    assert "..." not in shown.split("Commands:")[1]
    assert max(map(len, shown.splitlines())) <= 80


def test_the_manual_page_is_up_to_date_and_whole() -> None:
    _skip_with_another_typer()
    from gfqa.commands.manual import manual

    made = (ROOT / "docs" / "gfqa.1").read_text("ascii")
    assert made == manual(), "run: python -m gfqa.commands.manual > docs/gfqa.1"
    pages = re.findall(r"^## (gfqa .+)$", (ROOT / "docs" / "commands.md").read_text(), re.M)
    titles = re.findall(r"^\.SS (.+)$", made, re.M)
    assert len(titles) == len(pages) > 20
    assert all(title.startswith(page) for title, page in zip(titles, pages, strict=True))
    assert 'docs/gfqa.1" = "share/man/man1/gfqa.1' in (ROOT / "pyproject.toml").read_text()
    assert re.findall(r"^\.B (\d+)$", made, re.M) == re.findall(r"^  (\d+) ", EXIT_CODES, re.M)
    assert "\\[u2026]" in made
    # A line that begins with a dot is a macro: none of the text may.
    macros = {line.split()[0] for line in made.splitlines() if line.startswith((".", "'"))}
    assert macros == {'.\\"', ".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".BR", ".I", ".RS", ".RE", ".nf", ".fi"}


def test_the_manual_page_is_shown_without_a_warning() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not there")
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", ROOT / "docs" / "gfqa.1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    assert "git ls-files -z | gfqa ingest --from - -0\n" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 90


@pytest.mark.parametrize("columns", [80, 40])
def test_a_table_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from gfqa.console import Console

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    rows = [
        ("NAME", "TOKENS", "MODEL", "SOURCES"),
        ("short", "12", "gfqa-reader", "/home/somebody/src/" + "deep/" * 20 + "project"),
        ("a-name-that-is-rather-long", "1234567", "gfqa-reader", "/x"),
    ]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    Console().table(rows)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= columns
    assert "1234567" in lines[2]
    assert lines[1].endswith("ject")
    assert len({line.index(word) for line, word in zip(lines, ("TOKENS", "12 ", "1234567"))}) == 1
    # In a pipe nothing is lost.
    monkeypatch.setattr("sys.stdout", pipe)
    Console().table(rows)
    assert [tuple(line.split("\t")) for line in pipe.getvalue().splitlines()] == rows


def test_a_folded_quote_keeps_the_edge_of_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    from gfqa import views
    from gfqa.console import Console

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    line = "the default priority value is fifty, and the maximum"  # its 37th character is a space
    for own in ("", "    "):
        stream = Terminal()
        monkeypatch.setattr("sys.stdout", stream)
        views._quote(Console(), own + line)
        shown = stream.getvalue().splitlines()
        edge = views.INDENT + own
        assert len(shown) > 1
        assert all(len(part) <= 40 and part.startswith(edge) and part[len(edge)] != " " for part in shown)
        assert " ".join(part.strip() for part in shown) == line


def test_a_quote_ends_with_its_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    from gfqa import views
    from gfqa.console import Console

    views._quote(Console(), "class One:\n\n    pass \n    \n")
    assert capsys.readouterr().out == "    class One:\n    \n        pass\n"


def test_a_path_that_no_cache_holds_is_told_and_the_answer_left_alone(
    gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gfqa.ask as use_case

    text = "It is in lib/none.py, app.py and docs/guide.md:3."
    plain = use_case.generate
    monkeypatch.setattr(use_case, "generate", lambda *a, **k: replace(plain(*a, **k), text=text, found=True))
    gfqa("ingest", project)
    for only in ([], ["--only", "*.md"]):
        answer = gfqa("ask", "Where?", "--json", *only).json
        assert (answer["answer"], answer["unknown_paths"]) == (text, ["lib/none.py"])
    human = gfqa("ask", "Where?", "--no-stream")
    assert human.err.count("The answer names lib/none.py: not in the cache.\n") == 1
    assert human.out.startswith(text)
    assert "lib/none.py" not in gfqa("ask", "Where?", "-q").err
    # A document from standard input alone is no cache that could hold other files.
    assert "unknown_paths" not in gfqa("ask", "Where?", "-", "--json", stdin="text").json
    text = "app.py"
    assert "unknown_paths" not in gfqa("ask", "Where?", "--json").json


def test_a_page_that_is_asked_for_is_found_by_the_search(gfqa: Run, tmp_path: Path) -> None:
    """Whatever the model says: a random one here. A text has no pages, and what no page speaks of is not answered with one."""
    pdfs = Path(__file__).parents[2] / "examples" / "pdfs"
    gfqa("ingest", pdfs, "--name", "pdfs")
    for flags in ([], ["--no-reread"], ["--no-stream"]):
        result = gfqa("ask", "On which page is the station boat Sterna described?", "-c", "pdfs", *flags)
        assert result.out.splitlines()[:3] == ["page 2", "", "handbook.pdf, page 2"], flags
    answer = gfqa("ask", "On which page is the station boat Sterna described?", "-c", "pdfs", "--json").json
    assert (answer["found"], answer["answer"], answer["citations"][0]["page"]) == (True, "page 2", 2)
    assert "Sterna" in answer["citations"][0]["quote"]
    nowhere = gfqa("ask", "On which page are zeppelins?", "-c", "pdfs", "--json").json
    assert not nowhere["answer"].startswith("page ")
    (tmp_path / "boats.txt").write_text("The station boat is called Sterna.\n")
    gfqa("ingest", tmp_path / "boats.txt", "--name", "texts")
    answer = gfqa("ask", "On which page is the station boat Sterna described?", "-c", "texts", "--json").json
    assert not answer["answer"].startswith("page ")


def test_where_nothing_is_found_the_closest_places_are_told(
    gfqa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gfqa.ask as use_case

    plain = use_case.generate
    found = False
    monkeypatch.setattr(use_case, "generate", lambda *a, **k: replace(plain(*a, **k), text="", found=found))
    folder = tmp_path / "manual"
    folder.mkdir()
    (folder / "queue.md").write_text("# Jobs\n\nA failed job is retried after a delay.\n\n\nNothing else matters.\n")
    (folder / "copy.md").write_text("# Jobs\n\nA failed job is retried after a delay.\n\n\nNothing else matters.\n")
    (folder / "other.md").write_text("Completely unrelated words about gardens.\n")
    gfqa("ingest", folder)
    question = "when is a failed job retried?"
    answer = gfqa("ask", question, "--json").json
    assert (answer["found"], answer["citations"]) == (False, [])
    [close] = answer["closest"]
    assert close["path"] in ("queue.md", "copy.md")
    assert (close["start_line"], close["quote"]) == (3, "A failed job is retried after a delay.")
    assert 0.3 <= close["score"] <= 1
    human = gfqa("ask", question, "--no-stream")
    assert human.out == "No sure answer in the documents.\n"
    assert f"    {close['path']}:3\n        A failed job is retried after a delay.\n" in human.err
    assert "Closest" not in gfqa("ask", question, "--no-stream", "-q").err
    # No word in common: nothing is close.
    assert "closest" not in gfqa("ask", "xylophone quartets?", "--json").json
    assert "gfqa find shows" in gfqa("ask", "xylophone quartets?", "--no-stream").err
    found = True
    assert "closest" not in gfqa("ask", question, "--json").json


def test_an_interrupted_question_has_nothing_to_go_on_with(
    gfqa: Callable[..., Result], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gfqa import ask as use_case

    def interrupted(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    gfqa("ingest", project)
    monkeypatch.setattr(use_case, "ask", interrupted)
    result = gfqa("ask", "q")
    assert result.code == 130
    assert result.err == "gfqa: Interrupted.\n"
