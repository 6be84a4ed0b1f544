"""Triton kernels of one token through the model: every program reads the vectors whole and its own rows of a matrix.

A layer norm or a token shift of C numbers is done again in every program, which costs less than a launch. Matrices lie row by
row, [out, in]; vectors between launches are float32. Each kernel loads its weights first and only then waits for the launch
before it (`begin`): with EARLY it is started while that one still runs.
"""

# mypy: ignore-errors

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from gfqa.kernels.wkv6.triton_tiles import one_minus_exp


@triton.jit
def begin(EARLY: tl.constexpr):
    """Let the next launch start, and wait for what the one before wrote."""
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def vector(base, C: tl.constexpr, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    return tl.load(base + column, mask=column < C, other=0.0).to(tl.float32)


@triton.jit
def matrix(base, row, n_rows, C: tl.constexpr, stride: tl.constexpr, BLOCK: tl.constexpr):
    """Rows of a matrix, zeros outside, as they are stored."""
    column = tl.arange(0, BLOCK)
    mask = (row < n_rows)[:, None] & (column < C)[None, :]
    return tl.load(base + row.to(tl.int64)[:, None] * stride + column[None, :], mask=mask, other=0.0)


@triton.jit
def times(tile, x):
    """Matrix rows times a vector."""
    return tl.sum(tile.to(tl.float32) * x[None, :], 1)


@triton.jit
def normed(x, weight, bias, eps, C: tl.constexpr, BLOCK: tl.constexpr):
    """Layer norm of C numbers, zeros beyond."""
    inside = tl.arange(0, BLOCK) < C
    centred = tl.where(inside, x - tl.sum(x, 0) / C, 0.0)
    return centred * tl.rsqrt(tl.sum(centred * centred, 0) / C + eps) * weight + bias


@triton.jit
def over_rms(x, C: tl.constexpr):
    return x / (tl.sqrt(tl.sum(x * x, 0) / C) + 1e-8)


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def low_rank(low, base, C: tl.constexpr, INNER: tl.constexpr, BLOCK: tl.constexpr, LINES: tl.constexpr):
    """low [INNER] times a matrix [INNER, C]; low is in memory, written by the launch before."""
    column, out = tl.arange(0, BLOCK), tl.zeros([BLOCK], tl.float32)
    for first in tl.static_range(0, INNER, LINES):
        line = first + tl.arange(0, LINES)
        share = tl.load(low + line, mask=line < INNER, other=0.0).to(tl.float32)
        mask = (line < INNER)[:, None] & (column < C)[None, :]
        rows = tl.load(base + line[:, None] * C + column[None, :], mask=mask, other=0.0)
        out += tl.sum(rows.to(tl.float32) * share[:, None], 0)
    return out


@triton.jit
def embed_kernel(
    token, table, weight, bias, x, e, o, o_before, kappa, kappa_before, ids, length, scale, memory, eps, unit,
    C: tl.constexpr, BLOCK: tl.constexpr, SCALED: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """One program: see `reference.embed`."""
    gain, shift = vector(weight, C, BLOCK), vector(bias, C, BLOCK)
    begin(EARLY)
    column = tl.arange(0, BLOCK)
    inside = column < C
    number = tl.load(token)
    place = tl.load(length)
    now = normed(vector(table + number * C, C, BLOCK), gain, shift, eps, C, BLOCK)
    tl.store(o_before + column, tl.load(o + column, mask=inside), mask=inside)
    tl.store(kappa_before + column, tl.load(kappa + column, mask=inside), mask=inside)
    tl.store(x + column, now, mask=inside)
    tl.store(e + column, now, mask=inside)
    tl.store(o + column, over_rms(now, C), mask=inside)
    tl.store(ids + place, number)
    if SCALED:
        visible = (place + 1 + memory).to(tl.float32)
        tl.store(scale, tl.minimum(tl.maximum(tl.log(visible) * unit, 0.5), 4.0))
    tl.store(length, place + 1)


@triton.jit
def shifted_low_kernel(
    x, shift, weight, bias, mix, w1, z, low, eps, rows,
    C: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.shifted_low`."""
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    tile = matrix(w1, row, rows, C, C, BLOCK)
    gain, offset, share = vector(weight, C, BLOCK), vector(bias, C, BLOCK), vector(mix, C, BLOCK)
    begin(EARLY)
    now = normed(vector(x, C, BLOCK), gain, offset, eps, C, BLOCK)
    mixed = now + (vector(shift, C, BLOCK) - now) * share
    tl.store(low + row, tanh(times(tile, mixed)), mask=row < rows)
    if tl.program_id(0) == 0:
        tl.store(z + column, now, mask=column < C)


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
    begin(EARLY)
    share += tl.sum(rows * tl.load(low + group * INNER + line, mask=line < INNER, other=0.0)[:, None], 0)
    now = tl.load(z + column, mask=column < C, other=0.0)
    before = tl.load(shift + column, mask=column < C, other=0.0).to(tl.float32)
    tl.store(out + group * C + column, now + (before - now) * share, mask=column < C)


@triton.jit
def mixed_input(
    z, shift, low, mixes, w2, mixed, mix, C: tl.constexpr, INNER: tl.constexpr, BLOCK: tl.constexpr,
    LINES: tl.constexpr, READY: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Row `mix` of what `mixed_kernel` writes: read, where it is READY, or else computed."""
    if READY:
        begin(EARLY)
        return vector(mixed + mix * C, C, BLOCK)
    else:
        share = vector(mixes + mix * C, C, BLOCK)
        begin(EARLY)
        share += low_rank(low + mix * INNER, w2 + mix * INNER * C, C, INNER, BLOCK, LINES)
        now = vector(z, C, BLOCK)
        return now + (vector(shift, C, BLOCK) - now) * share


@triton.jit
def finch_products_kernel(
    z, shift, low, mixes, w2, w_r, w_k, w_v, w_f, w_a, w_b, mixed, out, rows_a, rows_b,
    MIX_R: tl.constexpr, MIX_K: tl.constexpr, MIX_V: tl.constexpr, MIX_F: tl.constexpr, MIX_A: tl.constexpr,
    C: tl.constexpr, INNER: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, LINES: tl.constexpr,
    READY: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.finch_products`. Programs: C / ROWS for each of r, k, v and the fourth, then those of a and b."""
    blocks: tl.constexpr = (C + ROWS - 1) // ROWS
    blocks_a = tl.cdiv(rows_a, ROWS)
    number = tl.program_id(0)
    group = tl.minimum(number // blocks, 4)
    first, limit, offset = number - group * blocks, C, group * C
    base, mix = w_r, MIX_R
    if group == 1:
        base, mix = w_k, MIX_K
    elif group == 2:
        base, mix = w_v, MIX_V
    elif group == 3:
        base, mix = w_f, MIX_F
    elif group == 4:
        base, mix, limit = w_a, MIX_A, rows_a
        if first >= blocks_a:
            base, mix, limit, offset, first = w_b, MIX_F, rows_b, 4 * C + rows_a, first - blocks_a
    row = first * ROWS + tl.arange(0, ROWS)
    tile = matrix(base, row, limit, C, C, BLOCK)
    found = times(tile, mixed_input(z, shift, low, mixes, w2, mixed, mix, C, INNER, BLOCK, LINES, READY, EARLY))
    found = tl.where(group == 4, tanh(found), found)
    tl.store(out + offset + row, found, mask=row < limit)


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
    tile_a = tl.load(w2_a + line_a[:, None] * C + channel[None, :], mask=(line_a < rows_a)[:, None], other=0.0).to(
        tl.float32
    )
    decay = tl.load(bias + channel).to(tl.float32)
    if SECOND:
        tile_b = tl.load(w2_b + line_b[:, None] * C + value[None, :], mask=(line_b < rows_b)[:, None], other=0.0).to(
            tl.float32
        )
    begin(EARLY)
    square = state + head * N * N + own[:, None] * N + tl.arange(0, N)[None, :]
    s = tl.load(square)
    r, k, v = tl.load(products + channel), tl.load(products + C + channel), tl.load(products + 2 * C + value)
    low = tl.load(products + 4 * C + line_a, mask=line_a < rows_a, other=0.0)
    decay += tl.sum(tile_a * low[:, None], 0)
    if FLOOR:
        decay = floor * tl.sigmoid(decay - log_floor)
    else:
        decay = -tl.exp(decay)
    if SCALE_KEYS:
        k *= one_minus_exp(decay)
    read = s
    if not SECOND:
        read = s + (tl.load(bonus + channel).to(tl.float32) * k)[None, :] * v[:, None]
    out = tl.sum(read * r[None, :], 1)
    tl.store(square, s * tl.exp(decay)[None, :] + k[None, :] * v[:, None])
    fourth = tl.load(products + 3 * C + value)
    if SECOND:
        low = tl.load(products + 4 * C + rows_a + line_b, mask=line_b < rows_b, other=0.0)
        out += fourth + tl.sum(tile_b * low[:, None], 0)
    else:
        centred = out - tl.sum(out, 0) / N
        scale = tl.rsqrt(tl.sum(centred * centred, 0) / N + eps)
        out = centred * scale * tl.load(weight + value).to(tl.float32) + tl.load(offset + value).to(tl.float32)
        out *= fourth * tl.sigmoid(fourth)
    tl.store(y + value, out)
    tl.store(shift + value, tl.load(z + value))


@triton.jit
def project_kernel(
    y, weight, bias, w, x, eps, C: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, NORM: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.project`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tile = matrix(w, row, C, C, C, BLOCK)
    if NORM:
        gain, offset = vector(weight, C, BLOCK), vector(bias, C, BLOCK)
    begin(EARLY)
    inside = vector(y, C, BLOCK)
    if NORM:
        inside = normed(inside, gain, offset, eps, C, BLOCK)
    tl.store(x + row, tl.load(x + row, mask=row < C) + times(tile, inside), mask=row < C)


@triton.jit
def channel_keys_kernel(
    x, shift, weight, bias, mix_k, mix_r, w_k, w_r, z, hidden, gate, eps,
    C: tl.constexpr, F: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.channel_keys`. Programs: F / ROWS for keys, then C / ROWS for the gate."""
    blocks: tl.constexpr = (F + ROWS - 1) // ROWS
    number, column = tl.program_id(0), tl.arange(0, BLOCK)
    base, mix, limit, first = w_k, mix_k, F, number
    if number >= blocks:
        base, mix, limit, first = w_r, mix_r, C, number - blocks
    row = first * ROWS + tl.arange(0, ROWS)
    tile, share = matrix(base, row, limit, C, C, BLOCK), vector(mix, C, BLOCK)
    gain, offset = vector(weight, C, BLOCK), vector(bias, C, BLOCK)
    begin(EARLY)
    now = normed(vector(x, C, BLOCK), gain, offset, eps, C, BLOCK)
    found = times(tile, now + (vector(shift, C, BLOCK) - now) * share)
    if number >= blocks:
        tl.store(gate + row, tl.sigmoid(found), mask=row < limit)
    else:
        found = tl.maximum(found, 0.0)
        tl.store(hidden + row, found * found, mask=row < limit)
    if number == 0:
        tl.store(z + column, now, mask=column < C)


@triton.jit
def channel_values_kernel(
    hidden, gate, w, x, z, shift, C: tl.constexpr, F: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.channel_values`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < C
    tile = matrix(w, row, C, F, F, BLOCK)
    begin(EARLY)
    found = times(tile, vector(hidden, F, BLOCK)) * tl.load(gate + row, mask=inside, other=0.0)
    tl.store(x + row, tl.load(x + row, mask=inside) + found, mask=inside)
    tl.store(shift + row, tl.load(z + row, mask=inside), mask=inside)


@triton.jit
def logits_kernel(
    x, weight, bias, w, logits, eps, V, C: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, EARLY: tl.constexpr
):
    """See `reference.logits`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tile = matrix(w, row, V, C, C, BLOCK)
    gain, offset = vector(weight, C, BLOCK), vector(bias, C, BLOCK)
    begin(EARLY)
    found = times(tile, normed(vector(x, C, BLOCK), gain, offset, eps, C, BLOCK))
    tl.store(logits + row, found, mask=row < V)
