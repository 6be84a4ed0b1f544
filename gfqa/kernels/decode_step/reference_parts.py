"""What the launches of `reference` share: kinds of arguments, norms, mixed inputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = tuple[Tensor, Tensor, float]
Partials = tuple[Tensor, Tensor, Tensor]
"""Of attention, P a head: largest logits (powers of two) and sums [H, P] float32, weighted values [H, P, N], any float type."""
Folded = tuple[Tensor, Tensor, float]
"""A norm before an output matrix W, taken from behind it: W gain [C] and W bias [C] float32, epsilon."""
Shares = tuple[Tensor, Tensor, Folded]
"""Of W's product [C], each head's share [H, C], mean and squares [H, 2], as `gold_output` leaves them; the norm before W."""


def mixed_inputs(
    x: Tensor, shift: Tensor, norm: Norm, mix: Tensor, w1: Tensor, mixes: Tensor, w2: Tensor, z: Tensor
) -> Tensor:
    """z, and inputs [groups, C] as in `finch_products`; w1 [groups * inner, C], mixes [groups, C], w2 [groups, inner, C]."""
    z.copy_(layer_norm(x, norm))
    low = torch.tanh(w1.float() @ torch.lerp(z, shift.float(), mix.float()))
    shares = mixes.float() + torch.bmm(low.view(len(mixes), 1, -1), w2.float())[:, 0]
    return z + (shift.float() - z) * shares


def layer_norm(x: Tensor, norm: Norm) -> Tensor:
    weight, bias, eps = norm
    return F.layer_norm(x.float(), x.shape, weight.float(), bias.float(), eps)


def over_rms(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x) * x.shape[-1] ** -0.5 + 1e-8)
