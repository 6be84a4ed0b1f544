"""How likely it is that the documents answer a question: the looks of the model and the words of the passage, weighed together.

A logistic fit on 488 questions of the training side, half of whose documents were left out (articles, repositories, single
paragraphs); the weights belong to the shipped reader. Torch-free.
"""

from __future__ import annotations

import math

FIRST, AGAIN, COVERAGE, CONSTANT = 0.148, 0.299, 5.349, -4.219
"""Weights of the log odds of an answer at the first look and on reading the passage again, and of the coverage."""
FOUND = 0.08
"""An answer less likely than this is not given. Chosen on fifty handwritten questions about psf/requests and pallets/flask: of
40 with an answer 5 are right instead of 1 with the 0.25 of before, of 10 without one 9 are still answered with silence."""
SURE = 0.25
"""An answer as likely as this is taken without looking at further passages. A page of a PDF, which the search alone finds, must
be as likely."""
HOPE = 0.99
"""A passage is not worth reading again where even this probability of an answer would not make one likely."""
_FLOOR = 1e-4


def confidence(first: float, again: float, coverage: float) -> float:
    """Probability 0..1 that the passage answers the question.

    first, again: the model's own probability of an answer, over everything and over the passage read again; coverage: the share
    of the question's words, by weight, that the passage or its path holds.
    """
    odds = CONSTANT + FIRST * _log_odds(first) + AGAIN * _log_odds(again) + COVERAGE * coverage
    return 1 / (1 + math.exp(-odds))


def _log_odds(probability: float) -> float:
    return math.log((probability + _FLOOR) / (1 - probability + _FLOOR))
