"""Rows for the pointer: questions, each with one passage, and the tokens where it is answered there, if it is.

A row holds `per_context` questions of a few documents drawn together, each a chain of `length` tokens of its own: the question,
the document's header, a passage of its text, padding. A share of the passages does not answer: another part of the document,
or a document beside it that speaks of the same words. Some questions are asked of several passages side by side, one of which
answers: whoever asks has twelve passages to choose from.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from gfqa.answer.prompt import asking_ids
from gfqa.errors import UsageError
from gfqa.tokenizer import Tokenizer
from gfqa.training.asking import some_of
from gfqa.training.passage_parts import LONGEST, Answer, PassageShape, Span, window_around
from gfqa.training.pool import Maker, Pool, Unit
from gfqa.training.questions.places import TokenPlaces, occurrences
from gfqa.training.questions.units import PROSE_KINDS, Question
from gfqa.training.wrong_passages import rivals_of, swapped, wrong_passage

Row = dict[str, np.ndarray]
Vary = Callable[[str, random.Random], str]
OCCURRENCES = 2000
"""Places of an answer's words that are looked at: a short number may stand anywhere in a table."""
TRIES = 1000
"""Draws for one row."""
NUMBERS = ("asked", "tokens", "first", "last", "question")
"""What a row says of each chain (`passage_row`)."""


def passage_row(
    pool: Pool, shape: PassageShape, tokenizer: Tokenizer, rng: random.Random, vary: Vary, made: Maker | None
) -> Row:
    """One row of G = per_context chains of L = length tokens.

    ids [G, L]; asked, tokens [G]: tokens of the question and of the chain; first, last [G]: the answer's tokens, 0 where there
    is none; firsts bool [G, L]: every token at which the answer may begin (position 0 where there is none); question [G]: the
    number of the question, the same where one is asked of several passages.
    """
    row = _Filling(shape, tokenizer)
    for _ in range(TRIES):
        if row.full:
            break
        units = (made(rng) if made is not None else []) or [pool.seed(rng)]
        for unit in units:
            for qa in some_of(unit.qas, shape.most_of_document, shape.everyday, rng):
                answer = None if row.full else answer_of(unit, qa, rng)
                if answer is not None:
                    _ask(row, pool, unit, qa, answer, units, shape, vary(qa["q"], rng), rng)
    if not row.full:
        raise UsageError("The units have next to no question whose answer stands in their text.")
    return row.arrays()


def _ask(
    row: _Filling, pool: Pool, unit: Unit, qa: Question, answer: Answer, units: list[Unit], shape: PassageShape, asked: str,
    rng: random.Random,
) -> None:  # fmt: skip
    """Chains of one question, put as `asked`: of the passage that answers and perhaps of others, or of one that does not."""
    if rng.random() >= shape.unanswerable:
        # Where the path is the answer, the passage is what it is about.
        about = answer.first if answer.first >= unit.header else qa["at"]
        window = window_around(unit, about, shape.passage, rng)
        if row.ask(asked, unit, window, answer) and rng.random() < shape.compared:
            for wrong in rivals_of(pool, unit, qa, answer, units, shape, rng):
                row.ask(asked, *wrong, None, again=True)
    elif qa["kind"] == "span" and rng.random() < shape.swapped and (other := swapped(pool, unit, qa, rng)):
        row.ask(other, unit, window_around(unit, answer.first, shape.passage, rng), None)
    elif alone := wrong_passage(pool, unit, qa, answer, units, shape, rng):
        row.ask(asked, *alone, None)


def answer_of(unit: Unit, qa: Question, rng: random.Random) -> Answer | None:
    """Where the unit's text, or its path, says an answer word for word; None where it does not."""
    text, places = unit.text, unit.places
    around = places.character(qa["at"])
    for said in sorted(qa["a"], key=lambda _: rng.random()):
        found = list(occurrences(text, said, OCCURRENCES))
        if found:
            at = min(found, key=lambda character: abs(character - around))
            first, last = places.token(at), places.token(at + len(said) - 1)
            # A name or a value in code is answered where it says so; the same words of prose may do as well anywhere.
            alike = found if qa["kind"] in PROSE_KINDS else []
            return (
                Answer(first, last, tuple(places.token(character) for character in alike))
                if last - first < LONGEST
                else None
            )
        if (in_path := unit.path.find(said)) >= 0:
            header = _header_places(unit)
            first, last = header.token(in_path), header.token(in_path + len(said) - 1)
            return Answer(first, last) if last < unit.header and last - first < LONGEST else None
    return None


def _header_places(unit: Unit) -> TokenPlaces:
    """Characters of the path to tokens of the chain, whose first one is `<doc>`."""
    sizes = [len(unit.tokenizer.piece_bytes(id)) for id in unit.ids[1 : unit.header].tolist()]
    return TokenPlaces(unit.path + "\n", sizes, 1)


class _Filling:
    """A row being filled, chain by chain."""

    def __init__(self, shape: PassageShape, tokenizer: Tokenizer) -> None:
        count, self._length = shape.per_context, shape.length
        self._tokenizer, self._used, self._questions = tokenizer, 0, 0
        self._ids = np.zeros((count, shape.length), dtype=np.int64)
        self._firsts = np.zeros((count, shape.length), dtype=bool)
        self._numbers = {name: np.zeros(count, dtype=np.int64) for name in NUMBERS}

    @property
    def full(self) -> bool:
        return self._used == len(self._ids)

    def ask(self, question: str, unit: Unit, window: Span, answer: Answer | None, *, again: bool = False) -> bool:
        """Add a chain; not where the answer is not in it whole, or where there is no room for half the passage: whether it was.

        again: the question is that of the chain before.
        """
        asked = asking_ids(self._tokenizer, question)
        low, high = window
        before = len(asked) + unit.header
        room = self._length - before
        if self.full or room < (high - low) // 2:
            return False
        if answer is not None and answer.first >= unit.header and answer.last >= low + room:
            low = max(unit.header, answer.last + 1 - room // 2)
        high = min(high, low + room)

        def place(token: int) -> int:
            """A token of the document's chain in this one; -1 where it is not there."""
            if token < unit.header:
                return len(asked) + token
            return before + token - low if low <= token < high else -1

        first = last = 0
        firsts = [0]
        if answer is not None:
            first, last = place(answer.first), place(answer.last)
            firsts = [at for at in (first, *map(place, answer.others)) if at > 0]
            if first < 0 or last < 0:
                return False
        ids = [*asked, *unit.ids[: unit.header].tolist(), *unit.ids[low:high].tolist()]
        number, self._used, self._questions = self._used, self._used + 1, self._questions + (not again)
        self._ids[number, : len(ids)] = ids
        self._firsts[number, firsts] = True
        for name, value in zip(NUMBERS, (len(asked), len(ids), first, last, self._questions), strict=True):
            self._numbers[name][number] = value
        return True

    def arrays(self) -> Row:
        return {"ids": self._ids, "firsts": self._firsts, **self._numbers}
