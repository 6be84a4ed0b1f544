"""Keeping the store clean: removing what no cache needs any more, verifying what it needs, counting bytes.

Liveness is decided by all manifests together. If one of them cannot be read nothing is removed, since it may need
anything. Whoever calls `collect` holds the writer lock.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gfqa.cachestore import fs
from gfqa.cachestore.catalog import encode_manifest
from gfqa.cachestore.pack import PACK_BYTES, SUFFIX, Location, PackReader, write_pack
from gfqa.cachestore.segment import Damaged

if TYPE_CHECKING:
    from gfqa.cachestore.store import Store

GRACE_SECONDS: Final = 24 * 3600.0
"""Packs that no manifest names are kept this long: an interrupted ingest resumes from them."""

DEAD_SHARE: Final = 0.25
"""A commit rewrites packs with a larger share of dead bytes than this; `remove` and `prune` leave no dead byte."""

_SMALL_BYTES = 2**20
_MANY_SMALL = 16

Place = tuple[str, int]


@dataclass(frozen=True)
class Verified:
    """What `verify` read: how many caches, chains and tokens, each chain once, and the bytes of their segments."""

    caches: int
    chains: int
    tokens: int
    bytes: int


@dataclass(frozen=True)
class Stats:
    """Bytes of the store: all files; those of segments some cache needs; those that a prune could free at most."""

    caches: int
    packs: int
    bytes: int
    live_bytes: int
    dead_bytes: int


def collect(
    store: Store, released: Collection[Place] | None, *, dead_share: float = 0.0, grace_seconds: float = GRACE_SECONDS
) -> int:
    """Removes the packs nothing needs and rewrites those that are dead by more than dead_share. Returns the bytes freed.

    released: segments known to be given up (None: all that no manifest names). Other unnamed segments in a pack younger
    than grace_seconds may belong to an interrupted ingest and are kept. New packs, the manifests that point to them,
    the removal of the old packs: each is durable before the next. Raises CacheError if a manifest cannot be read.
    """
    manifests = [store.manifest(name) for name in store.names()]
    live = {location.place for manifest in manifests for location in manifest.locations()}
    live_packs = {pack for pack, _ in live}
    oldest_held = time.time() - grace_seconds
    packs = store.read_packs()
    doomed: list[str] = []
    rewritten: dict[str, list[Location]] = {}
    small: dict[str, list[Location]] = {}
    for name, pack in packs.items():
        held = grace_seconds > 0 and pack.modified > oldest_held and released is not None
        if pack.entries is None:
            if name not in live_packs and not held:
                doomed.append(name)
            continue
        keep = [
            location
            for _, location in pack.entries
            if location.place in live or (held and location.place not in (released or ()))
        ]
        total = sum(location.length for _, location in pack.entries)
        if not keep:
            doomed.append(name)
        elif total - sum(location.length for location in keep) > dead_share * total:
            rewritten[name] = keep
        elif pack.size < _SMALL_BYTES:
            small[name] = keep
    if len(small) > _MANY_SMALL:
        rewritten |= small

    moves, new_packs = _rewrite(store, rewritten)
    for manifest in manifests:
        moved = manifest.relocated(moves)
        if moved is not manifest:
            fs.write_file_atomically(store.manifest_path(manifest.name), [encode_manifest(moved)])
    # A pack is named by its contents, so a new one may be one that was here before: left by a killed rewrite, or unchanged.
    doomed = sorted({*doomed, *(pack for pack, _ in moves)} - new_packs)
    for name in doomed:
        fs.unlink(store.packs / (name + SUFFIX))
    if doomed:
        fs.sync_dir(store.packs)
    return sum(pack.size for pack in packs.values()) - sum(size for _, size, _ in store.pack_files())


def prune(store: Store, grace_seconds: float = GRACE_SECONDS) -> int:
    """Removes every dead byte but the packs younger than grace_seconds that no cache names. Returns the bytes freed."""
    named = {location.pack for name in store.names() for location in store.manifest(name).locations()}
    packs = store.read_packs()
    released = {location.place for name in named & packs.keys() for _, location in packs[name].entries or ()}
    return collect(store, released, grace_seconds=grace_seconds)


def _rewrite(store: Store, packs: Mapping[str, Sequence[Location]]) -> tuple[dict[Place, Location], set[str]]:
    """Copies these segments into new packs; returns where each went and the names of the new packs."""
    moves: dict[Place, Location] = {}
    new_packs: set[str] = set()
    batch: list[tuple[Location, bytes]] = []

    def flush() -> None:
        if not batch:
            return
        entries = write_pack(store.packs, [data for _, data in batch])
        moves.update((old.place, entry.location) for (old, _), entry in zip(batch, entries, strict=True))
        new_packs.update(entry.location.pack for entry in entries)
        batch.clear()

    for name, keep in packs.items():
        try:
            with PackReader(store.packs, name) as reader:
                batch += [(location, reader.segment(location)) for location in keep]
        except Damaged:
            # It stays as it is: its damage is reported by whoever reads it, and an ingest replaces what is lost.
            continue
        if sum(len(data) for _, data in batch) >= PACK_BYTES:
            flush()
    flush()
    return moves, new_packs


def verify(store: Store, name: str | None = None) -> Verified:
    """Reads every byte that a cache (None: each cache) needs, with all the checks of reading. CacheError if damaged."""
    names = store.names() if name is None else [name]
    chains: dict[str, int] = {}
    places: dict[Place, int] = {}
    for cache in names:
        manifest = store.manifest(cache)
        store.load_memory(manifest)
        for key, chain in manifest.chains.items():
            if chain.snapshot is not None:
                store.load_chain(manifest, key)
            chains[key] = chain.n_tokens
        places.update((location.place, location.length) for location in manifest.locations())
    return Verified(len(names), len(chains), sum(chains.values()), sum(places.values()))


def stats(store: Store) -> Stats:
    """Counts without reading segments. CacheError if a manifest is damaged."""
    manifests = [store.manifest(name) for name in store.names()]
    live = {location.place: location.length for manifest in manifests for location in manifest.locations()}
    files = list(store.pack_files())
    pack_bytes = sum(size for _, size, _ in files)
    live_bytes = sum(live.values())
    return Stats(
        caches=len(manifests),
        packs=len(files),
        bytes=pack_bytes + sum(manifest.file_bytes for manifest in manifests),
        live_bytes=live_bytes,
        dead_bytes=max(0, pack_bytes - live_bytes),
    )
