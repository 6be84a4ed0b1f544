"""Made-up tables as they reach a reader: Markdown, comma- or tab-separated, aligned, and as text taken out of a PDF.

Every cell is asked for by its row and its column, and some rows by a cell that no other row has in that column.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from gfqa.training.questions.records import SUBJECTS
from gfqa.training.questions.units import Unit, question, unit
from gfqa.training.questions.vocabulary import Words, distinct, split_templates

BY_CELL = 0.2
"""Share of the questions that ask for the row by one of its cells: its name stands before the clue."""
MOST_QUESTIONS = 40

Cells = Sequence[Sequence[str]]

_CELL_QUESTIONS = (
    "What is the {c} of {s}?", "{s} {c}", "What's the {c} for {s}?", "{c} of {s}?", "In the table, what {c} does {s} have?",
    "Which {c} is listed for {s}?", "what {c} is in the row of {s}", "Look up the {c} of {s}.", "Give the {c} for {s}.",
    "According to the table, what is the {c} of {s}?", "{s}: {c}?", "I need the {c} of {s}.",
)  # fmt: skip
_ROW_QUESTIONS = (
    "Which {r} has the {c} {v}?", "what {r} has {v} as {c}", "Whose {c} is {v}?", "Which {r} is listed with a {c} of {v}?",
    "For which {r} is the {c} {v}?", "{c} {v}: which {r}?",
)  # fmt: skip
_CAPTIONS = (
    "Table {n}: {r} by {c}.", "The following table lists every {r}.", "## Overview of each {r}", "{r} list", "Table {n}.",
    "All values as of last week.", "",
)  # fmt: skip


def _markdown(cells: Cells) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([head, "|" + "---|" * len(cells[0]), *body])


def _aligned(cells: Cells) -> str:
    widths = [max(len(cell) for cell in column) + 2 for column in zip(*cells, strict=True)]
    return "\n".join("".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells)


def _joined(by: str) -> Callable[[Cells], str]:
    return lambda cells: "\n".join(by.join(row) for row in cells)


def _restructured(cells: Cells) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    rule = " ".join("=" * width for width in widths)
    head, *body = [" ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([rule, head, rule, *body, rule])


LAYOUTS: dict[str, Callable[[Cells], str]] = {
    "markdown": _markdown,
    "csv": _joined(","),
    "tsv": _joined("\t"),
    "aligned": _aligned,
    # Text taken out of a PDF: cells a space apart, or one under the other.
    "words": _joined(" "),
    "lines": _joined("\n"),
    "semicolons": _joined("; "),
    "restructured": _restructured,
}
_IN_TEXT = ("markdown", "aligned", "words", "lines", "restructured")
"""Layouts that stand among other text; the others are files of their own."""
_ENDINGS = {"csv": ("csv",), "tsv": ("tsv", "txt"), "semicolons": ("csv",)}


def table_units(
    rng: random.Random, n: int, haystack: Callable[[random.Random], str], *, held_out: bool = False
) -> list[Unit]:
    """`n` units with a table each, among text where its layout stands among text; subjects distinct over the call.

    Kinds: "table", and "table_row" where the row is asked for.
    """
    words, taken, units = Words(held_out), set[str](), []
    for number in range(n):
        sort = rng.choice(list(SUBJECTS))
        name, fields = SUBJECTS[sort]
        count = rng.randint(2, 14)
        subjects = [s for s in distinct(lambda r: name(words, r), rng, count) if s not in taken]  # noqa: B023
        taken.update(subjects)
        columns = rng.sample(list(fields), rng.randint(2, min(6, len(fields))))
        values = [[fields[column](words, rng) for column in columns] for _ in subjects]
        shown = [column.title() if rng.random() < 0.5 else column for column in columns]
        cells = [[sort.title(), *shown], *([subject, *row] for subject, row in zip(subjects, values, strict=True))]
        layout = rng.choice(list(LAYOUTS))
        text = LAYOUTS[layout](cells) + "\n"
        if layout in _IN_TEXT:
            caption = rng.choice(_CAPTIONS).format(n=number + 1, r=sort, c=columns[0])
            parts = [haystack(rng)[: rng.randint(0, 1200)], caption, text, haystack(rng)[: rng.randint(0, 600)]]
            text = "\n\n".join(part for part in parts if part)
        qas = []
        for subject, row in zip(subjects, values, strict=True):
            for c, (column, value) in enumerate(zip(columns, row, strict=True)):
                alone = [other[c] for other in values].count(value) == 1
                if alone and rng.random() < BY_CELL:
                    form = rng.choice(split_templates(_ROW_QUESTIONS, held_out))
                    qas.append(question(form.format(r=sort, c=column, v=value), subject, "table_row", names=[value]))
                else:
                    form = rng.choice(split_templates(_CELL_QUESTIONS, held_out))
                    qas.append(question(form.format(c=column, s=subject), value, "table", names=[subject]))
        rng.shuffle(qas)
        ending = rng.choice(_ENDINGS.get(layout, ("md", "txt", "pdf")))
        path = f"{sort}s/{rng.choice(words.nouns)}{rng.randrange(10_000)}.{ending}"
        units.append(unit("tables", "synthetic", path, text, qas[:MOST_QUESTIONS]))
    return units
