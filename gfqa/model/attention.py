"""Softmax attention over a chain's own tokens, shared by GPTAlpha and Llama layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.model.config import Rope
from gfqa.model.layers import rotate, split_heads
from gfqa.model.state import BlockState


def append(cached: Tensor | None, new: Tensor) -> Tensor:
    """Cached [B, t, C] then new [B, T, C]."""
    return new if cached is None else torch.cat((cached.to(new.dtype), new), dim=1)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q [B, H, T, N] are the last T of the positions of k, v [B, H, t, N]: query i sees keys up to t - T + i."""
    n_new, n_all = q.shape[-2], k.shape[-2]
    if n_new == n_all:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    # torch aligns is_causal to the top left; a chunk on a non-empty history needs the bottom right.
    mask = torch.ones(n_new, n_all, dtype=torch.bool, device=q.device).tril(n_all - n_new)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_own(
    q: Tensor, k: Tensor, v: Tensor, state: BlockState, n_head: int, rope: Rope | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention of new tokens q, k, v [B, T, C] over the chain's cached and new keys.

    Returns the output [B, T, C] and the chain's keys and values [B, t + T, C] before RoPE.
    """
    keys, values = append(state.keys, k), append(state.values, v)
    q_heads, k_heads, v_heads = (split_heads(t, n_head) for t in (q, keys, values))
    if rope is not None:
        q_heads = rotate(q_heads, rope, keys.shape[1] - q.shape[1])
        k_heads = rotate(k_heads, rope, 0)
    out = causal_attention(q_heads, k_heads, v_heads)
    return out.transpose(1, 2).flatten(-2), keys, values
