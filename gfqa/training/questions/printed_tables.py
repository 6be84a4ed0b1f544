"""Tables as they stand on printed pages and in files, among text, with questions for single cells.

Documents are made as families: tables of the same columns about other rows, so that a table beside the one that answers looks
like it and has no answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from gfqa.training.questions.filler import Haystack, paragraphs
from gfqa.training.questions.marks import settle
from gfqa.training.questions.naming import coined
from gfqa.training.questions.table_asking import for_cell, for_column, for_row
from gfqa.training.questions.table_grids import Family, Placed, drawn_grids
from gfqa.training.questions.table_layouts import MARKUP, Grid, printed
from gfqa.training.questions.units import Question, Unit, question, unit

MOST_QUESTIONS = 14
BY_CELL = 0.2
"""Share of the questions that ask for a row or a column by its cell."""
FAR = 1000
"""Characters between a column's head and a cell that is asked for, at most: both must fit into a passage."""
MARKUP_SHARE = 0.3
_CAPTIONS = (
    "Table {n}. {title}.", "Table {n}: {title}", "Table {n} – {title}", "Tab. {n}. {title}", "TABLE {n}\n{title}",
    "{title}",
    "Table {n}.{m}: {title}.", "Table {n} {title}", "{title}:", "{title} (Table {n})",
)  # fmt: skip
_AROUND = (
    "The {s} figures are given in Table {n}.", "Table {n} has the details.", "As can be seen, there are great differences.",
    "The following table lists every {s} that was looked at.", "Missing values are marked with a dash.",
    "For the method see the chapter before.", "It must be kept in mind that not every {s} was measured in the same week.",
    "See Table {n} on the next page.", "We come back to Table {n} below.",
)  # fmt: skip
_NOTES = (
    "Source: {c} Survey, {y}.", "a Measured twice.", "* Preliminary.", "Note: rounded.", "Source: own figures.",
    "– no data.",
    "1 Without the northern part.", "n/a: not available.", "Figures as of {y}.", "† Estimated.", "All values are means.",
)  # fmt: skip
_RUNNING = (
    "{c} Annual Report {y}", "{c} Survey {y}  {p}", "{p}  Chapter {n}", "Technical Note {n}/{y}", "{c} et al.",
    "Page {p} of {q}",
    "- {p} -", "{p}", "Journal of {c} Studies {n} ({y})", "DRAFT {y}-{n}", "www.{l}.example", "{c} Handbook   {p}",
)  # fmt: skip


@dataclass
class _Document:
    """A document that is put together: its text, still marked, and what stands in it."""

    text: str
    placed: list[Placed]
    path: str


def printed_table_units(
    rng: random.Random, count: int, haystack: Haystack | None = None, *, group: str = "synthetic"
) -> list[Unit]:
    """A family of `count` documents with one or two tables each; no row's name stands in two of them.

    Kinds: "table", and "table_row" where the row or the column is asked for.
    """
    family = Family(rng)
    documents = []
    for _ in range(count):
        grids, placed = drawn_grids(family, rng)
        if grids:
            documents.append(_document(grids, placed, haystack, rng))
    again: dict[tuple[str, str, str], int] = {}
    for document in documents:
        for one in document.placed:
            key = one.cell.measure.words[0], one.cell.when, one.cell.value
            again[key] = again.get(key, 0) + 1
    units = []
    for document in documents:
        text, places = settle(document.text)
        qas: list[Question] = []
        for one in rng.sample(document.placed, len(document.placed)):
            cell, at = one.cell, places[one.mark]
            if not 0 <= at - places[one.head] <= FAR:
                continue
            alone = again[cell.measure.words[0], cell.when, cell.value] == 1 and not cell.total
            if alone and rng.random() < BY_CELL:
                qas += _by_cell(one, text, places, rng)
            else:
                asked = for_cell(cell, rng)
                qas.append(question(asked, cell.value, "table", names=[cell.row, cell.word], offset=at))
            if len(qas) >= MOST_QUESTIONS:
                break
        if qas:
            units.append(unit("tables", group, document.path, text, qas))
    return units


