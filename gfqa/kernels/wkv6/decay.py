"""From a model's decay activation to the log decay of the recurrence, and the key scaling that goes with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_decay(w: Tensor, floor: float | None) -> Tensor:
    """Per-token log of the decay, float32: -exp(w), or bounded below by `floor` as floor * sigmoid(w - log(-floor))."""
    w = w.float()
    if floor is None:
        return -torch.exp(w)
    # A number and not a tensor made here: that would be a copy from the host, which a CUDA graph cannot capture.
    return floor * torch.sigmoid(w - math.log(-floor))


def scaled_keys(k: Tensor, log_decays: Tensor) -> Tensor:
    """Keys times one minus the decay, in k's type: Finch-C2 writes as much as it forgets.

    In float32: 1 - exp(log decay) in bfloat16 would round the slow channels, the long memory, to zero.
    """
    return (k.float() * -torch.expm1(log_decays)).to(k.dtype)
