"""A GOLD layer's memory as the GPU kernels read it: tokens sorted by bigram, keys of one byte, values once per bigram.

Attention over the memory has no order, so tokens of one bigram lie side by side: their probabilities are added up before
the bigram's value is touched. `plain_attention` is the definition the kernels are tested against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gfqa.kernels.gold_attention.reference import LayerMemory, gold_attention

LOG2_E = math.log2(math.e)
SMALLEST_SCALE = 6.2e-5
"""The smallest normal float16: a zero row divides by it instead of by zero."""


@dataclass(frozen=True)
class SortedMemory:
    """One GOLD layer's cached tokens, sorted by bigram.

    keys: [H, S, N] int8, bfloat16 or float32; key_scales: [H, S] float16 with int8 keys (a key is code * scale), else None.
    values: [H, U, N] bfloat16, float32, or int8 with value_scales [H, U] float16.
    bigram: [S] int32 ascending, each token's row of `values`; every row from 0 to U - 1 occurs.
    offsets: [U + 1] int32, where each bigram's tokens begin. order: [S] int64, each sorted token's place in the cache.
    """

    keys: Tensor
    key_scales: Tensor | None
    values: Tensor
    value_scales: Tensor | None
    bigram: Tensor
    offsets: Tensor
    order: Tensor

    def __len__(self) -> int:
        return self.bigram.numel()

    @property
    def nbytes(self) -> int:
        """Bytes one decode step reads: keys, values, their scales and the bigrams' bounds."""
        read = (self.keys, self.key_scales, self.values, self.value_scales, self.offsets)
        return _bytes(*read)

    def memory_bytes(self) -> int:
        """Bytes held for this layer alone; the layers share bigrams, offsets and order."""
        return _bytes(self.keys, self.key_scales, self.values, self.value_scales)


def sort_memory(
    memory: LayerMemory, key_dtype: torch.dtype = torch.int8, value_dtype: torch.dtype = torch.bfloat16
) -> SortedMemory:
    """The sorted form of a layer's memory; key_dtype and value_dtype are int8, bfloat16 or float32."""
    used, bigram = torch.unique(memory.bigram, return_inverse=True)
    bigram, order = torch.sort(bigram, stable=True)
    keys, key_scales = stored(memory.keys[:, order], key_dtype)
    values, value_scales = stored(memory.values[:, used], value_dtype)
    return SortedMemory(keys, key_scales, values, value_scales, bigram.to(torch.int32), bounds(bigram), order)


def bounds(bigram: Tensor) -> Tensor:
    """[U + 1] int32: where each number of an ascending run 0, 0, …, U - 1 [S] begins, and S."""
    counts = torch.bincount(bigram)
    return torch.cat((counts.new_zeros(1), counts.cumsum(0))).to(torch.int32)


def stored(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """rows [..., N] in `dtype`, and for int8 one float16 scale a row [...]."""
    if dtype != torch.int8:
        return rows.to(dtype).contiguous(), None
    scale = (rows.float().abs().amax(-1) / 127).clamp(min=SMALLEST_SCALE).to(torch.float16)
    # A scale that was rounded down would lift the peak to 128, hence the clamp.
    codes = torch.round(rows.float() / scale.float().unsqueeze(-1)).clamp(-127, 127)
    return codes.to(torch.int8).contiguous(), scale.contiguous()


def unsorted(memory: SortedMemory) -> LayerMemory:
    """The memory in the cache's order and in float32, as the plain form takes it."""
    place = torch.empty_like(memory.order)
    place[memory.order] = torch.arange(len(memory), device=place.device)
    keys = _widened(memory.keys, memory.key_scales)[:, place]
    return LayerMemory(keys, _widened(memory.values, memory.value_scales), memory.bigram.long()[place])


def plain_attention(
    q: Tensor, own_keys: Tensor, own_values: Tensor, memory: SortedMemory, *, want_mass: bool = False
) -> tuple[Tensor, Tensor | None]:
    """`reference.gold_attention` over a sorted memory."""
    return gold_attention(q, own_keys, own_values, unsorted(memory), want_mass=want_mass)


def plain_attend(
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    memory: SortedMemory,
    *,
    want_logits: bool = False,
    own_length: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`triton.attend` in plain PyTorch: (output, log2 of the sums [B, H, T], last query's logits [B, H, S], sorted).

    Logits are in powers of two. own_length waits for the device.
    """
    n_own = own_keys.shape[2] if own_length is None else int(own_length)
    keys = torch.cat(
        [
            _widened(memory.keys, memory.key_scales).expand(len(q), -1, -1, -1),
            own_keys[:, :, :n_own].float(),
        ],
        dim=2,
    )
    values = _widened(memory.values, memory.value_scales)[:, memory.bigram.long()]
    values = torch.cat((values.expand(len(q), -1, -1, -1), own_values[:, :, :n_own].float()), dim=2)
    logits = q.float() @ keys.transpose(-1, -2) * (q.shape[-1] ** -0.5 * LOG2_E)
    visible = torch.ones(q.shape[2], keys.shape[2], dtype=torch.bool, device=q.device)
    logits = logits.masked_fill(~visible.tril(keys.shape[2] - q.shape[2]), float("-inf"))
    totals = torch.logsumexp(logits / LOG2_E, dim=-1) * LOG2_E
    out = torch.exp2(logits - totals.unsqueeze(-1)) @ values
    last = logits[:, :, -1, : len(memory)] if want_logits else logits[:, :, -1, :0]
    return out.to(q.dtype), totals, last.contiguous()


def _bytes(*tensors: Tensor | None) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


def _widened(rows: Tensor, scales: Tensor | None) -> Tensor:
    return rows.float() if scales is None else rows.float() * scales.float().unsqueeze(-1)
