"""Prefill: token ids through the model's lower half into compressed keys, in the form a cache stores them.

Documents of the independent layout go through one after the other as one stream of short pieces, each document beginning at a
multiple of 64 tokens; a chained corpus goes through as one chain. Memory does not depend on their length. On a GPU a piece is
computed while the one before it is stored. An interrupted long chain goes on from the snapshot of its last full segment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfqa.cachestore import SEGMENT_TOKENS, StoreWriter, chain_keys
from gfqa.kernels.wkv6 import CHUNK
from gfqa.model.key_cache import quantise_keys
from gfqa.model.prefill_graph import SegmentReader, segment_tokens
from gfqa.reader import Reader

TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 65536}
"""Tokens in one call of the model outside this module's streams, by kind of device; on the CPU also of theirs."""

Stored = tuple[npt.NDArray[Any], npt.NDArray[np.float16] | None]
"""Keys [T, key_width] as the store keeps them (int8, bfloat16 bits, or float32) and the scales [T] of int8."""

Ids = npt.NDArray[Any]
"""Token ids [T] in their stored type: uint16 up to 65,536 pieces, uint32 above."""


class Counter:
    """Tokens pre-filled so far (`done`) of those that must be, passed on as progress."""

    def __init__(self, total: int, on_progress: Callable[[str, int, int], None]) -> None:
        self.done = 0
        self._total = total
        self._on_progress = on_progress
        if total:
            on_progress("pre-filling", 0, total)

    def add(self, tokens: int) -> None:
        self.done += tokens
        self._on_progress("pre-filling", self.done, self._total)

    def skip(self, tokens: int) -> None:
        """Tokens that an interrupted run has already pre-filled."""
        self._total -= tokens


def id_array(ids: Sequence[int], vocab_size: int) -> Ids:
    """Token ids in the type the store keeps them in."""
    return np.asarray(ids, dtype=np.uint16 if vocab_size <= 65536 else np.uint32)


@torch.inference_mode()
def prefill_documents(reader: Reader, writer: StoreWriter, chains: Sequence[Ids], count: Counter) -> None:
    """Pre-fill every chain of the independent layout and add it to the writer.

    Long ones come last: whoever interrupts the first of them keeps all the others, and not nothing.
    """
    pump = _Pump(reader)
    parts: list[Stored] = []

    def arrived(piece: _Piece, stored: Stored) -> None:
        for span in piece.spans:
            parts.append(_slice(stored, span.at, span.at + span.count))
            count.add(span.count)
            if span.last:
                writer.add_segment(None, chains[span.chain], *_joined(parts), last=True)
                parts.clear()

    pump.segments.reset()
    short = [number for number, ids in enumerate(chains) if len(ids) <= SEGMENT_TOKENS]
    for piece in _pieces(chains, short, pump.segments.tokens):
        pump.put(piece, arrived)
    pump.drain()
    for ids in chains:
        if len(ids) > SEGMENT_TOKENS:
            prefill_chain(reader, writer, ids, count, pump)


@torch.inference_mode()
def prefill_chain(reader: Reader, writer: StoreWriter, ids: Ids, count: Counter, pump: _Pump | None = None) -> None:
    """Pre-fill one chain segment by segment, each with the snapshot after it.

    Those inside are temporary; the last one is kept, in the chained layout only, for `ask` to resume from.
    """
    pump = pump or _Pump(reader)
    segments = [ids[start : start + SEGMENT_TOKENS] for start in range(0, len(ids), SEGMENT_TOKENS)]
    keys = chain_keys(reader.identity, ids)
    first, snapshot = _resumed(reader, writer, keys)
    count.skip(sum(map(len, segments[:first])))
    pump.segments.restore(snapshot)
    for number in range(first, len(segments)):
        stored, scales = _read(pump, segments[number], count)
        last = number == len(segments) - 1
        writer.add_segment(keys[number - 1] if number else None, segments[number], stored, scales, last=last)
        if not last or reader.config.layout == "chained":
            writer.add_snapshot(keys[number], _arrays(pump.segments.snapshot()))


@torch.inference_mode()
def prefill_in_memory(
    reader: Reader, ids: Ids, count: Counter
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float16] | None, dict[str, npt.NDArray[np.float32]]]:
    """One chain that is not stored: its keys and scales as the store would keep them, and the snapshot at its end."""
    pump = _Pump(reader)
    stored, scales = _read(pump, ids, count)
    return stored, scales, _arrays(pump.segments.snapshot())


@dataclass(frozen=True)
class _Span:
    """Tokens of a chain (its number) in a piece, from `at` on; `last`: the chain ends with them."""

    chain: int
    at: int
    count: int
    last: bool


@dataclass(frozen=True)
class _Piece:
    """What one call reads: ids [t] int64, where chains start in it (None: nowhere), whose tokens they are."""

    ids: npt.NDArray[np.int64]
    starts: npt.NDArray[np.bool_] | None
    spans: tuple[_Span, ...]


