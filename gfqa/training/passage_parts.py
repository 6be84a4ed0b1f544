"""What rows for the pointer are made of: their shape, where a document answers, passages of a document."""

from __future__ import annotations

import random
from dataclasses import dataclass

from gfqa.training.pool import Unit

Span = tuple[int, int]
LONGEST = 64
"""Tokens of an answer at most (`model.pointer.LONGEST`)."""


@dataclass
class PassageShape:
    """How passage rows are filled; lengths in tokens, shares from 0 to 1."""

    length: int = 448
    per_context: int = 8
    most_of_document: int = 4
    """Questions of one document in a row."""
    everyday: float = 2.0
    """How much likelier a question is taken that does not name what it asks about: few do not, and users seldom do."""
    passage: int = 320
    unanswerable: float = 0.4
    elsewhere: float = 0.25
    """Of those without an answer: another part of the answering document."""
    near: float = 0.7
    """Of those: another document of the same article or repository, the one of a few that has most of the question's words."""
    swapped: float = 0.25
    """Of questions about prose that are to have no answer: those asked of their own passage, with a name or a number in the
    question that belongs to another document of the article."""
    compared: float = 0.0
    """Of questions that have an answer: those asked besides of `rivals` passages that do not answer, right behind."""
    rivals: int = 3


@dataclass(frozen=True)
class Answer:
    """Where a document answers a question: tokens first to last of its chain; others: first tokens of the same words."""

    first: int
    last: int
    others: tuple[int, ...] = ()


def window_around(unit: Unit, at: int, width: int, rng: random.Random) -> Span:
    """A passage around token `at`, near its middle or anywhere in it; from a line's start where one is near."""
    if rng.random() > 0.7:
        width = rng.randint(width // 3, width)
    end = len(unit.ids)
    at = max(at, unit.header)
    off = rng.gauss(0.0, width / 6) if rng.random() < 0.5 else rng.uniform(-0.45, 0.45) * width
    high = min(end, max(unit.header, round(at + off) - width // 2) + width)
    low = max(unit.header, high - width)
    for start in range(low, min(low + width // 6, at)):
        if low > unit.header and b"\n" in unit.tokenizer.piece_bytes(int(unit.ids[start])):
            low = start + 1
            break
    return low, high


def text_of(unit: Unit, window: Span) -> str:
    return unit.tokenizer.decode(unit.ids[slice(*window)].tolist())
