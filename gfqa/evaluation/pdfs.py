"""E6: questions over PDFs made for the purpose: single facts, table cells, page numbers; the answer and the cited page.

The PDFs are read the way `gfqa ingest` reads them. Beside it the pages that the search by words and BM25 find.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gfqa.documents import Skipped, document_from_bytes
from gfqa.errors import GfqaError
from gfqa.evaluation import bm25
from gfqa.evaluation.answerer import Answerer, Document, told
from gfqa.evaluation.pdf_making import make_pdf
from gfqa.evaluation.scoring import exact_match, f1


def pdfs(answerer: Answerer, pages: Sequence[int] = (10, 40), limit: int | None = 40) -> dict[str, Any]:
    """For each number of pages a PDF of its own and `limit` questions about it.

    Figures in percent by number of pages, and over all questions: accuracy (SQuAD's exact match), f1, cited_page (the first
    citation) and cited_page@3, find_page (the search by words) and bm25_page; accuracy and cited page by kind; and answers as
    `told`.
    """
    figures: dict[str, Any] = {}
    total: dict[str, float] = defaultdict(float)
    kinds: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    said: dict[str, list[Any]] = {}
    n = 0
    for count in pages:
        sums, asked, tokens = _one(answerer, count, limit, kinds, said)
        figures[f"pages_{count}"] = {
            **{name: 100 * value / asked for name, value in sums.items()},
            "tokens": tokens,
            "n": asked,
        }
        n += asked
        for name, value in sums.items():
            total[name] += value
    return {
        **{name: 100 * value / n for name, value in total.items()},
        **figures,
        "by_kind": {
            kind: [*(round(100 * sum(part) / len(judged), 1) for part in zip(*judged, strict=True)), len(judged)]
            for kind, judged in sorted(kinds.items())
        },
        "answers": said,
        "n": n,
    }


def _one(
    answerer: Answerer,
    count: int,
    limit: int | None,
    kinds: dict[str, list[tuple[bool, bool]]],
    said: dict[str, list[Any]],
) -> tuple[dict[str, float], int, int]:
    data, asked = make_pdf(count)
    if limit is not None and limit < len(asked):
        asked = random.Random(1).sample(asked, limit)
    name = f"stations-{count}.pdf"
    read = document_from_bytes(name, data)
    if isinstance(read, Skipped) or read.page_starts is None:
        raise GfqaError(f"The generated {name} could not be read as a PDF.")
    memory = answerer.read([Document(read.path, read.text, read.page_starts)])
    answers = answerer.answer(memory, [item.question for item in asked])
    sums: dict[str, float] = defaultdict(float)
    for item, answer in zip(asked, answers, strict=True):
        right = exact_match(answer.text, item.answers) == 1.0
        page = [cited.page for cited in answer.citations[:1]] == [item.page]
        kinds[item.kind].append((right, page))
        said[f"{item.question} ({count} pages)"] = told(answer.text, right, answer.citations, item.answers)
        sums["accuracy"] += right
        sums["f1"] += f1(answer.text, item.answers)
        sums["cited_page"] += page
        sums["cited_page@3"] += item.page in [cited.page for cited in answer.citations[:3]]
        sums["find_page"] += [found.page for found in answerer.find(memory, item.question, 1)] == [item.page]
    if bm25.installed():
        texts = [read.text[start:end] for start, end in pairwise([*read.page_starts, len(read.text)])]
        rows = bm25.rank(texts, [item.question for item in asked], 1)
        sums["bm25_page"] += sum(row[0] + 1 == item.page for row, item in zip(rows, asked, strict=True))
    return sums, len(asked), answerer.tokens(read.text)
