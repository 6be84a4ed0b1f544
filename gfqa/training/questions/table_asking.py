"""How a table is asked about: by row and column for a cell, by a cell for its row or its column."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from gfqa.training.questions.kept_out import trained
from gfqa.training.questions.naming import listed
from gfqa.training.questions.table_topics import Measure

SYNONYM = 0.25
"""Share of the questions that call a column by another word than its head does."""
NATURAL = 0.35
"""Share of those whose measure has a question of its own."""
_CELL = """
{w} of {r}{t}
{r} {w}{t}
{w} for {r}{t}?
{w}{t} for {r}
{r}: {w}{t}?
What does the table give as {w} of {r}{t}?
In the table, what stands under {w} for {r}{t}?
What is listed under {w} for {r}{t}?
In the row of {r}, what does it say under {w}{t}?
{w}, {r}{t}
Find {w} for {r}{t}.
What does the column {w} say for {r}{t}?
What is the entry for {w} in the row {r}{t}?
What is given as {w} for {r}{t}?
"""
_ONE = """
What is the {w} of {r}{t}?
What is the {w} for {r}{t}?
What was the {w} of {r}{t}?
What {w} does {r} have{t}?
What {w} did {r} have{t}?
Which {w} is given for {r}{t}?
What is {r}'s {w}{t}?
In the table, what is the {w} of {r}{t}?
Tell me the {w} of {r}{t}.
Look up the {w} for {r}{t}.
{r}: what {w}{t}?
I want to know the {w} of {r}{t}.
what {w} is reported for {r}{t}
For {r}, what is the {w}{t}?
According to the table, which {w} does {r} have{t}?
What {w} is listed for {r}{t}?
"""
_MANY = """
How many {w} does {r} have{t}?
How many {w} did {r} have{t}?
How many {w} are there for {r}{t}?
How many {w} are listed for {r}{t}?
What are the {w} of {r}{t}?
What were the {w} of {r}{t}?
How many {w} were counted for {r}{t}?
Number of {w} of {r}{t}
For {r}, how many {w} are given{t}?
I need to know how many {w} {r} has{t}.
"""
_TIMED = """
What was the {w} of {r} {t}?
{t}, what was the {w} of {r}?
{w} of {r} {t}
{r}, {w} {t}
What {w} was measured for {r} {t}?
Which {w} did {r} have {t}?
"""
_BARE = """
What does the table say about {r} {t}?
{r} {t}?
What is the value for {r} {t}?
What is given for {r} {t}?
Which figure does {r} have {t}?
"""
_TOTAL = """
total {w}{t}
{w} in total{t}?
What is the total for {w}{t}?
What is given as the total of {w}{t}?
{w}: what is the sum{t}?
What do the {w} add up to{t}?
"""
_ROW = """
Which {s} has {v} as its {w}{t}?
What {s} has the {w} {v}{t}?
For which {s} is the {w} {v}{t}?
Which {s} is listed with {v} under {w}{t}?
Where does the table give {v} for {w}{t}?
{w} {v}{t}: which {s} is that?
"""
_ROW_ONE = """
Which {s} has a {w} of {v}{t}?
Which {s} had a {w} of {v}{t}?
{w} of {v}{t}: which {s}?
which {s} shows a {w} of {v}{t}
Name the {s} with a {w} of {v}{t}.
What {s} has a {w} of {v}{t}?
"""
_ROW_MANY = """
Which {s} has {v} {w}{t}?
Which {s} had {v} {w}{t}?
{v} {w}{t}: which {s}?
Name the {s} with {v} {w}{t}.
What {s} has {v} {w}{t}?
"""
_ROW_ANY = """
Which {s} is listed with {v} under {w}{t}?
Where does the table give {v} for {w}{t}?
Which {s} has {v} under {w}{t}?
For which {s} does it say {v} under {w}{t}?
"""
_COLUMN = """
In which {h} did {r} have {v} as {w}?
Which {h} has {v} for {r}?
For which {h} does {r} have {v}?
In what {h} did {r} reach {v}?
Which {h} is it where {r} has {v}?
"""
_VERBS = frozenset(
    listed("built launched founded opened since joined departs arrives dep. arr. from recovered improved survived n M p")
) | {"member since", "year of entry", "days open", "area sown", "units sold", "days to harvest"}  # fmt: skip
_NO_PLURALS = frozenset({"hours worked", "games played", "number observed", "dissolved oxygen", "s.d.", "costs", "ss"})
_WORDS_FOR_SORTS = {"name": "person"}
_MEANINGS = {"r": "e", "w": "a", "v": "v", "s": "o", "t": ""}


@dataclass(frozen=True)
class Cell:
    """A cell that is asked for. sort: what its row is; word: what its measure is called in the table; when: which of several
    columns, in words ("in 2014"), empty where the measure says it; total: whether its row is a sum; bare: whether row and
    `when` are enough to say which cell is meant.
    """

    sort: str
    row: str
    measure: Measure
    word: str
    when: str
    value: str
    total: bool = False
    bare: bool = False

    @property
    def noun(self) -> str:
        """What a row is called in a question."""
        return _WORDS_FOR_SORTS.get(self.sort.lower(), self.sort.lower())


def is_plural(word: str) -> bool:
    """Whether a measure's word is said of many things: seats, residents."""
    last = word.split()[-1]
    return (
        last.endswith("s")
        and not last.endswith(("ss", "us", "is"))
        and word not in _NO_PLURALS
        and "number" not in word
    )


