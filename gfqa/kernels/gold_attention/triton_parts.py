"""What the scans of a memory sorted by bigram share: digits of a query, values of bigrams, partial results."""

# mypy: ignore-errors

import triton
import triton.language as tl

LOWEST = tl.constexpr(-1e38)
"""Where the running maximum starts: finite, so that a program that saw no key leaves zeros and not NaN."""


@triton.jit
def ask_for(base, n, SIZE: tl.constexpr, ASK: tl.constexpr):
    """Bring n numbers to L2, SIZE (a power of two) at most; nothing where ASK is not 2, as in Triton's interpreter."""
    if ASK == 2:
        line: tl.constexpr = 1024 // base.dtype.element_ty.primitive_bitwidth
        place = base + tl.minimum(line * tl.arange(0, SIZE // line if line < SIZE else 1), n - 1)
        tl.inline_asm_elementwise(
            "{ prefetch.global.L2 [$1]; mov.u32 $0, 0; }", "=r,l", [place.to(tl.int64)], tl.int32, False, 1
        )


@triton.jit
def digits(x):
    """x [rows, N] as (128 * high + low) * unit: two int8 tiles and the unit [rows]."""
    unit = tl.maximum(tl.max(tl.abs(x), 1), 1e-30) / 16256.0
    whole = tl.floor(x / unit[:, None] + 0.5)
    high = tl.floor(whole / 128.0 + 0.5)
    return high.to(tl.int8), (whole - 128.0 * high).to(tl.int8), unit


@triton.jit
def leave(peaks, sums, outs, place, inside, peak, total, out, N: tl.constexpr):
    """Write the partial results of rows at `place`."""
    channel = tl.arange(0, N)
    tl.store(peaks + place, peak, mask=inside)
    tl.store(sums + place, total, mask=inside)
    tl.store(outs + place.to(tl.int64)[:, None] * N + channel[None, :], out, mask=inside[:, None])


@triton.jit
def value_rows(values, scales, offsets, first, row, count, start, limit, N: tl.constexpr, SCALED: tl.constexpr):
    """Rows of values [rows, N] (zero beyond count), their scales, and where their tokens begin and end in the tile."""
    inside = row < count
    channel = tl.arange(0, N)
    # One number for a whole tile moves the pointers, what is added to them stays the same from tile to tile.
    values += first.to(tl.int64) * N
    offsets += first
    tile = tl.load(values + (row[:, None] * N + channel[None, :]), mask=inside[:, None], other=0)
    begin = tl.maximum(tl.load(offsets + row, mask=inside, other=0) - start, 0)
    end = tl.minimum(tl.load(offsets + row + 1, mask=inside, other=0) - start, limit)
    scale = tl.where(inside, 1.0, 0.0)
    if SCALED:
        scale = tl.load(scales + first + row, mask=inside, other=0.0).to(tl.float32)
    return tile, scale, begin, end
