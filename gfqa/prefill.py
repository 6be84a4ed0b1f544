"""Prefill: token ids through the model's lower half into compressed keys, in the form a cache stores them.

Documents of the independent layout go through as padded batches of similar length, long ones slice by slice with the state
handed on; a chained corpus goes through as one chain. Memory is bounded by TOKENS_AT_ONCE, whatever the document, and an
interrupted chain goes on from the temporary snapshot of its last full segment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfqa.cachestore import SEGMENT_TOKENS, MemoryArrays, StoreWriter, chain_keys
from gfqa.model.key_cache import dequantise_keys, quantise_keys
from gfqa.reader import Reader

TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 65536}
"""Padded tokens in one call of the model, by kind of device."""

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
    """Pre-fill every chain of the independent layout and add it to the writer."""
    most = _tokens_at_once(reader)
    for batch in _batches(chains, most):
        width = len(batch[-1])
        if width > most:
            prefill_chain(reader, writer, batch[0], count)
            continue
        padded = torch.zeros(len(batch), width, dtype=torch.long)
        for row, ids in enumerate(batch):
            padded[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
        keys, _ = reader.model.prefill(padded.to(reader.device))
        for row, ids in enumerate(batch):
            writer.add_segment(None, ids, *stored_keys(keys[row, : len(ids)], reader.config.key_dtype), last=True)
        count.add(sum(map(len, batch)))


@torch.inference_mode()
def prefill_chain(reader: Reader, writer: StoreWriter, ids: Ids, count: Counter) -> None:
    """Pre-fill one chain segment by segment, each with the snapshot after it.

    Those inside are temporary; the last one is kept, in the chained layout only, for `ask` to resume from.
    """
    segments = [ids[start : start + SEGMENT_TOKENS] for start in range(0, len(ids), SEGMENT_TOKENS)]
    keys = chain_keys(reader.identity, ids)
    first, snapshot = _resumed(reader, writer, keys)
    count.skip(sum(map(len, segments[:first])))
    for number in range(first, len(segments)):
        computed, snapshot = _read(reader, segments[number], snapshot, count)
        last = number == len(segments) - 1
        stored, scales = stored_keys(computed, reader.config.key_dtype)
        writer.add_segment(keys[number - 1] if number else None, segments[number], stored, scales, last=last)
        if not last or reader.config.layout == "chained":
            writer.add_snapshot(keys[number], {name: tensor.cpu().numpy() for name, tensor in snapshot.items()})


@torch.inference_mode()
def prefill_in_memory(
    reader: Reader, ids: Ids, count: Counter
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float16] | None, dict[str, npt.NDArray[np.float32]]]:
    """One chain that is not stored: its keys and scales as the store would keep them, and the snapshot at its end."""
    computed, snapshot = _read(reader, ids, None, count)
    stored, scales = stored_keys(computed, reader.config.key_dtype)
    return stored, scales, {name: tensor.cpu().numpy() for name, tensor in snapshot.items()}


def stored_keys(keys: Tensor, key_dtype: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.float16] | None]:
    """Keys [T, key_width] float32 as the store keeps them: (int8 and float16 scales | bfloat16 bits | float32)."""
    keys = keys.float().cpu()
    if key_dtype == "int8":
        codes, scales = quantise_keys(keys)
        return codes.numpy(), scales.numpy()
    if key_dtype == "bfloat16":
        return keys.to(torch.bfloat16).view(torch.uint16).numpy(), None
    return keys.numpy(), None


def loaded_keys(arrays: MemoryArrays, key_dtype: str) -> Tensor:
    """The keys of a memory as float32 [S, key_width]."""
    raw = torch.from_numpy(arrays.keys)
    if key_dtype == "int8" and arrays.scales is not None:
        return dequantise_keys(raw, torch.from_numpy(arrays.scales))
    return raw.view(torch.bfloat16).float() if key_dtype == "bfloat16" else raw.float()


def _read(
    reader: Reader, ids: Ids, snapshot: dict[str, Tensor] | None, count: Counter
) -> tuple[Tensor, dict[str, Tensor]]:
    """Continue a chain with ids [T] (T > 0): (keys [T, key_width], the snapshot after them)."""
    parts = []
    most = _tokens_at_once(reader)
    for start in range(0, len(ids), most):
        tokens = torch.from_numpy(ids[start : start + most].astype(np.int64)).unsqueeze(0)
        keys, snapshot = reader.model.prefill_chained(tokens.to(reader.device), snapshot)
        parts.append(keys)
        count.add(tokens.shape[1])
    assert snapshot is not None
    return torch.cat(parts), snapshot


def _resumed(reader: Reader, writer: StoreWriter, keys: Sequence[str]) -> tuple[int, dict[str, Tensor] | None]:
    """How many segments of a chain an interrupted run has left, with the snapshot after them."""
    for number in range(len(keys) - 1, 0, -1):
        if writer.has(keys[number - 1]) and (stored := writer.snapshot(keys[number - 1])) is not None:
            return number, {name: torch.from_numpy(array.copy()).to(reader.device) for name, array in stored.items()}
    return 0, None


def _batches(chains: Sequence[Ids], most: int) -> Iterator[list[Ids]]:
    """Chains by length, shortest first, as many at once as `most` padded tokens allow, but at least one."""
    batch: list[Ids] = []
    for ids in sorted(chains, key=len):
        if batch and len(ids) * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(ids)
    if batch:
        yield batch


def _tokens_at_once(reader: Reader) -> int:
    return TOKENS_AT_ONCE[reader.device.partition(":")[0]]
