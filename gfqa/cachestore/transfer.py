"""One cache as one file, for other machines: exported from packs, imported by way of the writer, trusting nothing.

    gfqa-export 1 <sha256 of the JSON> <bytes of the JSON>\n
    {"name": …, "manifest": {… as in a manifest, offsets counted from the first segment …}}
    segments, one directly after the other

Every byte is under a checksum and the size follows from the first line, so no truncated or changed file is taken. The file is
read forwards only, so it may come through a pipe.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

from gfqa.cachestore.catalog import (
    DocumentEntry,
    Manifest,
    Reading,
    damaged_cache,
    decode_body,
    encode_body,
    is_name,
)
from gfqa.cachestore.keys import SEGMENT_TOKENS, is_key
from gfqa.cachestore.pack import Location, PackGone, PackReader
from gfqa.cachestore.segment import (
    HEADER_BYTES,
    SNAPSHOT,
    STORED,
    TOKENS,
    Damaged,
    decode_snapshot,
    decode_tokens,
)
from gfqa.cachestore.store import Store
from gfqa.cachestore.writer import StoreWriter
from gfqa.errors import CacheError

EXPORT_VERSION: Final = 1
MAX_HEAD_BYTES: Final = 2**26
"""Of the JSON of an export: about a hundred thousand documents."""
MAX_SNAPSHOT_BYTES: Final = 2**30

_NOWHERE = "0" * 64
_FIRST_LINE = re.compile(rb"gfqa-export ([0-9]{1,9}) ([0-9a-f]{64}) ([0-9]{1,12})\n")
_MAX_LINE = 110
_PADDING = 64


class Export(NamedTuple):
    """The head of an export: the cache's name where it was exported, its manifest, and the bytes of its segments."""

    name: str
    manifest: Manifest
    payload_bytes: int


def export_chunks(store: Store, name: str) -> Iterator[bytes]:
    """The bytes of an export of one cache, piece by piece. CacheError if the cache is missing or damaged."""
    manifest = store.manifest(name)
    ordered = [segment.location for segment in _in_order(manifest)]
    moves, offset = {}, 0
    for location in ordered:
        moves[location.place] = location._replace(pack=_NOWHERE, offset=offset)
        offset += location.length
    head = json.dumps({"name": name, "manifest": encode_body(manifest.relocated(moves)).decode("ascii")}).encode(
        "ascii"
    )
    if len(head) > MAX_HEAD_BYTES:
        raise CacheError(f"The cache {name!r} has too many documents for one exported file.")
    yield f"gfqa-export {EXPORT_VERSION} {hashlib.sha256(head).hexdigest()} {len(head)}\n".encode("ascii")
    yield head
    for pack, locations in itertools.groupby(ordered, key=lambda location: location.pack):
        try:
            with PackReader(store.packs, pack) as reader:
                for location in locations:
                    yield reader.segment(location)
        except Damaged as error:
            raise damaged_cache(name, f"{pack}: {error}") from error
        except PackGone as error:
            raise CacheError(
                f"The cache {name!r} was changed by another process, or is damaged: {error}.", hint="Export it again."
            ) from error


