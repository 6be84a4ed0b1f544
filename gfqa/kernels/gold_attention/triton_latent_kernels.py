"""Triton kernels of the latent form of GOLD attention: the unigrams' parts of each bigram, and the scan over tokens.

Columns are heads, HEADS at a time; tokens lie sorted by bigram. See `triton_latent` for the algebra and the names.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.gold_attention.triton_kernels import LOWEST, product


@triton.jit
def bigram_kernel(
    table, z, first, second, e_first, e_second, U, H, parts, ROOM: tl.constexpr, ROWS: tl.constexpr
):
    """e_first = sum over r of z_r table[first, 1 + r], e_second = table[second, 0] - the same of second, for ROWS bigrams.

    table: [V', 1 + parts, H]; the results have room for ROOM heads or fewer, zeros beyond H.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    head = tl.arange(0, ROOM)
    inside = row < U
    both = inside[:, None] & (head < H)[None, :]
    width = (parts + 1) * H
    before = table + tl.load(first + row, mask=inside, other=0).to(tl.int64)[:, None] * width + head[None, :]
    now = table + tl.load(second + row, mask=inside, other=0).to(tl.int64)[:, None] * width + head[None, :]
    one = tl.zeros([ROWS, ROOM], tl.float32)
    two = tl.load(now, mask=both, other=0.0).to(tl.float32)
    for part in range(parts):
        before += H
        now += H
        share = tl.load(z + row * parts + part, mask=inside, other=0.0).to(tl.float32)[:, None]
        one += share * tl.load(before, mask=both, other=0.0).to(tl.float32)
        two -= share * tl.load(now, mask=both, other=0.0).to(tl.float32)
    place = row.to(tl.int64)[:, None] * ROOM + head[None, :]
    tl.store(e_first + place, one, mask=inside[:, None])
    tl.store(e_second + place, two, mask=inside[:, None])


@triton.jit
def _tile(base, token, inside, width, WIDTH: tl.constexpr):
    """[TILE, WIDTH] in float32: rows of `width` numbers, zeros beyond."""
    column = tl.arange(0, WIDTH)
    mask = inside[:, None] & (column < width)[None, :]
    return tl.load(base + token.to(tl.int64)[:, None] * width + column[None, :], mask=mask, other=0).to(tl.float32)


@triton.jit
def _columns(base, width, room, head, WIDTH: tl.constexpr):
    """[WIDTH, HEADS]: a group of heads of an absorbed query, zeros beyond `width`."""
    line = tl.arange(0, WIDTH)
    return tl.load(base + line[:, None] * room + head[None, :], mask=(line < width)[:, None], other=0.0)


@triton.jit
def latent_kernel(
    q_tau, q_now, q_mixed, q_sums, q_constant, e_first, e_second, tau, c, c_before, scale, scale_before, s, s_before,
    mean, deviation, z, values, bigram, offsets, peaks, sums, outs, logits,
    S, U, H, room, tiles, parts, offset, first_row, row_step, width, lora, mixes,
    N: tl.constexpr, TILE: tl.constexpr, VALUE_ROWS: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr,
    LORA: tl.constexpr, MASS: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """HEADS heads of one query against one share of the memory."""
    part = tl.program_id(0)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    real = head < H
    channel, index, line = tl.arange(0, N), tl.arange(0, TILE), tl.arange(0, VALUE_ROWS)
    sum_q, constant = tl.load(q_sums + head)[None, :], tl.load(q_constant + head)[None, :]
    tau_columns = _columns(q_tau, lora, room, head, LORA)
    now_columns = _columns(q_now, width, room, head, WIDTH)

    peak = tl.full([HEADS], LOWEST, tl.float32)
    total = tl.zeros([HEADS], tl.float32)
    out = tl.zeros([VALUE_ROWS, HEADS, N], tl.float32)
    for tile in range(part * tiles, tl.minimum(part * tiles + tiles, tl.cdiv(S, TILE))):
        start = tile * TILE
        limit = tl.minimum(S - start, TILE)
        token, inside = start + index, index < limit
        now = _tile(c, token, inside, width, WIDTH) * tl.load(scale + token, mask=inside, other=0.0)[:, None]
        before = _tile(c_before, token, inside, width, WIDTH)
        before *= tl.load(scale_before + token, mask=inside, other=0.0)[:, None]
        number = tl.load(bigram + token, mask=inside, other=0).to(tl.int64)
        # What the norm subtracts and the unigrams' parts, then the products.
        logit = -tl.load(mean + token, mask=inside, other=0.0)[:, None] * sum_q
        place = number[:, None] * room + head[None, :]
        logit += tl.load(s + token, mask=inside, other=0.0)[:, None] * tl.load(e_second + place)
        logit += tl.load(s_before + token, mask=inside, other=0.0)[:, None] * tl.load(e_first + place)
        logit += product(_tile(tau, token, inside, lora, LORA), tau_columns, DTYPE, PRECISION)
        logit += product(now, now_columns, DTYPE, PRECISION)
        step = (before - now).to(DTYPE)
        for mix in range(mixes):
            columns = _columns(q_mixed + mix * width * room, width, room, head, WIDTH)
            share = tl.load(z + number * mixes + mix).to(tl.float32)
            logit += share[:, None] * product(step, columns, DTYPE, PRECISION)
        logit = logit * tl.load(deviation + token, mask=inside, other=0.0)[:, None] + constant
        if MASS:
            mask = inside[:, None] & real[None, :]
            tl.store(logits + head.to(tl.int64)[None, :] * S + token[:, None], logit, mask=mask)

        logit = tl.where(inside[:, None], logit, float("-inf"))
        higher = tl.maximum(peak, tl.max(logit, 0))
        weight = tl.exp2(logit - higher[None, :])
        shrink = tl.exp2(peak - higher)
        total = total * shrink + tl.sum(weight, 0)
        out *= shrink[None, :, None]
        peak = higher

        first = tl.load(bigram + start)
        count = tl.load(bigram + start + limit - 1) - first + 1
        for done in range(0, count, VALUE_ROWS):
            row = first + done + line
            used = done + line < count
            begin = tl.load(offsets + row, mask=used, other=0) - start
            end = tl.load(offsets + row + 1, mask=used, other=0) - start
            member = (index[None, :] >= begin[:, None]) & (index[None, :] < end[:, None])
            summed = product(tl.where(member, 1.0, 0.0), weight, DTYPE, PRECISION)
            where = (head.to(tl.int64) * U)[None, :, None] * N + row[:, None, None] * N + channel[None, None, :]
            value = tl.load(values + where, mask=used[:, None, None] & real[None, :, None], other=0.0)
            out += summed[:, :, None] * value.to(tl.float32)

    place = (first_row + head.to(tl.int64) * row_step) * parts + offset + part
    tl.store(peaks + place, peak, mask=real)
    tl.store(sums + place, total, mask=real)
    tl.store(outs + place[:, None] * N + channel[None, :], tl.sum(out, 0), mask=real[:, None])
