"""ask and its relatives as real processes: pipes that stay open, an 80-column terminal, completion; the command reference."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

Start = Callable[..., "subprocess.Popen[bytes]"]


def finish(process: subprocess.Popen[bytes], timeout: float = 120) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out.decode(), err.decode()


def test_an_open_stdin_is_read_by_nobody_who_was_not_told_to(start: Start, project: Path) -> None:
    (project.parent / "questions.txt").write_text("one?\ntwo?\n")
    assert finish(start("ingest", project, "-q"))[0] == 0
    reading, writing = os.pipe()
    try:
        for arguments in (
            ["ask", "--batch", project.parent / "questions.txt", "--max-tokens", "2"],
            ["find", "retry", "--fast"],
            ["ask", "q", "--require-cache", "--format", "vimgrep", "--max-tokens", "2"],
        ):
            if arguments[0] == "find":
                pytest.importorskip("gfqa.passages")
            code, out, err = finish(start(*arguments, stdin=reading), timeout=60)
            assert (code, bool(out)) == (0, True), err
    finally:
        os.close(reading)
        os.close(writing)


def on_terminal(start: Start, columns: int, *arguments: str | Path, **variables: str) -> str:
    pty = pytest.importorskip("pty")
    main, terminal = pty.openpty()
    process = start(*arguments, stdout=terminal, env={"TERM": "xterm", "COLUMNS": str(columns), **variables})
    os.close(terminal)
    shown = b""
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(main)
    assert process.wait(60) == 0
    return shown.decode().replace("\r\n", "\n")


def test_long_lines_stay_blocks_on_80_columns(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    words = " ".join(f"word{number}" for number in range(60))
    (folder / "wide.txt").write_text(f"{words}\n\tindented {words}\n" + "x" * 300 + "\n")
    assert finish(start("ingest", folder, "-q"))[0] == 0
    question = ["ask", "word7?", "--quote", "--sources", "3"]
    shown = on_terminal(start, 80, *question)
    quoted = [line for line in re.sub(r"\x1b\[\d+m", "", shown).splitlines() if line.startswith(" ")]
    assert len(quoted) > 1
    assert max(map(len, quoted)) <= 80
    assert "\x1b[2m" in shown
    assert "\x1b[" not in on_terminal(start, 80, *question, NO_COLOR="1")
    # In a pipe nothing is folded.
    piped = finish(start(*question))[1]
    assert "".join(line[4:] for line in quoted) == "".join(line[4:] for line in piped.splitlines() if line[:1] == " ")
    assert max(map(len, piped.splitlines())) > 80


@pytest.mark.parametrize("words", ["gfqa ask --cache ", "gfqa chat -c al", "gfqa find --cache al"])
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


def test_the_command_reference_is_up_to_date() -> None:
    pinned = re.search(r"^typer==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    if importlib.metadata.version("typer") != pinned[1]:
        pytest.skip("the pages are laid out by Typer, and another version may do it otherwise")
    from gfqa.commands.reference import reference

    made = (ROOT / "docs" / "commands.md").read_text()
    assert made == reference(), "run: python -m gfqa.commands.reference > docs/commands.md"
