"""Triton kernel of one token's attention in a GOLD layer: its query's norm, the chain's own keys, a memory sorted by bigram.

Manners as in `triton_kernels`; the scan of the memory is `gold_attention.triton_one_kernels.scan_share`.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.decode_step.triton_kernels import begin, columns, moments
from gfqa.kernels.gold_attention.triton_one_kernels import scan_share
from gfqa.kernels.gold_attention.triton_parts import LOWEST, ask_for


@triton.jit
def head_query(
    raw, gain, offset, scale, head, eps, C: tl.constexpr, N: tl.constexpr, COLS: tl.constexpr, SCALED: tl.constexpr
):
    """One head's channels [N] of the layer norm of raw [C], whose weight and bias are gain and offset [N], times scale."""
    whole, own = columns(raw, C, COLS), tl.load(raw + head * N + tl.arange(0, N))
    if SCALED:
        times = tl.load(scale)
    mean, factor = moments(whole, eps, C, COLS)
    query = (own - mean) * factor * gain + offset
    if SCALED:
        query *= times
    return query


@triton.jit
def own_share(
    query, keys, values, length, peaks, sums, outs, part, tiles, place, factor,
    C: tl.constexpr, N: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One head's query [N] against share `part` of its own keys [room, C], of which `length` are in use."""
    channel, token = tl.arange(0, N), tl.arange(0, TILE)
    own = tl.load(length)
    peak = tl.full([], LOWEST, tl.float32)
    total, out = tl.zeros([TILE], tl.float32), tl.zeros([TILE, N], tl.float32)
    for tile in range(part * tiles, tl.minimum(part * tiles + tiles, tl.cdiv(own, TILE))):
        position = tile * TILE + token
        inside = position < own
        numbers = position[:, None] * C + channel[None, :]
        key = tl.load(keys + numbers, mask=inside[:, None], other=0.0).to(tl.float32)
        value = tl.load(values + numbers, mask=inside[:, None], other=0.0).to(tl.float32)
        logit = tl.where(inside, tl.sum(key * query[None, :], 1) * factor, float("-inf"))
        higher = tl.maximum(peak, tl.max(logit, 0))
        weight = tl.exp2(logit - higher)
        shrink = tl.exp2(peak - higher)
        total = total * shrink + weight
        out = out * shrink + weight[:, None] * value
        peak = higher
    tl.store(peaks + place, peak)
    tl.store(sums + place, tl.sum(total, 0))
    tl.store(outs + place * N + channel, tl.sum(out, 0))


@triton.jit(do_not_specialize=["tiles", "own_tiles", "own_parts", "parts", "side_stride"])
def gold_scan_kernel(
    raw, weight, bias, scale, own, length, keys, key_scales, values, value_scales, bigram, offsets, peaks, sums, outs,
    logits, S, U, tiles, own_tiles, own_parts, parts, side_stride, factor, eps,
    C: tl.constexpr, N: tl.constexpr, COLS: tl.constexpr, OWN_TILE: tl.constexpr, TILE: tl.constexpr,
    VALUE_ROWS: tl.constexpr, KEY_SCALES: tl.constexpr, VALUE_SCALES: tl.constexpr, INTEGER: tl.constexpr,
    KEYS_FIRST: tl.constexpr, AHEAD: tl.constexpr, MASS: tl.constexpr, SCALED: tl.constexpr, SOON: tl.constexpr,
    WHOLE: tl.constexpr,
    ASK: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.gold_scan`. Programs of a head: shares of the own keys, then those of the memory."""
    head, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if part >= own_parts:
        begun = tl.minimum((part - own_parts) * tiles * TILE, tl.maximum(S - TILE, 0))
        ask_for(keys + (head * S + begun) * N, tl.minimum(S - begun, SOON * TILE) * N, SOON * TILE * N, EARLY)
        if KEY_SCALES:
            ask_for(key_scales + head * S + begun, tl.minimum(S - begun, TILE), TILE, EARLY)
        first = tl.load(bigram + begun)
        last = tl.load(bigram + tl.minimum(begun + TILE, S) - 1)
        ask_for(values + (head * U + first) * N, (last - first + 1) * N, TILE * N, EARLY)
        ask_for(offsets + first, last - first + 2, TILE, EARLY)
        if VALUE_SCALES:
            ask_for(value_scales + head * U + first, last - first + 1, TILE, EARLY)
    channel = head * N + tl.arange(0, N)
    gain, offset = tl.load(weight + channel).to(tl.float32), tl.load(bias + channel).to(tl.float32)
    begin(EARLY)
    query = head_query(raw, gain, offset, scale, head, eps, C, N, COLS, SCALED)
    place = head * parts + part
    if part < own_parts:
        own += head * N
        own_share(
            query, own, own + side_stride, length, peaks, sums, outs, part, own_tiles, place, factor, C, N, OWN_TILE
        )
    else:
        scan_share(
            query, keys, key_scales, values, value_scales, bigram, offsets, peaks, sums, outs, logits, S, U,
            part - own_parts, tiles, head, place, factor,
            N, TILE, VALUE_ROWS, KEY_SCALES, VALUE_SCALES, INTEGER, KEYS_FIRST, AHEAD, False, MASS, ASK, WHOLE,
        )  # fmt: skip
