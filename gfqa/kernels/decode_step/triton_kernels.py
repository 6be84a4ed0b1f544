"""Triton kernels of one token through the model: every program reads the vectors whole and its own rows of a matrix.

A layer norm or a token shift of C numbers is done again in every program, which costs less than a launch. Matrices lie row by
row, [out, in]; vectors between launches are float32. Each kernel loads its weights first and only then waits for the launch
before it (`begin`): with EARLY it is started while that one still runs. With EARLY of 2 it also asks for what it reads later.
What that launch wrote is read before anything is added up: the compiler moves no load over a barrier.
"""

# mypy: ignore-errors

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def begin(EARLY: tl.constexpr):
    """Let the next launch start, and wait for what the one before wrote."""
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def ask_for(base, n, SIZE: tl.constexpr, EARLY: tl.constexpr):
    """Before `begin`: bring n numbers to L2, SIZE (a power of two) at most, for which there is no register yet."""
    if EARLY == 2:
        line: tl.constexpr = 1024 // base.dtype.element_ty.primitive_bitwidth
        place = base + tl.minimum(line * tl.arange(0, SIZE // line if line < SIZE else 1), n - 1)
        tl.inline_asm_elementwise(
            "{ prefetch.global.L2 [$1]; mov.u32 $0, 0; }", "=r,l", [place.to(tl.int64)], tl.int32, False, 1
        )


@triton.jit
def ask_for_some(
    base, number, C: tl.constexpr, INNER: tl.constexpr, BLOCK: tl.constexpr, LINES: tl.constexpr, EARLY: tl.constexpr
):
    """Before `begin`: bring LINES rows of a matrix [INNER, C], which ones by the program's number, to L2.

    So a few programs that all read it bring all of it, each asking for little.
    """
    first = number % ((INNER + LINES - 1) // LINES) * LINES
    ask_for(base + first * C, (INNER - first) * C, LINES * BLOCK, EARLY)


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
    """low [INNER] times a matrix [INNER, C]; low is in memory, written by the launch before.

    Added up over the warps once, at the end: no read waits for another.
    """
    column, out = tl.arange(0, BLOCK), tl.zeros([LINES, BLOCK], tl.float32)
    for first in tl.static_range(0, INNER, LINES):
        line = first + tl.arange(0, LINES)
        share = tl.load(low + line, mask=line < INNER, other=0.0).to(tl.float32)
        mask = (line < INNER)[:, None] & (column < C)[None, :]
        rows = tl.load(base + line[:, None] * C + column[None, :], mask=mask, other=0.0)
        out += rows.to(tl.float32) * share[:, None]
    return tl.sum(out, 0)


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
    o_was, kappa_was = tl.load(o + column, mask=inside), tl.load(kappa + column, mask=inside)
    now = normed(vector(table + number * C, C, BLOCK), gain, shift, eps, C, BLOCK)
    tl.store(o_before + column, o_was, mask=inside)
    tl.store(kappa_before + column, kappa_was, mask=inside)
    tl.store(x + column, now, mask=inside)
    tl.store(e + column, now, mask=inside)
    tl.store(o + column, over_rms(now, C), mask=inside)
    tl.store(ids + place, number)
    if SCALED:
        visible = (place + 1 + memory).to(tl.float32)
        tl.store(scale, tl.minimum(tl.maximum(tl.log(visible) * unit, 0.5), 4.0))
    tl.store(length, place + 1)


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
    inside, now = vector(y, C, BLOCK), tl.load(x + row, mask=row < C)
    if NORM:
        inside = normed(inside, gain, offset, eps, C, BLOCK)
    tl.store(x + row, now + times(tile, inside), mask=row < C)


@triton.jit
def gathered(
    x, parts, stats, of_gain, of_bias, eps, column, C: tl.constexpr, HEADS: tl.constexpr, HEAD_BLOCK: tl.constexpr
):
    """x plus the product of an output matrix W with a layer norm of [C], all heads' shares in order, at some columns."""
    inside = column < C
    found = tl.load(parts + column, mask=inside, other=0.0)
    for head in tl.static_range(1, HEADS):
        found += tl.load(parts + head * C + column, mask=inside, other=0.0)
    # W ((y - m) / d * gain + bias) = (W (gain y) - m W gain) / d + W bias
    head = tl.arange(0, HEAD_BLOCK)
    known = head < HEADS
    mean = tl.load(stats + 2 * head, mask=known, other=0.0)
    middle = tl.sum(mean, 0) / HEADS
    apart = tl.where(known, mean - middle, 0.0)
    squares = tl.load(stats + 2 * head + 1, mask=known, other=0.0) + apart * apart * (C // HEADS)
    scale = tl.rsqrt(tl.sum(squares, 0) / C + eps)
    found = (found - middle * tl.load(of_gain + column, mask=inside, other=0.0)) * scale
    found += tl.load(of_bias + column, mask=inside, other=0.0)
    return tl.load(x + column, mask=inside, other=0.0) + found


@triton.jit
def gather_kernel(
    x, parts, stats, of_gain, of_bias, middle, eps, C: tl.constexpr, HEADS: tl.constexpr, HEAD_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """`gathered` in a launch of its own."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    begin(EARLY)
    now = gathered(x, parts, stats, of_gain, of_bias, eps, column, C, HEADS, HEAD_BLOCK)
    tl.store(middle + column, now, mask=column < C)


@triton.jit
def channel_keys_kernel(
    x, parts, stats, of_gain, of_bias, shift, weight, bias, mix_k, mix_r, w_k, w_r, middle, z, hidden, gate,
    output_eps, eps, C: tl.constexpr, F: tl.constexpr, HEADS: tl.constexpr, HEAD_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr, ROWS: tl.constexpr, READY: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.channel_keys`. Programs: F / ROWS for keys, C / ROWS for the gate. READY: middle is there."""
    blocks: tl.constexpr = (F + ROWS - 1) // ROWS
    number, column = tl.program_id(0), tl.arange(0, BLOCK)
    base, mix, limit, first = w_k, mix_k, F, number
    if number >= blocks:
        base, mix, limit, first = w_r, mix_r, C, number - blocks
    row = first * ROWS + tl.arange(0, ROWS)
    tile, share = matrix(base, row, limit, C, C, BLOCK), vector(mix, C, BLOCK)
    gain, offset = vector(weight, C, BLOCK), vector(bias, C, BLOCK)
    ask_for(shift, C, BLOCK, EARLY)
    begin(EARLY)
    before = vector(shift, C, BLOCK)
    if READY:
        now = vector(middle, C, BLOCK)
    else:
        now = gathered(x, parts, stats, of_gain, of_bias, output_eps, column, C, HEADS, HEAD_BLOCK)
        if number == 0:
            tl.store(middle + column, now, mask=column < C)
    now = normed(now, gain, offset, eps, C, BLOCK)
    found = times(tile, now + (before - now) * share)
    if number == 0:
        tl.store(z + column, now, mask=column < C)
    if number >= blocks:
        tl.store(gate + row, tl.sigmoid(found), mask=row < limit)
    else:
        found = tl.maximum(found, 0.0)
        tl.store(hidden + row, found * found, mask=row < limit)


@triton.jit
def channel_values_kernel(
    hidden, gate, w, middle, z, x, shift, C: tl.constexpr, F: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.channel_values`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < C
    tile = matrix(w, row, C, F, F, BLOCK)
    begin(EARLY)
    whole, share = vector(hidden, F, BLOCK), tl.load(gate + row, mask=inside, other=0.0)
    now, moved = tl.load(middle + row, mask=inside), tl.load(z + row, mask=inside)
    tl.store(x + row, now + times(tile, whole) * share, mask=inside)
    tl.store(shift + row, moved, mask=inside)


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
