"""What the launches of `reference` share: kinds of arguments, norms, mixed inputs, the heads' shares of an output matrix."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = tuple[Tensor, Tensor, float]
Partials = tuple[Tensor, Tensor, Tensor]
"""Of attention, P a head: largest logits (powers of two) and sums [H, P] float32, weighted values [H, P, N], any float type."""
Folded = tuple[Tensor, Tensor, float]
"""A norm before an output matrix W, taken from behind it: W gain [C] and W bias [C] float32, epsilon."""


def mixed_inputs(
    x: Tensor, shift: Tensor, norm: Norm, mix: Tensor, w1: Tensor, mixes: Tensor, w2: Tensor, z: Tensor
) -> Tensor:
    """z, and inputs [groups, C] as in `finch_products`; w1 [groups * inner, C], mixes [groups, C], w2 [groups, inner, C]."""
    z.copy_(layer_norm(x, norm))
    low = torch.tanh(w1.float() @ torch.lerp(z, shift.float(), mix.float()))
    shares = mixes.float() + torch.bmm(low.view(len(mixes), 1, -1), w2.float())[:, 0]
    return z + (shift.float() - z) * shares


def head_shares(out: Tensor, gain: Tensor | None, w: Tensor, parts: Tensor, stats: Tensor) -> None:
    """parts [H, C]: what each head of out [H, N], times its gain, adds to w [C, C] times it. stats [H, 2]: each head's mean
    and sum of squares around it."""
    heads, n = out.shape
    scaled = out if gain is None else out * gain.float().view(heads, n)
    parts.copy_(torch.einsum("chn,hn->hc", w.float().view(-1, heads, n), scaled))
    mean = out.mean(1)
    stats.copy_(torch.stack((mean, (out - mean.unsqueeze(1)).square().sum(1)), dim=1))


def layer_norm(x: Tensor, norm: Norm) -> Tensor:
    weight, bias, eps = norm
    return F.layer_norm(x.float(), x.shape, weight.float(), bias.float(), eps)


def over_rms(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x) * x.shape[-1] ** -0.5 + 1e-8)
