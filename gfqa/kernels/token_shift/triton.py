"""The token shift on a GPU, forward only: x is read once for all its mixtures, and differences never reach memory."""

# mypy: ignore-errors

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl

LAUNCH: dict[str, dict[str, int]] = {
    "lerp": {"ROWS": 16, "COLUMNS": 128, "num_warps": 4},
    "ddlerp": {"ROWS": 64, "COLUMNS": 64, "num_warps": 8},
}
"""Tokens and channels of a tile, and warps of a program."""


@triton.jit
def _tile(
    x, before, starts, T, C, BEFORE: tl.constexpr, STARTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Place of a program's tile, its x and (previous token - x), float32, and what of it exists."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    batch = tl.program_id(2).to(tl.int64)
    place = (batch * T + rows)[:, None] * C + columns[None, :]
    inside = (rows < T)[:, None] & (columns < C)[None, :]
    own = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    previous = tl.load(x + place - C, mask=inside & (rows > 0)[:, None], other=0.0).to(tl.float32)
    if BEFORE:
        first = tl.load(before + batch * C + columns, mask=columns < C, other=0.0).to(tl.float32)
        previous = tl.where((rows == 0)[:, None], first[None, :], previous)
    if STARTS:
        begins = tl.load(starts + batch * T + rows, mask=rows < T, other=0)
        previous = tl.where((begins != 0)[:, None], 0.0, previous)
    return place, inside, own, previous - own


@triton.jit(do_not_specialize=["T"])
def lerp_kernel(
    x, before, starts, mixes, out, T, C, size,
    COUNT: tl.constexpr, BEFORE: tl.constexpr, STARTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """out[g] = x + delta * mixes[g]; size: numbers in one out[g]."""
    place, inside, own, delta = _tile(x, before, starts, T, C, BEFORE, STARTS, ROWS, COLUMNS)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    for g in tl.static_range(COUNT):
        mix = tl.load(mixes + g * C + columns, mask=columns < C, other=0.0).to(tl.float32)
        tl.store(out + g * size + place, own + delta * mix[None, :], mask=inside)


@triton.jit(do_not_specialize=["T"])
def ddlerp_kernel(
    x, before, starts, hidden, w2, mixes, out, T, C, size,
    COUNT: tl.constexpr, INNER: tl.constexpr, BEFORE: tl.constexpr, STARTS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """out[g] = x + delta * (mixes[g] + hidden[g] @ w2[g]); hidden: [B, T, COUNT * INNER]."""
    place, inside, own, delta = _tile(x, before, starts, T, C, BEFORE, STARTS, ROWS, COLUMNS)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    inner = tl.arange(0, INNER)
    token = tl.program_id(2).to(tl.int64) * T + rows
    for g in tl.static_range(COUNT):
        at = token[:, None] * (COUNT * INNER) + g * INNER + inner[None, :]
        act = tl.load(hidden + at, mask=(rows < T)[:, None], other=0.0)
        weights = tl.load(
            w2 + (g * INNER + inner)[:, None] * C + columns[None, :], mask=(columns < C)[None, :], other=0.0
        )
        if PRECISION == "interpreted":
            share = tl.dot(act.to(tl.float32), weights.to(tl.float32), input_precision="ieee")
        else:
            share = tl.dot(act, weights, input_precision=PRECISION)
        mix = tl.load(mixes + g * C + columns, mask=columns < C, other=0.0).to(tl.float32)
        tl.store(out + g * size + place, own + delta * (mix[None, :] + share), mask=inside)


def lerp(x, before, starts, mixes):
    """Triton form of `reference.lerp`: same arguments and results, without gradients."""
    x, before, starts, stacked, out, grid = _prepared(x, before, starts, mixes, LAUNCH["lerp"])
    if x.shape[1]:
        with torch.cuda.device_of(x):
            lerp_kernel[grid](
                x, x if before is None else before, x if starts is None else starts, stacked, out,
                x.shape[1], x.shape[2], x.numel(), COUNT=len(mixes), BEFORE=before is not None,
                STARTS=starts is not None, **LAUNCH["lerp"],
            )  # fmt: skip
    return list(out.unbind(0))


def ddlerp(x, before, starts, mix, w1, w2, mixes):
    """Triton form of `reference.ddlerp`: same arguments and results, without gradients. w2's inner size: a power of two, 16
    at least."""
    [mixed] = lerp(x, before, starts, [mix])
    hidden = (mixed @ w1.to(x.dtype)).tanh_()
    x, before, starts, stacked, out, grid = _prepared(x, before, starts, mixes, LAUNCH["ddlerp"])
    if x.shape[1]:
        precision = "interpreted" if os.environ.get("TRITON_INTERPRET") == "1" else "tf32x3"
        with torch.cuda.device_of(x):
            ddlerp_kernel[grid](
                x, x if before is None else before, x if starts is None else starts, hidden,
                w2.to(x.dtype).contiguous(), stacked, out, x.shape[1], x.shape[2], x.numel(),
                COUNT=len(mixes), INNER=w2.shape[1], BEFORE=before is not None, STARTS=starts is not None,
                PRECISION=precision, **LAUNCH["ddlerp"],
            )  # fmt: skip
    return list(out.unbind(0))


def _prepared(x, before, starts, mixes, settings):
    x = x.contiguous()
    before = None if before is None else before.to(x.dtype).contiguous()
    starts = None if starts is None else starts.to(torch.int8).contiguous()
    B, T, C = x.shape
    stacked = torch.stack([mix.reshape(C) for mix in mixes])
    out = torch.empty((len(mixes), B, T, C), dtype=x.dtype, device=x.device)
    return x, before, starts, stacked, out, (-(-C // settings["COLUMNS"]), -(-T // settings["ROWS"]), B)
