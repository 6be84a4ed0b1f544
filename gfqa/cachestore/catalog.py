"""Manifests: one file per cache that says which documents it has and where the bytes of their chains are.

The first line is `gfqa-cache <format> <sha256> <bytes>`, the rest is one JSON object under that checksum. A manifest is
replaced by one atomic rename, and that rename is the commit: whatever it does not name is not part of the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from gfqa.cachestore.keys import FORMAT_VERSION, SEGMENT_TOKENS, Identity, is_key
from gfqa.cachestore.pack import Location, newer_format
from gfqa.cachestore.segment import Damaged
from gfqa.errors import CacheError, GfqaError, UsageError

SUFFIX: Final = ".manifest"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_FIRST_LINE = re.compile(rb"gfqa-cache ([0-9]{1,9}) ([0-9a-f]{64}) ([0-9]{1,18})\n")


def is_name(text: str) -> bool:
    """True for a possible cache name: 1 to 100 letters, digits, `.`, `_`, `-`, not starting with `.` or `-`."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str) -> str:
    """The name, or UsageError if it cannot be the name of a cache."""
    if not is_name(text):
        raise UsageError(
            f"{text!r} cannot be the name of a cache.",
            hint="Use up to 100 letters, digits, '.', '_' and '-', starting with a letter, digit or '_'.",
        )
    return text


def damaged_cache(name: str, what: str) -> CacheError:
    """The error for a cache that cannot be read as it is."""
    return CacheError(
        f"The cache {name!r} is damaged: {what}.",
        hint="Ingest its sources again: what is damaged is read anew (add --replace if its manifest is damaged).",
    )


@dataclass(frozen=True)
class DocumentEntry:
    """One document of a cache. The store reads only chain, n_tokens and start; the rest it keeps for its callers.

    source: absolute root; path: relative to it; content_hash: SHA-256 of the raw bytes (size of them, mtime_ns of the
    file); chain: key of the last segment; header_tokens: leading tokens that are the path header (line 1);
    page_starts: character offsets of the pages of a PDF; start: token offset in the one chain of the chained layout.
    """

    source: str
    path: str
    content_hash: str
    size: int
    mtime_ns: int
    chain: str
    n_tokens: int
    header_tokens: int
    page_starts: tuple[int, ...] | None = None
    start: int = 0


READINGS: Final = ("walk", "list", "stdin", "import")


@dataclass(frozen=True)
class Reading:
    """How a source was read, so that whoever compares it with the disk looks at the same files.

    kind: "walk" (a folder or file), "list" (only the files somebody listed), "stdin" (documents without a file), "import" (a
    place on another machine). include and exclude: globs. ValueError for what cannot be one.
    """

    kind: str = "walk"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include_secrets: bool = False

    def __post_init__(self) -> None:
        globs = (*self.include, *self.exclude)
        if self.kind not in READINGS or not all(isinstance(glob, str) for glob in globs):
            raise ValueError("not a way to read a source")

    @property
    def on_disk(self) -> bool:
        """Whether the source is a place on this machine's disk, as far as anybody knows."""
        return self.kind in ("walk", "list")


class StoredChain(NamedTuple):
    """Where a chain is: its segments in order, and its snapshot if it has one (chained layout)."""

    segments: tuple[Location, ...]
    snapshot: Location | None

    @property
    def n_tokens(self) -> int:
        """Tokens of the whole chain."""
        return sum(segment.n_tokens for segment in self.segments)

    @property
    def locations(self) -> tuple[Location, ...]:
        """Segments and snapshot."""
        return self.segments if self.snapshot is None else (*self.segments, self.snapshot)


@dataclass(frozen=True)
class Manifest:
    """A cache as of one commit. created and updated are seconds since 1970; digest is the checksum of the file.

    readings: how each source was read, where that was not a plain walk. imported: some of its numbers came from a file
    that was imported.
    """

    name: str
    identity: Identity
    sources: tuple[str, ...]
    documents: tuple[DocumentEntry, ...]
    chains: Mapping[str, StoredChain]
    created: float
    updated: float
    readings: Mapping[str, Reading] = field(default_factory=dict)
    imported: bool = False
    digest: str = field(default="", compare=False)
    file_bytes: int = field(default=0, compare=False)

    @cached_property
    def documents_by_chain(self) -> dict[str, tuple[DocumentEntry, ...]]:
        """Chain key to the documents that are this chain, in manifest order (the same text can appear twice)."""
        found: dict[str, list[DocumentEntry]] = {}
        for document in self.documents:
            found.setdefault(document.chain, []).append(document)
        return {key: tuple(documents) for key, documents in found.items()}

    def reading(self, source: str) -> Reading:
        """How a source was read."""
        return self.readings.get(source, Reading())

    def locations(self) -> Iterable[Location]:
        """Every copy of a segment or snapshot that this cache needs."""
        for chain in self.chains.values():
            yield from chain.locations

    def relocated(self, moves: Mapping[tuple[str, int], Location]) -> Manifest:
        """The same cache with its segments at their new places; self where nothing moved."""
        if not any(location.place in moves for location in self.locations()):
            return self

        def moved(location: Location) -> Location:
            return moves.get(location.place, location)

        chains = {
            key: StoredChain(tuple(map(moved, chain.segments)), chain.snapshot and moved(chain.snapshot))
            for key, chain in self.chains.items()
        }
        return replace(self, chains=chains, digest="", file_bytes=0)


