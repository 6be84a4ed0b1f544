"""E6: the PDFs are read back page by page as they were written, and pages are judged by number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from gfqa.documents import document_from_bytes
from gfqa.documents.records import Document as ReadDocument
from gfqa.evaluation.answerer import Answered, Cited, Document
from gfqa.evaluation.pdf_making import LAYOUTS, make_pdf
from gfqa.evaluation.pdfs import pdfs


@pytest.mark.parametrize("pages", [1, 9, 300])
def test_every_answer_stands_on_its_page_and_nowhere_else(pages: int) -> None:
    data, asked = make_pdf(pages)
    assert data == make_pdf(pages)[0]
    assert data != make_pdf(pages, seed=1)[0]
    read = document_from_bytes("made.pdf", data)
    assert isinstance(read, ReadDocument)
    assert read.page_starts is not None
    assert len(read.page_starts) == pages
    texts = [" ".join(read.text[a:b].split()) for a, b in pairwise([*read.page_starts, len(read.text)])]
    assert len(asked) == len({item.question for item in asked}) == 2 * pages + (2 * pages + 2) // 3
    assert {item.kind for item in asked} <= {*LAYOUTS, "page number"}
    for item in asked:
        assert any(answer in texts[item.page - 1] for answer in item.answers), item
    # Other pages may mention a station, but one has it as its title.
    for item in asked:
        if item.kind == "page number":
            name = item.question.removeprefix("On which page is ").removesuffix(" described?")
            assert [number for number, text in enumerate(texts, 1) if text.startswith(name)] == [item.page]


class Reader:
    """Knows every answer; cites the right page of every second question."""

    def __init__(self, pages: int) -> None:
        self.gold = {item.question: item for item in make_pdf(pages)[1]}

    def read(self, documents: Sequence[Document]) -> list[Document]:
        assert all(document.page_starts for document in documents)
        return list(documents)

    def answer(self, memory: list[Document], questions: Sequence[str]) -> list[Answered]:
        return [
            Answered(
                self.gold[question].answers[0], 1.0, (Cited("x", None, None, self.gold[question].page + number % 2),)
            )
            for number, question in enumerate(questions)
        ]

    def find(self, memory: list[Document], question: str, count: int) -> list[Cited]:
        return [Cited("x", None, None, self.gold[question].page)]

    def tokens(self, text: str) -> int:
        return len(text.split())


def test_answers_and_pages_are_counted_apart() -> None:
    figures = pdfs(Reader(8), pages=(8,), limit=None)
    assert figures["n"] == figures["pages_8"]["n"] == 22
    assert (figures["accuracy"], figures["cited_page"], figures["find_page"]) == (100, 50, 100)
    assert {kind: row[-1] for kind, row in figures["by_kind"].items()} == {
        "page number": 6, "text": 4, "table": 4, "two columns": 4, "three columns": 4,
    }  # fmt: skip


def test_a_sample_is_the_same_each_time() -> None:
    assert pdfs(Reader(8), pages=(8,), limit=5) == pdfs(Reader(8), pages=(8,), limit=5)
