"""Packed training rows from token shards and question units.

Language rows are windows of the token stream; a share of them is cut into pieces that begin from nothing, the shipped form.
Question rows hold several contexts: documents (each a chain), then question chains that see their own context only. A share
of the question chains reads a passage again between two copies of the question (`answer.prompt.reread_ids`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfqa.answer.prompt import answer_ids, document_ids, question_ids, reread_ids
from gfqa.tokenizer import Tokenizer
from gfqa.training.questions import BACKWARD_KINDS
from gfqa.training.unit_files import UnitFiles

CHUNK = 64
"""Chains begin at multiples of the WKV chunk."""
REREAD_CHARACTERS = 1400
"""Text of the passage that is read again."""
BACKWARD_SHARE = 0.2
"""How often a question whose answer stands before its clue is asked without reading again: its keys were made too early."""


def language_row(
    stream: np.ndarray, begins: np.ndarray, length: int, rng: random.Random, cut_share: float
) -> dict[str, np.ndarray]:
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
class Unit:
    """A document with its questions, tokenised. `record` has path, text and qas."""

    ids: np.ndarray
    record: dict[str, Any]
    set: str
    group: str


def unit_of(record: dict[str, Any], tokenizer: Tokenizer) -> Unit:
    """A unit from its record."""
    ids, _ = document_ids(tokenizer, record["path"], record["text"])
    return Unit(np.asarray(ids, dtype=np.uint16), record, record["set"], record["group"])


class Pool:
    """Question units to draw from; `weights` say how often a set seeds a context (1 where not named)."""

    def __init__(self, files: UnitFiles, weights: dict[str, float], largest: int) -> None:
        self.files, self.weights = files, weights
        self._by_set: dict[str, list[int]] = defaultdict(list)
        self._by_group: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, (name, group) in enumerate(zip(files.sets, files.groups, strict=True)):
            if len(files.tokens(i)) <= largest:
                self._by_set[name].append(i)
                self._by_group[name, group].append(i)
        self._names = [name for name in self._by_set if weights.get(name, 1.0) > 0]
        self._name_weights = [weights.get(name, 1.0) for name in self._names]

    def _unit(self, i: int) -> Unit:
        return Unit(self.files.tokens(i), self.files.record(i), self.files.sets[i], self.files.groups[i])

    def seed(self, rng: random.Random) -> Unit:
        """A unit of a set drawn by weight."""
        return self._unit(rng.choice(self._by_set[rng.choices(self._names, self._name_weights)[0]]))

    def neighbour(self, unit: Unit, rng: random.Random) -> Unit:
        """A unit of the same group (perhaps the same one); any unit where the group is not of the pool."""
        group = self._by_group.get((unit.set, unit.group))
        return self._unit(rng.choice(group)) if group else self.seed(rng)


@dataclass
class RowShape:
    """How question rows are filled; lengths in tokens."""

    documents: int = 8192
    questions: int = 4096
    smallest_context: int = 192
    unanswerable: float = 0.12
    reread: float = 0.12
    least_questions: int = 5


@dataclass
class _Asked:
    question: str
    answer: str | None
    unit: Unit
    kind: str = ""


Vary = Callable[[str, random.Random], str]
Synthetic = Callable[[random.Random], list[Unit]]


def question_row(
    pool: Pool, shape: RowShape, tokenizer: Tokenizer, rng: random.Random, vary: Vary, synthetic: Synthetic | None
) -> dict[str, np.ndarray]:
    """One packed question row: ids, starts [Td + Tq], targets [Tq] and the arrays of `forward.Spans`."""
    n_docs, n_questions = shape.documents, shape.questions
    ids = np.zeros(n_docs + n_questions, dtype=np.int64)
    starts = np.zeros(n_docs + n_questions, dtype=bool)
    document_context = np.full(n_docs, -1, dtype=np.int32)
    question_context = np.full(n_questions, -2, dtype=np.int32)
    # Unused slots are chains of their own: a position that sees nothing at all would have no defined softmax.
    chain = (np.arange(n_questions, dtype=np.int32) // CHUNK) * CHUNK
    visible = np.ones(n_questions, dtype=np.float32)
    targets = np.full(n_questions, -1, dtype=np.int64)
    position, slot, context = 0, 0, 0
    while position + shape.smallest_context <= n_docs and slot + CHUNK <= n_questions:
        room = n_docs - position
        # Log-uniform sizes: one paragraph as often as a whole row.
        size = int(np.exp(rng.uniform(np.log(shape.smallest_context), np.log(room + 1))))
        units = compose(pool, size, room, rng, synthetic)
        if not units:
            break
        seen = 0
        for unit in units:
            n = len(unit.ids)
            ids[position : position + n] = unit.ids
            starts[position] = True
            document_context[position : position + n] = context
            position += -(-n // CHUNK) * CHUNK
            seen += n
        share = max(shape.least_questions, round(n_questions / CHUNK * seen / n_docs))
        for asked in questions_of(pool, units, share, shape.unanswerable, rng):
            question = vary(asked.question, rng)
            if rng.random() < shape.reread:
                prompt = reread_ids(tokenizer, question, document_ids(tokenizer, *passage(asked, rng))[0])
            elif asked.kind in BACKWARD_KINDS and rng.random() > BACKWARD_SHARE:
                continue
            else:
                prompt = question_ids(tokenizer, question)
            whole = np.asarray(prompt + answer_ids(tokenizer, asked.answer), dtype=np.int64)
            n = len(whole) - 1
            if n > 12 * CHUNK or slot + n > n_questions:
                continue
            ids[n_docs + slot : n_docs + slot + n] = whole[:-1]
            starts[n_docs + slot] = True
            question_context[slot : slot + n] = context
            chain[slot : slot + -(-n // CHUNK) * CHUNK] = slot
            visible[slot : slot + n] = seen + np.arange(1, n + 1)
            targets[slot + len(prompt) - 1 : slot + n] = whole[len(prompt) :]
            slot += -(-n // CHUNK) * CHUNK
        context += 1
    starts[n_docs::CHUNK] |= chain[::CHUNK] == np.arange(0, n_questions, CHUNK)
    return {
        "ids": ids,
        "starts": starts,
        "targets": targets,
        "document_context": document_context,
        "question_context": question_context,
        "chain": chain,
        "visible": visible,
    }


def compose(pool: Pool, size: int, room: int, rng: random.Random, synthetic: Synthetic | None) -> list[Unit]:
    """Units of about `size` tokens that fit into `room`: a seed, its neighbours, distractors; each once."""
    planned = synthetic(rng) if synthetic is not None and rng.random() < pool.weights.get("synthetic", 0.0) else []
    seed = planned[0] if planned else pool.seed(rng)
    queue = planned or [seed]
    near = rng.random()
    units: list[Unit] = []
    have: set[str] = set()
    used = 0
    for attempt in range(20 + size // 32):
        if attempt < len(queue):
            unit = queue[attempt]
        else:
            unit = pool.neighbour(seed, rng) if not planned and rng.random() < near else pool.seed(rng)
        padded = -(-len(unit.ids) // CHUNK) * CHUNK
        key = f"{unit.group}/{unit.record['path']}"
        if key in have or used + padded > room:
            continue
        units.append(unit)
        have.add(key)
        used += padded
        if used >= size and attempt + 1 >= len(queue):
            break
    rng.shuffle(units)
    return units


def questions_of(
    pool: Pool, units: list[Unit], count: int, unanswerable: float, rng: random.Random
) -> Iterator[_Asked]:
    """Questions of a context: answerable ones of its units, and some whose unit was left out (answer None)."""
    present = {(unit.group, unit.record["path"]) for unit in units}
    candidates = []
    for unit in units:
        answerable = [qa for qa in unit.record["qas"] if qa["a"]]
        candidates += [(qa, unit) for qa in rng.sample(answerable, min(len(answerable), max(12, count)))]
    rng.shuffle(candidates)
    for qa, unit in candidates[:count]:
        if rng.random() < unanswerable:
            absent = pool.neighbour(unit, rng) if rng.random() < 0.6 else pool.seed(rng)
            missing = [qa for qa in absent.record["qas"] if qa["a"]]
            if (absent.group, absent.record["path"]) not in present and missing:
                yield _Asked(rng.choice(missing)["q"], None, unit)
                continue
        yield _Asked(qa["q"], rng.choice(qa["a"]), unit, qa["kind"])


def passage(asked: _Asked, rng: random.Random) -> tuple[str, str]:
    """(path, about REREAD_CHARACTERS of text) of the asked unit, around the answer where there is one."""
    text = asked.unit.record["text"]
    at = max(text.find(asked.answer), 0) if asked.answer is not None else rng.randrange(max(len(text), 1))
    low = max(0, at - rng.randrange(50, REREAD_CHARACTERS - 200))
    low = text.find("\n", max(low - 1, 0), at) + 1 or low if low else 0
    return asked.unit.record["path"], text[low : low + rng.randrange(REREAD_CHARACTERS // 2, REREAD_CHARACTERS)]