def read_head(file: IO[bytes], shown: str) -> Export:
    """The head of the export in `file`, checked. shown: what messages call the file. CacheError for anything else."""
    match = _FIRST_LINE.fullmatch(file.readline(_MAX_LINE))
    if match is None:
        raise CacheError(f"{shown} is no exported cache.", hint="gfqa caches export NAME FILE makes one.")
    version, digest, size = int(match[1]), match[2].decode(), int(match[3])
    if version != EXPORT_VERSION:
        raise CacheError(
            f"{shown} has export format version {version}, and this gfqa reads version {EXPORT_VERSION}.",
            hint="Use the newer gfqa that wrote it.",
        )
    if size > MAX_HEAD_BYTES:
        raise CacheError(f"{shown} claims a list of documents of {size} bytes, more than is allowed.")
    data = _read_exactly(file, size, shown)
    if hashlib.sha256(data).hexdigest() != digest:
        raise _damaged(shown, "its list of documents does not match its checksum")
    try:
        head = json.loads(data)
        name, body = head["name"], head["manifest"].encode("ascii")
        if not is_name(name):
            raise ValueError("not a name")
        manifest = decode_body(name, body)
        return Export(name, manifest, _check(manifest))
    except (Damaged, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(shown, f"its list of documents makes no sense ({error})") from error


def import_segments(file: IO[bytes], export: Export, writer: StoreWriter, shown: str, *, trust: bool) -> Manifest:
    """Read the segments behind the head into the writer, each checked, and commit. CacheError for a file that is not whole.

    The writer computes every key anew from the ids and refuses numbers that are not finite. Unless trusted, the sources
    are taken for places of another machine: nothing compares them with this one's disk. Whatever ends it early, nothing
    of it stays: unlike an ingest an import has nothing to go on from, since the file is read from its beginning again.
    """
    try:
        return _import_segments(file, export, writer, shown, trust)
    except BaseException:
        writer.discard()
        raise


def _import_segments(file: IO[bytes], export: Export, writer: StoreWriter, shown: str, trust: bool) -> Manifest:
    manifest = export.manifest
    for kind, location, parent, last in _in_order(manifest):
        data = _read_exactly(file, location.length, shown)
        if hashlib.sha256(data).hexdigest() != location.sha256:
            raise _damaged(shown, "a segment does not match its checksum")
        try:
            if kind == SNAPSHOT:
                writer.add_snapshot(location.key, {**decode_snapshot(data, manifest.identity, location.key)})
                continue
            tokens = decode_tokens(data, manifest.identity, location.key, parent)
            if len(tokens.ids) != location.n_tokens:
                raise Damaged("a segment has another number of tokens than the list says")
            writer.add_segment(parent, tokens.ids, tokens.keys, tokens.scales, last=last)
        except Damaged as error:
            raise _damaged(shown, str(error)) from error
    if file.read(1):
        raise _damaged(shown, "there is something behind its end")
    readings = manifest.readings if trust else {source: Reading("import") for source in manifest.sources}
    return writer.commit(manifest.sources, manifest.documents, readings)


class _Segment(NamedTuple):
    kind: int
    location: Location
    parent: str | None
    last: bool


def _in_order(manifest: Manifest) -> list[_Segment]:
    """Every segment and snapshot once, each after the one that it continues."""
    found: dict[tuple[str, int], _Segment] = {}
    for _, chain in sorted(manifest.chains.items()):
        parent = None
        for location in chain.segments:
            last = location is chain.segments[-1]
            found.setdefault(location.place, _Segment(TOKENS, location, parent, last))
            parent = location.key
        if chain.snapshot is not None:
            found.setdefault(chain.snapshot.place, _Segment(SNAPSHOT, chain.snapshot, parent, True))
    return list(found.values())


def _check(manifest: Manifest) -> int:
    """The bytes of all segments of a manifest that a stranger wrote. ValueError where anything is out of bounds."""
    identity = manifest.identity
    texts = (identity.model, identity.tokenizer, identity.model_name, *manifest.sources)
    numbers = (identity.key_width, identity.numerics_version)
    if not all(isinstance(text, str) and len(text) <= 4096 for text in texts) or not all(map(_is_count, numbers)):
        raise ValueError("its model or sources are none")
    if len(set(manifest.sources)) != len(manifest.sources):
        raise ValueError("a source is named twice")
    for document in manifest.documents:
        _check_document(document)
    expected = 0
    bound = (
        HEADER_BYTES + SEGMENT_TOKENS * (4 + 2 + STORED[identity.key_dtype].itemsize * identity.key_width) + _PADDING
    )
    for kind, location, _, _ in _in_order(manifest):
        if location.pack != _NOWHERE or location.offset != expected:
            raise ValueError("its segments do not lie one after the other")
        if not HEADER_BYTES < location.length <= (MAX_SNAPSHOT_BYTES if kind == SNAPSHOT else bound):
            raise ValueError("a segment has an impossible size")
        expected += location.length
    return expected


def _check_document(document: DocumentEntry) -> None:
    """ValueError for a document no ingest would have written."""
    path, pages = document.path, document.page_starts or ()
    counts = (document.size, document.mtime_ns, document.n_tokens, document.header_tokens, document.start, *pages)
    if not isinstance(path, str) or not 0 < len(path) <= 4096 or not is_key(document.content_hash):
        raise ValueError("a document has no path or hash")
    if "\0" in path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"the path {path!r} leads out of its source")
    if (
        not all(map(_is_count, counts))
        or not document.header_tokens <= document.n_tokens
        or list(pages) != sorted(pages)
    ):
        raise ValueError(f"the numbers of {path!r} are impossible")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _read_exactly(file: IO[bytes], size: int, shown: str) -> bytes:
    """That many bytes, asking for no more memory than has arrived. CacheError if the file ends before."""
    parts, missing = [], size
    while missing:
        part = file.read(min(missing, 1 << 24))
        if not part:
            raise _damaged(shown, "it is cut short")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _damaged(shown: str, what: str) -> CacheError:
    return CacheError(f"{shown} cannot be imported: {what}.", hint="Export the cache again, and copy the file whole.")
