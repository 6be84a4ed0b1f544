"""Writing one cache: segments are buffered, flushed as packs, and become the cache by one commit.

    with store.writer("docs", identity) as writer:
        if not writer.has(key): writer.add_segment(None, ids, keys, scales, last=True)
        writer.commit(sources, documents)

Leaving without a commit changes no cache; the packs written so far stay, so the same ingest run again finds its segments
with `has`. Everything durable is written by pack.write_pack and fs.write_file_atomically, packs first, manifest last.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gfqa.cachestore import fs, maintenance
from gfqa.cachestore.catalog import DocumentEntry, Manifest, Reading, StoredChain, encode_manifest
from gfqa.cachestore.keys import Identity, is_key, segment_key
from gfqa.cachestore.memory import DamagedPack, read_snapshot
from gfqa.cachestore.pack import PACK_BYTES, SUFFIX, Entry, Location, PackGone, PackReader, write_pack
from gfqa.cachestore.segment import (
    SNAPSHOT,
    TOKENS,
    Damaged,
    Header,
    checked_tokens,
    decode_snapshot,
    encode_snapshot,
    encode_tokens,
    unpack_header,
)
from gfqa.errors import CacheError, GfqaError

if TYPE_CHECKING:
    from gfqa.cachestore.store import Store

FLUSH_SECONDS: Final = 5.0
"""What was added longer ago than this is made durable with the next segment."""

Name = tuple[int, str]


class StoreWriter:
    """The one writer of a store, for one cache. A context manager; made by `Store.writer`.

    previous: the cache's last commit, of any identity, or None (also where it is damaged and replace is true). An importing
    writer marks what it adds; only another importing writer takes that for a segment it need not compute.
    Entering raises Busy, GfqaError, and CacheError if the cache is damaged or of another identity and replace is false.
    """

    previous: Manifest | None

    def __init__(
        self, store: Store, name: str, identity: Identity, timeout: float, replace: bool, imported: bool
    ) -> None:
        self.store = store
        self.name = name
        self.identity = identity
        self.previous = None
        self._timeout = timeout
        self._replace = replace
        self._imported = imported
        self._resources = contextlib.ExitStack()
        self._stored: dict[Name, list[Entry]] = {}
        self._checked: set[maintenance.Place] = set()
        self._written: set[maintenance.Place] = set()
        self._kept: set[str] = set()
        self._foreign: set[maintenance.Place] = set()
        self._pending: dict[Name, tuple[Header, bytes]] = {}
        self._pending_bytes = 0
        self._superseded: list[str] = []
        self._flushed_at = time.monotonic()
        self._open = False

    def __enter__(self) -> StoreWriter:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.store.locked(self._timeout))
            self.previous = last_commit(self.store, self.name, self.identity, replace=self._replace)
            self._read_packs()
            self._resources = stack.pop_all()
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._resources:
            if self._open:
                # An interrupted ingest resumes from here; its own error matters more than one of saving this much.
                with contextlib.nullcontext() if error is None else contextlib.suppress(GfqaError):
                    self.checkpoint()
            self._open = False

    def has(self, chain_key: str) -> bool:
        """Whether the segment of this key and all its parents are in the store (any cache's), undamaged and to be trusted."""
        key: str | None = chain_key
        while key is not None:
            header = self._find(TOKENS, key, trusted=True)
            if header is None:
                return False
            key = header.parent
        return True

    def add_segment(
        self,
        parent: str | None,
        ids: npt.ArrayLike,
        keys: npt.NDArray[Any] | None,
        scales: npt.NDArray[np.float16] | None = None,
        *,
        last: bool,
    ) -> str:
        """Adds up to 65,536 tokens of a chain and returns their segment key; nothing is stored twice.

        parent: key of the segment before, None for the first. ids [S] integers; keys [S, key_width] in the identity's
        storage form (None for key_width 0) with scales float16 [S] for int8. last: no segment of this chain follows, so its
        temporary snapshots are given up. Raises GfqaError for wrong shapes or dtypes, an unknown parent, NaN or infinity.
        """
        self._must_be_open()
        tokens = checked_tokens(self.identity, ids, keys, scales)
        if parent is not None and self._find(TOKENS, parent) is None:
            raise GfqaError(f"the segment {parent[:12]} that should come before is not in the store")
        key = segment_key(self.identity, parent, tokens.ids)
        if self._find(TOKENS, key, trusted=True) is None:
            self._hold(encode_tokens(self.identity, key, parent, tokens, last=last, imported=self._imported))
        if last and parent is not None:
            self._supersede(parent)
        return key

    def add_snapshot(self, chain_key: str, tensors: dict[str, npt.NDArray[Any]]) -> None:
        """Adds the state after a segment, named float32 arrays; it replaces the temporary ones earlier in its chain.

        In the chained layout the snapshot of a chain's last segment becomes part of the cache, every other one is
        temporary: for resuming with `snapshot`. Raises GfqaError for another dtype, NaN, infinity, or an unknown segment.
        """
        self._must_be_open()
        header = self._find(TOKENS, chain_key)
        if header is None:
            raise GfqaError(f"the segment {chain_key[:12]} that a snapshot belongs to is not in the store")
        if self._find(SNAPSHOT, chain_key, trusted=True) is None:
            self._hold(encode_snapshot(self.identity, chain_key, tensors, imported=self._imported))
        if header.parent is not None:
            self._supersede(header.parent)

    def snapshot(self, key: str) -> dict[str, npt.NDArray[np.float32]] | None:
        """The state after a segment, if the store has it undamaged: an interrupted long document goes on from there."""
        if (SNAPSHOT, key) in self._pending:
            return decode_snapshot(self._pending[SNAPSHOT, key][1], self.identity, key)
        if self._find(SNAPSHOT, key, trusted=True) is None:
            return None
        with contextlib.suppress(DamagedPack, PackGone):
            return read_snapshot(self.store.packs, self.identity, self._stored[SNAPSHOT, key][-1].location)
        return None

    def checkpoint(self) -> None:
        """Makes everything added so far durable. Raises GfqaError; what could not be written stays buffered."""
        self._must_be_open()
        segments = {name: held for name, held in self._pending.items() if name[0] == TOKENS}
        # Each snapshot has a pack of its own, so that the next one can replace it by removing a file.
        for group in [segments, *({name: held} for name, held in self._pending.items() if name[0] == SNAPSHOT)]:
            if group:
                for entry in write_pack(self.store.packs, [data for _, data in group.values()]):
                    self._remember(entry)
                    self._checked.add(entry.location.place)
                    self._written.add(entry.location.place)
                for name in group:
                    del self._pending[name]
        self._pending_bytes = 0
        self._flushed_at = time.monotonic()
        while self._superseded:
            name = SNAPSHOT, self._superseded.pop()
            entries = self._stored.pop(name, [])
            self._stored[name] = [entry for entry in entries if entry.location.pack in self._kept]
            for entry in entries:
                if entry.location.pack not in self._kept:
                    fs.unlink(self.store.packs / (entry.location.pack + SUFFIX))

    def commit(
        self,
        sources: Sequence[str],
        documents: Sequence[DocumentEntry],
        readings: Mapping[str, Reading] | None = None,
    ) -> Manifest:
        """Makes the cache consist of exactly these documents, durably: the commit point. Ends the writer's work.

        readings: how sources were read, where that was no plain walk. Afterwards bytes that the cache has given up are
        removed, if they are enough (`maintenance.DEAD_SHARE`). Raises GfqaError, and CacheError if a document's chain is not
        in the store; the cache is then as it was before.
        """
        self.checkpoint()
        chains = {}
        for document in documents:
            if document.source not in sources:
                raise GfqaError(f"{document.path} belongs to {document.source}, which is no source of the cache")
            if document.chain not in chains:
                chains[document.chain] = self._stored_chain(document)
            if not 0 <= document.start <= document.start + document.n_tokens <= chains[document.chain].n_tokens:
                raise GfqaError(f"{document.path} has more tokens than its chain")
        now = time.time()
        manifest = Manifest(
            name=self.name,
            identity=self.identity,
            sources=tuple(sources),
            documents=tuple(documents),
            chains=chains,
            created=now if self.previous is None else self.previous.created,
            updated=now,
            readings=dict(readings or {}),
            imported=any(place.place in self._foreign for chain in chains.values() for place in chain.locations),
        )
        fs.write_file_atomically(self.store.manifest_path(self.name), [encode_manifest(manifest)])
        self._open = False
        released = self._written | {place.place for place in (self.previous.locations() if self.previous else ())}
        # A damaged manifest of another cache may need any segment, so nothing is removed until that is settled.
        with contextlib.suppress(CacheError):
            maintenance.collect(self.store, released, dead_share=maintenance.DEAD_SHARE)
        return self.store.manifest(self.name)

    def discard(self) -> None:
        """Gives up what was added and not committed, and removes its bytes at once. Ends the writer's work.

        Nothing that any cache needs is touched, so it may be called whatever has gone wrong before.
        """
        self._open = False
        self._pending.clear()
        # What cannot be removed now is left to a prune; the error that led here matters more.
        with contextlib.suppress(GfqaError):
            maintenance.collect(self.store, self._written, dead_share=1.0)

    def _read_packs(self) -> None:
        packs = self.store.read_packs()
        for pack in packs.values():
            for entry in pack.entries or ():
                self._remember(entry)
        try:
            manifests = [self.store.manifest(name) for name in self.store.names()]
            named = {location.pack for manifest in manifests for location in manifest.locations()}
        except CacheError:
            named = set(packs)
        # Only a pack that holds one snapshot and is part of no cache may go when that snapshot is superseded.
        self._kept = named | {name for name, pack in packs.items() if pack.entries is None or len(pack.entries) != 1}

    def _stored_chain(self, document: DocumentEntry) -> StoredChain:
        segments: list[Location] = []
        key: str | None = document.chain
        while key is not None:
            header = self._find(TOKENS, key) if is_key(key) else None
            if header is None or header.identity != self.identity.digest:
                raise CacheError(
                    f"The store does not hold {document.path} whole and undamaged.", hint="Ingest it again."
                )
            segments.insert(0, self._stored[TOKENS, key][-1].location)
            key = header.parent
        keeps_snapshot = self.identity.layout == "chained" and self._find(SNAPSHOT, document.chain) is not None
        snapshot = self._stored[SNAPSHOT, document.chain][-1].location if keeps_snapshot else None
        return StoredChain(tuple(segments), snapshot)

    def _find(self, kind: int, key: str, *, trusted: bool = False) -> Header | None:
        """The header of a segment, buffered or stored; copies whose bytes are damaged are dropped from the index.

        trusted: leave out what was imported, unless this writer imports.
        """
        if (kind, key) in self._pending:
            return self._pending[kind, key][0]
        copies = self._stored.get((kind, key), [])
        while copies:
            header, location = copies[-1]  # what was imported comes first
            if trusted and header.imported and not self._imported:
                return None
            if location.place in self._checked:
                return header
            try:
                with PackReader(self.store.packs, location.pack) as reader:
                    if unpack_header(reader.segment(location)) == header:
                        self._checked.add(location.place)
                        return header
            except (Damaged, PackGone):
                pass
            copies.pop()
        return None

    def _hold(self, data: bytes) -> None:
        header = unpack_header(data)
        self._pending[header.kind, header.key] = header, data
        self._pending_bytes += len(data)
        if self._pending_bytes >= PACK_BYTES or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.checkpoint()

    def _remember(self, entry: Entry) -> None:
        copies = self._stored.setdefault((entry.header.kind, entry.header.key), [])
        copies.insert(0 if entry.header.imported else len(copies), entry)
        if entry.header.imported:
            self._foreign.add(entry.location.place)

    def _supersede(self, key: str | None) -> None:
        """Gives up the temporary snapshots of a segment and of those before it, at the next checkpoint."""
        while key is not None:
            self._pending.pop((SNAPSHOT, key), None)
            if (SNAPSHOT, key) in self._stored:
                self._superseded.append(key)
            header = self._find(TOKENS, key)
            key = None if header is None else header.parent

    def _must_be_open(self) -> None:
        if not self._open:
            raise GfqaError(f"the writer of the cache {self.name!r} is closed or has committed")


def last_commit(store: Store, name: str, identity: Identity, *, replace: bool = False) -> Manifest | None:
    """The commit that a writer of this identity goes on from, or None.

    CacheError if the cache is damaged or of another identity; with replace neither matters.
    """
    if not store.manifest_path(name).exists():
        return None
    try:
        previous = store.manifest(name)
    except CacheError:
        if replace:
            return None
        raise
    difference = previous.identity.difference(identity)
    if difference and not replace:
        raise CacheError(
            f"The cache {name!r} was made with {difference}.",
            hint=f"Read it again with the model in use: gfqa caches rebuild {name}; choose another --name, or pass "
            "--replace to make the cache anew from these sources.",
        )
    return previous
