"""The WKV recurrence on a GPU: launches of `triton_kernels` as two opaque operators, forward and backward.

Forward: what every chunk of 64 tokens adds to the state (all chunks at once), a scan of the state over chunks, and the
outputs (all chunks at once). The states before each chunk are kept for backward, in the type of the inputs: they are
operands of matrix products in that type. torch.compile sees `gfqa::wkv6_forward` and `gfqa::wkv6_backward`.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from gfqa.kernels.wkv6 import triton_kernels as kernels
from gfqa.kernels.wkv6.chunked import CHUNK, EXPONENT_LIMIT

HEAD_SIZES = (16, 32, 64)
SUB_CHUNK = 16

FLOAT32_PRODUCTS = "tf32x3"
"""How matrix products of float32 inputs run: three TF32 products, close to float32; "ieee" is exact and slow."""

SCAN_TILE, SCAN_GROUP = 64, 16
"""State entries per program of the scan, and chunks it loads at once (fewer where there are fewer)."""

WARPS = {"update": 4, "scan": 1, "output": 4, "gradient": 8}


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
    """Triton form of `reference.wkv6`: same arguments and results; `starts` may be True only at multiples of 64.

    floor: a promise that log_decay >= floor everywhere; from -1.25 up it saves the work that unbounded decays need.

    Raises:
        ValueError: a head size other than 16, 32 or 64, or types other than float32 and bfloat16.
    """
    B, T, H, N = r.shape
    if N not in HEAD_SIZES or v.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"the Triton WKV takes float32 or bfloat16 heads of size 16, 32 or 64, not {v.dtype} of {N}")
    if T == 0:
        S = v.new_zeros(B, H, N, N, dtype=torch.float32) if state is None else state.float().clone()
        return v.new_zeros(B, 0, H, N), S
    flags = None if starts is None else starts[:, ::CHUNK].to(torch.int8)
    bounded = floor is not None and -floor * (CHUNK // 2) <= EXPONENT_LIMIT
    y, last, _, _ = torch.ops.gfqa.wkv6_forward(
        r.to(v.dtype),
        k.to(v.dtype),
        v,
        log_decay.float(),
        None if u is None else u.float(),
        None if state is None else state.float(),
        flags,
        bounded,
    )
    return y, last


@torch.library.custom_op(
    "gfqa::wkv6_forward",
    mutates_args=(),
    schema="(Tensor r, Tensor k, Tensor v, Tensor log_decay, Tensor? u, Tensor? state, Tensor? starts, bool bounded)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
def _forward(r, k, v, log_decay, u, state, starts, bounded):
    """(y, last state, states before each chunk [B, chunks, H, N, N], log decays of chunks [B, chunks, H, N])."""
    r, k, v, log_decay = (x.contiguous() for x in (r, k, v, log_decay))
    T, H, N = r.shape[1:]
    y, last, before, total = _forward_shapes(r, k, v, log_decay, u, state, starts, bounded)
    added = torch.empty_like(before, dtype=torch.float32)
    grid = (before.shape[1], r.shape[0] * H)
    shared = {"N": N, "C": CHUNK, "BOUNDED": bounded, "PRECISION": _precision()}
    with torch.cuda.device_of(r):
        kernels.chunk_update_kernel[grid](
            k, v, log_decay, added, total, T, H, BACKWARD=False, num_warps=WARPS["update"], **shared
        )
        _scan(added, total, starts, state, before, last, backward=False)
        kernels.output_kernel[grid](
            r, k, v, log_decay, _or(u, r), before, y, T, H,
            SUB=SUB_CHUNK, BONUS=u is not None, num_warps=WARPS["output"], **shared,
        )  # fmt: skip
    return y, last, before, total


@_forward.register_fake
def _forward_shapes(r, k, v, log_decay, u, state, starts, bounded):
    B, T, H, N = r.shape
    chunks = (T + CHUNK - 1) // CHUNK
    y = torch.empty((B, T, H, N), dtype=v.dtype, device=v.device)
    last = torch.empty((B, H, N, N), dtype=torch.float32, device=v.device)
    before = torch.empty((B, chunks, H, N, N), dtype=v.dtype, device=v.device)
    return y, last, before, torch.empty((B, chunks, H, N), dtype=torch.float32, device=v.device)


@torch.library.custom_op(
    "gfqa::wkv6_backward",
    mutates_args=(),
    schema="(Tensor r, Tensor k, Tensor v, Tensor log_decay, Tensor? u, Tensor? starts, Tensor before, Tensor total,"
    " Tensor dy, Tensor? dlast, bool bounded) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _backward(r, k, v, log_decay, u, starts, before, total, dy, dlast, bounded):
    """Gradients of r, k, v, log_decay, of u per chunk [B, chunks, H, N] (of size 0 without u), and of the state."""
    r, k, v, log_decay, dy = (x.contiguous() for x in (r, k, v, log_decay, dy))
    T, H, N = r.shape[1:]
    shapes = _backward_shapes(r, k, v, log_decay, u, starts, before, total, dy, dlast, bounded)
    dr, dk, dv, dlog_decay, du, dstate = shapes
    added = torch.empty_like(before, dtype=torch.float32)
    after = torch.empty_like(before)
    grid = (before.shape[1], r.shape[0] * H)
    shared = {"N": N, "C": CHUNK, "BOUNDED": bounded, "PRECISION": _precision()}
    with torch.cuda.device_of(r):
        kernels.chunk_update_kernel[grid](
            r, dy, log_decay, added, total, T, H, BACKWARD=True, num_warps=WARPS["update"], **shared
        )
        _scan(added, total, starts, dlast, after, dstate, backward=True)
        kernels.gradient_kernel[grid](
            r, k, v, log_decay, _or(u, r), before, after, dy, dr, dk, dv, dlog_decay, du, T, H,
            SUB=SUB_CHUNK, BONUS=u is not None, num_warps=WARPS["gradient"], **shared,
        )  # fmt: skip
    return shapes


@_backward.register_fake
def _backward_shapes(r, k, v, log_decay, u, starts, before, total, dy, dlast, bounded):
    B, chunks, H, N = total.shape
    same = [torch.empty(r.shape, dtype=x.dtype, device=x.device) for x in (r, k, v, log_decay)]
    du = torch.empty((B, chunks, H, N) if u is not None else (0,), dtype=torch.float32, device=r.device)
    return *same, du, torch.empty((B, H, N, N), dtype=torch.float32, device=r.device)


def _save(ctx, inputs, output):
    r, k, v, log_decay, u, state, starts, bounded = inputs
    _, _, before, total = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(r, k, v, log_decay, u, starts, before, total)
    ctx.has_state, ctx.bounded = state is not None, bounded


def _differentiate(ctx, dy, dlast, _dbefore, _dtotal):
    r, k, v, log_decay, u, starts, before, total = ctx.saved_tensors
    dy = torch.zeros_like(v) if dy is None else dy.to(v.dtype)
    dr, dk, dv, dlog_decay, du, dstate = torch.ops.gfqa.wkv6_backward(
        r, k, v, log_decay, u, starts, before, total, dy, dlast, ctx.bounded
    )
    du = None if u is None else du.sum((0, 1))
    return dr, dk, dv, dlog_decay, du, dstate if ctx.has_state else None, None, None


_forward.register_autograd(_differentiate, setup_context=_save)


def _scan(added, total, starts, first, carried, last, *, backward):
    B, chunks, H, N = total.shape
    group = min(SCAN_GROUP, max(2, 1 << (chunks - 1).bit_length()))
    kernels.state_scan_kernel[(N * N // SCAN_TILE, B * H)](
        added, total, added if starts is None else starts.contiguous(), added if first is None else first.contiguous(),
        carried, last, chunks, H, N=N, TILE=SCAN_TILE, GROUP=group,
        STARTS=starts is not None, FIRST=first is not None, BACKWARD=backward, num_warps=WARPS["scan"],
    )  # fmt: skip


def _precision():
    return "interpreted" if os.environ.get("TRITON_INTERPRET") == "1" else FLOAT32_PRODUCTS


def _or(tensor, other):
    """A kernel argument that is not read needs some tensor all the same."""
    return other if tensor is None else tensor.contiguous()
