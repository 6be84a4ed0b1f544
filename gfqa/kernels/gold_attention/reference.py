"""GOLD attention in plain PyTorch: exact, tiled over the memory, merged by log-sum-exp."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 32768
"""Memory tokens a tile; bounds the logits to B * H * T * TILE numbers."""


@dataclass(frozen=True)
class LayerMemory:
    """One GOLD layer's view of the cached tokens.

    keys: [H, S, N], after RoPE where the model has it. values: [H, U, N], one row a distinct token bigram.
    bigram: [S] int64, each token's row of `values`.
    """

    keys: Tensor
    values: Tensor
    bigram: Tensor

    def memory_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.keys, self.values))


def gold_attention(
    q: Tensor, own_keys: Tensor, own_values: Tensor, memory: LayerMemory | None, *, want_mass: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Softmax attention of q [B, H, T, N] over the memory, unmasked, and over own keys [B, H, t, N], causally.

    The T queries are the last T of the t own positions. The scale is 1/sqrt(N). Returns the output [B, H, T, N] in q's
    dtype and, if wanted, the last query's probability on each memory token [B, H, S] float32.
    """
    query = q.float() * q.shape[-1] ** -0.5
    out, total = own_attention(query, own_keys, own_values)
    if memory is None or memory.bigram.numel() == 0:
        mass = torch.zeros(*q.shape[:2], 0, device=q.device) if want_mass else None
        return out.to(q.dtype), mass
    n_memory = memory.bigram.numel()
    # The rows of a batch are so many more queries of the one memory: left apart, each would get a copy of its keys.
    folded = query.transpose(0, 1).flatten(1, 2)
    apart = (len(q), q.shape[-2])
    last_logits = []
    for start in range(0, n_memory, TILE):
        tile = slice(start, min(start + TILE, n_memory))
        logits = folded @ memory.keys[:, tile].to(query.dtype).transpose(-1, -2)
        tile_total = torch.logsumexp(logits, dim=-1, keepdim=True)
        probability = torch.exp(logits - tile_total)
        seen = probability @ memory.values[:, memory.bigram[tile]].to(query.dtype)
        seen, tile_total = (part.unflatten(1, apart).transpose(0, 1) for part in (seen, tile_total))
        merged = torch.logaddexp(total, tile_total)
        out = out * torch.exp(total - merged) + seen * torch.exp(tile_total - merged)
        total = merged
        if want_mass:
            last_logits.append(logits.unflatten(1, apart).transpose(0, 1)[:, :, -1])
    mass = torch.exp(torch.cat(last_logits, dim=-1) - total[:, :, -1]) if want_mass else None
    return out.to(q.dtype), mass


def own_attention(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention of scaled queries [B, H, T, N], the last T of t own positions: output and log-sum-exp [B, H, T, 1]."""
    n_new, n_own = query.shape[-2], keys.shape[-2]
    logits = query @ keys.float().transpose(-1, -2)
    visible = torch.ones(n_new, n_own, dtype=torch.bool, device=query.device).tril(n_own - n_new)
    logits = logits.masked_fill(~visible, float("-inf"))
    return torch.softmax(logits, dim=-1) @ values.float(), torch.logsumexp(logits, dim=-1, keepdim=True)
