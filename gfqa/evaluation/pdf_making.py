"""PDFs made for the evaluation: a record of stations, a page each, as text, in columns or as tables; without a library.

Deterministic for a number of pages and a seed. The prose around the facts are development paragraphs; names and values come
from the half of the vocabulary that training never draws from.
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from gfqa.evaluation.squad import all_paragraphs
from gfqa.training.questions.vocabulary import Words, distinct

WIDTH, HEIGHT, MARGIN = 595, 842, 64  # A4, in points
LAYOUTS = ("text", "table", "two columns", "three columns")
_FACTS = (
    ("The keeper of {name} is {value}.", "Who is the keeper of {name}?", "person"),
    ("{name} was first surveyed in {value}.", "When was {name} first surveyed?", "year"),
    ("Supplies for {name} come from {value}.", "Where do supplies for {name} come from?", "city"),
    ("The relay at {name} answers to call sign {value}.", "What call sign does the relay at {name} answer to?", "code"),
)
_DAYS = ("Monday", "Wednesday", "Friday", "Saturday")
_COLUMNS = (("Depth", "m"), ("Pressure", "kPa"), ("Flow", "l/s"))


@dataclass(frozen=True)
class PageQuestion:
    """A question with its accepted answers, the page (from 1) that says it, and its kind: a layout, or "page number"."""

    question: str
    answers: tuple[str, ...]
    page: int
    kind: str


@dataclass
class _Page:
    """Drawing instructions of one page."""

    content: list[bytes] = field(default_factory=list)

    def show(self, text: str, x: float, y: float, size: int = 10, bold: bool = False) -> None:
        escaped = text.encode("cp1252", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        self.content.append(b"BT /F%d %d Tf %g %g Td (%s) Tj ET" % (2 if bold else 1, size, x, y, escaped))

    def column(self, paragraphs: Sequence[str], x: float, y: float, characters: int, size: int = 10) -> None:
        """Paragraphs from (x, y) downwards; what does not fit on the page is left out."""
        for paragraph in paragraphs:
            for line in textwrap.wrap(paragraph, characters):
                if y < MARGIN:
                    return
                self.show(line, x, y, size)
                y -= size + 3
            y -= size


def make_pdf(pages: int, seed: int = 0) -> tuple[bytes, list[PageQuestion]]:
    """(the bytes of a PDF of so many pages, its questions: two about each page, and the numbers of two pages in three)."""
    rng = random.Random(f"{pages}:{seed}")
    words = Words(held_out=True)
    names = [f"{name} Station" for name in _names(words, rng, pages)]
    prose = [document.text for document in all_paragraphs()]
    drawn, asked = [], []
    for number, name in enumerate(names, 1):
        page, layout = _Page(), LAYOUTS[(number - 1) % len(LAYOUTS)]
        page.show(name, MARGIN, HEIGHT - MARGIN, size=16, bold=True)
        if layout == "table":
            asked += _table_page(page, rng, words, name, number)
        else:
            # A word search for a station meets other pages too.
            mention = f"Mail for {rng.choice(names)} passes here on {rng.choice(_DAYS)}."
            asked += _prose_page(page, rng, words, name, number, layout, mention, prose)
        if number % 3:  # layouts come in fours, so pages of every layout are asked for
            question = f"On which page is {name} described?"
            asked.append(PageQuestion(question, (str(number), f"Page {number}"), number, "page number"))
        page.show(f"Page {number}", WIDTH / 2 - 16, MARGIN / 2, size=9)
        drawn.append(b"\n".join(page.content))
    return _file(drawn), asked


def _names(words: Words, rng: random.Random, count: int) -> list[str]:
    """Distinct two-word names; of three words where the vocabulary has too few."""
    pairs = [f"{adjective.title()} {noun.title()}" for adjective in words.adjectives for noun in words.nouns]
    if count > len(pairs):
        pairs = [f"{city} {pair}" for city in words.cities for pair in pairs]
    return rng.sample(pairs, count)


def _value(kind: str, words: Words, rng: random.Random) -> str:
    if kind == "person":
        return words.person(rng)
    if kind == "city":
        return rng.choice(words.cities)
    if kind == "year":
        return str(rng.randrange(1700, 2020))
    return f"{''.join(rng.choices('BCDFGHKLMN', k=3))}{rng.randrange(100, 999)}"


def _prose_page(
    page: _Page,
    rng: random.Random,
    words: Words,
    name: str,
    number: int,
    layout: str,
    mention: str,
    prose: Sequence[str],
) -> list[PageQuestion]:
    said = [(text, question, _value(kind, words, rng)) for text, question, kind in _FACTS]
    rng.shuffle(said)
    count = {"text": 1, "two columns": 2, "three columns": 3}[layout]
    per_column = [said[i::count] for i in range(count)]
    room = (WIDTH - 2 * MARGIN) / count
    for place, facts in enumerate(per_column):
        paragraphs = []
        for text, _, value in facts:
            # A fact ends a short piece of prose, so that every column holds all of its own.
            before = textwrap.shorten(rng.choice(prose), 420 // count, placeholder=".")
            paragraphs.append(f"{before} {text.format(name=name, value=value)}")
        if place == count - 1:
            paragraphs.append(mention)
        page.column(paragraphs, MARGIN + place * room, HEIGHT - MARGIN - 36, int((room - 12) / 5.6))
    return [
        PageQuestion(question.format(name=name), (value,), number, layout) for _, question, value in rng.sample(said, 2)
    ]


def _table_page(page: _Page, rng: random.Random, words: Words, name: str, number: int) -> list[PageQuestion]:
    y = HEIGHT - MARGIN - 36
    page.show(f"Readings at {name} by gauge.", MARGIN, y)
    rows = distinct(lambda r: f"{r.choice(words.nouns).title()} {r.choice('ABCDEFGH')}", rng, 8)
    table = [[str(rng.randrange(10, 9999)) for _ in _COLUMNS] for _ in rows]
    head = ["Gauge", *(f"{title} ({unit})" for title, unit in _COLUMNS)]
    body = [[row, *cells] for row, cells in zip(rows, table, strict=True)]
    for line, cells in enumerate([head, *body]):
        for column, cell in enumerate(cells):
            page.show(cell, MARGIN + 115 * column, y - 28 - 16 * line, bold=line == 0)
    asked = []
    for row in rng.sample(range(len(rows)), 2):
        column = rng.randrange(len(_COLUMNS))
        title, unit = _COLUMNS[column]
        question = f"What is the {title.lower()} of gauge {rows[row]} at {name}?"
        asked.append(PageQuestion(question, (table[row][column], f"{table[row][column]} {unit}"), number, "table"))
    return asked


def _file(pages: Sequence[bytes]) -> bytes:
    """A PDF 1.4 file: catalogue, page tree, two fonts, then two objects a page and the table of offsets."""
    first = 5
    kids = b" ".join(b"%d 0 R" % (first + 2 * number) for number in range(len(pages)))
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d /MediaBox [0 0 %d %d] >>" % (kids, len(pages), WIDTH, HEIGHT),
        font % b"Helvetica",
        font % b"Helvetica-Bold",
    ]
    for number, content in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> /Contents %d 0 R >>"
            % (first + 2 * number + 1)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    out, offsets = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    return bytes(out) + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (len(objects) + 1, table, end)
