"""Triton kernels of one token through a Finch block's time mix, and the mixed inputs that GOLD's queries take too.

Manners as in `triton_kernels`.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.decode_step.triton_kernels import (
    begin,
    between,
    columns,
    following,
    keep,
    matrix,
    normed,
    tanh,
    times,
)
from gfqa.kernels.wkv6.triton_tiles import one_minus_exp


@triton.jit
def shifted_low_kernel(
    x, shift, weight, bias, mix, w1, z, low, eps, rows,
    C: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """z: norm of x; low: tanh of w1 times z mixed with the shift by mix [C]."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tiles = matrix(w1, row, rows, C, C, COLS)
    gain, offset, share = columns(weight, C, COLS), columns(bias, C, COLS), columns(mix, C, COLS)
    before = columns(shift, C, COLS)
    begin(EARLY)
    now = normed(columns(x, C, COLS), gain, offset, eps, C, COLS)
    tl.store(low + row, tanh(times(tiles, between(now, before, share))), mask=row < rows)
    if tl.program_id(0) == 0:
        keep(z, now, C, COLS)


@triton.jit
def mixed_kernel(
    z, shift, low, mixes, w2, out, C: tl.constexpr, INNER: tl.constexpr, LINES: tl.constexpr,
    COLUMNS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """out [groups, C]: z mixed with the shift by mixes [groups, C] + low [groups * INNER] w2 [groups, INNER, C]."""
    group, column, line = tl.program_id(1), tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS), tl.arange(0, LINES)
    mask = (line < INNER)[:, None] & (column < C)[None, :]
    rows = tl.load(w2 + (group * INNER + line)[:, None] * C + column[None, :], mask=mask, other=0.0).to(tl.float32)
    share = tl.load(mixes + group * C + column, mask=column < C, other=0.0).to(tl.float32)
    before = tl.load(shift + column, mask=column < C, other=0.0).to(tl.float32)
    begin(EARLY)
    now = tl.load(z + column, mask=column < C, other=0.0)
    share += tl.sum(rows * tl.load(low + group * INNER + line, mask=line < INNER, other=0.0)[:, None], 0)
    tl.store(out + group * C + column, now + (before - now) * share, mask=column < C)


@triton.jit
def finch_products_kernel(
    mixed, w_r, w_k, w_v, w_f, w_a, w_b, out, rows_a, rows_b,
    MIX_R: tl.constexpr, MIX_K: tl.constexpr, MIX_V: tl.constexpr, MIX_F: tl.constexpr, MIX_A: tl.constexpr,
    C: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, TURNS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """The last of `reference.finch_products`. Programs: those of r, k, v and the fourth, [C] each, then those of a and b."""
    blocks: tl.constexpr = (C + ROWS * TURNS - 1) // (ROWS * TURNS)
    blocks_a = tl.cdiv(rows_a, ROWS * TURNS)
    number = tl.program_id(0)
    group = tl.minimum(number // blocks, 4)
    first, limit, offset = number - group * blocks, C, group * C
    base, which = w_r, MIX_R
    if group == 1:
        base, which = w_k, MIX_K
    elif group == 2:
        base, which = w_v, MIX_V
    elif group == 3:
        base, which = w_f, MIX_F
    elif group == 4:
        base, which, limit = w_a, MIX_A, rows_a
        if first >= blocks_a:
            base, which, limit, offset, first = w_b, MIX_F, rows_b, 4 * C + rows_a, first - blocks_a
    row = first * (ROWS * TURNS) + tl.arange(0, ROWS)
    tiles = matrix(base, row, limit, C, C, COLS)
    begin(EARLY)
    now = columns(mixed + which * C, C, COLS)
    ahead = following(tiles, base, row, 1, limit, C, C, COLS, ROWS, TURNS)
    for turn in tl.static_range(TURNS):
        found, at = times(tiles, now), row + turn * ROWS
        tiles = ahead
        ahead = following(tiles, base, row, turn + 2, limit, C, C, COLS, ROWS, TURNS)
        found = tl.where(group == 4, tanh(found), found)
        tl.store(out + offset + at, found, mask=at < limit)


@triton.jit
def finch_state_kernel(
    products, w2_a, w2_b, bias, bonus, weight, offset, state, z, shift, y, eps, floor, log_floor, rows_a, rows_b,
    C: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, A: tl.constexpr, B: tl.constexpr, FLOOR: tl.constexpr,
    SCALE_KEYS: tl.constexpr, SECOND: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.finch_state`; a program has ROWS value channels of a head, all of them without SECOND."""
    head = tl.program_id(0)
    channel, own = head * N + tl.arange(0, N), tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    value = head * N + own
    line_a, line_b = tl.arange(0, A), tl.arange(0, B)
    tile_a = tl.load(w2_a + line_a[:, None] * C + channel[None, :], mask=(line_a < rows_a)[:, None], other=0.0)
    decay = tl.load(bias + channel).to(tl.float32)
    if not SECOND:
        extra, gain = tl.load(bonus + channel).to(tl.float32), tl.load(weight + value).to(tl.float32)
        shifted = tl.load(offset + value).to(tl.float32)
    else:
        tile_b = tl.load(w2_b + line_b[:, None] * C + value[None, :], mask=(line_b < rows_b)[:, None], other=0.0)
    square = state + head * N * N + own[:, None] * N + tl.arange(0, N)[None, :]
    s = tl.load(square)
    begin(EARLY)
    r, k, v = tl.load(products + channel), tl.load(products + C + channel), tl.load(products + 2 * C + value)
    fourth, now = tl.load(products + 3 * C + value), tl.load(z + value)
    low = tl.load(products + 4 * C + line_a, mask=line_a < rows_a, other=0.0)
    if SECOND:
        low_b = tl.load(products + 4 * C + rows_a + line_b, mask=line_b < rows_b, other=0.0)
    decay += tl.sum(tile_a.to(tl.float32) * low[:, None], 0)
    if FLOOR:
        decay = floor * tl.sigmoid(decay - log_floor)
    else:
        decay = -tl.exp(decay)
    if SCALE_KEYS:
        k *= one_minus_exp(decay)
    read = s
    if not SECOND:
        read = s + (extra * k)[None, :] * v[:, None]
    out = tl.sum(read * r[None, :], 1)
    tl.store(square, s * tl.exp(decay)[None, :] + k[None, :] * v[:, None])
    if SECOND:
        out += fourth + tl.sum(tile_b.to(tl.float32) * low_b[:, None], 0)
    else:
        centred = out - tl.sum(out, 0) / N
        scale = tl.rsqrt(tl.sum(centred * centred, 0) / N + eps)
        out = centred * scale * gain + shifted
        out *= fourth * tl.sigmoid(fourth)
    tl.store(y + value, out)
    tl.store(shift + value, now)
