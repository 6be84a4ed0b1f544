"""The pages for readers: links lead somewhere, quoted commands parse, the exit codes and pictures are what they say."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from gfqa import errors
from gfqa.cli import EXIT_CODES, app
from gfqa.training.run import _parser as train_parser
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# The log quotes commands as they were when it was written.
QUOTING = [page for page in PAGES if page.name not in ("log.md", "commands.md")] + sorted(
    (ROOT / "examples").glob("*.sh")
)
PICTURES = sorted((ROOT / "docs" / "images").glob("*.svg"))
NAMES = [page.name for page in PAGES]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE), re.M
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def commands_of(text: str) -> Iterator[list[str]]:
    """The words after `gfqa` of every command in code: lines of blocks and spans between backquotes."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    blocks = [code for language, code in fences if language in ("", "console", "sh", "text", "vim")]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", prose)
    code = "\n".join([*blocks, *spans]) if blocks or spans else text
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.replace("…", " ").replace("$(", " ; "), posix=True, punctuation_chars=True)
        lexer.commenters = "#"
        lexer.wordchars += "$%*!?[]{},:@^"
        try:
            words = list(lexer)
        except ValueError:  # a quotation that goes on in the next line: no command of gfqa's
            continue
        yield from _simple_commands(words)


def _simple_commands(words: list[str]) -> Iterator[list[str]]:
    """The commands of a line, cut at pipes and the like, that are gfqa's: in command position, behind a prompt or not."""
    before = re.compile(r"[|;&()<>]+|\$|if|then|do")
    starts = [0, *(number + 1 for number, word in enumerate(words) if before.fullmatch(word))]
    # In a line of a crontab the command comes after the time, by its full path.
    starts += [
        number for number, word in enumerate(words) if number and word.startswith("/") and word.endswith("/gfqa")
    ]
    for start in starts:
        rest = words[start:]
        while rest and (re.fullmatch(r"[A-Z_]+=.*", rest[0]) or rest[0] in ("env", "-i", "!", "{")):
            rest = rest[1:]
        if rest and Path(rest[0]).name == "gfqa":
            end = next(
                (number for number, word in enumerate(rest) if re.fullmatch(r"[|;&()<>]+|[;}]", word)), len(rest)
            )
            # `2>&1` and `>FILE` leave the number or nothing behind.
            kept = rest[1:end]
            if end < len(rest) and rest[end].startswith(">") and kept and kept[-1] in ("1", "2"):
                kept = kept[:-1]
            yield kept


def parsed(words: list[str]) -> None:
    """Parse a command line as the app would, running nothing. Raises what the parser raises."""
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="gfqa")
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        name, words = words[0], words[1:]
        inner = command.get_command(context, name)
        assert inner is not None, f"there is no command {name}"
        command, context = inner, inner.context_class(inner, info_name=name, parent=context, **inner.context_settings)
    if command.name in ("eval", "train"):
        # Their flags are those of parsers of their own; `train run` has the loop's, and prose names a step without its flags.
        if any(word.startswith("-") for word in words) and "run" not in words and "--help" not in words:
            from gfqa.evaluation.options import parser as eval_parser

            (eval_parser if command.name == "eval" else train_parser)().parse_args(words)
        return
    known = {
        option for parameter in command.get_params(context) for option in [*parameter.opts, *parameter.secondary_opts]
    }
    for word in words[: words.index("--")] if "--" in words else words:
        if re.match(r"--?[a-zA-Z0]", word):
            assert word.partition("=")[0] in known, f"{word} is no option of gfqa {command.name}"


def test_the_reader_of_commands_sees_them() -> None:
    text = (
        "Say `gfqa find` or\n```console\n$ git diff | gfqa ask \"What's new?\" - --only '*.md' | head # gfqa no\n"
        '$ X=1 gfqa ingest . >log 2>&1 &\n{ a; gfqa ask "b; c" --context 20; } | llm\n```\n'
        "```json\n{}\n```\nand\n```text\n1 2 * * *  /opt/gfqa status\n```\n"
    )
    assert list(commands_of(text)) == [
        ["ask", "What's new?", "-", "--only", "*.md"],
        ["ingest", "."],
        ["ask", "b; c", "--context", "20"],
        ["status"],
        ["find"],
    ]
    for wrong in (["asks"], ["ask", "--no-such-flag"], ["caches", "burn"], ["ingest", "-x"]):
        with pytest.raises(AssertionError):
            parsed(wrong)


@pytest.mark.parametrize("page", QUOTING, ids=[page.name for page in QUOTING])
def test_quoted_commands_have_these_options(page: Path) -> None:
    commands = list(commands_of(page.read_text()))
    if page.name in ("README.md", "recipes.md"):
        assert len(commands) >= 10
    for words in commands:
        parsed(words)


def test_make_says_first_what_takes_so_long(tmp_path: Path) -> None:
    if (make := shutil.which("make")) is None:
        pytest.skip("make is not there")
    # An interpreter that does nothing makes no environment, so pip is not there and it ends at once.
    made = subprocess.run(
        [make, "-C", ROOT, "--no-print-directory", "setup", f"VENV={tmp_path / 'venv'}", "PYTHON=true"],
        capture_output=True,
        text=True,
    )
    assert made.returncode != 0
    assert made.stdout.splitlines()[0] == f"Installing into {tmp_path / 'venv'} (about a minute) …"


def test_the_readme_has_the_exit_codes_of_the_code() -> None:
    section = (ROOT / "README.md").read_text().split("## Exit codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", section, re.M)
    listed = {int(code) for row in rows for code in row.split(",")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GfqaError)]
    # 0 and the two signals have no error class.
    assert listed == {kind.exit_code for kind in kinds} | {0, 130, 143}
    assert listed == {int(code) for code in re.findall(r"^  (\d+) ", EXIT_CODES, re.M)}


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    import torch

    from tests.model.test_parity import FIXTURES, read

    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    fixture = next(path for path in FIXTURES if path.stem.startswith("goldfinch"))
    config, parameters, _ = read(fixture)
    names: dict[str, Any] = {
        "config_dict": config,
        "state_dict": parameters,
        "ids": torch.arange(12)[None],
        "question": torch.arange(4)[None],
        "chain_starts": torch.tensor([0, 5]),
    }
    script = tmp_path / "readme.py"
    script.write_text(code)
    with torch.no_grad():
        names = runpy.run_path(str(script), names)
    assert names["logits"].shape[:2] == (1, 4)
    assert names["logits"].isfinite().all()


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.name for picture in PICTURES])
def test_pictures_are_small_shown_and_fetch_nothing(picture: Path) -> None:
    text = picture.read_text()
    assert len(text) < 60_000
    assert f"(docs/images/{picture.name})" in (ROOT / "README.md").read_text()
    assert not re.search(r"@import|@font-face|<script|<image|(?:href|src)\s*=|url\(", text)


def test_there_are_pictures() -> None:
    assert PICTURES
