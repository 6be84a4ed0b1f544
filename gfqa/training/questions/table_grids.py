"""The contents of made-up tables: rows by what is measured of them, by time or group, by both, with totals and gaps."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from gfqa.training.questions.marks import marked
from gfqa.training.questions.naming import folded
from gfqa.training.questions.table_asking import Cell, is_plural
from gfqa.training.questions.table_layouts import Grid
from gfqa.training.questions.table_topics import Measure, Topic, columns_of_time, numbers, row_name, topics

_SUMMED = ("i", "t")
_LASTING = frozenset(
    {
        *("elevation", "area", "floor", "windows", "doors", "length", "warranty", "extension", "catchment", "voltage"),
        *("memory", "platform", "tonnage", "p", "n", "parameters", "density"),
    }
)
"""Measures that no table has by year."""
_GAPS = ("–", "-", "n/a", "..", "—")
_TITLES = (
    "{W} and other figures by {s}", "Figures for each {s}", "Properties of every {s}", "{W} by {s}",
    "Overview of the {s} data",
    "{s} and {w}", "Results", "Summary by {s}", "Main figures", "List of {s} entries with {w}",
)  # fmt: skip
_TIMED_TITLES = (
    "{W} by {s}{u}", "{W} by {s} and {h}{u}", "{W}{u} for each {s}", "{W}{u}, {first} to {last}",
    "{W} of every {s}{u}", "{W}{u}",
    "Development of {w} by {s}{u}",
)  # fmt: skip


@dataclass
class Family:
    """What the documents of a family share: sort, measures, kind of names; the names that are taken."""

    rng: random.Random
    topic: Topic = field(init=False)
    sort: str = field(init=False)
    names: str = field(init=False)
    words: list[tuple[Measure, str]] = field(init=False)
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        rng = self.rng
        self.topic = rng.choice(topics())
        self.sort, self.names = rng.choice(self.topic.heads), rng.choice(self.topic.names)
        chosen = rng.sample(self.topic.measures, len(self.topic.measures))
        # No two measures of a table share a word: it would not say which is meant.
        kept: list[Measure] = []
        for measure in chosen:
            if not any({*measure.words, *measure.questions} & {*other.words, *other.questions} for other in kept):
                kept.append(measure)
        self.words = [(measure, rng.choice(measure.words)) for measure in kept]

    @property
    def people(self) -> bool:
        """Whether it is people that are counted and measured."""
        return self.topic.sort in ("town", "method", "department")

    def rows(self, count: int) -> list[str]:
        """At most `count` names that no row of the family has, none of whose words are all of another's."""
        found: list[str] = []
        for _ in range(count * 4):
            if len(found) == count:
                break
            name = row_name(self.names, self.rng)
            words = frozenset(name.lower().split())
            if folded(name) in self.taken or any(words <= other or other <= words for other in map(_words, found)):
                continue
            self.taken.add(folded(name))
            found.append(name)
        return found


def _words(name: str) -> frozenset[str]:
    return frozenset(name.lower().split())


@dataclass(frozen=True)
class Placed:
    """A cell with the marks of itself, its row's name and its column's head. heads: what the heads are called where the column
    can be asked for; head_words: the head; alone_in_row: whether no other cell of the row has its value.
    """

    cell: Cell
    mark: int
    row_mark: int
    head: int
    heads: str = ""
    head_words: str = ""
    alone_in_row: bool = True


class _Marks:
    """Gives out numbers."""

    def __init__(self) -> None:
        self._next = 0

    def put(self, text: str) -> tuple[int, str]:
        self._next += 1
        return self._next, marked(self._next, text)


def drawn_grids(family: Family, rng: random.Random) -> tuple[list[Grid], list[Placed]]:
    """One or two tables about the same rows, and their cells; none where the family's names have run out."""
    count = rng.choice((rng.randint(3, 8), rng.randint(5, 14), rng.randint(8, 25)))
    rows = family.rows(count)
    if len(rows) < 3:
        return [], []
    if family.names == "letters" and rng.random() < 0.5:
        rows.sort()
    marks, free = _Marks(), list(family.words)
    grids: list[Grid] = []
    placed: list[Placed] = []
    timed = []
    for _ in range(rng.choice((1, 1, 2))):
        draw = rng.random()
        numeric = [one for one in free if " " in one[0].number and one[0].words[0] not in _LASTING]
        if draw < 0.52 or not numeric or family.topic.sort == "month":
            chosen = [free.pop(0) for _ in range(min(len(free), rng.randint(1, 6)))]
            made = _by_measure(family.sort, rows, chosen, marks, rng) if chosen else None
        else:
            one = rng.choice(numeric)
            free.remove(one)
            shape = _by_time if draw < 0.82 else _long if draw < 0.91 else _nested
            made = shape(family, rows, one, marks, rng)
            timed.append(shape)
        if made is not None:
            grids.append(made[0])
            placed += made[1]
        rows = rows if rng.random() < 0.7 else rng.sample(rows, len(rows))
    if len(timed) == 1 and timed[0] is not _nested:
        placed = [replace(one, cell=replace(one.cell, bare=bool(one.cell.when))) for one in placed]
    return grids, placed


