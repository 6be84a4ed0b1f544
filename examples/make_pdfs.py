"""Writes examples/pdfs/*.pdf from the texts in examples/pdf_texts, byte for byte the same each time.

A text file is a title line, then sections: a line `# Heading` starts a section, `---` starts a new page, lines with
`|` are the rows of a table, and everything else is prose in paragraphs, wrapped here.

    python examples/make_pdfs.py
"""

from __future__ import annotations

import textwrap
from pathlib import Path

TEXTS = Path(__file__).parent / "pdf_texts"
PDFS = Path(__file__).parent / "pdfs"
WIDTH, HEIGHT, MARGIN = 595, 842, 72  # A4, in points
BODY, HEADING, LEADING = 12, 16, 19
COLUMNS = 78  # characters of 12 point Helvetica that are sure to fit between the margins
CELL = 110


class Page:
    """Drawing instructions of one page; `y` is the baseline of the next line."""

    def __init__(self, number: int) -> None:
        self.y = HEIGHT - MARGIN
        self._content: list[bytes] = []
        self.show(f"Page {number}", x=WIDTH / 2 - 16, y=MARGIN / 2, size=9)

    def show(self, text: str, x: float = MARGIN, y: float | None = None, size: int = BODY, bold: bool = False) -> None:
        escaped = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        place = b"%g %g" % (x, self.y if y is None else y)
        self._content.append(b"BT /F%d %d Tf %s Td (%s) Tj ET" % (2 if bold else 1, size, place, escaped))

    @property
    def content(self) -> bytes:
        # The footer was drawn first but is read last.
        return b"\n".join([*self._content[1:], self._content[0]])


def lay_out(text: str) -> list[Page]:
    """Pages of a text in the format that the module's docstring describes."""
    title, _, rest = text.partition("\n")
    pages = [Page(1)]
    pages[0].show(title, size=HEADING + 5, bold=True)
    pages[0].y -= 2 * LEADING
    for block in rest.strip().split("\n\n"):
        page = pages[-1]
        if block == "---":
            pages.append(Page(len(pages) + 1))
        elif block.startswith("# "):
            page.y -= LEADING / 2
            page.show(block[2:], size=HEADING, bold=True)
            page.y -= 1.5 * LEADING
        elif "|" in block:
            for number, row in enumerate(block.splitlines()):
                for column, cell in enumerate(row.split("|")):
                    page.show(cell.strip(), x=MARGIN + column * CELL, bold=number == 0)
                page.y -= LEADING
            page.y -= LEADING / 2
        else:
            for line in textwrap.wrap(" ".join(block.split()), COLUMNS, break_on_hyphens=False):
                page.show(line)
                page.y -= LEADING
            page.y -= LEADING / 2
        if page.y < MARGIN:
            raise ValueError(f"page {len(pages)} is too full: put a --- before {block[:40]!r}")
    return pages


def write_pdf(title: str, pages: list[Page]) -> bytes:
    """A PDF 1.4 file: catalogue, page tree, two fonts, information, then two objects per page."""
    first = 6
    kids = b" ".join(b"%d 0 R" % (first + 2 * n) for n in range(len(pages)))
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d /MediaBox [0 0 %d %d] >>" % (kids, len(pages), WIDTH, HEIGHT),
        font % b"Helvetica",
        font % b"Helvetica-Bold",
        b"<< /Title (%s) >>" % title.encode("ascii"),
    ]
    for number, page in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> /Contents %d 0 R >>"
            % (first + 2 * number + 1)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page.content), page.content))
    out, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (size, table, trailer)


def main() -> None:
    for source in sorted(TEXTS.glob("*.txt")):
        text = source.read_text("utf-8")
        (PDFS / f"{source.stem}.pdf").write_bytes(write_pdf(text.partition("\n")[0], lay_out(text)))


if __name__ == "__main__":
    main()
