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
    from pathlib import Path

    from gfqa.cachestore.catalog import Manifest
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


@dataclass(frozen=True)
class Pruned:
    """The caches that were removed, oldest ingest first, and the bytes freed in all."""

    names: tuple[str, ...]
    freed_bytes: int


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


def prune(store: Store, grace_seconds: float = GRACE_SECONDS, also_released: Collection[Place] = ()) -> int:
    """Removes every dead byte but the packs younger than grace_seconds that no cache names. Returns the bytes freed.

    also_released: segments of caches that were removed just now. Tokenizers that no cache was made with go, too.
    """
    freed = 0
    for path in _needless_tokenizers(store, store.names()):
        freed += path.stat().st_size
        fs.unlink(path)
    return freed + collect(store, _released(store, store.names(), also_released), grace_seconds=grace_seconds)


def outdated(store: Store, older_than: float | None, max_bytes: int | None) -> tuple[str, ...]:
    """The caches to remove: those not ingested for older_than seconds, then the longest unread until the rest fits.

    What counts is the last ingest, since asking leaves no trace. max_bytes: of the segments and manifests that are left,
    shared segments once. CacheError if a manifest is damaged: nobody knows its age.
    """
    manifests = sorted((store.manifest(name) for name in store.names()), key=lambda manifest: manifest.updated)
    now = time.time()
    names = [m.name for m in manifests if older_than is not None and now - m.updated > older_than]
    left = [manifest for manifest in manifests if manifest.name not in names]
    while max_bytes is not None and left and _needed_bytes(left) > max_bytes:
        names.append(left.pop(0).name)
    return tuple(names)


def would_prune(store: Store, names: Collection[str]) -> Pruned:
    """What a prune that begins with removing these caches would free, nearly: indexes of packs are not counted."""
    left = [store.manifest(name) for name in store.names() if name not in names]
    live = {location.place for manifest in left for location in manifest.locations()}
    released = _released(store, store.names(), ())
    freed = sum(path.stat().st_size for path in _needless_tokenizers(store, [manifest.name for manifest in left]))
    held_since = time.time() - GRACE_SECONDS
    for pack in store.read_packs().values():
        held = pack.modified > held_since
        places = [location for _, location in pack.entries or ()]
        dead = [
            location for location in places if location.place not in live and (location.place in released or not held)
        ]
        freed += pack.size if len(dead) == len(places) and (places or not held) else sum(place.length for place in dead)
    return Pruned(tuple(names), freed)


def _released(store: Store, names: Collection[str], also: Collection[Place]) -> set[Place]:
    """What nobody waits for: every segment of packs that a cache names, since an interrupted ingest writes its own."""
    named = {location.pack for name in names for location in store.manifest(name).locations()}
    packs = store.read_packs()
    return {location.place for name in named & packs.keys() for _, location in packs[name].entries or ()} | {*also}


def _needed_bytes(manifests: Collection[Manifest]) -> int:
    places = {location.place: location.length for manifest in manifests for location in manifest.locations()}
    return sum(places.values()) + sum(manifest.file_bytes for manifest in manifests)


def _needless_tokenizers(store: Store, names: Collection[str]) -> list[Path]:
    needed = {store.tokenizer_file(store.manifest(name).identity) for name in names}
    return [path for path in sorted(store.tokenizers.glob("*.*")) if path not in needed]


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
