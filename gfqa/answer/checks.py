"""Is a citation true? Asked of the cached ids anew, line by line, before anybody sees it. Torch-free; S tokens a document."""

from __future__ import annotations

from collections.abc import Sequence

from gfqa.answer.citations import Ids, Pieces, Place


def document_text(ids: Ids, header_tokens: int, pieces: Pieces) -> str:
    """The text of a document, as ingested, from its ids [S], the path header left out."""
    return b"".join(pieces.piece_bytes(id) for id in ids[header_tokens:].tolist()).decode("utf-8", "replace")


def column(place: Place, text: str, wanted: str) -> int:
    """1-based, in bytes of UTF-8 as editors count: where `wanted` begins in the first cited line, else its first letter."""
    if place.start_line is None:
        return 1
    line = text.split("\n")[place.start_line - 1]
    # A long line is quoted in part, and the same words may stand before the part.
    quoted = max(line.find(place.quote.split("\n")[0]), 0)
    at = line.find(wanted, quoted) if wanted else -1
    if at < 0:
        at = quoted + len(line[quoted:]) - len(line[quoted:].lstrip())
    return len(line[:at].encode("utf-8", "replace")) + 1


def verified(place: Place, text: str, page_starts: Sequence[int] | None) -> bool:
    """Whether the lines or the page exist in the document `text` and hold the quote word for word.

    It goes another way than `citations.locate`, by whole lines and pages instead of byte offsets, so that a mistake there
    shows here.
    """
    if not place.quote.strip():
        return False
    if page_starts is not None:
        bounds = [*page_starts, len(text)]
        page = place.page or 0
        return 1 <= page < len(bounds) and place.quote in text[bounds[page - 1] : bounds[page]]
    lines, first, last = text.split("\n"), place.start_line or 0, place.end_line or 0
    return 1 <= first <= last <= len(lines) and place.quote in "\n".join(lines[first - 1 : last])
