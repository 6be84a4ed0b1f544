"""E3: does the score tell questions that the cache answers from those it does not?

`adversarial` (E3a): SQuAD 2.0's development set, whose unanswerable questions were written to look answerable by the
very paragraph. `absent_article` (E3b): questions whose whole article is not in the cache. `missing_document`: between the
two, the paragraph is missing while others of its article are there.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gfqa.errors import UsageError
from gfqa.evaluation.answerer import Answerer
from gfqa.evaluation.scoring import auroc, best_threshold, exact_match, f1
from gfqa.evaluation.squad import Asked, by_document, development_set, sample
from gfqa.training.questions.units import read_jsonl

UNANSWERABLE = Path(__file__).parent / "data" / "squad-2.0-dev-unanswerable.jsonl.xz"


@cache
def adversarial_set() -> tuple[Asked, ...]:
    """SQuAD 2.0's 11,873 development questions; those without an answer have answers ()."""
    answerable = {document.path: (document, items) for document, items in by_document(development_set())}
    asked = []
    for article in read_jsonl(UNANSWERABLE):
        for paragraph in article["paragraphs"]:
            document, items = answerable[f"{article['title']}/{paragraph['number']:03}.txt"]
            # 2.0 dropped a few questions of 1.1, given by their numbers in the paragraph.
            asked += [item for number, item in enumerate(items) if number not in paragraph["left_out"]]
            asked += [Asked(q.strip(), (), article["title"], document) for q in paragraph["questions"]]
    return tuple(asked)


def adversarial(answerer: Answerer, limit: int | None = None) -> dict[str, Any]:
    """E3a: each question with its paragraph as the only document.

    Figures in percent but for auroc and threshold: the answers as they are given (exact_match, f1: of an unanswerable
    question, whether nothing was said; how many answerable and unanswerable ones were found an answer), and best_f1, the F1
    when only answers whose score exceeds best_threshold are given, the best one for this very sample, as the official
    script takes it. never_answering_f1 is what silence scores.
    """
    scores, labels, overlaps, match = [], [], [], 0.0
    answered = {True: 0, False: 0}
    for document, items in by_document(sample(adversarial_set(), limit)):
        answers = answerer.answer(answerer.read([document]), [item.question for item in items])
        for item, answer in zip(items, answers, strict=True):
            answerable = bool(item.answers)
            scores.append(answer.score)
            labels.append(answerable)
            answered[answerable] += bool(answer.text)
            match += exact_match(answer.text, item.answers) if answerable else not answer.text
            overlaps.append(f1(answer.text, item.answers) if answerable else float(not answer.text))
    best, threshold = best_threshold(scores, labels, overlaps)
    n, answerable_n = len(labels), sum(labels)
    return {
        "auroc": auroc(scores, labels),
        "exact_match": 100 * match / n,
        "f1": 100 * sum(overlaps) / n,
        "best_f1": 100 * best,
        "best_threshold": threshold,
        "answerable_found": 100 * answered[True] / max(1, answerable_n),
        "unanswerable_found": 100 * answered[False] / max(1, n - answerable_n),
        "never_answering_f1": 100 * (n - answerable_n) / n,
        "n": n,
    }


def absent_article(
    answerer: Answerer, limit: int | None = None, articles: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """E3b: one cache of `articles` random articles (half of them); questions of all are asked.

    limit: half of it of articles in the cache, half of others. Figures: AUROC of `score`, the mean score of both kinds, and
    how many of each were answered, in percent. UsageError where no article would be absent, or none present.
    """
    titles = sorted({item.article for item in development_set()})
    count = (len(titles) + 1) // 2 if articles is None else articles
    if not 0 < count < len(titles):
        raise UsageError(f"{count} of {len(titles)} articles cannot be in the cache.", hint="--articles 24")
    kept = set(random.Random(seed).sample(titles, count))
    share = None if limit is None else max(1, limit // 2)
    present = sample([item for item in development_set() if item.article in kept], share)
    absent = sample([item for item in development_set() if item.article not in kept], share)
    documents = dict.fromkeys(item.document for item in development_set() if item.article in kept)
    memory = answerer.read(list(documents))
    answers = answerer.answer(memory, [item.question for item in (*present, *absent)])
    labels = [True] * len(present) + [False] * len(absent)
    return {
        **_separation([answer.score for answer in answers], labels),
        "present_found": _share([bool(answer.text) for answer in answers[: len(present)]]),
        "absent_found": _share([bool(answer.text) for answer in answers[len(present) :]]),
        "articles_kept": count,
        "tokens": sum(answerer.tokens(document.text) for document in documents),
    }


def missing_document(answerer: Answerer, limit: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Per article a cache with a random half of its paragraphs; every question of the article is asked.

    Figures: AUROC of `score`, and the mean score of both kinds.
    """
    rng = random.Random(seed)
    articles: dict[str, list[Asked]] = defaultdict(list)
    for item in development_set():
        articles[item.article].append(item)
    share = None if limit is None else -(-limit // len(articles))
    scores, labels = [], []
    for items in articles.values():
        documents = list(dict.fromkeys(item.document for item in items))
        kept = set(rng.sample(documents, (len(documents) + 1) // 2))
        memory = answerer.read([document for document in documents if document in kept])
        asked = sample(items, share, rng.randrange(1 << 30))
        for item, answer in zip(asked, answerer.answer(memory, [item.question for item in asked]), strict=True):
            scores.append(answer.score)
            labels.append(item.document in kept)
    return _separation(scores, labels)


def _separation(scores: Sequence[float], labels: Sequence[bool]) -> dict[str, Any]:
    present = [score for score, label in zip(scores, labels, strict=True) if label]
    absent = [score for score, label in zip(scores, labels, strict=True) if not label]
    return {
        "auroc": auroc(scores, labels),
        "score_present": sum(present) / max(1, len(present)),
        "score_absent": sum(absent) / max(1, len(absent)),
        "n": len(scores),
    }


def _share(flags: Sequence[bool]) -> float:
    return 100 * sum(flags) / max(1, len(flags))