@dataclass(frozen=True)
class CacheInfo:
    """A line of `gfqa caches list`. documents, tokens: how many; bytes: of its segments, snapshot and manifest."""

    name: str
    identity: Identity
    sources: tuple[str, ...]
    documents: int
    tokens: int
    bytes: int
    created: float
    updated: float
    imported: bool = False


def info_of(manifest: Manifest) -> CacheInfo:
    """The summary of a manifest. Segments shared with another cache count in both."""
    return CacheInfo(
        name=manifest.name,
        identity=manifest.identity,
        sources=manifest.sources,
        documents=len(manifest.documents),
        tokens=sum(document.n_tokens for document in manifest.documents),
        bytes=sum(location.length for location in manifest.locations()) + manifest.file_bytes,
        created=manifest.created,
        updated=manifest.updated,
        imported=manifest.imported,
    )


def encode_manifest(manifest: Manifest) -> bytes:
    """The file of a manifest."""
    data = encode_body(manifest)
    first = f"gfqa-cache {FORMAT_VERSION} {hashlib.sha256(data).hexdigest()} {len(data)}\n"
    return first.encode("ascii") + data


def encode_body(manifest: Manifest) -> bytes:
    """The JSON of a manifest, without the line that protects it."""
    packs = sorted({location.pack for location in manifest.locations()})
    pack_number = {pack: number for number, pack in enumerate(packs)}
    source_number = {source: number for number, source in enumerate(manifest.sources)}

    def row(location: Location) -> list[Any]:
        return [pack_number[location.pack], *location[1:]]

    body: dict[str, Any] = {
        "identity": asdict(manifest.identity),
        "sources": manifest.sources,
        "created": manifest.created,
        "updated": manifest.updated,
        "packs": packs,
        "chains": [
            [key, [row(segment) for segment in chain.segments], chain.snapshot and row(chain.snapshot)]
            for key, chain in sorted(manifest.chains.items())
        ],
        # ASCII JSON keeps file names that are not valid UTF-8 (lone surrogates) as they are.
        "documents": [
            [source_number[document.source], *(getattr(document, name) for name in _DOCUMENT_FIELDS)]
            for document in manifest.documents
        ],
    }
    # Only where there is something to say, so that plain caches are the same bytes as before these existed.
    if readings := {name: asdict(reading) for name, reading in manifest.readings.items() if reading != Reading()}:
        body["readings"] = readings
    if manifest.imported:
        body["imported"] = True
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii")


def decode_manifest(path: Path, data: bytes) -> Manifest:
    """The manifest in a file's bytes. Damaged if it is not whole, CacheError for a newer format."""
    match = _FIRST_LINE.match(data)
    if match is None:
        raise Damaged("it is not the manifest of a cache")
    version, digest, size = int(match[1]), match[2].decode(), int(match[3])
    if version > FORMAT_VERSION:
        raise newer_format(path, version)
    body = data[match.end() :]
    if version != FORMAT_VERSION or len(body) != size or hashlib.sha256(body).hexdigest() != digest:
        raise Damaged("it does not match its checksum")
    return decode_body(path.name.removesuffix(SUFFIX), body, digest, len(data))


def decode_body(name: str, body: bytes, digest: str = "", file_bytes: int = 0) -> Manifest:
    """The manifest in the JSON of one. Damaged if it makes no sense."""
    try:
        return _parse(name, json.loads(body), digest, file_bytes)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError, AttributeError, GfqaError) as error:
        raise Damaged("its contents make no sense") from error


_DOCUMENT_FIELDS = tuple(name for name in DocumentEntry.__dataclass_fields__ if name != "source")


def _parse(name: str, body: dict[str, Any], digest: str, file_bytes: int) -> Manifest:
    packs = body["packs"]
    sources = tuple(body["sources"])
    chains = {}
    for key, segments, snapshot in body["chains"]:
        stored = StoredChain(
            tuple(_location(packs, row) for row in segments), None if snapshot is None else _location(packs, snapshot)
        )
        if stored.segments[-1].key != key or (stored.snapshot and stored.snapshot.key != key):
            raise ValueError("a chain is not named by its last segment")
        chains[key] = stored
    documents = []
    for source, *fields in body["documents"]:
        entry = dict(zip(_DOCUMENT_FIELDS, fields, strict=True))
        if entry["page_starts"] is not None:
            entry["page_starts"] = tuple(entry["page_starts"])
        document = DocumentEntry(source=sources[source], **entry)
        if document.start + document.n_tokens > chains[document.chain].n_tokens:
            raise ValueError("a document is longer than its chain")
        documents.append(document)
    readings = {}
    for source, values in body.get("readings", {}).items():
        include, exclude = tuple(values.pop("include")), tuple(values.pop("exclude"))
        readings[source] = Reading(include=include, exclude=exclude, **values)
    return Manifest(
        name=name,
        identity=Identity(**body["identity"]),
        sources=sources,
        documents=tuple(documents),
        chains=chains,
        created=float(body["created"]),
        updated=float(body["updated"]),
        readings=readings,
        imported=body.get("imported", False) is True,
        digest=digest,
        file_bytes=file_bytes,
    )


def _location(packs: list[str], row: list[Any]) -> Location:
    number, offset, length, digest, key, n_tokens = row
    if not (is_key(packs[number]) and is_key(key) and is_key(digest)):
        raise ValueError("not a key")
    if min(number, offset, length, n_tokens) < 0 or n_tokens > SEGMENT_TOKENS:
        raise ValueError("not a possible place of a segment")
    return Location(packs[number], offset, length, digest, key, n_tokens)
