"""The token shift of RWKV-6: every token mixed with the one before it, by fixed or data-dependent shares.

`reference` is plain PyTorch and differentiable; `triton` is the form for reading on a GPU, forward only. Both functions pick.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gfqa.kernels.token_shift import reference
from gfqa.kernels.token_shift.reference import previous_token

__all__ = ["ddlerp", "lerp", "previous_token"]


def lerp(
    x: Tensor, before: Tensor | None, starts: Tensor | None, mixes: Sequence[Tensor], *, backend: str | None = None
) -> list[Tensor]:
    """x + (previous token - x) * mix for each mix: [B, T, C] each.

    Args:
        x: [B, T, C] float32 or bfloat16.
        before: [B, C], the token ahead of the first (None: the zero vector).
        starts: bool [B, T], True where a chain begins, whose predecessor is the zero vector; any position.
        mixes: shares of the previous token, C numbers each.
        backend: "reference" or "triton" instead of the choice by device and by whether gradients are needed.
    """
    if _on_gpu(backend, x, *mixes):
        from gfqa.kernels.token_shift import triton

        return triton.lerp(x, before, starts, mixes)
    return reference.lerp(x, before, starts, mixes)


def ddlerp(
    x: Tensor,
    before: Tensor | None,
    starts: Tensor | None,
    mix: Tensor,
    w1: Tensor,
    w2: Tensor,
    mixes: Sequence[Tensor],
    *,
    backend: str | None = None,
) -> list[Tensor]:
    """As `lerp`, where each share also depends on the data: mixes[g] + tanh(lerp(x, mix) @ w1)[g] @ w2[g].

    Args:
        mix: C numbers; w1: [C, G * inner]; w2: [G, inner, C]; mixes: G times C numbers.
    """
    inner = w2.shape[1]
    if _on_gpu(backend, x, mix, w1, w2, *mixes) and inner >= 16 and inner & (inner - 1) == 0:
        from gfqa.kernels.token_shift import triton

        return triton.ddlerp(x, before, starts, mix, w1, w2, mixes)
    return reference.ddlerp(x, before, starts, mix, w1, w2, mixes)


def _on_gpu(backend: str | None, x: Tensor, *others: Tensor) -> bool:
    if backend is not None:
        return backend == "triton"
    if torch.compiler.is_compiling():
        return False  # It fuses the plain form itself.
    differentiated = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *others))
    return x.is_cuda and x.shape[1] > 1 and not differentiated
