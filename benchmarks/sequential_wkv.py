"""A peer of the WKV benchmark: the recurrence token by token, the state in registers, as the first RWKV CUDA kernels did."""

# mypy: ignore-errors

from __future__ import annotations

import torch
import triton
import triton.language as tl

VALUES = 16
"""Value channels of a program."""


@triton.jit
def sequential_kernel(r, k, v, log_decay, y, last, T, H, N: tl.constexpr, VALUES: tl.constexpr):
    tile, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel, values = tl.arange(0, N), tile * VALUES + tl.arange(0, VALUES)
    at = (head // H) * T * H * N + (head % H) * N
    state = tl.zeros([VALUES, N], tl.float32)
    for _ in range(T):
        row = tl.load(r + at + channel).to(tl.float32)
        key = tl.load(k + at + channel).to(tl.float32)
        value = tl.load(v + at + values).to(tl.float32)
        decay = tl.exp(tl.load(log_decay + at + channel))
        tl.store(y + at + values, tl.sum(state * row[None, :], 1))
        state = state * decay[None, :] + value[:, None] * key[None, :]
        at += H * N
    tl.store(last + head * N * N + values[:, None] * N + channel[None, :], state)


def sequential_wkv(r, k, v, log_decay):
    """As `wkv6` without bonus, state and starts; no gradients."""
    B, T, H, N = r.shape
    y = torch.empty_like(v)
    last = torch.empty((B, H, N, N), dtype=torch.float32, device=v.device)
    sequential_kernel[(N // VALUES, B * H)](r, k, v, log_decay, y, last, T, H, N=N, VALUES=VALUES, num_warps=1)
    return y, last
