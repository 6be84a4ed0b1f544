"""What a model attends over, from what a store reads: keys on a GPU are sent while others are read.

On the CPU keys stay where they are read, and all numbers are widened there. A GPU is sent ids and int8 keys as they are stored.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfqa.cachestore import HostRows, MakeRows, MemoryArrays, Pieces, Places
from gfqa.model import KeyCache
from gfqa.model.key_cache import dequantise_keys

__all__ = ["SentKeys", "loaded_cache", "loaded_keys", "rows_on", "sent_cache"]


SEND_BYTES = 1 << 16
"""Keys of a segment that are sent by themselves, from where they were read to."""


class SentKeys:
    """Keys [S, key_width] on a device, sent while others are still read, as they come; put in order there at the end.

    pinned: files are read into pinned memory, from which sending is quicker, but which takes a while to get.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        places: Places,
        device: str | torch.device,
        pinned: bool = True,
    ) -> None:
        # torch knows few operations on unsigned integers, so bfloat16's bits are sent as signed ones.
        self._signed, kind = _SENT[dtype.name]
        # A thread begins in no mode, and what was made in inference mode may be written in it alone.
        with torch.inference_mode(False):
            self._sent = torch.empty(shape, dtype=kind, device=device)
            starts, reads, counts = torch.from_numpy(places[places[:, 0].argsort()]).to(device).unbind(1)
            # Where each token is: as far from its place in the memory as its segment's first one.
            away = (reads - starts).repeat_interleave(counts, output_size=shape[0])
            self._order = away.add_(torch.arange(shape[0], device=device))
        self._pinned = pinned and self._sent.is_cuda
        self._stream: torch.cuda.Stream | None = None
        if self._sent.is_cuda:
            # Not behind what the device has been given to do, but behind the last use of what is written now.
            self._stream = torch.cuda.Stream(self._sent.device)
            self._stream.wait_stream(torch.cuda.current_stream(self._sent.device))
            self._sent.record_stream(self._stream)  # Damaged files: nobody waits for what was sent before.

    def buffers(self, count: int, size: int) -> npt.NDArray[np.uint8]:
        """One piece of memory for all: each that is pinned waits for the driver. torch keeps it for the next memory."""
        buffers: npt.NDArray[np.uint8] = torch.empty((count, size), dtype=torch.uint8, pin_memory=self._pinned).numpy()
        return buffers

    def put(self, place: int, pieces: Pieces) -> None:
        """Send the keys of a few segments, and wait until they are sent."""
        if not self._sent.numel():
            return  # A model without GOLD layers has keys of width 0.
        parts = [keys for _, keys in pieces]
        # Small ones are put together first; torch wants to be able to write to what it reads.
        if sum(keys.nbytes for keys in parts) < SEND_BYTES * len(parts) or not all(k.flags.writeable for k in parts):
            parts = [np.concatenate(parts)]
        with torch.inference_mode(), _on(self._stream):
            for keys in parts:
                self._sent[place : place + len(keys)].copy_(
                    torch.from_numpy(keys.view(self._signed)), non_blocking=True
                )
                place += len(keys)
        if self._stream is not None:
            self._stream.synchronize()  # The buffer is used again.

    def tensor(self) -> Tensor:
        """All of them in order, for the current stream, once all have been put."""
        if self._stream is not None:
            torch.cuda.current_stream(self._sent.device).wait_stream(self._stream)
        n_bytes = self._sent.shape[1] * self._sent.itemsize
        # Seen as numbers of eight bytes, fewer have to be moved.
        rows = self._sent.view(torch.int64) if n_bytes and n_bytes % 8 == 0 else self._sent
        return rows.index_select(0, self._order).view(self._sent.dtype)


_SENT: dict[str, tuple[type[np.generic], torch.dtype]] = {
    "int8": (np.int8, torch.int8),
    "uint16": (np.int16, torch.int16),
    "float32": (np.float32, torch.float32),
}


def rows_on(device: str | torch.device) -> MakeRows:
    """What keys are put into that a model on `device` is to attend over (`loaded_cache`), where nothing else needs them."""
    return HostRows if torch.device(device).type == "cpu" else partial(SentKeys, device=device)


def loaded_keys(arrays: MemoryArrays, key_dtype: str) -> Tensor:
    """The keys of a memory as float32 [S, key_width]."""
    raw = torch.from_numpy(arrays.keys)
    if key_dtype == "int8" and arrays.scales is not None:
        return dequantise_keys(raw, torch.from_numpy(arrays.scales))
    return raw.view(torch.bfloat16).float() if key_dtype == "bfloat16" else raw.float()


def loaded_cache(
    arrays: MemoryArrays, key_dtype: str, device: str | torch.device, memory_budget: int | None = None
) -> KeyCache:
    """What a model on `device` attends over. A GPU is sent ids and int8 keys as they are stored: a quarter of the bytes."""
    if torch.device(device).type != "cpu":
        return sent_cache(arrays, key_dtype, device, memory_budget)
    return KeyCache(
        torch.from_numpy(arrays.ids.astype(np.int64)),
        loaded_keys(arrays, key_dtype),
        torch.from_numpy(arrays.chain_starts.copy()),
        memory_budget=memory_budget,
    )


def sent_cache(
    arrays: MemoryArrays, key_dtype: str, device: str | torch.device, memory_budget: int | None = None
) -> KeyCache:
    """`loaded_cache` whose numbers are widened on the device; int8 keys stay as they are, with their scales."""
    # Signed integers of the same bits are sent, and the sign is taken off.
    signed, mask = (np.int16, 0xFFFF) if arrays.ids.itemsize == 2 else (np.int32, 0xFFFFFFFF)
    ids = torch.from_numpy(arrays.ids.view(signed)).to(device).long() & mask
    sent = arrays.keys.tensor() if isinstance(arrays.keys, SentKeys) else torch.from_numpy(arrays.keys).to(device)
    scales = None
    if key_dtype == "int8" and arrays.scales is not None:
        scales = torch.from_numpy(arrays.scales).to(device)
    else:
        sent = (sent.view(torch.bfloat16) if key_dtype == "bfloat16" else sent).float()
    starts = torch.from_numpy(arrays.chain_starts.copy()).to(device)
    return KeyCache(ids, sent, starts, scales=scales, memory_budget=memory_budget)


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)
