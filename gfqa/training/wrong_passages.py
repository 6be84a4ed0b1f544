"""Passages that do not answer a question, as far as words can tell: those that a search for it would bring up, mostly."""

from __future__ import annotations

import random
import re

import numpy as np

from gfqa.tokenizer import Tokenizer
from gfqa.training.passage_parts import Answer, PassageShape, Span, text_of, window_around
from gfqa.training.pool import Pool, Unit
from gfqa.training.questions.units import EVERYDAY_PREFIX, PROSE_KINDS, Question

Pieces = tuple[np.ndarray, np.ndarray]
"""Tokens uint16 [n], and what each weighs, float32."""
RIVALS, FEW = 24, 6
"""Documents of the same group that are searched for a wrong passage; fewer for a question that does not name what it asks
about: the more are searched, the likelier the best of them answers in other words."""
STEPS = 4
"""Passages to be chosen from begin this often in the width of one."""
_NAMED = re.compile(r"\b(?:[A-Z][\w'-]+(?: [A-Z][\w'-]+)*|\d[\d,.]*\d|\d)")


def wrong_passage(
    pool: Pool, unit: Unit, qa: Question, answer: Answer, beside: list[Unit], shape: PassageShape, rng: random.Random
) -> tuple[Unit, Span] | None:
    """A passage that does not answer, as far as words can tell: one that a search for the question would bring up, often."""
    draw, wanted = rng.random(), _pieces(unit.tokenizer, qa["q"])
    near = draw < shape.elsewhere + shape.near
    others: list[Unit] = []
    if near and draw >= shape.elsewhere:
        others = [pool.unit(number) for number in rng.sample(qa["users"], 1)] if qa.get("users") else []
        others = others or [other for other in beside if other is not unit]
        count = FEW if qa["kind"].startswith(EVERYDAY_PREFIX) else RIVALS
        numbers = [] if others else pool.beside(unit, count, rng)
        others = others or ([pool.unit(_nearest(pool, numbers, wanted))] if numbers else [])
    if near and not others and (window := _elsewhere(unit, qa, answer, wanted, shape.passage, rng)):
        return unit, window
    others = [other for other in others or [pool.seed(rng)] if other.key != unit.key and not _says(other, qa)]
    if not others:
        return None
    other = others[_best([other.ids for other in others], wanted)]
    window = window_around(other, _densest(other, wanted, shape.passage, rng), shape.passage, rng)
    # The same name with the same value elsewhere is an answer too; and where no name is asked about, the value is enough.
    inside = text_of(other, window)
    answers = any(said in inside for said in qa["a"]) and all(name in inside for name in qa.get("names") or ())
    return None if answers else (other, window)


def rivals_of(
    pool: Pool, unit: Unit, qa: Question, answer: Answer, beside: list[Unit], shape: PassageShape, rng: random.Random
) -> list[tuple[Unit, Span]]:
    """At most `shape.rivals` passages that do not answer, of which no two are the same part of a document."""
    found: list[tuple[Unit, Span]] = []
    for _ in range(2 * shape.rivals):
        if len(found) == shape.rivals:
            break
        wrong = wrong_passage(pool, unit, qa, answer, beside, shape, rng)
        if wrong and not any(
            wrong[0].key == other.key and abs(wrong[1][0] - at[0]) < shape.passage // 2 for other, at in found
        ):
            found.append(wrong)
    return found


def swapped(pool: Pool, unit: Unit, qa: Question, rng: random.Random) -> str | None:
    """The question with one of its names or numbers replaced by one that the document does not have; None where it has none.

    What remains of the question is answered there, so only reading it whole tells that it is not.
    """
    named = [match for match in _NAMED.finditer(qa["q"]) if match.start() > 0]
    if not named:
        return None
    chosen = rng.choice(named)
    number = chosen.group()[0].isdigit()
    text = pool.neighbour(unit, rng).text
    # A capital at the beginning of a sentence makes no name.
    others = {match.group() for match in _NAMED.finditer(text) if re.search(r"[\w,] $", text[: match.start()])}
    fits = sorted(
        name for name in others if name[0].isdigit() == number and name not in unit.text and name not in qa["q"]
    )
    return qa["q"][: chosen.start()] + rng.choice(fits) + qa["q"][chosen.end() :] if fits else None


def _elsewhere(unit: Unit, qa: Question, answer: Answer, wanted: Pieces, width: int, rng: random.Random) -> Span | None:
    """Another part of the answering document, half of the time the one with most of the question's words in this draw."""
    if len(unit.ids) <= 2 * width or answer.first < unit.header:
        return None
    at = rng.randrange(unit.header, len(unit.ids)) if rng.random() < 0.5 else _densest(unit, wanted, width, rng)
    window = window_around(unit, at, width, rng)
    return None if any(said in text_of(unit, window) for said in qa["a"]) else window


def _pieces(tokenizer: Tokenizer, question: str) -> Pieces:
    """The pieces of a question's longer words, as they are written after a space and after anything else."""
    words = re.findall(r"\w{3,}", question)
    ids = {id for word in words for form in (word, " " + word, " " + word.lower()) for id in tokenizer.encode(form)}
    sizes = {id: len(tokenizer.piece_bytes(id).strip()) for id in ids}
    # Long pieces are rare ones.
    chosen = sorted(id for id, size in sizes.items() if size >= 3)
    return np.array(chosen, dtype=np.uint16), np.array([sizes[id] for id in chosen], dtype=np.float32)


def _best(texts: list[np.ndarray], wanted: Pieces) -> int:
    """The number of the text that has most of these pieces."""
    ids, weights = wanted
    return max(range(len(texts)), key=lambda number: float(weights @ np.isin(ids, texts[number])))


def _nearest(pool: Pool, numbers: list[int], wanted: Pieces) -> int:
    return numbers[_best([pool.files.tokens(number) for number in numbers], wanted)]


def _densest(unit: Unit, wanted: Pieces, width: int, rng: random.Random) -> int:
    """A token in the middle of where most of these pieces stand within `width` tokens; any one where none does."""
    body = unit.ids[unit.header :]
    starts = np.arange(0, max(1, len(body) - width // 2), max(1, width // STEPS))
    ends = np.minimum(starts + width, len(body))
    found = np.zeros(len(starts), dtype=np.float32)
    for id, weight in zip(*wanted, strict=True):
        before = np.concatenate(([0], np.cumsum(body == id)))
        found += weight * (before[ends] > before[starts])
    if not found.any():
        return rng.randrange(unit.header, max(len(unit.ids), unit.header + 1))
    best = int(found.argmax())
    return unit.header + int(starts[best] + ends[best]) // 2


def _says(other: Unit, qa: Question) -> bool:
    """Whether another document could answer too: prose that has the answer's words, a path that is the answer."""
    prose = qa["kind"] in PROSE_KINDS
    return any(said == other.path or (prose and said.lower() in other.text.lower()) for said in qa["a"])