class _Pump:
    """Pieces through the model in order. On a GPU results arrive up to two pieces later, while others are computed."""

    def __init__(self, reader: Reader) -> None:
        kind = reader.device.partition(":")[0]
        most = segment_tokens(reader.config.n_embd) if kind == "cuda" else TOKENS_AT_ONCE[kind]
        self._key_dtype = reader.config.key_dtype
        self.segments = SegmentReader(reader.model, max(CHUNK, most // CHUNK * CHUNK), self._finish)
        self._waiting: deque[tuple[_Piece, Callable[[_Piece, Stored], None], tuple[Tensor, ...], torch.cuda.Event]] = (
            deque()
        )
        self._on_gpu = kind == "cuda"

    def put(self, piece: _Piece, arrived: Callable[[_Piece, Stored], None]) -> None:
        """Read a piece; `arrived` is called with what is stored of it, in the order of pieces."""
        ids = torch.from_numpy(piece.ids)
        starts = None if piece.starts is None else torch.from_numpy(piece.starts)
        if not self._on_gpu:
            arrived(piece, _numpy(self.segments.read(ids, starts)))
            return
        if len(self._waiting) == 2:
            self._arrive()
        results = self.segments.read(ids.pin_memory(), None if starts is None else starts.pin_memory())
        # Pinned memory comes from torch's own pool, which keeps it until the copies that use it are done.
        hosts = tuple(torch.empty(x.shape, dtype=x.dtype, pin_memory=True) for x in results)
        for host, result in zip(hosts, results, strict=True):
            host.copy_(result, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._waiting.append((piece, arrived, hosts, event))

    def drain(self) -> None:
        """Wait for every piece's result."""
        while self._waiting:
            self._arrive()

    def _arrive(self) -> None:
        piece, arrived, hosts, event = self._waiting.popleft()
        event.synchronize()
        arrived(piece, _numpy(hosts))

    def _finish(self, keys: Tensor) -> tuple[Tensor, ...]:
        if self._key_dtype == "int8":
            return quantise_keys(keys)
        return (keys.to(torch.bfloat16).view(torch.int16) if self._key_dtype == "bfloat16" else keys,)


def _read(pump: _Pump, ids: Ids, count: Counter) -> Stored:
    """Continue the pump's chain with ids [T], T > 0."""
    parts: list[Stored] = []

    def arrived(piece: _Piece, stored: Stored) -> None:
        parts.append(_slice(stored, 0, len(piece.ids)))
        count.add(len(piece.ids))

    for start in range(0, len(ids), pump.segments.tokens):
        pump.put(_Piece(ids[start : start + pump.segments.tokens].astype(np.int64), None, ()), arrived)
    pump.drain()
    return _joined(parts)


def _pieces(chains: Sequence[Ids], numbers: Sequence[int], most: int) -> Iterator[_Piece]:
    """Chains one after the other, each from a multiple of 64 tokens on, cut into pieces of `most` tokens.

    The last piece is as long as it must be on the CPU; ids of 0 between chains belong to none.
    """
    ids, starts = np.zeros(most, np.int64), np.zeros(most, np.bool_)
    spans: list[_Span] = []
    at = 0
    for number in numbers:
        chain, done = chains[number], 0
        starts[at] = True
        while done < len(chain):
            taken = min(len(chain) - done, most - at)
            ids[at : at + taken] = chain[done : done + taken]
            spans.append(_Span(number, at, taken, last=done + taken == len(chain)))
            done += taken
            at = -(-(at + taken) // CHUNK) * CHUNK
            if at == most:
                yield _Piece(ids, starts, tuple(spans))
                ids, starts, spans, at = np.zeros(most, np.int64), np.zeros(most, np.bool_), [], 0
    if spans:
        end = spans[-1].at + spans[-1].count
        yield _Piece(ids[:end], starts[:end], tuple(spans))


def _resumed(reader: Reader, writer: StoreWriter, keys: Sequence[str]) -> tuple[int, dict[str, Tensor] | None]:
    """How many segments of a chain an interrupted run has left, with the snapshot after them."""
    for number in range(len(keys) - 1, 0, -1):
        if writer.has(keys[number - 1]) and (stored := writer.snapshot(keys[number - 1])) is not None:
            return number, {name: torch.from_numpy(array.copy()).to(reader.device) for name, array in stored.items()}
    return 0, None


def _arrays(snapshot: dict[str, Tensor]) -> dict[str, npt.NDArray[np.float32]]:
    return {name: tensor.cpu().numpy() for name, tensor in snapshot.items()}


def _numpy(results: tuple[Tensor, ...]) -> Stored:
    keys = results[0].numpy()
    return keys.view(np.uint16) if keys.dtype == np.int16 else keys, results[1].numpy() if len(results) == 2 else None


def _slice(stored: Stored, begin: int, end: int) -> Stored:
    """A copy: a piece's results live only until the next ones."""
    keys, scales = stored
    return keys[begin:end].copy(), None if scales is None else scales[begin:end].copy()


def _joined(parts: Sequence[Stored]) -> Stored:
    keys, scales = zip(*parts, strict=True)
    return np.concatenate(keys), None if scales[0] is None else np.concatenate(scales)
