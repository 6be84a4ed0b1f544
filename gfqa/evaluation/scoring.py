"""Scores: exact match and F1 with SQuAD's normalisation, exact match for code, area under the ROC curve."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces: SQuAD's definition of the same answer."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact_match(prediction: str, answers: Iterable[str]) -> float:
    """1 if the prediction is one of the answers after normalisation, else 0."""
    return float(normalise(prediction) in {normalise(answer) for answer in answers})


def f1(prediction: str, answers: Iterable[str]) -> float:
    """The best harmonic mean of precision and recall of words over the answers, 0..1."""
    words = normalise(prediction).split()
    return max((_f1(words, normalise(answer).split()) for answer in answers), default=0.0)


def _f1(words: list[str], gold: list[str]) -> float:
    if not words or not gold:
        return float(words == gold)
    common = sum((Counter(words) & Counter(gold)).values())
    return 2 * common / (len(words) + len(gold))


def same_code(prediction: str, answers: Iterable[str]) -> bool:
    """Whether a code answer is right: white space, outer quotes and a closing mark may differ, letters may not."""
    return bool(prediction.strip()) and _code(prediction) in {_code(answer) for answer in answers}


def _code(text: str) -> str:
    text = "".join(text.split()).rstrip(":;,")
    text = text[:-1] if text.endswith(".") else text
    while len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'`":
        text = text[1:-1]
    return text


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """Probability that a positive scores above a negative, ties counting half; None if one class is missing."""
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    ranks = [0.0] * len(scores)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        for i in order[start:end]:
            ranks[i] = (start + end + 1) / 2  # mean of the 1-based ranks start+1 .. end
        start = end
    positive = sum(map(bool, labels))
    negative = len(labels) - positive
    if not positive or not negative:
        return None
    total = sum(rank for rank, label in zip(ranks, labels) if label)
    return (total - positive * (positive + 1) / 2) / (positive * negative)


def best_threshold(scores: Sequence[float], answerable: Sequence[bool], values: Sequence[float]) -> tuple[float, float]:
    """(best mean value, threshold) when only answers scoring above the threshold are given.

    values: what each answer is worth as given, 0..1; an answer held back is worth 1 where there is none, else 0.
    """
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    total = sum(values)
    best, threshold = total, -1.0
    for place, i in enumerate(order):
        total += float(not answerable[i]) - values[i]
        last_of_its_score = place + 1 == len(order) or scores[order[place + 1]] > scores[i]
        if last_of_its_score and total > best:
            best, threshold = total, scores[i]
    return best / max(1, len(scores)), threshold
