"""Sections that hold the same keys with values of their own: settings of several hosts, cards of several people, nested files.

Only the section and the key together say which value is meant.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gfqa.training.questions.filler import Haystack, paragraphs
from gfqa.training.questions.list_asking import for_section, in_section
from gfqa.training.questions.marks import marked, settle
from gfqa.training.questions.naming import VALUES, coined, keys
from gfqa.training.questions.units import Question, Unit, question, unit

BACK_SHARE = 0.18
"""Of the questions whose value stands once: those that ask for the section."""

Section = tuple[str, list[tuple[str, str]]]
"""Its name, and its keys with their values; all marked."""

MOST_QUESTIONS = 12
FAR = 700
"""Characters between a section's name and a value that is asked for, at most: both must fit into a passage."""
_TITLES = (
    "host",
    "coined",
    "word",
    "title",
    "person",
    "place",
    "code",
    "kebab",
    "numbered",
    "city",
    "class",
    "room",
    "two words",
)
_NAMES = ("snake", "word", "camel", "kebab", "two words", "constant")
_NOUNS = 0.45
"""Share of the families whose keys are what their values are called."""


def _joined(
    head: str, line: str, foot: str = "", between: str = "\n", lines: str = "\n"
) -> Callable[[list[Section]], str]:
    """A layout of plain parts: {s} the section's name, {k} a key, {v} its value."""

    def lay(sections: list[Section]) -> str:
        blocks = []
        for name, pairs in sections:
            rows = lines.join(line.replace("{s}", name).replace("{k}", k).replace("{v}", v) for k, v in pairs)
            # An end needs no second mark of the name's place: the first one counts.
            blocks.append("".join((head.replace("{s}", name), rows, foot.replace("{s}", name))))
        return between.join(blocks)

    return lay


def _around(before: str, lay: Callable[[list[Section]], str], after: str) -> Callable[[list[Section]], str]:
    return lambda sections: before + lay(sections) + after


def _grid(between: str) -> Callable[[list[Section]], str]:
    """Keys down, sections across."""

    def lay(sections: list[Section]) -> str:
        head = ["", *(name for name, _ in sections)]
        keys_of = [key for key, _ in sections[0][1]]
        rows = [[keys_of[i], *(pairs[i][1] for _, pairs in sections)] for i in range(len(keys_of))]
        return "\n".join(between.join(row) for row in [head, *rows])

    return lay


LAYOUTS: tuple[Callable[[list[Section]], str], ...] = (
    _joined("[{s}]\n", "{k} = {v}", between="\n\n"), _joined("[{s}]\n", "{k}={v}", between="\n"),
    _joined("[{s}]\n", "  {k}: {v}"),
    _joined("[{s}]\n", '{k} = "{v}"', between="\n\n"), _joined('[entry."{s}"]\n', "{k} = '{v}'", between="\n\n"),
    _joined("{s}:\n", "  {k}: {v}"), _joined("{s}:\n", "    {k}: {v}", between="\n\n"),
    _joined("- name: {s}\n", "  {k}: {v}"),
    _joined("- id: {s}\n", '  {k}: "{v}"'), _joined('"{s}":\n', "  - {k}: {v}"),
    _around("{\n", _joined('  "{s}": {\n', '    "{k}": "{v}"', "\n  }", ",\n", ",\n"), "\n}"),
    _around("[", _joined('{"name": "{s}", ', '"{k}": "{v}"', "}", ",\n ", ", "), "]"),
    _joined('{"{s}": {', '"{k}":"{v}"', "}}", "\n", ","),
    _joined("## {s}\n\n", "- {k}: {v}", between="\n\n"), _joined("### {s}\n\n", "* **{k}**: {v}", between="\n\n"),
    _joined("{s}\n----\n", ":{k}: {v}", between="\n\n"), _joined("* {s}\n", "  * {k}: {v}"),
    _joined("{s}\n", "    {k}    {v}"),
    _joined("== {s} ==\n", "; {k}\n: {v}", between="\n"), _joined("{s}\n", "\t{k}\t{v}"), _joined("{s}\n", "  - {k} {v}"),
    _joined('<section name="{s}">\n', '  <set key="{k}" value="{v}"/>', "\n</section>"),
    _joined("<{s}>\n", "  {k} {v}", "\n</{s}>"),
    _joined('<item id="{s}"', ' {k}="{v}"', " />", "\n", ""), _joined("<h3>{s}</h3>\n", "<p>{k}: {v}</p>"),
    _joined("{s} {\n", "    {k} {v};", "\n}"), _joined("{s} {\n", "  {k}: {v};", "\n}", "\n\n"),
    _joined('host "{s}" {\n', '  {k} = "{v}"', "\n}"),
    _joined("", "{s}.{k}={v}", between="\n\n"), _joined("", "{s}.{k}: {v}"), _joined("", "{s}/{k} = {v}"),
    _joined("", "{s}[{k}] = {v}"),
    _joined("", "{s} | {k} | {v}"), _joined("", "| {s} | {k} | {v} |"), _joined("", "{s},{k},{v}"),
    _joined("", "{s}\t{k}\t{v}"),
    _joined("", "set {s} {k} {v}"), _joined("", "('{s}', '{k}', '{v}'),"), _joined("", "{s}: {k} {v}"),
    _joined("", "{k} of {s}: {v}"),
    _joined("", "The {k} of {s} is {v}."), _joined("", "In {s}, {k} is {v}.", between=" ", lines=" "),
    _joined("", "{k}({s}, '{v}')."),
    _joined("{s}: ", "{k} {v}", "", "\n", ", "), _joined("{s} - ", "{k}: {v}", "", "\n", "; "),
    _joined("{s} (", "{k} {v}", ")", "\n", ", "),
    _joined("{s} | ", "{k}={v}", "", "\n", " | "), _joined("name={s} ", "{k}={v}", "", "\n", " "),
    _joined("- {s}: ", "{k} = {v}", "", "\n", " / "),
    _joined("{s} has ", "{k} {v}", ".", " ", " and "), _joined("For {s} we have ", "{v} as {k}", ".", "\n\n", ", "),
    _joined("├── {s}\n", "│   ├── {k}: {v}"), _joined("+ {s}\n", "|  + {k} = {v}"),
    _joined("<< {s} >>\n", "{k} ... {v}", between="\n\n"),
    _joined("Name: {s}\n", "{k}: {v}", between="\n\n"), _joined("BEGIN {s}\n", "{k} {v}", "\nEND"),
    _joined("{s}\n\n", "{k}\n{v}", between="\n\n"),
    _joined("# --- {s} ---\n", "{k}={v}", between="\n\n"), _joined("// {s}\n", "{k} := {v};"),
    _joined("def {s}():\n", "    {k} = '{v}'"),
    _grid("\t"), _grid(" | "), _grid(";"),
)  # fmt: skip


