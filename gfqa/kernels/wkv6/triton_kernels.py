"""Triton kernels of the WKV recurrence: the scan of states, and the gradients.

Tensors lie as [B, T, H, N]. For the gradients a program owns one chunk of C tokens of one head. Everything is float32 but the
operands of matrix products, which have the inputs' type. With BOUNDED the exponents of a chunk are centred at its middle;
otherwise a chunk is halved level by level (see `chunked`), so that sums of log decays are never subtracted.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.wkv6.triton_tiles import decays_of, halves, product, row_of, rows_of, sums


@triton.jit
def _compose(decay_first, added_first, decay_second, added_second):
    return decay_first * decay_second, added_first * decay_second + added_second


@triton.jit(do_not_specialize=["pieces"])
def state_scan_kernel(
    added, total, first, carried, last, pieces, H,
    N: tl.constexpr, TILE: tl.constexpr, GROUP: tl.constexpr, FIRST: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """Run TILE entries of one head's state over the pieces of its sequence, GROUP at a time; BACKWARD from last to first.

    added [B, pieces, H, N, N] and total [B, pieces, H, N]: what each piece adds and its whole log decay.
    carried: what each piece receives (the state before it, or the gradient of the state after it); last: what remains.
    """
    head = tl.program_id(1).to(tl.int64)
    entry = tl.program_id(0) * TILE + tl.arange(0, TILE)
    place = (head // H) * pieces * H + head % H
    step = tl.arange(0, GROUP)

    state = tl.zeros([TILE], tl.float32)
    if FIRST:
        state += tl.load(first + head * N * N + entry)
    begin = place + (pieces - 1) * H if BACKWARD else place
    tl.store(carried + begin * N * N + entry, state)

    for done in range(0, pieces, GROUP):
        order = done + step
        piece = pieces - 1 - order if BACKWARD else order
        inside = order < pieces
        index = place + piece.to(tl.int64)[:, None] * H
        update = tl.load(added + index * N * N + entry[None, :], mask=inside[:, None], other=0.0)
        decay = tl.exp(tl.load(total + index * N + (entry % N)[None, :], mask=inside[:, None], other=0.0))
        following = index - H if BACKWARD else index + H
        decay, update = tl.associative_scan((decay, update), 0, _compose)
        states = update + decay * state[None, :]
        state = row_of(states, step, GROUP - 1)
        tl.store(carried + following * N * N + entry[None, :], states, mask=(order + 1 < pieces)[:, None])
    tl.store(last + head * N * N + entry, state)


@triton.jit(do_not_specialize=["T", "flags"])
def gradient_update_kernel(
    r, dy, log_decay, starts, added, total, T, H, flags,
    N: tl.constexpr, C: tl.constexpr, STARTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """What one chunk adds to the gradient of the state before it, [value, key], and the chunk's whole log decay.

    Where a chain begins with the chunk nothing passes to what is before it.
    """
    chunk, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    start = ((head // H) * T + chunk * C) * H * N + (head % H) * N
    limit = (T - chunk * C).to(tl.int32)
    stride, rows, channel = H * N, tl.arange(0, C), tl.arange(0, N)
    place = ((head // H) * tl.num_programs(0) + chunk) * H + head % H

    decay = decays_of(log_decay + start, 0.0, 0.0, 0.0, rows, limit, stride, "log", N)
    since = tl.minimum(tl.cumsum(decay, 0) - decay, 0.0)
    reader = rows_of(r + start, rows, limit, stride, N) * tl.exp(since)
    dout = rows_of(dy + start, rows, limit, stride, N)
    update = product(tl.trans(dout), reader, r.dtype.element_ty, PRECISION)
    whole = tl.sum(decay, 0)
    if STARTS:
        begins = tl.load(starts + (head // H) * flags + chunk) != 0
        update, whole = tl.where(begins, 0.0, update), tl.where(begins, -1e30, whole)
    tl.store(added + place * N * N + channel[:, None] * N + channel[None, :], update)
    tl.store(total + place * N + channel, whole)


@triton.jit(do_not_specialize=["T"])
def gradient_kernel(
    r, k, v, log_decay, u, before, after, dy, dr, dk, dv, dlog_decay, du, T, H,
    N: tl.constexpr, C: tl.constexpr, BONUS: tl.constexpr, BOUNDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All gradients of one chunk, given the state before it and the gradient of the state after it.

    The log decay of token m is in every exponent that runs over m, so its gradient is the sum of reader terms r * dr of
    later tokens, minus that of writer terms k * dk of tokens up to m, plus what reaches the chunk's end.
    """
    chunk, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    start = ((head // H) * T + chunk * C) * H * N + (head % H) * N
    limit = (T - chunk * C).to(tl.int32)
    stride, rows, channel = H * N, tl.arange(0, C), tl.arange(0, N)
    place = ((head // H) * tl.num_programs(0) + chunk) * H + head % H
    DTYPE: tl.constexpr = r.dtype.element_ty
    lower = rows[:, None] > rows[None, :]

    row = rows_of(r + start, rows, limit, stride, N)
    key = rows_of(k + start, rows, limit, stride, N)
    value = rows_of(v + start, rows, limit, stride, N)
    dout = rows_of(dy + start, rows, limit, stride, N)
    decay = decays_of(log_decay + start, 0.0, 0.0, 0.0, rows, limit, stride, "log", N)
    total = tl.sum(decay, 0)
    dscores = tl.where(lower, product(dout, tl.trans(value), DTYPE, PRECISION), 0.0)
    # since_start, until_end: each token's decay factors from the chunk's start and to its end.
    if BOUNDED:
        inclusive = tl.cumsum(decay, 0)
        since = inclusive - decay
        middle = row_of(since, rows, C // 2)
        since_start, until_end = tl.exp(since - middle[None, :]), tl.exp(middle[None, :] - inclusive)
        reader, writer = (row * since_start).to(DTYPE), (key * until_end).to(DTYPE)
        scores = tl.where(lower, product(reader, tl.trans(writer), DTYPE, PRECISION), 0.0)
        drow = product(dscores, writer, DTYPE, PRECISION)
        dkey = product(tl.trans(dscores), reader, DTYPE, PRECISION)
        # The decays' gradient is a difference of sums over pairs: with the very operands of the products it cancels exactly.
        readers, writers = reader.to(tl.float32) * drow, writer.to(tl.float32) * dkey
        drow *= since_start
        dkey *= until_end
        since_start *= tl.exp(middle)[None, :]
        until_end *= tl.exp(total - middle)[None, :]
    else:
        # As `scores_of_any`; a level's one product gives readers their gradient from writers, and the reverse.
        LEVELS: tl.constexpr = 6 if C == 64 else 5 if C == 32 else 4
        scores = tl.zeros([C, C], tl.float32)
        drow = tl.zeros([C, N], tl.float32)
        dkey = tl.zeros([C, N], tl.float32)
        mutual = dscores + tl.trans(dscores)
        for level in range(1, LEVELS + 1):
            is_reader, between, pair = halves(rows, C >> level)
            way = tl.exp(sums(between.to(tl.float32), decay, DTYPE, PRECISION))
            both = tl.where(is_reader[:, None], row, key) * way
            scores += tl.where(pair, product(both, tl.trans(both), DTYPE, PRECISION), 0.0)
            segment = rows // (C >> level)
            met = (segment[:, None] ^ segment[None, :]) == 1
            given = way * product(tl.where(met, mutual, 0.0), both, DTYPE, PRECISION)
            drow += tl.where(is_reader[:, None], given, 0.0)
            dkey += tl.where(is_reader[:, None], 0.0, given)
        since_start = tl.exp(sums(lower.to(tl.float32), decay, DTYPE, PRECISION))
        until_end = tl.exp(sums((rows[:, None] < rows[None, :]).to(tl.float32), decay, DTYPE, PRECISION))
        readers, writers = row * drow, key * dkey

    tile = start + rows[:, None] * stride + channel[None, :]
    inside = (rows < limit)[:, None]
    square = place * N * N + channel[:, None] * N + channel[None, :]
    dstate = tl.load(after + square)
    dvalue = product(tl.trans(scores), dout, DTYPE, PRECISION)
    dvalue += product(key * until_end, tl.trans(dstate), DTYPE, PRECISION)
    if BONUS:
        bonus = tl.load(u + (head % H) * N + channel)[None, :]
        dvalue += tl.sum(row * key * bonus, 1)[:, None] * dout
    tl.store(dv + tile, dvalue, mask=inside)

    state = tl.load(before + square)
    drow_start = since_start * product(dout, state, DTYPE, PRECISION)
    drow += drow_start
    dkey_end = until_end * product(value, dstate, DTYPE, PRECISION)
    dkey += dkey_end
    dtotal = tl.sum(key * dkey_end, 0) + tl.exp(total) * tl.sum(state.to(tl.float32) * dstate.to(tl.float32), 0)

    readers += row * drow_start
    writers += key * dkey_end
    ddecay = tl.cumsum(readers - writers, 0, reverse=True) - readers + dtotal[None, :]
    # A decay clamped at e^-80 has no gradient in float32; what the sums above leave there is rounding.
    tl.store(dlog_decay + tile, tl.where(decay <= -80.0, 0.0, ddecay), mask=inside)
    if BONUS:
        dread = tl.sum(dout * value, 1)[:, None]
        drow += bonus * key * dread
        dkey += bonus * row * dread
        tl.store(du + place * N + channel, tl.sum(row * key * dread, 0))
    tl.store(dr + tile, drow, mask=inside)
    tl.store(dk + tile, dkey, mask=inside)
