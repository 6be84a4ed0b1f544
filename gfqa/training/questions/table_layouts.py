"""A table as text: rows as a PDF gives them, or in markup.

What comes out of a PDF has no lines between its cells: they stand a space apart or each on a line of its own; a head of
several words is broken over lines, a page may end inside of the table.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gfqa.training.questions.marks import padded, wide


@dataclass
class Grid:
    """A table of marked cells. head: one cell a column, unit aside; units: of the columns, empty where there is none; groups:
    what stands over the heads of several columns, at the first of them; stubs: columns that name the row.
    """

    title: str
    head: list[str]
    units: list[str]
    body: list[list[str]]
    stubs: int = 1
    groups: list[str] = field(default_factory=list)

    @property
    def full_head(self) -> list[str]:
        """Heads with their units."""
        return [f"{head} ({unit})" if unit else head for head, unit in zip(self.head, self.units, strict=True)]


Layout = Callable[[Grid, random.Random], str]
PageBreak = Callable[[random.Random], str]


def _rule(widths: Sequence[int], mark: str, cross: str) -> str:
    return cross + cross.join(mark * (width + 2) for width in widths) + cross


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(wide(cell) for cell in column) for column in zip(*rows, strict=True)]


def _flat_head(grid: Grid) -> list[str]:
    """Heads in one row, with what stands over them."""
    if not grid.groups:
        return grid.full_head
    over, heads = "", []
    for group, head in zip(grid.groups, grid.full_head, strict=True):
        over = group or over
        heads.append(f"{over} {head}".strip())
    return heads


def _markdown(grid: Grid, rng: random.Random) -> str:
    rows = [_flat_head(grid), *grid.body]
    tight = rng.random() < 0.3
    if rng.random() < 0.4 and not tight:
        widths = _widths(rows)
        rows = [[padded(cell, width) for cell, width in zip(row, widths)] for row in rows]
    rule = rng.choice(("---", ":---", "---:", ":-:", "----------"))
    between = "|" if tight else " | "
    made = [(between.join(row).join(("|", "|")) if tight else f"| {between.join(row)} |") for row in rows]
    return "\n".join([made[0], "|" + "|".join([rule] * len(rows[0])) + "|", *made[1:]])


def _simple(grid: Grid, rng: random.Random) -> str:
    """The simple form of reStructuredText."""
    rows = [_flat_head(grid), *grid.body]
    widths = _widths(rows)
    rule = "  ".join("=" * width for width in widths)
    head, *body = ["  ".join(padded(cell, width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([rule, head, rule, *body, rule])


def _boxed(grid: Grid, rng: random.Random) -> str:
    """The grid form of reStructuredText; as many programs print it without rules between rows."""
    rows = [_flat_head(grid), *grid.body]
    widths = _widths(rows)
    rule, double = _rule(widths, "-", "+"), _rule(widths, "=", "+")
    made = ["| " + " | ".join(padded(cell, width) for cell, width in zip(row, widths)) + " |" for row in rows]
    if rng.random() < 0.5:
        return "\n".join([rule, made[0], rule, *made[1:], rule])
    return "\n".join([rule, made[0], double, *(f"{row}\n{rule}" for row in made[1:])])


def _list_table(grid: Grid, rng: random.Random) -> str:
    """The list form of reStructuredText."""
    rows = [_flat_head(grid), *grid.body]
    items = ["   * - " + "\n     - ".join(row) for row in rows]
    return ".. list-table::\n   :header-rows: 1\n\n" + "\n".join(items)


def _separated(by: str) -> Layout:
    def lay(grid: Grid, rng: random.Random) -> str:
        quoted = rng.random() < 0.2

        def cell(text: str) -> str:
            return f'"{text}"' if quoted or by in text else text

        return "\n".join(by.join(cell(text) for text in row) for row in [_flat_head(grid), *grid.body])

    return lay


def _html(grid: Grid, rng: random.Random) -> str:
    indent = rng.choice(("", "  "))
    head = "".join(f"<th>{cell}</th>" for cell in _flat_head(grid))
    between = "" if rng.random() < 0.6 else f"\n{indent}"
    rows = [f"<tr>{between.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in grid.body]
    return "\n".join(["<table>", f"{indent}<tr>{head}</tr>", *(indent + row for row in rows), "</table>"])


def _latex(grid: Grid, rng: random.Random) -> str:
    rows = [" & ".join(row) + " \\\\" for row in [_flat_head(grid), *grid.body]]
    return "\n".join(
        ["\\begin{tabular}{" + "l" + "r" * (len(grid.head) - 1) + "}", rows[0], "\\hline", *rows[1:], "\\end{tabular}"]
    )


def _wiki(grid: Grid, rng: random.Random) -> str:
    rows = ["|-\n| " + " || ".join(row) for row in grid.body]
    return "\n".join(['{| class="wikitable"', "! " + " !! ".join(_flat_head(grid)), *rows, "|}"])


MARKUP: dict[str, tuple[float, Layout]] = {
    "markdown": (3, _markdown), "simple": (1.5, _simple), "boxed": (2, _boxed), "list-table": (0.6, _list_table),
    "csv": (2, _separated(",")), "semicolons": (0.8, _separated(";")), "tsv": (1, _separated("\t")), "html": (0.8, _html),
    "latex": (0.6, _latex), "wiki": (0.5, _wiki),
}  # fmt: skip

WAYS = {
    "words": 5.0,
    "lines": 3.0,
    "spaces": 2.0,
    "aligned": 1.5,
    "heads in lines": 1.0,
    "dots": 0.4,
    "empty lines": 0.6,
    "tabs": 0.4,
}
"""How text taken out of a PDF has its cells, and how often."""


def printed(grid: Grid, page_break: PageBreak | None, rng: random.Random) -> str:
    """The table as text taken out of a PDF gives it; with `page_break`, a long one goes on behind the page's end."""
    way = rng.choices(list(WAYS), list(WAYS.values()))[0]
    head = _printed_head(grid, way, rng)
    gap = rng.choice(("  ", "   ", "    "))
    widths = _widths([grid.full_head, *grid.body])
    right = rng.random() < 0.5
    rows = []
    for row in grid.body:
        if way == "lines":
            rows.append("\n".join(cell for cell in row if wide(cell)))
        elif way == "empty lines":
            rows.append("\n\n".join(cell for cell in row if wide(cell)))
        elif way == "aligned":
            stubs, rest = row[: grid.stubs], row[grid.stubs :]
            cells = [padded(cell, width) for cell, width in zip(stubs, widths)]
            cells += [padded(cell, width, right=right) for cell, width in zip(rest, widths[grid.stubs :])]
            rows.append(gap.join(cells).rstrip())
        else:
            cells = [cell for cell in row if wide(cell)]
            cells = [_broken(cells[0], rng), *cells[1:]] if cells and way == "words" else cells
            if way == "dots":
                rows.append(padded(cells[0] + " ", widths[0] + 12, rng.choice((".", ". "))) + " " + " ".join(cells[1:]))
            elif way == "spaces":
                rows.append("".join(cell + " " * rng.randint(1, 4) for cell in cells).rstrip())
            else:
                rows.append(("\t" if way == "tabs" else " ").join(cells))
    between = "\n\n" if way == "empty lines" else "\n"
    if page_break is not None and len(rows) > 5:
        at = rng.randint(3, len(rows) - 2)
        again = [head] if rng.random() < 0.7 else []
        return between.join([head, *rows[:at], page_break(rng), *again, *rows[at:]])
    return between.join([head, *rows])