@dataclass(frozen=True)
class _Cell:
    """A value; head, mark: the marks of its section's name and its own."""

    section: str
    field: str
    value: str
    head: int
    mark: int


def section_units(rng: random.Random, count: int, haystack: Haystack | None, *, group: str) -> list[Unit]:
    """A family of `count` documents of sections; no section's name stands in two of them.

    Kinds: "kv" where a value is asked for, "kv_reverse" where the section is.
    """
    sizes = [rng.randint(2, 9) for _ in range(count)]
    names = keys([rng.choice(_TITLES)], sum(sizes), rng.choice((0.0, 0.3, 0.6)), rng)
    kinds = rng.sample(list(VALUES), rng.randint(2, 8))
    if rng.random() < _NOUNS:
        fields = list(dict.fromkeys(rng.choice(VALUES[kind].nouns) for kind in kinds))
    else:
        fields = keys([rng.choice(_NAMES)], len(kinds), rng.choice((0.0, 0.4)), rng)
    kinds = kinds[: len(fields)]
    lay = rng.choice(LAYOUTS)
    whole = rng.random() < 0.6 or lay in LAYOUTS[-3:]
    documents = []
    for size in sizes:
        mine, names = names[:size], names[size:]
        cells: list[_Cell] = []
        sections: list[Section] = []
        for name in (name.replace(", ", " ") for name in mine):
            head, pairs = 2 * len(cells), []
            for field, kind in zip(fields, kinds, strict=True):
                if whole or rng.random() < 0.8:
                    cells.append(
                        _Cell(name, field, VALUES[kind].make(rng).replace(", ", " "), head, 2 * len(cells) + 1)
                    )
                    pairs.append((field, marked(cells[-1].mark, cells[-1].value)))
            if pairs:
                sections.append((marked(head, name), pairs))
        if cells:
            documents.append((cells, lay(sections)))
    counted = Counter((cell.field, cell.value.casefold()) for cells, _ in documents for cell in cells)
    units = []
    for cells, laid in documents:
        before, after = (paragraphs(rng, rng.choice((0, 1, 2, 6)), haystack) for _ in range(2))
        parts = [before, laid, after]
        text, places = settle("\n\n".join(part for part in parts if part) + "\n")
        qas: list[Question] = []
        for cell in rng.sample(cells, min(len(cells), MOST_QUESTIONS)):
            if not 0 <= places[cell.mark] - places[cell.head] <= FAR:
                continue
            if counted[cell.field, cell.value.casefold()] == 1 and rng.random() < BACK_SHARE:
                asked = for_section(cell.field, cell.value, rng)
                clues = [cell.value, cell.field]
                qas.append(question(asked, cell.section, "kv_reverse", names=clues, offset=places[cell.head]))
            else:
                asked = in_section(cell.section, cell.field, rng)
                clues = [cell.section, cell.field]
                qas.append(question(asked, cell.value, "kv", names=clues, offset=places[cell.mark]))
        ending = rng.choice(("ini", "yaml", "toml", "md", "txt", "json", "conf", "xml"))
        if qas:
            units.append(unit("lists", group, f"{coined(rng).lower()}{rng.randrange(1000)}.{ending}", text, qas))
    return units
