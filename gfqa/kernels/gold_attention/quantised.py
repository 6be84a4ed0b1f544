"""The int8 form of a GOLD layer's memory: keys as int8 with one scale a token, scanned by integer products.

The query is rounded to sixteen bits, two int8 halves, so only the keys' rounding is left; the products are exact in int32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gfqa.kernels.gold_attention.scan import Bigrams, padded

TILE = 65536
"""Tokens of one integer product; bounds its int32 result."""
HALF = 256
"""What the high half of a rounded query counts in low halves."""


@dataclass(frozen=True)
class QuantisedMemory:
    """keys: [S, H * N] int8; scale: [S, 1] float32, a key is about int8 * scale."""

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
        # [H, N, 2 * R]: a head's columns, high halves first.
        codes = torch.stack((high, low)).permute(2, 3, 0, 1).flatten(-2).to(torch.int8)
        n_tokens = len(self.keys)
        out = query.new_empty(padded(n_tokens), n_head * n_rows)
        for start in range(0, n_tokens, TILE):
            tile = slice(start, min(start + TILE, n_tokens))
            if n_rows <= 2:
                _few_rows(self.keys[tile], codes, self.scale[tile] * step, out[tile])
            else:
                _many_rows(self.keys[tile], codes, self.scale[tile] * step, out[tile])
        return out


def quantise_rows(keys: Tensor, codes: Tensor, scale: Tensor) -> None:
    """Round keys [T, C] float32 into codes [T, C] int8 and scale [T, 1] float32; overwrites keys."""
    torch.div(keys.abs().amax(dim=1, keepdim=True), 127, out=scale).clamp_(min=1e-30)
    codes.copy_(keys.mul_(scale.reciprocal()).round_())


def _few_rows(keys: Tensor, codes: Tensor, scale: Tensor, out: Tensor) -> None:
    """One product for all heads: the query as a block-diagonal matrix. Its zeros cost less than a product a head."""
    n_head, width, columns = codes.shape
    blocks = codes.new_zeros(n_head, width, 2, n_head, columns // 2)
    torch.diagonal(blocks, dim1=0, dim2=3).copy_(codes.view(n_head, width, 2, columns // 2).permute(1, 2, 3, 0))
    products = torch._int_mm(keys, blocks.view(n_head * width, -1))
    n = products.shape[1] // 2
    torch.mul(torch.add(products[:, n:], products[:, :n], alpha=HALF), scale, out=out)


def _many_rows(keys: Tensor, codes: Tensor, scale: Tensor, out: Tensor) -> None:
    """A product a head."""
    n_head, width, columns = codes.shape
    n_rows = columns // 2
    for head in range(n_head):
        products = torch._int_mm(keys[:, head * width : (head + 1) * width], codes[head])
        both = torch.add(products[:, n_rows:], products[:, :n_rows], alpha=HALF)
        torch.mul(both, scale, out=out[:, head * n_rows : (head + 1) * n_rows])