def _by_cell(one: Placed, text: str, places: dict[int, int], rng: random.Random) -> list[Question]:
    """A question for the cell's row or column, where the answer stands in one piece."""
    cell, clues = one.cell, [one.cell.value, one.cell.word]
    if one.heads and rng.random() < 0.4:
        answer, mark, asked = one.head_words, one.head, for_column(cell, one.heads, rng)
        clues = [cell.row, cell.value]
        if not one.alone_in_row:
            return []
    else:
        answer, mark, asked = cell.row, one.row_mark, for_row(cell, rng)
    if not text.startswith(answer, places[mark]):
        return []
    return [question(asked, answer, "table_row", names=clues, offset=places[mark])]


def _document(grids: list[Grid], placed: list[Placed], haystack: Haystack | None, rng: random.Random) -> _Document:
    markup = rng.random() < MARKUP_SHARE
    name = rng.choices(list(MARKUP), [share for share, _ in MARKUP.values()])[0] if markup else "pdf"
    alone = name in ("csv", "semicolons", "tsv") and len(grids) == 1 and rng.random() < 0.7
    first = rng.randint(1, 12)
    running = rng.sample(_RUNNING, 2)
    slots = {
        "c": coined(rng), "y": str(rng.randrange(1975, 2027)), "p": str(rng.randrange(2, 300)), "q": "312",
        "m": str(rng.randint(1, 9)),
    }  # fmt: skip
    slots["l"] = slots["c"].lower()
    parts: list[str] = []
    sort = placed[0].cell.noun
    for number, grid in enumerate(grids):
        here = {**slots, "n": str(first + number), "s": sort, "title": grid.title}
        if alone:
            parts.append(MARKUP[name][1](grid, rng))
            break
        parts.append(paragraphs(rng, rng.choice((1, 2, 2, 5)), haystack))
        if rng.random() < 0.4:
            parts.append(" ".join(form.format(**here) for form in rng.sample(_AROUND, rng.randint(1, 2))))

        def broken(rng: random.Random, here: dict[str, str] = here) -> str:
            end = [form.format(**here) for form in running if rng.random() < 0.7]
            more = rng.choice(("Table {n} (continued)", "Table {n} continued", "", "{title} (continued)", "")).format(
                **here
            )
            return "\n".join(part for part in (*end, more) if part) or here["p"]

        broken_up = broken if rng.random() < 0.2 else None
        body = MARKUP[name][1](grid, rng) if markup else printed(grid, broken_up, rng)
        caption = rng.choice(_CAPTIONS).format(**here)
        lines = [caption, body] if rng.random() < 0.85 else [body, caption]
        if rng.random() < 0.35:
            lines.append("\n".join(form.format(**here) for form in rng.sample(_NOTES, rng.randint(1, 2))))
        parts.append(("\n\n" if markup or rng.random() < 0.3 else "\n").join(lines))
    if not alone:
        parts.append(paragraphs(rng, rng.choice((1, 2, 2, 6)), haystack))
    between = "\n\n" if markup or rng.random() < 0.5 else "\n"
    if not markup and rng.random() < 0.6:
        ends = [form.format(**{**slots, "n": str(first)}) for form in running]
        parts = [ends[0], *parts, *ends[1:]] if rng.random() < 0.7 else [*parts, ends[0]]
    endings = {
        "pdf": ("pdf", "pdf", "txt"),
        "html": ("html",),
        "latex": ("tex",),
        "csv": ("csv",),
        "tsv": ("tsv",),
        "wiki": ("wiki",),
    }
    ending = rng.choice(endings.get(name, ("rst",) if name in ("simple", "list-table") else ("md", "txt", "rst")))
    ending = ending if alone or name not in ("csv", "tsv") else "txt"
    folder = rng.choice(("", "reports/", "papers/", "data/", "docs/", "scans/"))
    path = f"{folder}{coined(rng).lower()}{rng.randrange(1000)}.{ending}"
    return _Document(between.join(part for part in parts if part) + "\n", placed, path)


def table_set(families: int, seed: int, haystack: Haystack | None = None) -> Iterable[Unit]:
    """The units of `families` families of two or three documents each; the same for the same seed."""
    for number in range(families):
        rng = random.Random(f"tables {seed} {number}")
        yield from printed_table_units(rng, rng.choice((2, 2, 3)), haystack, group=f"tables {number}")
