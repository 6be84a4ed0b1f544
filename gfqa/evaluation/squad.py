"""E1 and E2: SQuAD 1.1's development set, each paragraph alone or all articles in one cache."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gfqa.evaluation.answerer import Answerer, Document
from gfqa.evaluation.scoring import exact_match, f1
from gfqa.training.questions.units import read_jsonl

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
    """E1: the question's paragraph is the only document. Figures: exact match and F1 in percent."""
    match, overlap, found, n = 0.0, 0.0, 0, 0
    for document, items in by_document(sample(development_set(), limit)):
        answers = answerer.answer(answerer.read([document]), [item.question for item in items])
        for item, answer in zip(items, answers, strict=True):
            match += exact_match(answer.text, item.answers)
            overlap += f1(answer.text, item.answers)
            found += bool(answer.text)
            n += 1
    return {"exact_match": 100 * match / n, "f1": 100 * overlap / n, "answered": 100 * found / n, "n": n}


def one_cache(answerer: Answerer, limit: int | None = None) -> dict[str, Any]:
    """E2: all 48 articles in one cache. Figures: exact match, F1, and how often the first (or third) citation is right."""
    memory = answerer.read(list(dict.fromkeys(item.document for item in development_set())))
    items = sample(development_set(), limit)
    answers = answerer.answer(memory, [item.question for item in items])
    match = overlap = hit_1 = hit_3 = 0.0
    for item, answer in zip(items, answers, strict=True):
        match += exact_match(answer.text, item.answers)
        overlap += f1(answer.text, item.answers)
        cited = [citation.path for citation in answer.citations]
        hit_1 += item.document.path in cited[:1]
        hit_3 += item.document.path in cited[:3]
    figures = {"exact_match": match, "f1": overlap, "citation_hit@1": hit_1, "citation_hit@3": hit_3}
    return {**{name: 100 * total / len(items) for name, total in figures.items()}, "n": len(items)}
