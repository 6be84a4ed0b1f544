"""The float32 form of a GOLD layer's memory for the scan: every key held. For short memories, and where int8 is slow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gfqa.kernels.gold_attention.scan import Bigrams, padded


@dataclass(frozen=True)
class ExactMemory:
    """keys: [S, H * N]."""

    keys: Tensor
    bigrams: Bigrams

    def memory_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.keys, self.bigrams.values))

    def logits(self, query: Tensor) -> Tensor:
        """See `Scores.logits`."""
        n_rows, n_head, width = query.shape
        # One product with a block-diagonal query reads the keys in order; a product a head would not.
        blocks = query.new_zeros(n_head, width, n_head, n_rows)
        torch.diagonal(blocks, dim1=0, dim2=2).copy_(query.permute(2, 0, 1))
        out = query.new_empty(padded(len(self.keys)), n_head * n_rows)
        torch.mm(self.keys, blocks.view(n_head * width, -1), out=out[: len(self.keys)])
        return out