_Made = tuple[Grid, list[Placed]]


def _gap(cells: int, rng: random.Random) -> set[int]:
    """Numbers of the cells that are missing, of so many."""
    share = rng.choice((0.0, 0.0, 0.05, 0.15))
    return {number for number in range(cells) if rng.random() < share}


def _capital(words: str, rng: random.Random) -> str:
    return words[0].upper() + words[1:] if rng.random() < 0.7 else words


def _by_measure(
    sort: str, rows: list[str], chosen: list[tuple[Measure, str]], marks: _Marks, rng: random.Random
) -> _Made:
    """A column for each measure."""
    thousands = rng.choice((",", ",", "", " "))
    total = rng.random() < 0.3 and any(_summed(measure, word) for measure, word in chosen)
    count = len(rows)
    columns = [numbers(measure, count, rng, thousands.replace(" ", ",")) for measure, _ in chosen]
    units = [rng.choice(measure.units) if rng.random() < 0.75 else "" for measure, _ in chosen]
    inside = [bool(unit) and len(unit) < 4 and rng.random() < 0.12 for unit in units]
    title = _title(rng.choice(_TITLES), sort, chosen[0][1], rng)
    upper = rng.random() < 0.8
    head_marks = [marks.put(word[0].upper() + word[1:] if upper else word) for _, word in chosen]
    missing, sign = _gap(count * len(chosen), rng), rng.choice(_GAPS)
    body, placed = [], []
    for i, name in enumerate(rows):
        row_mark, shown = marks.put(name)
        cells = [shown]
        for c, (measure, word) in enumerate(chosen):
            value = f"{columns[c][i]} {units[c]}" if inside[c] else columns[c][i]
            if i * len(chosen) + c in missing:
                cells.append(sign)
                continue
            mark, text = marks.put(value)
            cells.append(text)
            placed.append(Placed(Cell(sort, name, measure, word, "", value), mark, row_mark, head_marks[c][0]))
        body.append(cells)
    if total:
        cells = [rng.choice(("Total", "Sum", "All", "TOTAL"))]
        row_mark = marks.put("")[0]
        cells[0] = marked(row_mark, cells[0])
        for c, (measure, word) in enumerate(chosen):
            if inside[c] or not _summed(measure, word):
                cells.append(sign)
                continue
            value = _sum(columns[c], thousands)
            mark, text = marks.put(value)
            cells.append(text)
            placed.append(Placed(Cell(sort, "total", measure, word, "", value, True), mark, row_mark, head_marks[c][0]))
        body.append(cells)
    shown_units = ["" if one else unit for unit, one in zip(units, inside, strict=True)]
    return Grid(title, [sort, *(text for _, text in head_marks)], ["", *shown_units], body), placed


def _summed(measure: Measure, word: str) -> bool:
    """Whether a column is one of counts or amounts that add up to something."""
    return (
        measure.number.split()[0] in _SUMMED
        and (is_plural(word) or measure.number.startswith("t "))
        and word != "speed"
    )


def _sum(cells: list[str], thousands: str) -> str:
    return f"{sum(int(cell.replace(',', '')) for cell in cells):,}".replace(",", "," if thousands else "")


