"""Pack files: several segments in one immutable file, with an index at its end.

    header   16 bytes   magic, format version
    segments            one after the other, each a multiple of 16 bytes
    index    160 bytes per segment: its header, offset, length, SHA-256
    trailer  56 bytes   where the index is, format version, SHA-256 of header + index + these numbers, magic

A pack is named by the SHA-256 in its trailer. Every byte is under some checksum, both ends carry the magic, and the
file's size must fit exactly, so a truncated, zeroed or renamed pack never validates.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from gfqa.cachestore import fs
from gfqa.cachestore.keys import FORMAT_VERSION, is_key
from gfqa.cachestore.segment import HEADER_BYTES, Damaged, Header, unpack_header
from gfqa.errors import CacheError

PACK_BYTES: Final = 8 * 2**20
"""A pack is written once its segments reach this size."""
SUFFIX: Final = ".pack"

_HEAD = struct.Struct("<8sII")
_PLACE = struct.Struct("<QQ32s")
_COUNTS = struct.Struct("<QII")
_TAIL = struct.Struct("<32s8s")
_ENTRY_BYTES = HEADER_BYTES + _PLACE.size
_TRAILER_BYTES = _COUNTS.size + _TAIL.size
_MAGIC = b"gfqaPACK"
_END_MAGIC = b"KCAPaqfg"


class Location(NamedTuple):
    """Where the bytes of a segment are, and what they must hash to. n_tokens is 0 for a snapshot."""

    pack: str
    offset: int
    length: int
    sha256: str
    key: str
    n_tokens: int

    @property
    def place(self) -> tuple[str, int]:
        """Pack and offset: which copy of a segment this is."""
        return self.pack, self.offset


class PackGone(Exception):
    """A pack that a manifest names does not exist (any more)."""


class Entry(NamedTuple):
    """One line of a pack's index."""

    header: Header
    location: Location


def write_pack(directory: Path, segments: Iterable[bytes]) -> list[Entry]:
    """Writes the segments as one pack, durably, and returns its index. Raises GfqaError."""
    head = _HEAD.pack(_MAGIC, FORMAT_VERSION, 0)
    chunks = [head]
    places: list[tuple[bytes, int, int, bytes]] = []
    offset = len(head)
    for data in segments:
        places.append((data[:HEADER_BYTES], offset, len(data), hashlib.sha256(data).digest()))
        chunks.append(data)
        offset += len(data)
    index = b"".join(header + _PLACE.pack(start, size, digest) for header, start, size, digest in places)
    counts = _COUNTS.pack(offset, len(places), FORMAT_VERSION)
    digest = hashlib.sha256(head + index + counts)
    chunks += [index, counts, _TAIL.pack(digest.digest(), _END_MAGIC)]
    fs.write_file_atomically(directory / (digest.hexdigest() + SUFFIX), chunks)
    return _entries(digest.hexdigest(), index)


class PackReader:
    """An open pack; a context manager. Raises PackGone, and Damaged for bytes that are not as they should be."""

    def __init__(self, directory: Path, name: str) -> None:
        if not is_key(name):
            raise Damaged("a pack has a name that is not a key")
        self.name = name
        self.path = directory / (name + SUFFIX)
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise PackGone(f"{self.path} is missing") from None
        except OSError as error:
            raise Damaged(f"it cannot be opened: {error.strerror}") from error
        self.size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> PackReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def segment(self, location: Location) -> bytes:
        """The bytes at a location, checked against its SHA-256."""
        data = self._read(location.offset, location.length)
        check(data, location)
        return data

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer with the bytes from `offset` on, unchecked: how many there were, 0 where the disk fails."""
        if offset > self.size:
            return 0
        try:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.readv(self._descriptor, [buffer])
        except OSError:
            return 0

    def index(self) -> bytes:
        """The index as it stands, after checking magic, version, size and checksum. CacheError for a newer format."""
        size = self.size
        if size < _HEAD.size + _TRAILER_BYTES:
            raise Damaged("it is cut short")
        head = self._read(0, _HEAD.size)
        magic, version, _ = _HEAD.unpack(head)
        if magic != _MAGIC:
            raise Damaged("it is not a pack of segments")
        if version > FORMAT_VERSION:
            raise newer_format(self.path, version)
        trailer = self._read(size - _TRAILER_BYTES, _TRAILER_BYTES)
        counts = trailer[: _COUNTS.size]
        offset, count, _ = _COUNTS.unpack(counts)
        digest, magic = _TAIL.unpack_from(trailer, _COUNTS.size)
        if magic != _END_MAGIC or offset + count * _ENTRY_BYTES + _TRAILER_BYTES != size or offset < _HEAD.size:
            raise Damaged("its end is cut short or overwritten")
        index = self._read(offset, count * _ENTRY_BYTES)
        if hashlib.sha256(head + index + counts).digest() != digest or digest.hex() != self.name:
            raise Damaged("its index does not match its checksum")
        return index

    def entries(self) -> list[Entry]:
        """The index, parsed; its segments must lie one after the other from the header to the index."""
        entries = _entries(self.name, self.index())
        expected = _HEAD.size
        for entry in entries:
            if entry.location.offset != expected:
                raise Damaged("its index has holes")
            expected += entry.location.length
        if expected + len(entries) * _ENTRY_BYTES + _TRAILER_BYTES != self.size:
            raise Damaged("its index has holes")
        return entries

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise Damaged("it is cut short")
        try:
            data = os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise Damaged(f"it cannot be read: {error.strerror}") from error
        if len(data) != length:
            raise Damaged("it is cut short")
        return data


def check(data: bytes | memoryview, location: Location) -> None:
    """Raises Damaged where the bytes of a location do not match its SHA-256."""
    if hashlib.sha256(data).hexdigest() != location.sha256:
        raise Damaged("a segment does not match its checksum")


def newer_format(path: Path, version: int) -> CacheError:
    """The error for a file of a format this gfqa does not know."""
    return CacheError(
        f"{path} has store format version {version}, and this gfqa reads version {FORMAT_VERSION}.",
        hint="Use the newer gfqa that wrote it.",
    )


def _entries(name: str, index: bytes) -> list[Entry]:
    entries = []
    for start in range(0, len(index), _ENTRY_BYTES):
        header = unpack_header(index[start : start + HEADER_BYTES])
        offset, length, digest = _PLACE.unpack_from(index, start + HEADER_BYTES)
        entries.append(Entry(header, Location(name, offset, length, digest.hex(), header.key, header.n_tokens)))
    return entries
