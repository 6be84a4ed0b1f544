"""Triton kernels of one token through GOLD layers, but for the attention: own keys and values of all layers at once, queries.

Manners as in `triton_kernels`.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.decode_step.triton_kernels import (
    begin,
    between,
    columns,
    keep,
    matrix,
    normed,
    rms,
    tanh,
    times,
)
from gfqa.kernels.gold_attention.triton_kernels import merged


@triton.jit
def cache_key_kernel(
    x, e, o, o_before, w_a, w_b, mixes, w1, compressed, length, raw, low, layers, rows,
    C: tl.constexpr, WIDTH: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.cache_key`. Programs: those of the key, of its decompression, then of each layer's mix."""
    blocks_a: tl.constexpr = (WIDTH + ROWS - 1) // ROWS
    blocks_b: tl.constexpr = (C + ROWS - 1) // ROWS
    number, line = tl.program_id(0), tl.arange(0, ROWS)
    if number < blocks_a:
        row = number * ROWS + line
        tiles = matrix(w_a, row, WIDTH, C, C, COLS)
        begin(EARLY)
        place = (tl.load(length) - 1).to(tl.int64) * WIDTH
        tl.store(compressed + place + row, times(tiles, columns(x, C, COLS)), mask=row < WIDTH)
    elif number < blocks_a + blocks_b:
        row = (number - blocks_a) * ROWS + line
        tiles = matrix(w_b, row, C, C, C + WIDTH, COLS)
        begin(EARLY)
        tl.store(raw + row, times(tiles, columns(e, C, COLS)), mask=row < C)
    else:
        blocks = tl.cdiv(rows, ROWS)
        number -= blocks_a + blocks_b
        layer, row = number // blocks, number % blocks * ROWS + line
        tiles, share = matrix(w1 + layer * rows * C, row, rows, C, C, COLS), columns(mixes + layer * C, C, COLS)
        begin(EARLY)
        mixed = between(columns(o, C, COLS), columns(o_before, C, COLS), share)
        tl.store(low + layer * rows + row, tanh(times(tiles, mixed)), mask=row < rows)


