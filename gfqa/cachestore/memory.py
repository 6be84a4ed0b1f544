"""Reading chains out of packs: the arrays of one chain, or the memory of one or several caches in one piece.

The memory of caches is the *set* of their chains, each once, sorted by chain key, so neither the order of documents nor
that of the caches changes a single byte of it. Every segment is checked against its SHA-256 and its key.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gfqa.cachestore.catalog import StoredChain
from gfqa.cachestore.keys import Identity
from gfqa.cachestore.pack import SUFFIX, Location, PackReader, check
from gfqa.cachestore.segment import STORED, Damaged, Tokens, decode_snapshot, decode_tokens, has_scales

READERS = 8
"""Threads that read at most: they hash some 10 GB/s, and more of them mostly wait for the interpreter."""
RUN_BYTES = 1 << 20
"""So much of a pack is read at once, or one segment that is larger: it stays in a core's caches while it is checked."""
BUFFER_BYTES = 32 << 20
"""At most this; the store's own segments are smaller, and what a manifest says has not been checked."""
TASK_BYTES = 2 << 20
"""A thread is given about so much of a pack at a time."""


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

    keys: what the reader's `MakeRows` made; an array where it gave none.
    """

    ids: npt.NDArray[Any]
    keys: Any
    scales: npt.NDArray[Any] | None
    chain_starts: npt.NDArray[np.int64]
    chain_keys: tuple[str, ...]

    def span(self, number: int) -> slice:
        """The tokens of chain `number`."""
        starts = self.chain_starts
        return slice(int(starts[number]), int(starts[number + 1]) if number + 1 < len(starts) else len(self.ids))


Places = npt.NDArray[np.int64]
"""[n, 3] for n segments: a segment's first token in the memory, its first in the order in which files are read, its tokens."""

Pieces = Sequence[tuple[int, npt.NDArray[Any]]]
"""The keys of segments that lie one after the other in the order of reading, each with its first token in the memory.

They are views of a buffer, which is used again after the call that they are given to.
"""


class Rows(Protocol):
    """Where keys go while they are read, called by several threads, at most READERS. What a call raises ends the reading."""

    def buffers(self, count: int, size: int, /) -> npt.NDArray[np.uint8]:
        """Memory [count, size] that files are read into."""
        ...

    def put(self, place: int, pieces: Pieces, /) -> None:
        """Keys that have been read and checked; place: of their first token in the order of reading."""
        ...


MakeRows = Callable[[tuple[int, int], np.dtype[Any], Places], Rows]
"""make(shape, dtype, places): room for the keys of a memory. What is half filled may be given up."""


class HostRows:
    """Keys in an array, in the order of the memory."""

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any], places: Places) -> None:
        self.array: npt.NDArray[Any] = np.empty(shape, dtype)

    def buffers(self, count: int, size: int) -> npt.NDArray[np.uint8]:
        return np.empty((count, size), np.uint8)

    def put(self, place: int, pieces: Pieces) -> None:
        for start, keys in pieces:
            self.array[start : start + len(keys)] = keys


@dataclass
class _Need:
    """A segment that is read. start: its first token in the memory; place: its first in the order of reading."""

    location: Location
    parent: str | None
    start: int
    place: int = 0


class _Task(NamedTuple):
    """What a thread reads of one pack: runs of segments that lie one after the other. first: it checks the pack's index."""

    runs: list[list[_Need]]
    first: bool


def read_memory(
    packs: Path, identity: Identity, chains: Mapping[str, StoredChain], make_rows: MakeRows = HostRows
) -> MemoryArrays:
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
    tasks = [task for pack in needs.values() for task in _tasks(pack)]
    places = _places(tasks)
    # Rooms for ids of either size: what is not written to costs nothing.
    ids, wide_ids = np.empty(total, np.uint16), np.empty(total, np.uint32)
    wide: list[slice] = []
    rows = make_rows((total, identity.key_width), STORED[identity.key_dtype], places)
    scales = np.empty(total, np.float16) if has_scales(identity) else None
    threads = min(READERS, len(tasks), os.cpu_count() or 1)
    # Fresh memory costs as much as reading does: a buffer goes from task to task.
    largest = min(BUFFER_BYTES, max((_length(run) for task in tasks for run in task.runs), default=0))
    buffers = [buffer.data for buffer in rows.buffers(threads, largest)]

    def read(task: _Task) -> None:
        """Read segments of one pack."""
        buffer = buffers.pop()
        try:
            with opened(packs, task.runs[0][0].location.pack, checked=task.first) as reader:
                for run in task.runs:
                    found = list(_read_run(reader, identity, run, buffer))
                    rows.put(run[0].place, [(need.start, tokens.keys) for need, tokens in found])
                    for need, tokens in found:
                        keep(need.start, tokens)
        finally:
            buffers.append(buffer)

    def keep(start: int, tokens: Tokens) -> None:
        span = slice(start, start + len(tokens.ids))
        if tokens.ids.itemsize > 2:
            wide_ids[span] = tokens.ids
            wide.append(span)
        else:
            ids[span] = tokens.ids
        if scales is not None and tokens.scales is not None:
            scales[span] = tokens.scales

    if threads > 1:
        # Most of the time is that of checksums, which need no interpreter lock. Imported on use: many commands read no pack.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(read, tasks))
    else:
        list(map(read, tasks))
    all_ids: npt.NDArray[Any] = ids.astype(np.uint32) if wide else ids
    for span in wide:
        all_ids[span] = wide_ids[span]
    keys = rows.array if isinstance(rows, HostRows) else rows
    return MemoryArrays(all_ids, keys, scales, chain_starts[:-1], chain_keys)