def _by_time(family: Family, rows: list[str], one: tuple[Measure, str], marks: _Marks, rng: random.Random) -> _Made:
    """One measure, a column for each year, month or group."""
    measure, word = one
    heads, columns, phrase = columns_of_time(rng, rng.randint(2, 6), family.people)
    unit = rng.choice(measure.units)
    cells = [numbers(measure, len(columns), rng) for _ in rows]
    head_marks = [marks.put(column) for column in columns]
    missing, sign = _gap(len(rows) * len(columns), rng), rng.choice(_GAPS)
    body, placed = [], []
    for i, name in enumerate(rows):
        row_mark, shown = marks.put(name)
        row = [shown]
        for c, column in enumerate(columns):
            if i * len(columns) + c in missing:
                row.append(sign)
                continue
            value = cells[i][c]
            mark, text = marks.put(value)
            row.append(text)
            cell = Cell(family.sort, name, measure, word, phrase.format(c=column), value)
            lone = cells[i].count(value) == 1
            placed.append(Placed(cell, mark, row_mark, head_marks[c][0], heads, column, lone))
        body.append(row)
    title = _timed_title(family.sort, word, unit, heads, columns, rng)
    return Grid(title, [family.sort, *(text for _, text in head_marks)], [""] * (len(columns) + 1), body), placed


def _long(family: Family, rows: list[str], one: tuple[Measure, str], marks: _Marks, rng: random.Random) -> _Made:
    """A row for each row and time: two cells name it, the first one perhaps not said again."""
    measure, word = one
    heads, times, phrase = columns_of_time(rng, rng.randint(2, 4), family.people)
    unit, again = rng.choice(measure.units), rng.random() < 0.6
    head_mark, head = marks.put(word[0].upper() + word[1:])
    body, placed = [], []
    for name in rows[: 24 // len(times)]:
        row_mark, shown = marks.put(name)
        cells = numbers(measure, len(times), rng)
        for i, (time, value) in enumerate(zip(times, cells, strict=True)):
            mark, text = marks.put(value)
            body.append([shown if i == 0 else name if again else "", time, text])
            placed.append(
                Placed(Cell(family.sort, name, measure, word, phrase.format(c=time), value), mark, row_mark, head_mark)
            )
    title = _timed_title(family.sort, word, "", heads, times, rng)
    return Grid(title, [family.sort, heads.capitalize(), head], ["", "", unit], body, stubs=2), placed


def _nested(family: Family, rows: list[str], one: tuple[Measure, str], marks: _Marks, rng: random.Random) -> _Made:
    """Heads in two rows: groups, and under each the same few columns."""
    measure, word = one
    heads, times, phrase = columns_of_time(rng, rng.randint(2, 3), family.people)
    pairs = [("min", "max"), ("mean", "SD"), ("low", "high")]
    pairs += [("men", "women")] if family.people else []
    pairs += [("before", "after")] if family.topic.sort in ("sample", "crop", "method") else []
    pairs += [("summer", "winter")] if heads == "year" else []
    kinds = rng.choice(pairs)
    groups, head_marks = [""], []
    for time in times:
        number, text = marks.put(time)
        groups += [text, *[""] * (len(kinds) - 1)]
        head_marks.append(number)
    body, placed = [], []
    for name in rows:
        row_mark, shown = marks.put(name)
        row = [shown]
        for t, time in enumerate(times):
            for kind, value in zip(kinds, numbers(measure, len(kinds), rng), strict=True):
                mark, text = marks.put(value)
                row.append(text)
                said = f"{word} ({kind})" if kind in ("mean", "SD") or rng.random() < 0.3 else f"{kind} {word}"
                when = phrase.format(c=time)
                if kind in ("men", "women", "summer", "winter"):
                    said, when = word, f"{when} {'for' if kind.endswith('men') else 'in'} {kind}"
                elif kind in ("before", "after"):
                    said, when = word, f"{kind} treatment {when}"
                # The measure's own questions would not say which of the two is meant.
                asked = Measure((said,), measure.units, measure.number, ())
                placed.append(Placed(Cell(family.sort, name, asked, said, when, value), mark, row_mark, head_marks[t]))
        body.append(row)
    title = _timed_title(family.sort, word, rng.choice(measure.units), heads, times, rng)
    head = [family.sort, *(kind for _ in times for kind in kinds)]
    return Grid(title, head, [""] * len(head), body, groups=groups), placed


def _title(form: str, sort: str, word: str, rng: random.Random) -> str:
    said = form.format(s=sort.lower(), w=word, W=word[0].upper() + word[1:])
    return said[0].upper() + said[1:]


def _timed_title(sort: str, word: str, unit: str, heads: str, columns: list[str], rng: random.Random) -> str:
    said = rng.choice((f" ({unit})", f" in {unit}", f", {unit}", f" [{unit}]")) if unit else ""
    slots = {
        "s": sort.lower(),
        "w": word,
        "W": _capital(word, rng),
        "u": said,
        "h": heads,
        "first": columns[0],
        "last": columns[-1],
    }
    return rng.choice(_TIMED_TITLES).format(**slots)