@triton.jit
def decompress_kernel(
    compressed, length, w_b, raw, C: tl.constexpr, WIDTH: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.decompress`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tiles = matrix(w_b + C, row, C, WIDTH, C + WIDTH, COLS)
    begin(EARLY)
    key = columns(compressed + (tl.load(length) - 1).to(tl.int64) * WIDTH, WIDTH, COLS)
    before = tl.load(raw + row, mask=row < C)
    tl.store(raw + row, before + times(tiles, key), mask=row < C)


@triton.jit
def low_rank(low, base, start, column, C: tl.constexpr, INNER: tl.constexpr, LINES: tl.constexpr, EARLY: tl.constexpr):
    """Some columns of a vector, start, plus low [INNER] times a matrix [INNER, C], which is loaded before `begin`."""
    line = tl.arange(0, LINES)
    mask = (line < INNER)[:, None] & (column < C)[None, :]
    rows = tl.load(base + line[:, None] * C + column[None, :], mask=mask, other=0.0)
    begin(EARLY)
    share = tl.load(low + line, mask=line < INNER, other=0.0)
    return start + tl.sum(rows.to(tl.float32) * share[:, None], 0)


@triton.jit
def own_mixed_kernel(
    raw, kappa, kappa_before, o, o_before, low, mixes, w2, mixed,
    C: tl.constexpr, INNER: tl.constexpr, COLS: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.own_mixed`. Programs: some columns by layer and side (0 keys, 1 values)."""
    side, column = tl.program_id(1), tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < C
    share = tl.load(mixes + side * C + column, mask=inside, other=0.0).to(tl.float32)
    share = low_rank(low + side * INNER, w2 + side * INNER * C, share, column, C, INNER, LINES, EARLY)
    if side % 2 == 0:
        now = tl.load(raw + column, mask=inside, other=0.0) / rms(columns(raw, C, COLS), C)
        before = tl.load(kappa_before + column, mask=inside, other=0.0).to(tl.float32)
    else:
        now = tl.load(o + column, mask=inside, other=0.0).to(tl.float32)
        before = tl.load(o_before + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(mixed + side * C + column, now + (before - now) * share, mask=inside)
    if side == 0:
        tl.store(kappa + column, now, mask=inside)


@triton.jit
def own_low_kernel(mixed, w1, low, rows, C: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, EARLY: tl.constexpr):
    """See `reference.own_low`. Programs: rows of the LoRA by layer and side."""
    side, row = tl.program_id(1), tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tiles = matrix(w1 + side * rows * C, row, rows, C, C, COLS)
    begin(EARLY)
    tl.store(low + side * rows + row, tanh(times(tiles, columns(mixed + side * C, C, COLS))), mask=row < rows)


@triton.jit
def own_sums_kernel(
    mixed, low, w2, C: tl.constexpr, INNER: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.own_sums`. Programs: some columns by layer and side."""
    side, column = tl.program_id(1), tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < C
    found = low_rank(low + side * INNER, w2 + side * INNER * C, 0.0, column, C, INNER, LINES, EARLY)
    found += tl.load(mixed + side * C + column, mask=inside, other=0.0)
    tl.store(mixed + side * C + column, found, mask=inside)


@triton.jit
def own_rows_kernel(
    mixed, weight, bias, own, length, eps, side_stride, C: tl.constexpr, COLS: tl.constexpr, EARLY: tl.constexpr
):
    """See `reference.own_rows`. A program for each layer and side."""
    side = tl.program_id(0)
    gain, offset = columns(weight + side * C, C, COLS), columns(bias + side * C, C, COLS)
    begin(EARLY)
    row, used = columns(mixed + side * C, C, COLS), tl.load(length)
    place = side.to(tl.int64) * side_stride + (used - 1).to(tl.int64) * C
    keep(own + place, normed(row, gain, offset, eps, C, COLS), C, COLS)


@triton.jit
def query_kernel(
    mixed, w, raw, C: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, EARLY: tl.constexpr
):  # fmt: skip
    """The last of `reference.query`, after `mixed_kernel`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tiles = matrix(w, row, C, C, C, COLS)
    begin(EARLY)
    tl.store(raw + row, times(tiles, columns(mixed, C, COLS)), mask=row < C)


@triton.jit
def query_norm_kernel(
    raw, weight, bias, scale, q, eps, C: tl.constexpr, COLS: tl.constexpr, SCALED: tl.constexpr, EARLY: tl.constexpr
):
    """See `reference.query_norm`: one program."""
    gain, offset = columns(weight, C, COLS), columns(bias, C, COLS)
    begin(EARLY)
    found, factor = columns(raw, C, COLS), 1.0
    if SCALED:
        factor = tl.load(scale)
    found = normed(found, gain, offset, eps, C, COLS)
    for number in tl.static_range(len(found)):
        column = number * COLS + tl.arange(0, COLS)
        tl.store(q + column, found[number] * factor, mask=column < C)


@triton.jit(do_not_specialize=["n_parts"])
def gold_output_kernel(
    peaks, sums, outs, weight, w, z, shift, parts, stats, totals, n_parts,
    C: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.gold_output`. A program merges a whole head, and makes that head's share of ROWS rows of the output.

    `triton_kernels.gathered` adds the shares of all heads up.
    """
    head = tl.program_id(0)
    row, channel = tl.program_id(1) * ROWS + tl.arange(0, ROWS), head * N + tl.arange(0, N)
    tiles = matrix(w + head * N, row, C, N, C, N)
    gain = tl.load(weight + channel).to(tl.float32)
    begin(EARLY)
    now = tl.load(z + channel)
    out, total = merged(peaks, sums, outs, head, n_parts, N, PARTS)
    tl.store(parts + head * C + row, times(tiles, (out * gain,)), mask=row < C)
    if tl.program_id(1) == 0:
        mean = tl.sum(out, 0) / N
        tl.store(stats + 2 * head, mean)
        tl.store(stats + 2 * head + 1, tl.sum((out - mean) * (out - mean), 0))
        tl.store(totals + head, total)
        tl.store(shift + channel, now)
