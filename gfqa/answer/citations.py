"""Where an answer came from: attention mass on cached tokens -> spans -> file, lines or page, and a verbatim quote.

The model never writes a citation: every one is computed here from the mass its GOLD layers put on the cached tokens, and every
quote is decoded from the cached ids. Torch-free; S cached tokens in n chains.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

WINDOW = 16
"""Tokens over which the mass is summed to find a peak: about one sentence, so that a lone spike does not win."""
QUOTE_CHARACTERS = 400
"""A longer line is quoted around the cited place only."""

Mass = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Pieces(Protocol):
    """What citations need of a tokenizer."""

    @property
    def identity(self) -> str: ...

    @property
    def vocab_size(self) -> int: ...

    def piece_bytes(self, id: int, /) -> bytes: ...


@dataclass(frozen=True)
class Span:
    """Tokens start..end (exclusive) of chain number `chain`.

    share: the part of the mass on all documents that lies in the window around the span's peak.
    """

    chain: int
    start: int
    end: int
    share: float


@dataclass(frozen=True)
class Place:
    """A span in the document: 1-based lines of a text, or the 1-based page of a PDF, and the cited text itself."""

    start_line: int | None
    end_line: int | None
    page: int | None
    quote: str


def find_span(
    mass: Mass, ids: Ids, chain: int, begin: int, passage: tuple[int, int], answer: bytes, pieces: Pieces
) -> tuple[Span, bool]:
    """(the answer's place in a passage, whether it stands there word for word): else where the passage's mass peaks.

    mass [S]: attention mass of the answer's tokens; ids [S]; begin: the first token of chain number `chain`; passage: its
    tokens from and to (exclusive) among all S; answer: its UTF-8 bytes.
    """
    low, high = passage
    smooth = _windowed(mass[low:high])
    verbatim = _verbatim(mass, ids, _piece_table(pieces), answer, low, high)
    peak = low + int(np.argmax(smooth)) if high > low else low
    start, end = verbatim or (_around(mass, peak, low, high) if high > low else (low, high))
    nearest = smooth[max(start - low, 0) : max(end - low, start - low + 1)]
    share = float(nearest.max(initial=0.0)) / max(float(mass.sum(dtype=np.float64)), 1e-30)
    return Span(chain, start - begin, end - begin, min(share, 1.0)), verbatim is not None


def locate(
    span: Span,
    ids: Ids,
    header_tokens: int,
    page_starts: Sequence[int] | None,
    pieces: Pieces,
    *,
    lines: int = 3,
    one_page: bool = False,
) -> Place:
    """The lines or the page of `span` in the document whose ids (header included) are `ids`, and its first `lines` lines.

    Header tokens map to line 1. page_starts: character offsets of a PDF's pages. one_page: of a span over a page's end, the
    side with more of it; the whole otherwise, with the page that it begins on.
    """
    table = _piece_table(pieces)
    parts = [table[id] for id in ids.tolist()]
    text = b"".join(parts[header_tokens:])
    sizes = np.cumsum([0, *(len(part) for part in parts[header_tokens:])])
    first, last = max(span.start - header_tokens, 0), max(span.end - header_tokens, 0)
    start = int(sizes[min(first, len(sizes) - 1)])
    end = max(int(sizes[min(last, len(sizes) - 1)]), start)
    start, end = _trim(text, start, end)
    if one_page and page_starts is not None and (border := text.find(b"\f", start, end)) >= 0:
        start, end = _trim(text, *((start, border) if border - start >= end - border else (border + 1, end)))
    quote = _quote(text, start, end, lines)
    if page_starts is not None:
        offset = len(text[:start].decode("utf-8", "ignore"))
        return Place(None, None, max(1, bisect_right(page_starts, offset)), quote)
    start_line = text.count(b"\n", 0, start) + 1
    return Place(start_line, start_line + text.count(b"\n", start, end), None, quote)


def _windowed(mass: Mass) -> npt.NDArray[np.float64]:
    """Sum of the mass over WINDOW tokens centred on each token."""
    sums = np.concatenate([[0.0], np.cumsum(mass, dtype=np.float64)])
    at = np.arange(len(mass))
    lo, hi = np.maximum(at - WINDOW // 2, 0), np.minimum(at + WINDOW // 2 + 1, len(mass))
    # Differences of a running sum leave rounding dust where there is no mass at all.
    windowed: npt.NDArray[np.float64] = np.maximum(sums[hi] - sums[lo], 0.0)
    return windowed


def _verbatim(mass: Mass, ids: Ids, table: Sequence[bytes], answer: bytes, lo: int, hi: int) -> tuple[int, int] | None:
    """The tokens in lo..hi that spell `answer`, at its occurrence with the most mass; None where it does not occur."""
    answer = answer.strip()
    if not answer:
        return None
    parts = [table[id] for id in ids[lo:hi].tolist()]
    text = b"".join(parts)
    borders = np.cumsum([0, *map(len, parts)])
    best, best_mass = None, -1.0
    at = text.find(answer)
    while at >= 0:
        first = int(np.searchsorted(borders, at, side="right")) - 1
        last = int(np.searchsorted(borders, at + len(answer), side="left"))
        here = float(mass[lo + first : lo + last].sum())
        if here > best_mass:
            best, best_mass = (lo + first, lo + last), here
        at = text.find(answer, at + 1)
    return best


def _around(mass: Mass, peak: int, begin: int, end: int) -> tuple[int, int]:
    """The tokens of the window around `peak` between the first and the last that carry a fair part of its mass."""
    lo, hi = max(begin, peak - WINDOW // 2), min(end, peak + WINDOW // 2 + 1)
    window = mass[lo:hi]
    strong = np.flatnonzero(window >= window.max() / 4)
    return lo + int(strong[0]), lo + int(strong[-1]) + 1


def _trim(text: bytes, start: int, end: int) -> tuple[int, int]:
    """Drop white space at both ends, so that a newline token does not drag the next line in; keep characters whole."""
    while start < end and text[start : start + 1].isspace():
        start += 1
    while end > start and text[end - 1 : end].isspace():
        end -= 1
    while start > 0 and start < len(text) and text[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return start, end


def _quote(text: bytes, start: int, end: int, lines: int) -> str:
    """The first `lines` cited lines, whole where they are short; always a verbatim piece of the document."""
    lo = max(text.rfind(b"\n", 0, start), text.rfind(b"\f", 0, start)) + 1
    borders = [at for at in (text.find(b"\n", end), text.find(b"\f", end)) if at >= 0]
    hi = min(borders, default=len(text))
    whole = b"\n".join(text[lo:hi].split(b"\n")[:lines]).rstrip(b"\r")
    if len(whole) <= QUOTE_CHARACTERS:
        return whole.decode("utf-8", "replace")
    room = max(0, QUOTE_CHARACTERS - (end - start)) // 2
    lo, hi = max(lo, start - room), min(hi, max(end, start + 1) + room, start - room + QUOTE_CHARACTERS)
    # Cutting at a byte may split a character; it is left out, so that the quote stays verbatim.
    return text[lo:hi].decode("utf-8", "ignore")


_tables: dict[str, tuple[bytes, ...]] = {}


def _piece_table(pieces: Pieces) -> tuple[bytes, ...]:
    """The bytes of every id, made once for each tokenizer."""
    if pieces.identity not in _tables:
        _tables[pieces.identity] = tuple(pieces.piece_bytes(id) for id in range(pieces.vocab_size))
    return _tables[pieces.identity]
