"""The token shift in plain PyTorch: the definition, differentiable by autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def previous_token(x: Tensor, before: Tensor | None, starts: Tensor | None = None) -> Tensor:
    """x shifted by one token: [B, T, C] -> [B, T, C].

    before: [B, C], the token ahead of the first (None: the zero vector). starts: bool [B, T], True where a chain begins,
    whose predecessor is the zero vector.
    """
    first = torch.zeros_like(x[:, :1]) if before is None else before.to(x.dtype).unsqueeze(1)
    shifted = torch.cat((first, x[:, :-1]), dim=1) if x.shape[1] else x
    if starts is not None:
        shifted = shifted.masked_fill(starts.unsqueeze(-1), 0.0)
    return shifted


def lerp(x: Tensor, before: Tensor | None, starts: Tensor | None, mixes: Sequence[Tensor]) -> list[Tensor]:
    """See `gfqa.kernels.token_shift.lerp`."""
    delta = previous_token(x, before, starts) - x
    return [x + delta * mix for mix in mixes]


def ddlerp(
    x: Tensor,
    before: Tensor | None,
    starts: Tensor | None,
    mix: Tensor,
    w1: Tensor,
    w2: Tensor,
    mixes: Sequence[Tensor],
) -> list[Tensor]:
    """See `gfqa.kernels.token_shift.ddlerp`."""
    delta = previous_token(x, before, starts) - x
    shares = shift_lora(x, delta, mix, w1, w2)
    return [x + delta * (fixed + share) for fixed, share in zip(mixes, shares.unbind(0), strict=True)]


def shift_lora(x: Tensor, delta: Tensor, mix: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """The data-dependent part of the shift: x, delta [B, T, C], w1 [C, G*inner], w2 [G, inner, C] -> [G, B, T, C]."""
    hidden = torch.tanh((x + delta * mix) @ w1)
    hidden = hidden.unflatten(-1, (w2.shape[0], -1))
    return torch.einsum("btgi,gic->gbtc", hidden, w2.to(hidden.dtype))
