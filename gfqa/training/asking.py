"""What is asked over a context, and in which form: at first sight, or with a passage read again between two copies.

`gfqa ask` reads again the passages that its first look points at, each over its own document alone, and takes the first
that is sure. So a share of the second looks here reads a passage that does not answer, and the answer is that it is not there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gfqa.training.pool import Context, Pool, Unit
from gfqa.training.questions.places import clue_words, mention
from gfqa.training.questions.units import BACKWARD_KINDS, PROSE_KINDS, Question

SURROUNDINGS = 4096
"""Tokens of the passage's own document that a second look sees, as in `gfqa ask`."""


@dataclass
class AskingShape:
    """Shares (0 to 1) of the forms of questions, and the size of a passage in tokens."""

    unanswerable: float = 0.15
    """Questions whose document was left out."""
    absent_near: float = 0.7
    """Of those: questions of the same article or repository."""
    reread: float = 0.45
    """Questions asked with a passage read again."""
    wrong_passage: float = 0.3
    """Of those: passages that do not answer."""
    own_document: float = 0.8
    """Of those: seeing the passage's own document only, as the application does; the rest see the whole context."""
    passage: int = 320
    backward: float = 0.25
    """How often a question whose answer stands before its clue is asked at first sight: its keys were made too early."""


@dataclass
class Passage:
    """Tokens low to high of a unit's chain, to be read behind its header; `own` where only that document is seen."""

    unit: Unit
    low: int
    high: int
    own: bool


@dataclass
class Asked:
    """A question, its answer (None: not in the documents), and the passage to be read again, if any."""

    question: str
    answer: str | None
    passage: Passage | None = None


def asked_of(pool: Pool, context: Context, count: int, shape: AskingShape, rng: random.Random) -> Iterator[Asked]:
    """At most `count` questions of a context, the one it was put together for first."""
    candidates: list[tuple[Question, Unit]] = []
    for unit in context.units:
        candidates += [(qa, unit) for qa in rng.sample(unit.qas, min(len(unit.qas), max(12, count)))]
    rng.shuffle(candidates)
    if context.asked_first is not None:
        candidates.insert(0, context.asked_first)
    for number, (qa, unit) in enumerate(candidates[:count]):
        first = number == 0 and context.asked_first is not None
        if not first and rng.random() < shape.unanswerable:
            missing = _missing(pool, context, unit, shape, rng)
            if missing is not None:
                again = rng.random() < shape.reread
                yield Asked(missing["q"], None, _passage(unit, missing, shape, rng) if again else None)
                continue
        if _ambiguous(qa, unit, context):
            continue
        # The documents chosen for a question are its wrong passages too: both forms are asked.
        if (first or rng.random() < shape.reread * shape.wrong_passage) and (other := _other(qa, unit, context, rng)):
            yield Asked(qa["q"], None, _passage(other, qa, shape, rng, own=True))
            if not first:
                continue
        if rng.random() < shape.reread:
            yield Asked(qa["q"], rng.choice(qa["a"]), _passage(unit, qa, shape, rng, at=qa["at"]))
        elif qa["kind"] not in BACKWARD_KINDS or rng.random() < shape.backward:
            yield Asked(qa["q"], rng.choice(qa["a"]))


def _missing(pool: Pool, context: Context, unit: Unit, shape: AskingShape, rng: random.Random) -> Question | None:
    """A question that no document of the context answers, as far as words can tell."""
    absent = pool.neighbour(unit, rng) if rng.random() < shape.absent_near else pool.seed(rng)
    if not absent.qas or any(absent.key == other.key for other in context.units):
        return None
    qa = rng.choice(absent.qas)
    related = [other for other in context.units if other.group == absent.group]
    return None if any(_may_answer(qa, other) for other in related) else qa


def _may_answer(qa: Question, other: Unit) -> bool:
    """Whether another document of the same group could answer too: prose that holds the answer's words.

    Names of code are unique in their repository, so there a document that holds the same value says nothing.
    """
    return qa["kind"] in PROSE_KINDS and any(answer.lower() in other.text.lower() for answer in qa["a"])


def _ambiguous(qa: Question, unit: Unit, context: Context) -> bool:
    """Whether a document of another group mentions the question's names: which one is meant cannot be told."""
    names = qa.get("names", ())
    others = [other for other in context.units if other.group != unit.group] if names else []
    return any(all(_has_word(other.text, name) for name in names) for other in others)


def _has_word(text: str, name: str) -> bool:
    word = re.findall(r"\w+", name)
    return bool(word) and re.search(rf"(?<!\w){re.escape(word[-1])}(?!\w)", text) is not None


def _other(qa: Question, unit: Unit, context: Context, rng: random.Random) -> Unit | None:
    """A document of the context that does not answer, those that mention the question's words first."""
    others = [other for other in context.units if other.key != unit.key and not _may_answer(qa, other)]
    rng.shuffle(others)
    words = clue_words(qa)
    return next((other for other in others if mention(other.text, words) >= 0), others[0] if others else None)


def _passage(
    unit: Unit,
    qa: Question,
    shape: AskingShape,
    rng: random.Random,
    *,
    at: int | None = None,
    own: bool | None = None,
) -> Passage:
    """A passage around token `at`, or, without it, around words of the question; off its middle as a first look is."""
    end = len(unit.ids)
    if at is None:
        character = mention(unit.text, clue_words(qa))
        at = unit.places.token(character) if character >= 0 else rng.randrange(unit.header, max(end, unit.header + 1))
    width = shape.passage if rng.random() < 0.7 else rng.randint(shape.passage // 3, shape.passage)
    middle = at + round(rng.gauss(0.0, width / 6))
    high = min(end, max(unit.header, middle - width // 2) + width)
    low = max(unit.header, high - width)
    for start in range(low, min(low + width // 6, at)):
        # From a line's start where one is near, as the application does.
        if low > unit.header and b"\n" in unit.tokenizer.piece_bytes(int(unit.ids[start])):
            low = start + 1
            break
    return Passage(unit, low, high, rng.random() < shape.own_document if own is None else own)


def surroundings(passage: Passage) -> tuple[int, int]:
    """The tokens of its document that a second look over the document alone sees."""
    low = max(0, (passage.low + passage.high - SURROUNDINGS) // 2)
    return low, min(len(passage.unit.ids), low + SURROUNDINGS)
