"""The int8 form of a GOLD layer's memory: keys as int8 with one scale for a few tokens, scanned by integer products.

The query is rounded to sixteen bits, two int8 halves, so only the keys' rounding is left; the products are exact in int32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.gold_attention.scan import LANES, Bigrams
from gfqa.kernels.spans import each_span

TILE = 65536
"""Tokens of one integer product, a multiple of LANES; bounds its int32 result."""
SMALL_TILE = 8192
"""The same for many rows, whose result then stays in a core's second-level cache."""
COLUMNS = 16
"""The integer product is fast for multiples of so many columns; any others are up to three times slower than more of them."""
HALF = 256
"""What the high half of a rounded query counts in low halves."""


@dataclass(frozen=True)
class QuantisedMemory:
    """keys: [padded(S), H * N] int8; scale: [padded(S) / LANES, 1] float32: a key is about int8 * its LANES tokens' scale."""

    keys: Tensor
    scale: Tensor
    bigrams: Bigrams

    def memory_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.keys, self.scale, self.bigrams.values))

    def logits(self, query: Tensor) -> Tensor:
        """See `Scores.logits`."""
        n_rows, n_head, _ = query.shape
        step = (query.abs().amax() / (127 * HALF)).clamp(min=1e-30)
        steps = torch.round(query / step)
        high = torch.round(steps / HALF)
        # The low half spans -128..128; the one value too many is a 65536th of the largest query away.
        low = (steps - high * HALF).clamp(-127, 127)
        # [H, N, 2, R]
        codes = torch.stack((high, low)).permute(2, 3, 0, 1).to(torch.int8)
        out = query.new_empty(len(self.keys), n_head * n_rows)
        product, size = (_few_rows, TILE) if n_rows <= 2 else (_many_rows, SMALL_TILE)

        def fill(span: slice) -> None:
            for start in range(span.start, span.stop, size):
                tile = slice(start, min(start + size, span.stop))
                scale = self.scale[start // LANES : tile.stop // LANES] * step
                products = product(self.keys[tile], codes).view(len(scale), -1)
                torch.mul(products, scale, out=out[tile].view(len(scale), -1))

        if n_rows <= 2:
            # Starting threads costs more than torch's wait for each other.
            fill(slice(0, len(self.keys)))
        else:
            each_span(len(self.keys), TILE, fill)
        return out


def quantise_rows(keys: Tensor, codes: Tensor, scale: Tensor) -> None:
    """Round keys [T, C] float32 into codes [padded(T), C] int8 and scale [padded(T) / LANES, 1]; overwrites keys."""
    short = len(codes) - len(keys)
    if short:
        keys = torch.cat((keys, keys.new_zeros(short, keys.shape[1])))
    blocks = keys.view(len(scale), -1)
    # Two reductions read less than one of the absolute values writes.
    peak = torch.maximum(blocks.amax(dim=1, keepdim=True), -blocks.amin(dim=1, keepdim=True))
    torch.div(peak, 127, out=scale).clamp_(min=1e-30)
    codes.view(len(scale), -1).copy_(blocks.mul_(scale.reciprocal()).round_())


def _few_rows(keys: Tensor, codes: Tensor) -> Tensor:
    """keys [T, C], codes [H, N, 2, R] -> int32 products [T, H * R], by one product for all heads.

    The query is a block-diagonal matrix: its zeros cost less than a product a head.
    """
    n_head, width, _, n_rows = codes.shape
    n = n_head * n_rows
    blocks = codes.new_zeros(n_head * width, _whole(2 * n))
    halves = blocks[:, : 2 * n].unflatten(1, (2, n_head, n_rows)).unflatten(0, (n_head, width))
    torch.diagonal(halves, dim1=0, dim2=3).copy_(codes.permute(1, 2, 3, 0))
    products = torch._int_mm(keys, blocks)
    return torch.add(products[:, n : 2 * n], products[:, :n], alpha=HALF)


def _many_rows(keys: Tensor, codes: Tensor) -> Tensor:
    """The same by a product a head."""
    n_head, width, _, n_rows = codes.shape
    out = torch.empty(len(keys), n_head * n_rows, dtype=torch.int32)
    padded_codes = F.pad(codes.flatten(2), (0, _whole(2 * n_rows) - 2 * n_rows))
    for head in range(n_head):
        products = torch._int_mm(keys[:, head * width : (head + 1) * width], padded_codes[head])
        columns = slice(head * n_rows, (head + 1) * n_rows)
        torch.add(products[:, n_rows : 2 * n_rows], products[:, :n_rows], alpha=HALF, out=out[:, columns])
    return out


def _whole(columns: int) -> int:
    return -(-columns // COLUMNS) * COLUMNS
