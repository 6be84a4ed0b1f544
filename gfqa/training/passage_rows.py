"""Rows for the pointer: questions, each with one passage, and the tokens where it is answered there, if it is.

A row holds `per_context` questions of a few documents drawn together, each a chain of `length` tokens of its own: the question,
the document's header, a passage of its text, padding. A share of the passages does not answer: another part of the document,
or a document beside it that speaks of the same words. Some questions are asked of several passages side by side, one of which
answers: whoever asks has twelve passages to choose from.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gfqa.answer.prompt import asking_ids
from gfqa.errors import UsageError
from gfqa.tokenizer import Tokenizer
from gfqa.training.asking import some_of
from gfqa.training.pool import Maker, Pool, Unit
from gfqa.training.questions.places import TokenPlaces, occurrences
from gfqa.training.questions.units import EVERYDAY_PREFIX, PROSE_KINDS, Question

Row = dict[str, np.ndarray]
Vary = Callable[[str, random.Random], str]
Span = tuple[int, int]
Pieces = tuple[np.ndarray, np.ndarray]
"""Tokens uint16 [n], and what each weighs, float32."""
LONGEST = 64
"""Tokens of an answer at most (`model.pointer.LONGEST`)."""
OCCURRENCES = 2000
"""Places of an answer's words that are looked at: a short number may stand anywhere in a table."""
_NAMED = re.compile(r"\b(?:[A-Z][\w'-]+(?: [A-Z][\w'-]+)*|\d[\d,.]*\d|\d)")
RIVALS, FEW = 24, 6
"""Documents of the same group that are searched for a wrong passage; fewer for a question that does not name what it asks
about: the more are searched, the likelier the best of them answers in other words."""
STEPS = 4
"""Passages to be chosen from begin this often in the width of one."""
TRIES = 1000
"""Draws for one row."""
NUMBERS = ("asked", "tokens", "first", "last", "question")
"""What a row says of each chain (`passage_row`)."""


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
                if answer is None:
                    continue
                asked = vary(qa["q"], rng)
                if rng.random() < shape.unanswerable:
                    if (
                        qa["kind"] == "span"
                        and rng.random() < shape.swapped
                        and (other := _swapped(pool, unit, qa, rng))
                    ):
                        row.ask(other, unit, _window(unit, answer.first, shape.passage, rng), None)
                        continue
                    wrong = _wrong(pool, unit, qa, answer, units, shape, rng)
                    if wrong is not None:
                        row.ask(asked, *wrong, None)
                else:
                    # Where the path is the answer, the passage is what it is about.
                    about = answer.first if answer.first >= unit.header else qa["at"]
                    window = _window(unit, about, shape.passage, rng)
                    if row.ask(asked, unit, window, answer) and rng.random() < shape.compared:
                        for wrong in _rivals(pool, unit, qa, answer, units, shape, rng):
                            row.ask(asked, *wrong, None, again=True)
    if not row.full:
        raise UsageError("The units have next to no question whose answer stands in their text.")
    return row.arrays()


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


def _window(unit: Unit, at: int, width: int, rng: random.Random) -> Span:
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


def _wrong(
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
    window = _window(other, _densest(other, wanted, shape.passage, rng), shape.passage, rng)
    # The same name with the same value elsewhere is an answer too; and where no name is asked about, the value is enough.
    inside = _text(other, window)
    answers = any(said in inside for said in qa["a"]) and all(name in inside for name in qa.get("names") or ())
    return None if answers else (other, window)


def _rivals(
    pool: Pool, unit: Unit, qa: Question, answer: Answer, beside: list[Unit], shape: PassageShape, rng: random.Random
) -> list[tuple[Unit, Span]]:
    """At most `shape.rivals` passages that do not answer, of which no two are the same part of a document."""
    found: list[tuple[Unit, Span]] = []
    for _ in range(2 * shape.rivals):
        wrong = _wrong(pool, unit, qa, answer, beside, shape, rng) if len(found) < shape.rivals else None
        if wrong and not any(
            wrong[0].key == other.key and abs(wrong[1][0] - at[0]) < shape.passage // 2 for other, at in found
        ):
            found.append(wrong)
    return found


def _elsewhere(unit: Unit, qa: Question, answer: Answer, wanted: Pieces, width: int, rng: random.Random) -> Span | None:
    """Another part of the answering document, half of the time the one with most of the question's words in this draw."""
    if len(unit.ids) <= 2 * width or answer.first < unit.header:
        return None
    at = rng.randrange(unit.header, len(unit.ids)) if rng.random() < 0.5 else _densest(unit, wanted, width, rng)
    window = _window(unit, at, width, rng)
    return None if any(said in _text(unit, window) for said in qa["a"]) else window


def _text(unit: Unit, window: Span) -> str:
    return unit.tokenizer.decode(unit.ids[slice(*window)].tolist())


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


def _swapped(pool: Pool, unit: Unit, qa: Question, rng: random.Random) -> str | None:
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


def _says(other: Unit, qa: Question) -> bool:
    """Whether another document could answer too: prose that has the answer's words, a path that is the answer."""
    prose = qa["kind"] in PROSE_KINDS
    return any(said == other.path or (prose and said.lower() in other.text.lower()) for said in qa["a"])


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
