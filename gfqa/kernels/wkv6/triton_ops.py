"""The GPU form of the WKV recurrence as opaque operators, with gradients: what torch.compile and autograd see.

`gfqa::wkv6_forward`, `gfqa::wkv6_backward` and `gfqa::wkv6_read`. See `register_operators`.
"""

# mypy: ignore-errors

from __future__ import annotations

import torch

from gfqa.kernels.wkv6.chunked import CHUNK
from gfqa.kernels.wkv6.triton import gradients_of, launch, launch_backward, launch_read, outputs


@torch.library.custom_op(
    "gfqa::wkv6_read",
    mutates_args=(),
    schema="(Tensor r, Tensor k, Tensor v, Tensor decays, Tensor? bias, Tensor? u, Tensor? state, Tensor? starts,"
    " str kind, bool scale, float floor, bool bounded) -> (Tensor, Tensor)",
)
def _read_op(r, k, v, decays, bias, u, state, starts, kind, scale, floor, bounded):
    return launch_read(r, k, v, decays, bias, u, state, starts, kind, scale, floor, bounded)


@_read_op.register_fake
def _read_shapes(r, k, v, decays, bias, u, state, starts, kind, scale, floor, bounded):
    return outputs(v)


@torch.library.custom_op(
    "gfqa::wkv6_forward",
    mutates_args=(),
    schema="(Tensor r, Tensor k, Tensor v, Tensor log_decay, Tensor? u, Tensor? state, Tensor? starts, bool bounded)"
    " -> (Tensor, Tensor, Tensor)",
)
def forward(r, k, v, log_decay, u, state, starts, bounded):
    """(y, last state, states before each chunk [B, chunks, H, N, N])."""
    _, _, before = _forward_shapes(r, k, v, log_decay, u, state, starts, bounded)
    return *launch(r, k, v, log_decay, None, u, state, starts, before, "log", False, -1.0, bounded), before


@forward.register_fake
def _forward_shapes(r, k, v, log_decay, u, state, starts, bounded):
    B, T, H, N = r.shape
    before = torch.empty((B, -(-T // CHUNK), H, N, N), dtype=v.dtype, device=v.device)
    return *outputs(v), before


@torch.library.custom_op(
    "gfqa::wkv6_backward",
    mutates_args=(),
    schema="(Tensor r, Tensor k, Tensor v, Tensor log_decay, Tensor? u, Tensor? starts, Tensor before,"
    " Tensor dy, Tensor? dlast, bool bounded) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _backward(r, k, v, log_decay, u, starts, before, dy, dlast, bounded):
    return launch_backward(r, k, v, log_decay, u, starts, before, dy, dlast, bounded)


@_backward.register_fake
def _backward_shapes(r, k, v, log_decay, u, starts, before, dy, dlast, bounded):
    return gradients_of(r, k, v, log_decay, u, before)


def _save(ctx, inputs, output):
    r, k, v, log_decay, u, state, starts, bounded = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(r, k, v, log_decay, u, starts, output[2])
    ctx.has_state, ctx.bounded = state is not None, bounded


def _differentiate(ctx, dy, dlast, _dbefore):
    r, k, v, log_decay, u, starts, before = ctx.saved_tensors
    dy = torch.zeros_like(v) if dy is None else dy.to(v.dtype)
    dr, dk, dv, dlog_decay, du, dstate = torch.ops.gfqa.wkv6_backward(
        r, k, v, log_decay, u, starts, before, dy, dlast, ctx.bounded
    )
    du = None if u is None else du.sum((0, 1))
    return dr, dk, dv, dlog_decay, du, dstate if ctx.has_state else None, None, None


forward.register_autograd(_differentiate, setup_context=_save)
