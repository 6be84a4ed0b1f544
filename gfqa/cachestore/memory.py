"""Reading chains out of packs: the arrays of one chain, or the memory of one or several caches in one piece.

The memory of caches is the *set* of their chains, each once, sorted by chain key, so neither the order of documents nor
that of the caches changes a single byte of it. Every segment is checked against its SHA-256 and its key.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gfqa.cachestore.catalog import StoredChain
from gfqa.cachestore.keys import Identity
from gfqa.cachestore.pack import SUFFIX, Location, PackReader
from gfqa.cachestore.segment import STORED, Damaged, Tokens, decode_snapshot, decode_tokens, has_scales

READERS = 8
"""Packs read at once at most."""


class DamagedPack(Exception):
    """Bytes of a pack are not what they should be; says which pack, which segment (None: the pack's ends) and what."""

    def __init__(self, path: Path, key: str | None, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.key = key
        self.what = what


@dataclass(frozen=True)
class ChainData:
    """A chain. ids uint16 or uint32 [S]; keys [S, key_width] int8, uint16 (bfloat16 bits) or float32; scales float16 [S]
    for int8, else None; snapshot: named float32 arrays of the chained layout, else None.
    """

    ids: npt.NDArray[Any]
    keys: npt.NDArray[Any]
    scales: npt.NDArray[Any] | None
    snapshot: dict[str, npt.NDArray[np.float32]] | None


@dataclass(frozen=True)
class MemoryArrays:
    """All chains of one or several caches, one after the other: ids [S], keys [S, key_width], scales [S] or None with
    dtypes as in ChainData; chain_starts int64 [n], the index of each chain's first token; chain_keys, sorted, n of them.
    """

    ids: npt.NDArray[Any]
    keys: npt.NDArray[Any]
    scales: npt.NDArray[Any] | None
    chain_starts: npt.NDArray[np.int64]
    chain_keys: tuple[str, ...]

    def span(self, number: int) -> slice:
        """The tokens of chain `number`."""
        starts = self.chain_starts
        return slice(int(starts[number]), int(starts[number + 1]) if number + 1 < len(starts) else len(self.ids))


class _Need(NamedTuple):
    location: Location
    parent: str | None
    start: int


def read_memory(packs: Path, identity: Identity, chains: Mapping[str, StoredChain]) -> MemoryArrays:
    """The memory of these chains. Raises PackGone and DamagedPack."""
    chain_keys = tuple(sorted(chains))
    lengths = np.array([chains[key].n_tokens for key in chain_keys], dtype=np.int64)
    chain_starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    needs: dict[str, list[_Need]] = {}
    for key, chain_start in zip(chain_keys, chain_starts.tolist()):
        parent, start = None, chain_start
        for location in chains[key].segments:
            needs.setdefault(location.pack, []).append(_Need(location, parent, start))
            parent, start = location.key, start + location.n_tokens

    total = int(chain_starts[-1])
    ids: npt.NDArray[Any] = np.empty(total, np.uint32)
    keys = np.empty((total, identity.key_width), STORED[identity.key_dtype])
    scales = np.empty(total, np.float16) if has_scales(identity) else None

    def read(pack: str) -> bool:
        """Read what one pack holds; whether one of its segments has ids of 4 bytes."""
        wide = False
        with opened(packs, pack) as reader:
            for need in sorted(needs[pack], key=lambda need: need.location.offset):
                tokens = read_tokens(reader, identity, need.location, need.parent)
                wide |= tokens.ids.itemsize > 2
                end = need.start + len(tokens.ids)
                ids[need.start : end] = tokens.ids
                keys[need.start : end] = tokens.keys
                if scales is not None and tokens.scales is not None:
                    scales[need.start : end] = tokens.scales
        return wide

    if len(needs) > 1:
        # Most of the time is that of checksums, which need no interpreter lock. Imported on use: many commands read no pack.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(READERS, len(needs), os.cpu_count() or 1)) as pool:
            wide = max(pool.map(read, needs))
    else:
        wide = max(map(read, needs), default=False)
    return MemoryArrays(ids if wide else ids.astype(np.uint16), keys, scales, chain_starts[:-1], chain_keys)


def read_chain(packs: Path, identity: Identity, chain: StoredChain) -> ChainData:
    """One chain with its snapshot. Raises PackGone and DamagedPack."""
    arrays = read_memory(packs, identity, {chain.segments[-1].key: chain})
    snapshot = None if chain.snapshot is None else read_snapshot(packs, identity, chain.snapshot)
    return ChainData(arrays.ids, arrays.keys, arrays.scales, snapshot)


def read_snapshot(packs: Path, identity: Identity, location: Location) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of one snapshot. Raises PackGone and DamagedPack."""
    with opened(packs, location.pack) as reader, _blaming(reader, location.key):
        return decode_snapshot(reader.segment(location), identity, location.key)


def read_tokens(reader: PackReader, identity: Identity, location: Location, parent: str | None) -> Tokens:
    """The arrays of one token segment, views of its bytes. Raises DamagedPack."""
    with _blaming(reader, location.key):
        tokens = decode_tokens(reader.segment(location), identity, location.key, parent)
        if len(tokens.ids) != location.n_tokens:
            raise Damaged("a segment has another number of tokens than the manifest says")
        return tokens


@contextlib.contextmanager
def opened(packs: Path, pack: str) -> Iterator[PackReader]:
    """A pack, open, its index checked. Raises PackGone and DamagedPack."""
    try:
        reader = PackReader(packs, pack)
    except Damaged as error:
        raise DamagedPack(packs / (pack + SUFFIX), None, str(error)) from error
    with reader:
        with _blaming(reader, None):
            reader.index()
        yield reader


@contextlib.contextmanager
def _blaming(reader: PackReader, key: str | None) -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        raise DamagedPack(reader.path, key, str(error)) from error
