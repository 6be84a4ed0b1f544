"""Small pieces every mixer uses: norms, the state of the token shift, rotary encoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gfqa.kernels.token_shift import previous_token as previous_token
from gfqa.model.config import Rope


def rms(z: Tensor) -> Tensor:
    """z / (|z| / sqrt(n) + 1e-8) over the last axis; the epsilon is outside the root, and the zero vector stays zero."""
    z32 = z.float()
    root_mean_square = torch.linalg.vector_norm(z32, dim=-1, keepdim=True) * z.shape[-1] ** -0.5
    return (z32 / (root_mean_square + 1e-8)).to(z.dtype)


def last_token(x: Tensor, before: Tensor | None) -> Tensor | None:
    """The shift state after x: its last token, or what was there before if x has none."""
    return x[:, -1] if x.shape[1] else before


def parameter(*shape: int) -> nn.Parameter:
    """An uninitialised parameter; `init_weights` or a checkpoint fills it."""
    return nn.Parameter(torch.zeros(*shape))


def linear(n_in: int, n_out: int) -> nn.Linear:
    return nn.Linear(n_in, n_out, bias=False)


def split_heads(x: Tensor, n_head: int) -> Tensor:
    """[B, T, C] -> [B, H, T, N]."""
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)


def rotate(x: Tensor, rope: Rope, first_position: int) -> Tensor:
    """Rotary encoding of [B, H, T, N] in float32 over adjacent pairs; positions first_position, first_position + 1, …

    Only differences of positions matter to attention, so the reference's end-aligned positions give the same output.
    """
    n = x.shape[-1]
    exponent = torch.arange(0, n, 2, device=x.device, dtype=torch.float64) / n
    frequency = (rope.base * rope.rebase) ** -exponent / rope.rescale
    position = torch.arange(first_position, first_position + x.shape[-2], device=x.device, dtype=torch.float64)
    angle = position[:, None] * frequency
    cos, sin = angle.cos().float(), angle.sin().float()
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)
