"""Packed training rows from token streams and question units.

Language rows are windows of the token stream; a share of them is cut into pieces that begin from nothing, the shipped form.
Question rows hold several contexts: documents (each a chain), then question chains that see their own context only.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gfqa.answer.prompt import answer_ids, question_ids
from gfqa.tokenizer import Tokenizer
from gfqa.training.asking import Asked, AskingShape, asked_of
from gfqa.training.packs import CHUNK
from gfqa.training.pool import ContextShape, Maker, Pool, Unit, compose
from gfqa.training.questions.units import PROSE_KINDS

LONGEST_QUESTION = 16 * CHUNK
"""Tokens of a question chain with its answer at most."""
AROUND = 40
"""Tokens before and behind the one that answers a question that are its place: with them about a passage of the search."""

Row = dict[str, np.ndarray]
Vary = Callable[[str, random.Random], str]


def language_row(stream: np.ndarray, begins: np.ndarray, length: int, rng: random.Random, cut_share: float) -> Row:
    """A window of `length` tokens: ids, starts, targets (-1 where the next token belongs to another chain).

    stream: uint16 tokens whose documents begin at multiples of 64; begins: bool per 64 tokens, True where one does.
    """
    first = rng.randrange((len(stream) - length) // CHUNK + 1) * CHUNK
    ids = stream[first : first + length].astype(np.int64)
    starts = np.zeros(length, dtype=bool)
    starts[::CHUNK] = begins[first // CHUNK : (first + length) // CHUNK]
    starts[0] = True
    if rng.random() < cut_share:
        position = 0
        while position < length:
            starts[position] = True
            position += CHUNK * rng.randint(2, 24)
    targets = np.full(length, -1, dtype=np.int64)
    targets[:-1] = np.where(starts[1:], -1, ids[1:])
    return {"ids": ids, "starts": starts, "targets": targets}


@dataclass
class RowShape:
    """How question rows are filled; lengths in tokens."""

    documents: int = 8192
    questions: int = 4096
    smallest_context: int = 192
    largest_context: int = 1 << 20
    least_questions: int = 5
    vary: float = 0.35
    """How often a question is put the way people type."""
    noise: float = 0.0
    """Share of the tokens of prose, answers aside, that are another of the document's tokens: which words stand around an
    answer cannot be learnt by heart then."""
    context: ContextShape = field(default_factory=ContextShape)
    asking: AskingShape = field(default_factory=AskingShape)


def question_row(
    pool: Pool, shape: RowShape, tokenizer: Tokenizer, rng: random.Random, vary: Vary, made: Maker | None
) -> Row:
    """One packed question row: ids, starts [Td + Tq], targets [Tq] and the arrays of `forward.Spans` and `forward.Places`."""
    filling = _Filling(shape, tokenizer)
    while filling.position + shape.smallest_context <= shape.documents and filling.slot + CHUNK <= shape.questions:
        room = shape.documents - filling.position
        # Log-uniform sizes: one paragraph as often as a whole row.
        largest = min(room, shape.largest_context)
        size = int(np.exp(rng.uniform(np.log(shape.smallest_context), np.log(largest + 1))))
        context = compose(pool, shape.context, size, room, rng, made)
        if not context.units:
            break
        if shape.noise:
            context.units[:] = [_noisy(unit, shape.noise, rng) for unit in context.units]
        first = filling.position
        filling.read(context.units)
        share = max(
            shape.least_questions, round(shape.questions / CHUNK * (filling.position - first) / shape.documents)
        )
        for asked in asked_of(pool, context, share, shape.asking, rng):
            filling.ask(asked, vary(asked.question, rng), first)
    return filling.row()


def _noisy(unit: Unit, share: float, rng: random.Random) -> Unit:
    """Prose with a share of its tokens replaced, answers and the header aside; anything else as it is."""
    if not any(qa["kind"] in PROSE_KINDS for qa in unit.qas):
        return unit
    n, draw = len(unit.ids), np.random.default_rng(rng.getrandbits(64))
    chosen = draw.random(n) < share
    chosen[: unit.header] = False
    for qa in unit.qas:
        # An answer has at most a token for every two of its characters, or nearly.
        chosen[max(qa["at"] - 1, 0) : qa["at"] + 3 + max(len(answer) for answer in qa["a"]) // 2] = False
    ids = np.where(chosen, unit.ids[draw.integers(unit.header, n, n)] if n > unit.header else unit.ids, unit.ids)
    return Unit(ids.astype(np.uint16), unit.header, unit.path, unit.qas, unit.set, unit.group, unit.tokenizer)


class _Filling:
    """A question row being filled: `position` in the documents' part, `slot` in the questions' part."""

    def __init__(self, shape: RowShape, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._documents, self._questions = tokenizer, shape.documents, shape.questions
        total = shape.documents + shape.questions
        self.position = self.slot = 0
        self._ids = np.zeros(total, dtype=np.int64)
        self._starts = np.zeros(total, dtype=bool)
        self._document = np.zeros(shape.documents, dtype=bool)
        self._first = np.zeros(shape.questions, dtype=np.int32)
        self._last = np.zeros(shape.questions, dtype=np.int32)
        # Unused slots are chains of their own: a position that sees nothing at all would have no defined softmax.
        self._chain = (np.arange(shape.questions, dtype=np.int32) // CHUNK) * CHUNK
        self._visible = np.ones(shape.questions, dtype=np.float32)
        self._targets = np.full(shape.questions, -1, dtype=np.int64)
        # Of the question in each slot: its last token before the answer, and where it is answered.
        self._places = {
            name: np.full(shape.questions // CHUNK, -1, dtype=np.int32) for name in ("at", "place_first", "place_last")
        }
        self._read: dict[tuple[str, str], tuple[int, int]] = {}

    def read(self, units: list[Unit]) -> None:
        """Put documents in."""
        for unit in units:
            n = len(unit.ids)
            self._ids[self.position : self.position + n] = unit.ids
            self._starts[self.position] = True
            self._document[self.position : self.position + n] = True
            self._read[unit.key] = (self.position, self.position + n)
            self.position += -(-n // CHUNK) * CHUNK

    def ask(self, asked: Asked, question: str, first: int) -> None:
        """Put a question chain in that sees the documents from position `first` on; not if there is no room."""
        prompt = question_ids(self._tokenizer, question)
        whole = np.asarray(prompt + answer_ids(self._tokenizer, asked.answer), dtype=np.int64)
        n, slot = len(whole) - 1, self.slot
        if n > LONGEST_QUESTION or slot + n > self._questions:
            return
        self._ids[self._documents + slot : self._documents + slot + n] = whole[:-1]
        self._starts[self._documents + slot] = True
        self._first[slot : slot + n], self._last[slot : slot + n] = first, self.position
        self._chain[slot : slot + -(-n // CHUNK) * CHUNK] = slot
        self._visible[slot : slot + n] = self._document[first : self.position].sum() + np.arange(1, n + 1)
        self._targets[slot + len(prompt) - 1 : slot + n] = whole[len(prompt) :]
        if asked.place is not None:
            (begin, end), at = self._read[asked.place[0]], asked.place[1]
            place = (slot + len(prompt) - 1, max(begin, begin + at - AROUND), min(end, begin + at + AROUND))
            for array, value in zip(self._places.values(), place, strict=True):
                array[slot // CHUNK] = value
        self.slot += -(-n // CHUNK) * CHUNK

    def row(self) -> Row:
        """The arrays of the row."""
        chunks = np.arange(0, self._questions, CHUNK)
        self._starts[self._documents :: CHUNK] |= self._chain[::CHUNK] == chunks
        return {
            "ids": self._ids,
            "starts": self._starts,
            "targets": self._targets,
            "document": self._document,
            "first": self._first,
            "last": self._last,
            "chain": self._chain,
            "visible": self._visible,
            **self._places,
        }
