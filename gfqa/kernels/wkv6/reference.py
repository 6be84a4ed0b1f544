"""The WKV recurrence one token at a time: the definition every faster form is tested against.

Letters: B batch, T tokens, H heads, N head size. Plain PyTorch, differentiable by autograd; float64 gives float64.
"""

from __future__ import annotations

import torch
from torch import Tensor


def wkv6(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    u: Tensor | None = None,
    state: Tensor | None = None,
    *,
    starts: Tensor | None = None,
    floor: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Read the state S (value channel first, key channel second), then decay it and add the token.

    For every token: y[i] = sum_j r[j] (S[i, j] + u[j] k[j] v[i]); S[i, j] <- exp(log_decay[j]) S[i, j] + k[j] v[i].

    Args:
        r, k, v: [B, T, H, N], any float type; T may be 0.
        log_decay: [B, T, H, N], at most 0.
        u: [H, N], the bonus of the current token, or None for none.
        state: [B, H, N, N], or None for zeros. Not changed.
        starts: bool [B, T]; True where a new chain begins: the state is zero before that token. Any position.
        floor: ignored here; see `gfqa.kernels.wkv6.wkv6`.

    Returns:
        y [B, T, H, N] in v's type, and the final state [B, H, N, N] in float32 (float64 for float64 inputs).
    """
    B, T, H, N = r.shape
    dtype = torch.float64 if v.dtype == torch.float64 else torch.float32
    r, k, values, decay = r.to(dtype), k.to(dtype), v.to(dtype), log_decay.to(dtype).exp()
    S = v.new_zeros(B, H, N, N, dtype=dtype) if state is None else state.to(dtype, copy=True)
    outputs = []
    for t in range(T):
        if starts is not None:
            S = S.masked_fill(starts[:, t, None, None, None], 0.0)
        y = (S * r[:, t, :, None, :]).sum(-1)
        if u is not None:
            y = y + (r[:, t] * u.to(dtype) * k[:, t]).sum(-1, keepdim=True) * values[:, t]
        S = S * decay[:, t, :, None, :] + values[:, t, :, :, None] * k[:, t, :, None, :]
        outputs.append(y)
    y = torch.stack(outputs, 1) if outputs else values.new_zeros(B, 0, H, N)
    return y.to(v.dtype), S
