"""Triton kernels of GOLD attention over a memory sorted by bigram, split over programs and merged by log-sum-exp.

A scan program owns one head, a share of the memory and (but for single queries) a block of query rows; it leaves a partial
result: the largest logit, the sum of exponentials and their weighted values. Logits are in powers of two. Rows are (batch,
query) pairs; partials lie as [batch * H + head, query, part]. int8 keys are never widened: the query becomes two int8 digits,
the products are exact integers, and what is lost is 2^-15 of the query's largest channel.

Numbers that differ from question to question are not specialised: a multiple of 16 among them would be another compilation.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.gold_attention.triton_parts import LOWEST, digits, leave, value_rows
from gfqa.kernels.wkv6.triton_tiles import product


@triton.jit
def _add_rows(out, weight, token, values, scales, offsets, first, count, start, limit, part, N: tl.constexpr,
              ROWS: tl.constexpr, SCALED: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """out [rows, N] plus the values of ROWS bigrams, times the sums of their tokens' weights [rows, TILE]."""
    row = part * ROWS + tl.arange(0, ROWS)
    tile, scale, begin, end = value_rows(values, scales, offsets, first, row, count, start, limit, N, SCALED)
    member = (token[:, None] >= begin[None, :]) & (token[:, None] < end[None, :])
    summed = product(weight, tl.where(member, 1.0, 0.0), DTYPE, PRECISION) * scale[None, :]
    return out + product(summed, tile, DTYPE, PRECISION)


