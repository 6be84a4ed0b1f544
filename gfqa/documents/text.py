"""From bytes to text: what is binary, and which encoding it is. UTF-8 first, a guess only as the last resort."""

from __future__ import annotations

import codecs

HEAD_BYTES = 8192

# UTF-32 before UTF-16: the little-endian mark of the one begins with that of the other.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAX_CHAOS = 0.1  # charset-normalizer's share of unlikely neighbours
_MIN_COHERENCE = 0.3  # its likeness to the letter frequencies of some language


def is_binary(head: bytes) -> bool:
    """git's rule: a NUL in the first 8 KB, unless a byte order mark says that NULs are half of the letters."""
    return _mark(head) is None and b"\0" in head[:HEAD_BYTES]


def decode(data: bytes) -> str | None:
    """The text of `data`, newlines untouched and without a byte order mark; None when no encoding is certain enough.

    The result never holds a lone surrogate: every decoder used here is strict about them.
    """
    mark = _mark(data)
    if mark is not None:
        bom, encoding = mark
        return _strict(data[len(bom) :], encoding)
    text = _strict(data, "utf-8")
    return _guess(data) if text is None else text


def _mark(data: bytes) -> tuple[bytes, str] | None:
    return next((mark for mark in _MARKS if data.startswith(mark[0])), None)


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _guess(data: bytes) -> str | None:
    lenient = data.decode("utf-8", "replace")
    if sum(character > "\x7f" and character != "\ufffd" for character in lenient) > lenient.count("\ufffd"):
        return None  # damaged UTF-8: any other reading of it would be wrong in more places than it mends

    from charset_normalizer import from_bytes  # only here: most trees never need it

    matches = [match for match in from_bytes(data) if match.chaos < _MAX_CHAOS]
    # Single-byte encodings differ in a few letters only, and a short text cannot tell them apart. The documents are
    # English, so the most common of them wins wherever it is possible at all.
    western = any("cp1252" in match.could_be_from_charset for match in matches)
    text = _strict(data, "cp1252") if western else None
    if text is None and matches and matches[0].coherence >= _MIN_COHERENCE:
        text = str(matches[0])
    if text is None:
        return None
    return text if _strict(text.encode("utf-8", "surrogatepass"), "utf-8") is not None else None
