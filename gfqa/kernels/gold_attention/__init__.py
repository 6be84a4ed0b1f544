"""Attention of GOLD layers over cached and own tokens; picks the implementation by the form of the memory."""

from __future__ import annotations

from torch import Tensor

from gfqa.kernels.gold_attention import reference
from gfqa.kernels.gold_attention.reference import LayerMemory
from gfqa.kernels.gold_attention.scan import Scores, scan_attention

__all__ = ["LayerMemory", "Scores", "gold_attention"]


def gold_attention(
    q: Tensor, own_keys: Tensor, own_values: Tensor, memory: LayerMemory | Scores | None, *, want_mass: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Softmax attention of q [B, H, T, N] over the memory, unmasked, and over own keys [B, H, t, N], causally.

    The T queries are the last T of the t own positions. The scale is 1/sqrt(N). Returns the output [B, H, T, N] in q's
    dtype and, if wanted, the last query's probability on each memory token [B, H, S] float32.
    """
    if memory is None or isinstance(memory, LayerMemory):
        return reference.gold_attention(q, own_keys, own_values, memory, want_mass=want_mass)
    return scan_attention(q, own_keys, own_values, memory, want_mass=want_mass)
