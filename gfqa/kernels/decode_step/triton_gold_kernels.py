"""Triton kernels of one token through GOLD layers, but for the attention: own keys and values of all layers at once, queries.

Manners as in `triton_kernels`.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.decode_step.triton_kernels import (
    ask_for,
    ask_for_some,
    begin,
    low_rank,
    matrix,
    normed,
    over_rms,
    tanh,
    times,
    vector,
)
from gfqa.kernels.gold_attention.triton_kernels import merged


@triton.jit
def cache_key_kernel(
    x, e, o, o_before, w_a, w_b, mixes, w1, compressed, length, raw, low, layers, rows,
    C: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.cache_key`. Programs: those of the key, of its decompression, then of each layer's mix."""
    blocks_a: tl.constexpr = (WIDTH + ROWS - 1) // ROWS
    blocks_b: tl.constexpr = (C + ROWS - 1) // ROWS
    number, line = tl.program_id(0), tl.arange(0, ROWS)
    if number < blocks_a:
        row = number * ROWS + line
        tile = matrix(w_a, row, WIDTH, C, C, BLOCK)
        begin(EARLY)
        place = (tl.load(length) - 1).to(tl.int64) * WIDTH
        tl.store(compressed + place + row, times(tile, vector(x, C, BLOCK)), mask=row < WIDTH)
    elif number < blocks_a + blocks_b:
        row = (number - blocks_a) * ROWS + line
        tile = matrix(w_b, row, C, C, C + WIDTH, BLOCK)
        ask_for(e, C, BLOCK, EARLY)
        begin(EARLY)
        tl.store(raw + row, times(tile, vector(e, C, BLOCK)), mask=row < C)
    else:
        blocks = tl.cdiv(rows, ROWS)
        number -= blocks_a + blocks_b
        layer, row = number // blocks, number % blocks * ROWS + line
        tile, share = matrix(w1 + layer * rows * C, row, rows, C, C, BLOCK), vector(mixes + layer * C, C, BLOCK)
        begin(EARLY)
        now = vector(o, C, BLOCK)
        found = times(tile, now + (vector(o_before, C, BLOCK) - now) * share)
        tl.store(low + layer * rows + row, tanh(found), mask=row < rows)


@triton.jit
def decompress_kernel(
    compressed, length, w_b, raw, C: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.decompress`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tile = matrix(w_b + C, row, C, WIDTH, C + WIDTH, BLOCK)
    begin(EARLY)
    key = vector(compressed + (tl.load(length) - 1).to(tl.int64) * WIDTH, WIDTH, BLOCK)
    before = tl.load(raw + row, mask=row < C)
    tl.store(raw + row, before + times(tile, key), mask=row < C)


@triton.jit
def own_mixed_kernel(
    raw, kappa, kappa_before, o, o_before, low, mixes, w2, w1, mixed, inner_low, rows,
    C: tl.constexpr, INNER: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, LINES: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.own_mixed`. Programs: rows of the LoRA by layer and side (0 keys, 1 values)."""
    side, column = tl.program_id(1), tl.arange(0, BLOCK)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tile, share = matrix(w1 + side * rows * C, row, rows, C, C, BLOCK), vector(mixes + side * C, C, BLOCK)
    ask_for_some(w2 + side * INNER * C, tl.program_id(0), C, INNER, BLOCK, 8, EARLY)
    begin(EARLY)
    if side % 2 == 0:
        now, before = vector(raw, C, BLOCK), vector(kappa_before, C, BLOCK)
    else:
        now, before = vector(o, C, BLOCK), vector(o_before, C, BLOCK)
    share += low_rank(low + side * INNER, w2 + side * INNER * C, C, INNER, BLOCK, LINES)
    if side % 2 == 0:
        now = over_rms(now, C)
    found = now + (before - now) * share
    tl.store(inner_low + side * rows + row, tanh(times(tile, found)), mask=row < rows)
    if tl.program_id(0) == 0:
        tl.store(mixed + side * C + column, found, mask=column < C)
        if side == 0:
            tl.store(kappa + column, now, mask=column < C)


@triton.jit
def own_rows_kernel(
    mixed, low, w2, weight, bias, own, length, eps, side_stride,
    C: tl.constexpr, INNER: tl.constexpr, BLOCK: tl.constexpr, LINES: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.own_rows`. A program for each layer and side: the norm needs the whole row."""
    side, column = tl.program_id(0), tl.arange(0, BLOCK)
    gain, offset = vector(weight + side * C, C, BLOCK), vector(bias + side * C, C, BLOCK)
    for start in tl.static_range(0, INNER, LINES):
        ask_for_some(w2 + side * INNER * C, start // LINES, C, INNER, BLOCK, LINES, EARLY)
    begin(EARLY)
    row = vector(mixed + side * C, C, BLOCK)
    place = side.to(tl.int64) * side_stride + (tl.load(length) - 1).to(tl.int64) * C
    row += low_rank(low + side * INNER, w2 + side * INNER * C, C, INNER, BLOCK, LINES)
    tl.store(own + place + column, normed(row, gain, offset, eps, C, BLOCK), mask=column < C)


@triton.jit
def query_kernel(
    z, shift, low, mix_q, w2, w, mixed, raw, C: tl.constexpr, INNER: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, LINES: tl.constexpr, READY: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """The last of `reference.query`, after `shifted_low_kernel`. READY: `mixed_kernel` has made the input."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tile = matrix(w, row, C, C, C, BLOCK)
    if READY:
        begin(EARLY)
        inside = vector(mixed, C, BLOCK)
    else:
        share = vector(mix_q, C, BLOCK)
        ask_for_some(w2, tl.program_id(0), C, INNER, BLOCK, 8, EARLY)
        ask_for(shift, C, BLOCK, EARLY)
        begin(EARLY)
        now, before = vector(z, C, BLOCK), vector(shift, C, BLOCK)
        share += low_rank(low, w2, C, INNER, BLOCK, LINES)
        inside = now + (before - now) * share
    tl.store(raw + row, times(tile, inside), mask=row < C)


@triton.jit
def query_norm_kernel(
    raw, weight, bias, scale, q, eps, C: tl.constexpr, BLOCK: tl.constexpr, SCALED: tl.constexpr, EARLY: tl.constexpr
):
    """See `reference.query_norm`: one program."""
    column = tl.arange(0, BLOCK)
    gain, offset = vector(weight, C, BLOCK), vector(bias, C, BLOCK)
    begin(EARLY)
    found = vector(raw, C, BLOCK)
    if SCALED:
        factor = tl.load(scale)
    found = normed(found, gain, offset, eps, C, BLOCK)
    if SCALED:
        found *= factor
    tl.store(q + column, found, mask=column < C)


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
    tile = matrix(w + head * N, row, C, N, C, N)
    gain = tl.load(weight + channel).to(tl.float32)
    begin(EARLY)
    now = tl.load(z + channel)
    out, total = merged(peaks, sums, outs, head, n_parts, N, PARTS)
    tl.store(parts + head * C + row, times(tile, out * gain), mask=row < C)
    if tl.program_id(1) == 0:
        mean = tl.sum(out, 0) / N
        tl.store(stats + 2 * head, mean)
        tl.store(stats + 2 * head + 1, tl.sum((out - mean) * (out - mean), 0))
        tl.store(totals + head, total)
        tl.store(shift + channel, now)