def _tasks(needs: list[_Need]) -> Iterator[_Task]:
    """What is needed of one pack in pieces for a thread each, in the order of the file."""
    runs: list[list[_Need]] = []
    task_bytes = run_bytes = 0
    first, end = True, -1
    for need in sorted(needs, key=lambda need: need.location.offset):
        offset, length = need.location.offset, need.location.length
        if task_bytes + length > TASK_BYTES and runs:
            yield _Task(runs, first)
            runs, task_bytes, first = [], 0, False
        if runs and offset == end and run_bytes + length <= RUN_BYTES:
            runs[-1].append(need)
            run_bytes += length
        else:
            runs.append([need])
            run_bytes = length
        task_bytes, end = task_bytes + length, offset + length
    if runs:
        yield _Task(runs, first)


def _places(tasks: Sequence[_Task]) -> Places:
    """Numbers the needs' places, and gives all of them."""
    at, places = 0, []
    for need in (need for task in tasks for run in task.runs for need in run):
        need.place = at
        places.append((need.start, at, need.location.n_tokens))
        at += need.location.n_tokens
    return np.array(places, np.int64).reshape(-1, 3)


def _length(run: list[_Need]) -> int:
    """Bytes of a run."""
    first, last = run[0].location, run[-1].location
    return last.offset + last.length - first.offset


def _read_run(
    reader: PackReader, identity: Identity, run: list[_Need], buffer: memoryview
) -> Iterator[tuple[_Need, Tokens]]:
    """The arrays of a run, read at once: views of the buffer. Raises DamagedPack."""
    start = run[0].location.offset
    there = reader.read_into(buffer[: _length(run)], start) if _length(run) <= len(buffer) else 0
    for need in run:
        location = need.location
        low = location.offset - start
        try:
            if low + location.length <= there:
                data: bytes | memoryview = buffer[low : low + location.length]
                check(data, location)
            else:
                data = reader.segment(location)  # By itself: it may be there, and else this says what is wrong.
            tokens = decode_tokens(data, identity, location.key, need.parent)
            if len(tokens.ids) != location.n_tokens:
                raise Damaged("a segment has another number of tokens than the manifest says")
        except Damaged as error:
            raise DamagedPack(reader.path, location.key, str(error)) from error
        yield need, tokens


def read_chain(packs: Path, identity: Identity, chain: StoredChain) -> ChainData:
    """One chain with its snapshot. Raises PackGone and DamagedPack."""
    arrays = read_memory(packs, identity, {chain.segments[-1].key: chain})
    snapshot = None if chain.snapshot is None else read_snapshot(packs, identity, chain.snapshot)
    return ChainData(arrays.ids, arrays.keys, arrays.scales, snapshot)


def read_snapshot(packs: Path, identity: Identity, location: Location) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of one snapshot. Raises PackGone and DamagedPack."""
    with opened(packs, location.pack) as reader, _blaming(reader, location.key):
        return decode_snapshot(reader.segment(location), identity, location.key)


@contextlib.contextmanager
def opened(packs: Path, pack: str, *, checked: bool = True) -> Iterator[PackReader]:
    """A pack, open, its index checked unless that is done elsewhere. Raises PackGone and DamagedPack."""
    try:
        reader = PackReader(packs, pack)
    except Damaged as error:
        raise DamagedPack(packs / (pack + SUFFIX), None, str(error)) from error
    with reader:
        if checked:
            with _blaming(reader, None):
                reader.index()
        yield reader


@contextlib.contextmanager
def _blaming(reader: PackReader, key: str | None) -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        raise DamagedPack(reader.path, key, str(error)) from error
