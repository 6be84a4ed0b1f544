"""E3b: does the score tell questions whose document is in the cache from those whose document is not?"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from gfqa.evaluation.answerer import Answerer
from gfqa.evaluation.scoring import auroc
from gfqa.evaluation.squad import Asked, development_set, sample


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
    present = [score for score, label in zip(scores, labels) if label]
    absent = [score for score, label in zip(scores, labels) if not label]
    return {
        "auroc": auroc(scores, labels),
        "score_present": sum(present) / max(1, len(present)),
        "score_absent": sum(absent) / max(1, len(absent)),
        "n": len(scores),
    }
