"""The WKV recurrence of RWKV-6 and Finch-C2: one signature, three forms.

`reference` runs token by token and defines the operation, `chunked` is matrix products in plain PyTorch, `triton` is
the GPU form. `wkv6` picks: CUDA tensors go to Triton, others to the chunked form, a single token to its direct step.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from gfqa.kernels.wkv6 import chunked, reference
from gfqa.kernels.wkv6.decay import log_decay as log_decay_of
from gfqa.kernels.wkv6.decay import scaled_keys

CHUNK = chunked.CHUNK
"""Tokens per chunk: `starts` may be True only at multiples of it (the reference takes any position)."""


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
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Read the state S (value channel first, key channel second), then decay it and add the token.

    For every token: y[i] = sum_j r[j] (S[i, j] + u[j] k[j] v[i]); S[i, j] <- exp(log_decay[j]) S[i, j] + k[j] v[i].

    Args:
        r, k, v: [B, T, H, N] float32 or bfloat16; T may be 0. N is 16, 32 or 64 on a GPU.
        log_decay: [B, T, H, N] float32, at most 0, however low.
        u: [H, N], the bonus of the current token, or None for none (Finch-C2).
        state: [B, H, N, N] float32, or None for zeros. Not changed. It belongs to the chain running at token 0.
        starts: bool [B, T]; True where a new chain begins: the state is zero before that token.
        floor: a promise that log_decay >= floor everywhere, which allows a shorter way; results are right without it.
        backend: "reference", "chunked" or "triton" instead of the choice by device.

    Returns:
        y [B, T, H, N] in v's type (accumulated in float32) and the final state [B, H, N, N] in float32.

    Raises:
        ValueError: an unknown backend, or (on CPU tensors) a chain that starts inside a chunk.
    """
    if backend is None:
        backend = "triton" if r.is_cuda and r.shape[1] > 1 else "chunked"
    if backend == "triton":
        # Imported on use: a platform without Triton still has the other two.
        from gfqa.kernels.wkv6 import triton

        return triton.wkv6(r, k, v, log_decay, u, state, starts=starts, floor=floor)
    if backend == "chunked":
        return chunked.wkv6(r, k, v, log_decay, u, state, starts=starts, floor=floor)
    if backend == "reference":
        return reference.wkv6(r, k, v, log_decay, u, state, starts=starts, floor=floor)
    raise ValueError(f"no WKV backend is called {backend!r}; there are reference, chunked and triton")


def finch_wkv(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    bias: Tensor,
    u: Tensor | None = None,
    state: Tensor | None = None,
    *,
    starts: Tensor | None = None,
    floor: float | None = None,
    scale_keys: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """`wkv6` from a layer's decay activation: log decays are `decay.log_decay(bias + w, floor)`.

    Args:
        w: [B, T, H, N] float32 or bfloat16; bias: [H, N], added in float32 where it is float32.
        scale_keys: keys times one minus the decay (Finch-C2).
        floor, and the rest: as `wkv6`. Without gradients the Triton form does all of it inside its kernels.
    """
    needs_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (r, k, v, w, bias))
    if (backend == "triton" or (backend is None and r.is_cuda and r.shape[1] > 1)) and not needs_gradient:
        from gfqa.kernels.wkv6 import triton

        return triton.finch_wkv(r, k, v, w, bias, u, state, starts=starts, floor=floor, scale_keys=scale_keys)
    decays = log_decay_of(bias + w, floor)
    if scale_keys:
        k = scaled_keys(k, decays)
    return wkv6(r, k, v, decays, u, state, starts=starts, floor=floor, backend=backend)


def register_operators() -> None:
    """Have torch know the operators of the Triton form: before a model that calls them is compiled. Nothing without Triton."""
    with contextlib.suppress(ImportError):
        from gfqa.kernels.wkv6 import triton_ops  # noqa: F401
