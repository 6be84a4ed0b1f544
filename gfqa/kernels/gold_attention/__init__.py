"""Attention of GOLD layers over cached and own tokens; picks the implementation by the form of the memory."""

from __future__ import annotations

import os

from torch import Tensor

from gfqa.kernels.gold_attention import latent_tokens, reference, triton_memory
from gfqa.kernels.gold_attention.latent_tokens import LatentTokens
from gfqa.kernels.gold_attention.reference import LayerMemory
from gfqa.kernels.gold_attention.scan import Scores, scan_attention
from gfqa.kernels.gold_attention.triton_memory import SortedMemory

__all__ = ["GoldMemory", "LatentTokens", "LayerMemory", "Scores", "SortedMemory", "gold_attention", "runs_triton"]

GoldMemory = LayerMemory | Scores | SortedMemory | LatentTokens
"""What one GOLD layer attends over, in any form."""


def gold_attention(
    q: Tensor, own_keys: Tensor, own_values: Tensor, memory: GoldMemory | None, *, want_mass: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Softmax attention of q [B, H, T, N] over the memory, unmasked, and over own keys [B, H, t, N], causally.

    The T queries are the last T of the t own positions. The scale is 1/sqrt(N). Returns the output [B, H, T, N] in q's
    dtype and, if wanted, the last query's probability on each memory token [B, H, S] float32, in the cache's order.
    """
    if memory is None or isinstance(memory, LayerMemory):
        return reference.gold_attention(q, own_keys, own_values, memory, want_mass=want_mass)
    if isinstance(memory, SortedMemory):
        if runs_triton(q):
            # Imported on use: a platform without Triton still has the plain forms.
            from gfqa.kernels.gold_attention import triton

            return triton.gold_attention(q, own_keys, own_values, memory, want_mass=want_mass)
        return triton_memory.plain_attention(q, own_keys, own_values, memory, want_mass=want_mass)
    if isinstance(memory, LatentTokens):
        if runs_triton(q):
            from gfqa.kernels.gold_attention import triton_latent

            return triton_latent.latent_attention(q, own_keys, own_values, memory, want_mass=want_mass)
        return latent_tokens.plain_attention(q, own_keys, own_values, memory, want_mass=want_mass)
    return scan_attention(q, own_keys, own_values, memory, want_mass=want_mass)


def runs_triton(x: Tensor) -> bool:
    """Whether Triton's kernels take this tensor: on a GPU, or anywhere in Triton's interpreter."""
    return x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"
