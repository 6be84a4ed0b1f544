"""The examples stay true: every expected answer stands where questions.jsonl says, and the PDFs are the script's."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from gfqa.documents import Document, Found, open_source

EXAMPLES = Path(__file__).parents[2] / "examples"
QUESTIONS = [json.loads(line) for line in (EXAMPLES / "questions.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def documents() -> dict[tuple[str, str], Document]:
    read = {}
    for name in ("inkwell", "pdfs"):
        source = open_source(EXAMPLES / name)
        for item in source.scan():
            document = source.read(item) if isinstance(item, Found) else item
            if isinstance(document, Document):
                read[name, document.path] = document
    return read


def test_there_are_enough_questions() -> None:
    assert len(QUESTIONS) >= 24
    assert sum(question["answer"] is None for question in QUESTIONS) >= 4
    assert {question["source"] for question in QUESTIONS} == {"inkwell", "pdfs"}


@pytest.mark.parametrize("row", [q for q in QUESTIONS if q["answer"]], ids=lambda row: row["question"])
def test_answers_are_verbatim(row: dict[str, str], documents: dict[tuple[str, str], Document]) -> None:
    document = documents[row["source"], row["path"]]
    if document.page_starts is not None:
        page = document.text.split("\f")[int(row["page"]) - 1]
        assert row["answer"] in page
    else:
        line = document.text.split("\n")[int(row["line"]) - 1]
        assert row["answer"] in line or row["answer"] == row["path"]


def test_the_script_writes_the_pdfs_that_are_here(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "make_pdfs.py", tmp_path)
    shutil.copytree(EXAMPLES / "pdf_texts", tmp_path / "pdf_texts")
    (tmp_path / "pdfs").mkdir()
    runpy.run_path(str(tmp_path / "make_pdfs.py"), run_name="__main__")
    made = {file.name: file.read_bytes() for file in (tmp_path / "pdfs").iterdir()}
    assert made == {file.name: file.read_bytes() for file in (EXAMPLES / "pdfs").iterdir()}
    assert set(made) == {"handbook.pdf", "report.pdf"}


def test_tables_of_the_pdfs_come_out_row_by_row(documents: dict[tuple[str, str], Document]) -> None:
    report = documents["pdfs", "report.pdf"]
    assert "Place Adults Pups Change\nGull Skerry 641 188 +9 %\n" in report.text
    assert report.pages_without_text == ()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is absent")
@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.sh")), ids=lambda script: script.name)
def test_scripts_are_executable_and_parse(script: Path) -> None:
    assert script.stat().st_mode & 0o100
    subprocess.run(["bash", "-n", str(script)], check=True)
