"""E1 and E2: SQuAD 1.1's development set, each paragraph alone or all articles in one cache."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gfqa.evaluation.answerer import Answerer, Document, told
from gfqa.evaluation.bm25 import rank
from gfqa.evaluation.scoring import exact_match, f1
from gfqa.training.questions.units import read_jsonl

HITS = (1, 5, 10)
DEV = Path(__file__).parent / "data" / "squad-1.1-dev.jsonl.xz"


@dataclass(frozen=True)
class Asked:
    """One development question with its gold answers and the document it belongs to."""

    question: str
    answers: tuple[str, ...]
    article: str
    document: Document


@cache
def development_set() -> tuple[Asked, ...]:
    """All 10,570 questions in file order; each paragraph is a document "Article_Title/003.txt"."""
    asked = []
    for article in read_jsonl(DEV):
        for number, paragraph in enumerate(article["paragraphs"]):
            document = Document(f"{article['title']}/{number:03}.txt", paragraph["context"])
            for qa in paragraph["qas"]:
                asked.append(Asked(qa["question"].strip(), tuple(qa["answers"]), article["title"], document))
    return tuple(asked)


def sample(items: Sequence[Asked], limit: int | None, seed: int = 0) -> list[Asked]:
    """All of them, or `limit` drawn at random, in their order."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), limit))]


def by_document(items: Sequence[Asked]) -> Iterator[tuple[Document, list[Asked]]]:
    """The questions grouped by their paragraph."""
    groups: dict[Document, list[Asked]] = defaultdict(list)
    for item in items:
        groups[item.document].append(item)
    yield from groups.items()


def paragraphs(answerer: Answerer, limit: int | None = None) -> dict[str, Any]:
    """E1: the question's paragraph is the only document. Figures: exact match and F1 in percent; answers as `told`."""
    asked = sample(development_set(), limit)
    match, overlap, found, n, said = 0.0, 0.0, 0, len(asked), {}
    for document, items in by_document(asked):
        answers = answerer.answer(answerer.read([document]), [item.question for item in items])
        for item, answer in zip(items, answers, strict=True):
            match += exact_match(answer.text, item.answers)
            overlap += f1(answer.text, item.answers)
            found += bool(answer.text)
            said[item.question] = told(
                answer.text, exact_match(answer.text, item.answers), answer.citations, item.answers
            )
    return {
        "exact_match": 100 * match / n,
        "f1": 100 * overlap / n,
        "answered": 100 * found / n,
        "answers": said,
        "n": n,
    }


def one_cache(answerer: Answerer, limit: int | None = None) -> dict[str, Any]:
    """E2: all 48 articles in one cache.

    Figures in percent: exact match, F1, how often the first (or a third) citation is right, and hit@1, 5, 10 of the passage
    search by words and of GOLD attention alone; answers as `told`.
    """
    memory = answerer.read(all_paragraphs())
    items = sample(development_set(), limit)
    answers = answerer.answer(memory, [item.question for item in items])
    totals: dict[str, float] = defaultdict(float)
    said = {}
    for item, answer in zip(items, answers, strict=True):
        said[item.question] = told(answer.text, exact_match(answer.text, item.answers), answer.citations, item.answers)
        totals["exact_match"] += exact_match(answer.text, item.answers)
        totals["f1"] += f1(answer.text, item.answers)
        cited = [citation.path for citation in answer.citations]
        for count in (1, 3):
            totals[f"citation_hit@{count}"] += item.document.path in cited[:count]
        # A paragraph may be several passages.
        found = list(dict.fromkeys(passage.path for passage in answerer.find(memory, item.question, 4 * max(HITS))))
        attended = answerer.attended(memory, item.question, max(HITS))
        for count in HITS:
            totals[f"find_hit@{count}"] += item.document.path in found[:count]
            totals[f"attention_hit@{count}"] += item.document.path in attended[:count]
    return {**{name: 100 * total / len(items) for name, total in totals.items()}, "answers": said, "n": len(items)}


def bm25_hits(limit: int | None = None) -> dict[str, Any]:
    """The baseline of E2's hit@1, 5, 10 in percent: BM25 over the paragraphs' texts. UsageError without its library."""
    documents, items = all_paragraphs(), sample(development_set(), limit)
    ranked = rank([document.text for document in documents], [item.question for item in items], max(HITS))
    hits = {
        f"bm25_hit@{count}": sum(
            item.document in [documents[i] for i in row[:count]] for item, row in zip(items, ranked)
        )
        for count in HITS
    }
    return {**{name: 100 * total / len(items) for name, total in hits.items()}, "n": len(items)}


def all_paragraphs() -> list[Document]:
    """The 2,067 paragraphs of the development set."""
    return list(dict.fromkeys(item.document for item in development_set()))