@cache
def _lines(text: str) -> tuple[str, ...]:
    """The templates of a block that may be trained on."""
    return trained(text, _MEANINGS)


def for_cell(cell: Cell, rng: random.Random) -> str:
    """A question for the cell."""
    word = rng.choice(cell.measure.words) if rng.random() < SYNONYM else cell.word
    slots = {"w": word, "r": _row(cell, rng), "t": f" {cell.when}" if cell.when else ""}
    if cell.total:
        return _put(rng.choice(_lines(_TOTAL)), slots, rng)
    if cell.measure.questions and rng.random() < NATURAL:
        return _put(rng.choice(cell.measure.questions).rstrip("?") + "{t}?", slots, rng)
    if cell.bare and rng.random() < 0.15:
        return _put(rng.choice(_lines(_BARE)), {**slots, "t": cell.when}, rng)
    one = word not in _VERBS and not is_plural(word)
    if cell.when and one and rng.random() < 0.35:
        return _put(rng.choice(_lines(_TIMED)), {**slots, "t": cell.when}, rng)
    if word in _VERBS or rng.random() < 0.3:
        return _put(rng.choice(_lines(_CELL)), slots, rng)
    return _put(rng.choice(_lines(_ONE if one else _MANY)), slots, rng)


def for_row(cell: Cell, rng: random.Random) -> str:
    """A question for the row that has the cell's value."""
    slots = {"s": cell.noun, "w": cell.word, "v": cell.value, "t": f" {cell.when}" if cell.when else ""}
    if cell.word in _VERBS:
        block = _ROW_ANY
    elif is_plural(cell.word):
        block = rng.choice((_ROW_MANY, _ROW_MANY, _ROW_ANY))
    else:
        block = rng.choice((_ROW, _ROW_ONE)) if " " in cell.measure.number else _ROW
    return _put(rng.choice(_lines(block)), slots, rng)


def for_column(cell: Cell, heads: str, rng: random.Random) -> str:
    """A question for the column, one of `heads` (years, months), in which the row has the cell's value."""
    blocks = [form for form in _lines(_COLUMN) if cell.bare or "{w}" in form]
    return _put(rng.choice(blocks), {"h": heads, "w": cell.word, "v": cell.value, "r": _row(cell, rng)}, rng)


def _row(cell: Cell, rng: random.Random) -> str:
    """The row as people speak of it."""
    name, sort = cell.row, cell.sort.lower()
    if name.lower().endswith(sort.split()[-1]):
        return rng.choice((f"the {name}", name))
    if rng.random() < 0.3 and sort not in ("name", "author", "employee", "month", "period", "n") and name[0] != "#":
        return rng.choice((f"{sort} {name}", f"{sort} {name}", f"the {sort} {name}"))
    return name


def _put(form: str, slots: dict[str, str], rng: random.Random) -> str:
    if rng.random() < 0.25:
        form = form.rstrip("?.")
    if slots.get("w", "x")[0] in "aeiou":
        form = form.replace(" a {w}", " an {w}")
    said = re.sub(r"\{(\w)\}", lambda match: slots[match.group(1)], form)
    if form[0].isalpha() and rng.random() < 0.25:
        return said[0].lower() + said[1:]
    return said[0].upper() + said[1:] if form.startswith("{t}") else said