@triton.jit(do_not_specialize=["tiles", "parts", "offset", "rows", "T"])
def scan_rows_kernel(
    q, keys, key_scales, values, value_scales, bigram, offsets, peaks, sums, outs, logits, S, U, tiles, parts, offset,
    factor, rows, T, H, q_batch_stride, q_head_stride, q_row_stride,
    N: tl.constexpr, TILE: tl.constexpr, VALUE_ROWS: tl.constexpr, ROWS: tl.constexpr, KEY_SCALES: tl.constexpr,
    VALUE_SCALES: tl.constexpr, INTEGER: tl.constexpr, MASS: tl.constexpr, KEY_DTYPE: tl.constexpr,
    WEIGHT_DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """ROWS queries (of several questions, or of several tokens) against one share of the memory."""
    head, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    batch, query_number = row // T, row % T
    asked = row < rows
    channel, token = tl.arange(0, N), tl.arange(0, TILE)
    keys += head * S * N
    key_scales += head * S
    values += head * U * N
    value_scales += head * U
    place = batch * q_batch_stride + head * q_head_stride + query_number * q_row_stride
    query = tl.load(q + place[:, None] + channel[None, :], mask=asked[:, None], other=0.0)
    if INTEGER:
        high, low, unit = digits(query.to(tl.float32))
        unit *= factor

    peak = tl.full([ROWS], LOWEST, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    out = tl.zeros([ROWS, N], tl.float32)
    for tile in range(part * tiles, tl.minimum(part * tiles + tiles, tl.cdiv(S, TILE))):
        start = tile * TILE
        limit = tl.minimum(S - start, TILE)
        inside = token < limit
        key = tl.load(
            keys + (start + token).to(tl.int64)[:, None] * N + channel[None, :], mask=inside[:, None], other=0
        )
        if INTEGER:
            key = tl.trans(key)
            found = tl.dot(high, key, out_dtype=tl.int32) * 128 + tl.dot(low, key, out_dtype=tl.int32)
            logit = found.to(tl.float32) * unit[:, None]
        else:
            logit = product(query, tl.trans(key), KEY_DTYPE, PRECISION) * factor
        if KEY_SCALES:
            logit *= tl.load(key_scales + start + token, mask=inside, other=0.0).to(tl.float32)[None, :]
        if MASS:
            last = asked & (query_number == T - 1)
            line = (batch * H + head) * S
            tl.store(logits + line[:, None] + (start + token)[None, :], logit, mask=last[:, None] & inside[None, :])
        logit = tl.where(inside[None, :], logit, float("-inf"))
        higher = tl.maximum(peak, tl.max(logit, 1))
        weight = tl.exp2(logit - higher[:, None])
        shrink = tl.exp2(peak - higher)
        total = total * shrink + tl.sum(weight, 1)
        out *= shrink[:, None]
        peak = higher

        first = tl.load(bigram + start)
        count = tl.load(bigram + start + limit - 1) - first + 1
        out = _add_rows(
            out, weight, token, values, value_scales, offsets, first, count, start, limit, 0, N, VALUE_ROWS,
            VALUE_SCALES, WEIGHT_DTYPE, PRECISION,
        )  # fmt: skip
        for more in tl.static_range(1, TILE // VALUE_ROWS):
            if more * VALUE_ROWS < count:
                out = _add_rows(
                    out, weight, token, values, value_scales, offsets, first, count, start, limit, more, N, VALUE_ROWS,
                    VALUE_SCALES, WEIGHT_DTYPE, PRECISION,
                )  # fmt: skip

    place = ((batch * H + head) * T + query_number) * parts + offset + part
    leave(peaks, sums, outs, place, asked, peak, total, out, N)


@triton.jit(do_not_specialize=["own", "tiles", "parts", "T"])
def own_kernel(
    q, keys, values, length, peaks, sums, outs, own, tiles, parts, factor, T, H,
    q_batch_stride, q_head_stride, q_row_stride, k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    N: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr, LENGTH: tl.constexpr, CAUSAL: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """ROWS queries of one chain against a share of the chain's own keys: the partials 0, 1, … of its rows.

    CAUSAL: the queries are the last T of the own tokens, and see none after themselves. LENGTH: the number of own tokens is
    read from the device and `own` only bounds it, so that the launch is the same for all.
    """
    line, part = tl.program_id(0), tl.program_id(1)
    batch, head = (line // H).to(tl.int64), (line % H).to(tl.int64)
    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    asked = row < T
    if LENGTH:
        own = tl.load(length)
    channel, token = tl.arange(0, N), tl.arange(0, TILE)
    place = batch * q_batch_stride + head * q_head_stride + row * q_row_stride
    query = tl.load(q + place[:, None] + channel[None, :], mask=asked[:, None], other=0.0)
    keys += batch * k_batch_stride + head * k_head_stride
    values += batch * v_batch_stride + head * v_head_stride

    peak = tl.full([ROWS], LOWEST, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    out = tl.zeros([ROWS, N], tl.float32)
    for tile in range(part * tiles, tl.minimum(part * tiles + tiles, tl.cdiv(own, TILE))):
        position = tile * TILE + token
        inside = (position < own)[:, None]
        key = tl.load(keys + position[:, None] * k_row_stride + channel[None, :], mask=inside, other=0.0)
        value = tl.load(values + position[:, None] * v_row_stride + channel[None, :], mask=inside, other=0.0)
        logit = product(query, tl.trans(key), DTYPE, PRECISION) * factor
        reach = own - T + row if CAUSAL else own - 1 + 0 * row
        logit = tl.where(position[None, :] <= reach[:, None], logit, float("-inf"))
        higher = tl.maximum(peak, tl.max(logit, 1))
        weight = tl.exp2(logit - higher[:, None])
        shrink = tl.exp2(peak - higher)
        total = total * shrink + tl.sum(weight, 1)
        out = out * shrink[:, None] + product(weight, value, DTYPE, PRECISION)
        peak = higher

    leave(peaks, sums, outs, (line * T + row) * parts + part, asked, peak, total, out, N)


@triton.jit
def merged(peaks, sums, outs, row, parts, N: tl.constexpr, PARTS: tl.constexpr):
    """One row's partial results: its output [N] and the logarithm of its sum."""
    part, channel = tl.arange(0, PARTS), tl.arange(0, N)
    inside = part < parts
    peak = tl.load(peaks + row * parts + part, mask=inside, other=LOWEST)
    highest = tl.max(peak, 0)
    share = tl.exp2(peak - highest)
    total = tl.sum(tl.load(sums + row * parts + part, mask=inside, other=0.0) * share, 0)
    out = tl.load(outs + (row * parts + part)[:, None] * N + channel[None, :], mask=inside[:, None], other=0.0)
    return tl.sum(out.to(tl.float32) * share[:, None], 0) / total, highest + tl.log2(total)


@triton.jit(do_not_specialize=["parts", "T"])
def merge_kernel(
    peaks, sums, outs, out, totals, parts, T, H, batch_stride, head_stride, row_stride,
    N: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """One row's partial results into its output and the logarithm of its sum."""
    row = tl.program_id(0).to(tl.int64)
    found, total = merged(peaks, sums, outs, row, parts, N, PARTS)
    place = row // (T * H) * batch_stride + row // T % H * head_stride + row % T * row_stride
    tl.store(out + place + tl.arange(0, N), found)
    tl.store(totals + row, total)


@triton.jit(do_not_specialize=["T"])
def mass_kernel(logits, totals, order, mass, S, T, TILE: tl.constexpr):
    """The last query's probability on each token of one batch and head, written to the token's place in the cache."""
    line = tl.program_id(1).to(tl.int64)
    token = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = token < S
    logit = tl.load(logits + line * S + token, mask=inside, other=0.0)
    place = tl.load(order + token, mask=inside, other=0)
    tl.store(mass + line * S + place, tl.exp2(logit - tl.load(totals + line * T + T - 1)), mask=inside)


@triton.jit
def pool_kernel(logits, totals, pooled, settled, S, H, share, TILE: tl.constexpr, SETTLE: tl.constexpr):
    """pooled [S] += share * the sum over heads of one query's probabilities, all in sorted order; see `pool_mass`."""
    token = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = token < S
    found = tl.zeros([TILE], tl.float32)
    for head in range(H):
        found += tl.exp2(tl.load(logits + token, mask=inside, other=0.0) - tl.load(totals + head))
        logits += S
    before = tl.load(pooled + token, mask=inside, other=0.0)
    if SETTLE:
        tl.store(settled + token, tl.load(settled + token, mask=inside, other=0.0) + before, mask=inside)
        before = 0.0
    tl.store(pooled + token, before + found * share, mask=inside)