def _broken(name: str, rng: random.Random) -> str:
    """A long name now and then over two lines, as in a narrow cell."""
    if rng.random() < 0.08 and " " in name:
        return "\n".join(name.rsplit(" ", 1))
    return name


def _printed_head(grid: Grid, way: str, rng: random.Random) -> str:
    """The heads above the columns: in a row, over two lines, or each on its own."""
    between = {"aligned": "  ", "spaces": "  ", "dots": " ", "tabs": "\t"}.get(way, " ")
    over = [group for group in grid.groups if group]
    if way in ("lines", "heads in lines", "empty lines"):
        cells = [*over, *grid.full_head]
        if rng.random() < 0.3:
            cells = [*over, *(part for cell in grid.full_head for part in _split(cell))]
        return ("\n\n" if way == "empty lines" and rng.random() < 0.5 else "\n").join(
            cell for cell in cells if wide(cell)
        )
    lines = [between.join(over)] if over else []
    draw = rng.random()
    heads = [head for head in grid.full_head if wide(head)]
    if draw < 0.25:
        parts = [_split(head) for head in heads]
        lines.append(between.join(part[0] for part in parts))
        lines.append(between.join(part[1] for part in parts if len(part) > 1))
    elif draw < 0.45 and any(grid.units):
        lines.append(between.join(head for head in grid.head if wide(head)))
        shape = rng.choice(("({})", "[{}]", "{}", "in {}"))
        lines.append(between.join(shape.format(unit) for unit in grid.units if unit))
    elif way == "aligned":
        widths = _widths([grid.full_head, *grid.body])
        lines.append("   ".join(padded(head, width) for head, width in zip(grid.full_head, widths)).rstrip())
    else:
        lines.append(between.join(heads))
    return "\n".join(line for line in lines if line)


def _split(head: str) -> list[str]:
    """A head in two parts where it has two words."""
    parts = head.split(" ", 1)
    return [part for part in parts if part]
