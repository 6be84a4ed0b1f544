"""PDF files written by hand for the tests: as small as the format allows, and damaged on purpose."""

from __future__ import annotations

import zlib


def pdf(*streams: bytes, page: bytes = b"", stream_entries: bytes = b"") -> bytes:
    """A PDF of one page per content stream, in Helvetica. `page`: more entries of each page's dictionary."""
    numbers = [4 + 2 * i for i in range(len(streams))]
    kids = b" ".join(b"%d 0 R" % n for n in numbers)
    bodies = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(streams)),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    }
    for number, stream in zip(numbers, streams):
        bodies[number] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            b"/Contents %d 0 R %s >>" % (number + 1, page)
        )
        entries = b"/Length %d %s" % (len(stream), stream_entries)
        bodies[number + 1] = b"<< %s >>\nstream\n%s\nendstream" % (entries, stream)
    return assemble(bodies)


def assemble(bodies: dict[int, bytes]) -> bytes:
    """Numbered objects with header, cross-reference table and trailer around them."""
    out, offsets = b"%PDF-1.4\n", []
    for number in sorted(bodies):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, bodies[number])
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(bodies) + 1, table, len(bodies) + 1, len(out))
    )


def lines(*texts: str) -> bytes:
    """A content stream that shows each text on a line of its own."""
    shown = b" T* ".join(
        b"(%s) Tj" % t.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        for t in texts
    )
    return b"BT /F1 12 Tf 14 TL 72 720 Td %s ET" % shown


def bomb(megabytes: int) -> bytes:
    """A page whose content stream inflates a thousandfold, twice over."""
    inflated = zlib.compress(zlib.compress(b"q Q " * (megabytes << 18), 9), 9)
    return pdf(inflated, stream_entries=b"/Filter [/FlateDecode /FlateDecode]")


def slow() -> bytes:
    """Pages that keep a reader busy for minutes: forms that show each other, ten times each, ten levels deep."""
    pages = 100
    bodies = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % (20 + n) for n in range(pages)), pages),
        3: b"<< /XObject << /X 5 0 R >> >>",
        4: b"<< /Length 5 >>\nstream\n/X Do\nendstream",
    }
    for level in range(5, 20):
        content = b"/X Do " * 10 if level < 14 else lines("deep")
        bodies[level] = (
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X %d 0 R >> >> /Length %d >>"
            b"\nstream\n%s\nendstream" % (level + 1, len(content), content)
        )
    for number in range(20, 20 + pages):
        bodies[number] = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources 3 0 R >>"
    return assemble(bodies)
