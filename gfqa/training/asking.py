"""What is asked over a context, at first sight: questions of its documents, and some whose document was left out."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gfqa.training.pool import Context, Pool, Unit
from gfqa.training.questions.units import BACKWARD_KINDS, EVERYDAY_PREFIX, PROSE_KINDS, Question


@dataclass
class AskingShape:
    """Shares, 0 to 1."""

    unanswerable: float = 0.15
    """Questions whose document was left out."""
    absent_near: float = 0.7
    """Of those: questions of the same article or repository."""
    backward: float = 0.25
    """How often a question whose answer stands before its clue is asked: its keys were made too early."""
    everyday: float = 1.0
    """How much likelier a question is taken that does not name what it asks about: few do not, and users seldom do."""


@dataclass
class Asked:
    """A question and its answer (None: not in the documents). place: the document (`Unit.key`) and the token that answer it."""

    question: str
    answer: str | None
    place: tuple[tuple[str, str], int] | None = None


def some_of(qas: list[Question], count: int, everyday: float, rng: random.Random) -> list[Question]:
    """At most `count` of a document's questions, everyday ones `everyday` times as likely to be among them."""
    weights = [everyday if qa["kind"].startswith(EVERYDAY_PREFIX) else 1.0 for qa in qas]
    # Drawn without putting back, each by its weight (Efraimidis and Spirakis, 2006).
    drawn = sorted(zip((rng.random() ** (1 / weight) for weight in weights), range(len(qas))), reverse=True)
    return [qas[number] for _, number in drawn[:count]]


def asked_of(pool: Pool, context: Context, count: int, shape: AskingShape, rng: random.Random) -> Iterator[Asked]:
    """At most `count` questions of a context, the one it was put together for first."""
    candidates: list[tuple[Question, Unit]] = []
    for unit in context.units:
        candidates += [(qa, unit) for qa in some_of(unit.qas, max(12, count), shape.everyday, rng)]
    rng.shuffle(candidates)
    if context.asked_first is not None:
        candidates.insert(0, context.asked_first)
    for number, (qa, unit) in enumerate(candidates[:count]):
        first = number == 0 and context.asked_first is not None
        if not first and rng.random() < shape.unanswerable:
            missing = _missing(pool, context, unit, shape, rng)
            if missing is not None:
                yield Asked(missing["q"], None)
                continue
        if _ambiguous(qa, unit, context):
            continue
        if qa["kind"] not in BACKWARD_KINDS or rng.random() < shape.backward:
            yield Asked(qa["q"], rng.choice(qa["a"]), (unit.key, qa["at"]))


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
