"""Words of token ids, fast enough to be found anew for every question: pieces -> bytes -> word borders -> stems -> hashes.

A word is a run of letters and digits, lower-cased, and cut to a stem by a few English endings. Identifiers count whole and in
their parts (`read_HTTPHeader` is itself, read, http, header). Words are compared by 64-bit hashes, all in numpy: about half a
second for a million tokens. Torch-free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_BLOCK = 1 << 16
_OTHER, _LOWER, _UPPER, _DIGIT, _UNDERSCORE = range(5)


class Pieces(Protocol):
    """What spelling ids needs of a tokenizer."""

    @property
    def identity(self) -> str: ...

    @property
    def vocab_size(self) -> int: ...

    def piece_bytes(self, id: int, /) -> bytes: ...


@dataclass(frozen=True)
class Words:
    """Words in the order of the text, then whole identifiers of several parts in theirs.

    hashes [W]: of the stems; at [W]: where in the text (bytes) each begins; n_plain: how many come before the identifiers.
    """

    hashes: Hashes
    at: Numbers
    n_plain: int


def spell(ids: npt.NDArray[Any], pieces: Pieces) -> tuple[Bytes, Numbers]:
    """(the text of ids [S] as bytes, where each id's bytes begin [S + 1]).

    A control id, which opens every document, becomes a newline, so that no word spans two documents.
    """
    blob, offsets, lengths = _spelling(pieces)
    # A model's vocabulary may be padded beyond its tokenizer's; such ids are no text.
    known = np.minimum(ids.astype(np.int64), len(lengths) - 1)
    sizes = lengths[known]
    begins = np.concatenate([[0], np.cumsum(sizes)])
    source = np.repeat(offsets[known] - begins[:-1], sizes)
    source += np.arange(len(source))
    return blob[source], begins


def find_words(text: Bytes) -> Words:
    """The words of a text given as UTF-8 bytes."""
    plain, whole = [], []
    for begin, end in _blocks(text):
        found = _find_words(text[begin:end])
        at = found.at + begin
        plain.append((found.hashes[: found.n_plain], at[: found.n_plain]))
        whole.append((found.hashes[found.n_plain :], at[found.n_plain :]))
    hashes, places = zip(*plain, *whole, strict=True)
    return Words(np.concatenate(hashes), np.concatenate(places), sum(len(part) for part, _ in plain))


def _blocks(text: Bytes) -> Iterator[tuple[int, int]]:
    """Stretches of about _BLOCK bytes that end at white space: what numpy works on should stay in the processor's cache."""
    begin = 0
    while len(text) - begin > 2 * _BLOCK:
        spaces = np.flatnonzero(text[begin + _BLOCK : begin + 2 * _BLOCK] <= ord(" "))
        end = begin + _BLOCK + (int(spaces[0]) if len(spaces) else _BLOCK)
        yield begin, end
        begin = end
    yield begin, len(text)


def _find_words(text: Bytes) -> Words:
    # Two bytes of nothing on either side, so that every neighbour exists.
    padded = np.concatenate([np.zeros(2, np.uint8), text, np.zeros(3, np.uint8)])
    kinds = _KINDS[padded]
    _blank_punctuation(padded, kinds)
    lower, upper = kinds == _LOWER, kinds == _UPPER
    inside = (kinds != _OTHER) & (kinds != _UNDERSCORE)
    here, before, after, next_but_one = slice(2, -3), slice(1, -4), slice(3, -2), slice(4, -1)
    # HTTPHeader is cut before the last capital, but URLs is one word.
    plural = (padded[after] == ord("s")) & ~lower[next_but_one]
    hump = upper[here] & ((inside[before] & ~upper[before]) | (upper[before] & lower[after] & ~plural))
    opens = inside[here] & (~inside[before] | hump)
    closes = inside[here] & np.append(~inside[here][1:] | opens[1:], True)[: len(text)]
    starts, ends = np.flatnonzero(opens), np.flatnonzero(closes) + 1
    lowered = _LOWERED[padded[here]]
    hasher = _hasher(lowered)
    hashes = hasher(starts, _stem_ends(lowered, starts, ends))
    # Whole identifiers: runs with underscores in them that hold several words.
    joined = kinds[here] != _OTHER
    first = joined & ~np.append(False, joined[:-1])[: len(text)]
    last = joined & ~np.append(joined[1:], False)[: len(text)]
    whole_starts, whole_ends = np.flatnonzero(first), np.flatnonzero(last) + 1
    counts = np.searchsorted(starts, whole_ends) - np.searchsorted(starts, whole_starts)
    several = counts > 1
    whole = hasher(whole_starts[several], whole_ends[several])
    return Words(
        np.concatenate([hashes, whole]), np.concatenate([starts, whole_starts[several]]).astype(np.int64), len(starts)
    )


def _table(of: Callable[[int], int]) -> Bytes:
    return np.array([of(value) for value in range(256)], np.uint8)


def _kind(value: int) -> int:
    character = chr(value)
    if value >= 0x80:
        return _LOWER  # part of a character beyond ASCII, mostly a letter
    if character.isdigit():
        return _DIGIT
    if character.isalpha():
        return _UPPER if character.isupper() else _LOWER
    return _UNDERSCORE if character == "_" else _OTHER


_KINDS = _table(_kind)
_LOWERED = _table(lambda value: value + 32 if ord("A") <= value <= ord("Z") else value)
_VOWELS = _table(lambda value: chr(value) in "aeiouy")


def _blank_punctuation(text: Bytes, kinds: Bytes) -> None:
    """Dashes, curly quotes and other marks U+2000 to U+203F, and U+0080 to U+00BF, belong to no word."""
    marks = np.flatnonzero((text[:-2] == 0xE2) & (text[1:-1] == 0x80))
    for offset in range(3):
        kinds[marks + offset] = _OTHER
    marks = np.flatnonzero(text[:-1] == 0xC2)
    for offset in range(2):
        kinds[marks + offset] = _OTHER


def _hasher(text: Bytes) -> Callable[[Numbers, Numbers], Hashes]:
    """hash(starts [W], ends [W]) of stretches of the text, equal for equal bytes wherever they stand.

    sum of byte_j * base^(j - start) modulo 2^64, from one running sum of byte_j * base^j.
    """
    powers, inverses = _powers(max(2 * _BLOCK, len(text)) + 1)
    sums = np.zeros(len(text) + 1, np.uint64)
    np.cumsum((text.astype(np.uint64) + np.uint64(1)) * powers[: len(text)], out=sums[1:])

    def hashed(starts: Numbers, ends: Numbers) -> Hashes:
        return (sums[ends] - sums[starts]) * inverses[starts]

    return hashed


@cache
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """base^j and base^-j modulo 2^64 for j below count."""
    both = []
    for factor in (_BASE, _INVERSE):
        row = np.full(count, factor, np.uint64)
        row[0] = 1
        both.append(np.multiply.accumulate(row))
    return both[0], both[1]


def _stem_ends(text: Bytes, starts: Numbers, ends: Numbers) -> Numbers:
    """Where each word's stem ends: plural s, ed, ing, ly, ment, ion, and a last e, i or y are left out.

    The stems are only compared with each other, so they need not be words; too short words stay whole.
    """
    ends = ends.copy()
    vowels = np.concatenate([[0], np.cumsum(_VOWELS[text], dtype=np.int32)])

    def back(count: int) -> Bytes:
        return text[np.maximum(ends - count, starts)] if len(text) else text

    def cut(suffix: str, least: int, *, unless: str = "", after: str = "") -> Flags:
        """Drop `suffix` from words of at least `least` bytes, by the letter before it; which words that was."""
        chosen: Flags = ends - starts >= least
        for number, letter in enumerate(reversed(suffix), 1):
            chosen = chosen & (back(number) == ord(letter))
        previous = back(len(suffix) + 1)
        if unless:
            chosen &= ~np.isin(previous, np.frombuffer(unless.encode(), np.uint8))
        if after:
            chosen &= np.isin(previous, np.frombuffer(after.encode(), np.uint8))
        chosen &= vowels[np.maximum(ends - len(suffix), starts)] > vowels[starts]
        ends[chosen] -= len(suffix)
        return chosen

    cut("s", 4, unless="sui")
    shortened = cut("ing", 5) | cut("ed", 4, unless="e")
    doubled = shortened & (back(1) == back(2)) & ~np.isin(back(1), np.frombuffer(b"lsz", np.uint8))
    ends[doubled & (ends - starts > 3)] -= 1
    cut("ly", 6)
    cut("ment", 9)
    cut("ion", 8, after="st")
    cut("e", 3)
    cut("i", 4)
    cut("y", 4)
    return ends


_spellings: dict[str, tuple[Bytes, Numbers, Numbers]] = {}


def _spelling(pieces: Pieces) -> tuple[Bytes, Numbers, Numbers]:
    """(all pieces' bytes, where each begins, its length; a newline at the end), made once for each tokenizer."""
    if pieces.identity not in _spellings:
        parts = [*(pieces.piece_bytes(id) or b"\n" for id in range(pieces.vocab_size)), b"\n"]
        lengths = np.array([*map(len, parts)], np.int64)
        offsets = np.cumsum(lengths) - lengths
        _spellings[pieces.identity] = (np.frombuffer(b"".join(parts), np.uint8), offsets, lengths)
    return _spellings[pieces.identity]
