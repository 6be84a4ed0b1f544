"""Triton kernels of the WKV recurrence: what chunks add to the state, the scan over chunks, the outputs, the gradients.

Tensors lie as [B, T, H, N]; a program owns one chunk of C tokens of one head, rows are tokens and columns channels.
Everything is float32 but the operands of matrix products, which have the inputs' type. With BOUNDED the exponents of a
chunk are centred at its middle; otherwise only sums of log decays that are never subtracted are used (see `chunked`):
sub-chunks of SUB tokens read each other through the start of the reader's sub-chunk, and are exact inside, one
distance between tokens at a time.
"""

# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def _rows(base, rows, limit, stride, N: tl.constexpr):
    """[C, N] in float32: the given rows of a tile at `base`, zeros outside 0 <= row < limit."""
    columns = tl.arange(0, N)
    inside = (rows >= 0) & (rows < limit)
    tile = tl.load(base + rows[:, None] * stride + columns[None, :], mask=inside[:, None], other=0.0)
    return tile.to(tl.float32)


@triton.jit
def _product(a, b, DTYPE: tl.constexpr, PRECISION: tl.constexpr):
    """Matrix product of operands rounded to DTYPE, summed in float32."""
    a, b = a.to(DTYPE), b.to(DTYPE)
    if PRECISION == "interpreted":
        # Triton's interpreter would multiply the bit patterns of bfloat16 operands.
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _row(x, rows, index):
    """[N]: one row of a tile."""
    return tl.sum(tl.where(rows[:, None] == index, x, 0.0), 0)


@triton.jit
def chunk_update_kernel(
    keys, values, log_decay, added, total, T, H,
    N: tl.constexpr, C: tl.constexpr, BACKWARD: tl.constexpr, BOUNDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """What one chunk adds to the state, [value, key], and its whole log decay.

    Forward: the sum over tokens of value x key decayed to the chunk's end. BACKWARD: of output gradient x reader decayed
    from the chunk's start, which is what the chunk adds to the gradient of the state before it.
    """
    chunk, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    start = ((head // H) * T + chunk * C) * H * N + (head % H) * N
    limit = (T - chunk * C).to(tl.int32)
    stride, rows = H * N, tl.arange(0, C)
    place = ((head // H) * tl.num_programs(0) + chunk) * H + head % H

    decay = _rows(log_decay + start, rows, limit, stride, N)
    if BOUNDED:
        inclusive = tl.cumsum(decay, 0)
        way = inclusive - decay if BACKWARD else tl.sum(decay, 0)[None, :] - inclusive
    elif BACKWARD:
        way = tl.cumsum(_rows(log_decay + start, rows - 1, limit, stride, N), 0)
    else:
        way = tl.cumsum(_rows(log_decay + start, rows + 1, tl.minimum(limit, C), stride, N), 0, reverse=True)
    key = _rows(keys + start, rows, limit, stride, N) * tl.exp(way)
    value = _rows(values + start, rows, limit, stride, N)
    update = _product(tl.trans(value), key, keys.dtype.element_ty, PRECISION)

    channel = tl.arange(0, N)
    tl.store(added + place * N * N + channel[:, None] * N + channel[None, :], update)
    if not BACKWARD:
        tl.store(total + place * N + channel, tl.sum(decay, 0))


@triton.jit
def _compose(decay_first, added_first, decay_second, added_second):
    return decay_first * decay_second, added_first * decay_second + added_second


@triton.jit
def state_scan_kernel(
    added, total, starts, first, carried, last, chunks, H,
    N: tl.constexpr, TILE: tl.constexpr, GROUP: tl.constexpr,
    STARTS: tl.constexpr, FIRST: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """Run TILE entries of one head's state over the chunks, GROUP at a time; BACKWARD from the last chunk to the first.

    carried: what each chunk receives (the state before it, or the gradient of the state after it); last: what remains.
    A chunk that starts a chain receives zeros, and passes zeros on to the chunk before it in BACKWARD.
    """
    head = tl.program_id(1).to(tl.int64)
    entry = tl.program_id(0) * TILE + tl.arange(0, TILE)
    place = (head // H) * chunks * H + head % H
    flags = starts + (head // H) * chunks
    step = tl.arange(0, GROUP)

    state = tl.zeros([TILE], tl.float32)
    if FIRST:
        state += tl.load(first + head * N * N + entry)
    if STARTS and not BACKWARD:
        state = tl.where(tl.load(flags) != 0, 0.0, state)
    begin = place + (chunks - 1) * H if BACKWARD else place
    tl.store(carried + begin * N * N + entry, state)

    for done in range(0, chunks, GROUP):
        order = done + step
        chunk = chunks - 1 - order if BACKWARD else order
        inside = order < chunks
        index = place + chunk.to(tl.int64)[:, None] * H
        update = tl.load(added + index * N * N + entry[None, :], mask=inside[:, None], other=0.0)
        decay = tl.exp(tl.load(total + index * N + (entry % N)[None, :], mask=inside[:, None], other=0.0))
        following = index - H if BACKWARD else index + H
        if STARTS:
            # Whether zeros are received: by this chunk, and by the next one in order.
            own = chunk + 1 if BACKWARD else chunk
            reset = tl.load(flags + own, mask=inside & (own < chunks), other=0)
            decay = tl.where(reset[:, None] != 0, 0.0, decay)
            next_own = own - 1 if BACKWARD else own + 1
            next_reset = tl.load(flags + next_own, mask=inside & (next_own < chunks), other=0)
        decay, update = tl.associative_scan((decay, update), 0, _compose)
        states = update + decay * state[None, :]
        state = _row(states, step, GROUP - 1)
        if STARTS:
            states = tl.where(next_reset[:, None] != 0, 0.0, states)
        tl.store(carried + following * N * N + entry[None, :], states, mask=(order + 1 < chunks)[:, None])

    if STARTS and BACKWARD:
        state = tl.where(tl.load(flags) != 0, 0.0, state)
    tl.store(last + head * N * N + entry, state)


@triton.jit
def output_kernel(
    r, k, v, log_decay, u, before, y, T, H,
    N: tl.constexpr, C: tl.constexpr, SUB: tl.constexpr, BONUS: tl.constexpr, BOUNDED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The outputs of one chunk, from its tokens and the state before it."""
    chunk, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    start = ((head // H) * T + chunk * C) * H * N + (head % H) * N
    limit = (T - chunk * C).to(tl.int32)
    stride, rows, channel = H * N, tl.arange(0, C), tl.arange(0, N)
    place = ((head // H) * tl.num_programs(0) + chunk) * H + head % H
    DTYPE: tl.constexpr = r.dtype.element_ty
    lower = rows[:, None] > rows[None, :]

    row = _rows(r + start, rows, limit, stride, N)
    key = _rows(k + start, rows, limit, stride, N)
    if BOUNDED:
        decay = _rows(log_decay + start, rows, limit, stride, N)
        inclusive = tl.cumsum(decay, 0)
        since = inclusive - decay
        middle = _row(since, rows, C // 2)[None, :]
        scaled = row * tl.exp(since - middle)
        scores = _product(scaled, tl.trans(key * tl.exp(middle - inclusive)), DTYPE, PRECISION)
        scores = tl.where(lower, scores, 0.0)
        from_start = scaled * tl.exp(middle)
    else:
        scores = tl.zeros([C, C], tl.float32)
        own = tl.full([C, N], 1.0, tl.float32)
        for distance in range(1, SUB):
            other = tl.where(rows % SUB >= distance, rows - distance, -1)
            read = tl.sum(row * own * _rows(k + start, other, limit, stride, N), 1)
            scores += tl.where(other[:, None] == rows[None, :], read[:, None], 0.0)
            own *= tl.exp(_rows(log_decay + start, other, limit, stride, N))
        # `own` now holds each token's decay since the start of its sub-chunk.
        for first in range(SUB, C, SUB):
            way = tl.cumsum(_rows(log_decay + start, rows + 1, tl.minimum(limit, first), stride, N), 0, reverse=True)
            key_scale = tl.where((rows < first)[:, None], tl.exp(way), 0.0)
            read = _product(row * own, tl.trans(key * key_scale), DTYPE, PRECISION)
            scores += tl.where((rows // SUB * SUB == first)[:, None], read, 0.0)
        from_start = row * tl.exp(tl.cumsum(_rows(log_decay + start, rows - 1, limit, stride, N), 0))

    value = _rows(v + start, rows, limit, stride, N)
    state = tl.load(before + place * N * N + channel[:, None] * N + channel[None, :])
    out = _product(scores, value, DTYPE, PRECISION)
    out += _product(from_start, tl.trans(state), DTYPE, PRECISION)
    if BONUS:
        bonus = tl.load(u + (head % H) * N + channel)
        out += tl.sum(row * key * bonus[None, :], 1)[:, None] * value
    tl.store(y + start + rows[:, None] * stride + channel[None, :], out, mask=(rows < limit)[:, None])


@triton.jit
def gradient_kernel(
    r, k, v, log_decay, u, before, after, dy, dr, dk, dv, dlog_decay, du, T, H,
    N: tl.constexpr, C: tl.constexpr, SUB: tl.constexpr, BONUS: tl.constexpr, BOUNDED: tl.constexpr,
    PRECISION: tl.constexpr,
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

    row = _rows(r + start, rows, limit, stride, N)
    key = _rows(k + start, rows, limit, stride, N)
    value = _rows(v + start, rows, limit, stride, N)
    dout = _rows(dy + start, rows, limit, stride, N)
    decay = _rows(log_decay + start, rows, limit, stride, N)
    total = tl.sum(decay, 0)
    dscores = tl.where(lower, _product(dout, tl.trans(value), DTYPE, PRECISION), 0.0)
    # since_start, until_end: each token's decay factors from the chunk's start and to its end.
    if BOUNDED:
        inclusive = tl.cumsum(decay, 0)
        since = inclusive - decay
        middle = _row(since, rows, C // 2)
        since_start, until_end = tl.exp(since - middle[None, :]), tl.exp(middle[None, :] - inclusive)
        reader, writer = (row * since_start).to(DTYPE), (key * until_end).to(DTYPE)
        scores = tl.where(lower, _product(reader, tl.trans(writer), DTYPE, PRECISION), 0.0)
        drow = since_start * _product(dscores, writer, DTYPE, PRECISION)
        dkey = until_end * _product(tl.trans(dscores), reader, DTYPE, PRECISION)
        since_start *= tl.exp(middle)[None, :]
        until_end *= tl.exp(total - middle)[None, :]
    else:
        scores = tl.zeros([C, C], tl.float32)
        drow = tl.zeros([C, N], tl.float32)
        dkey = tl.zeros([C, N], tl.float32)
        own = tl.full([C, N], 1.0, tl.float32)
        for distance in range(1, SUB):
            other = tl.where(rows % SUB >= distance, rows - distance, -1)
            here = other[:, None] == rows[None, :]
            far = own * _rows(k + start, other, limit, stride, N)
            scores += tl.where(here, tl.sum(row * far, 1)[:, None], 0.0)
            drow += tl.sum(tl.where(here, dscores, 0.0), 1)[:, None] * far
            own *= tl.exp(_rows(log_decay + start, other, limit, stride, N))
        way = tl.full([C, N], 1.0, tl.float32)
        for distance in range(1, SUB):
            other = tl.where(rows % SUB + distance < SUB, rows + distance, -1)
            here = rows[:, None] == other[None, :]
            far = way * _rows(r + start, other, limit, stride, N)
            dkey += tl.sum(tl.where(here, dscores, 0.0), 0)[:, None] * far
            way *= tl.exp(_rows(log_decay + start, other, limit, stride, N))
        for first in range(SUB, C, SUB):
            sums = tl.cumsum(_rows(log_decay + start, rows + 1, tl.minimum(limit, first), stride, N), 0, reverse=True)
            key_scale = tl.where((rows < first)[:, None], tl.exp(sums), 0.0)
            mine = (rows // SUB * SUB == first)[:, None]
            scores += tl.where(mine, _product(row * own, tl.trans(key * key_scale), DTYPE, PRECISION), 0.0)
            part = tl.where(mine & (rows < first)[None, :], dscores, 0.0)
            drow += own * _product(part, key * key_scale, DTYPE, PRECISION)
            dkey += key_scale * _product(tl.trans(part), row * own, DTYPE, PRECISION)
        since_start = tl.exp(tl.cumsum(_rows(log_decay + start, rows - 1, limit, stride, N), 0))
        until_end = _rows(log_decay + start, rows + 1, tl.minimum(limit, C), stride, N)
        until_end = tl.exp(tl.cumsum(until_end, 0, reverse=True))

    tile = start + rows[:, None] * stride + channel[None, :]
    inside = (rows < limit)[:, None]
    square = place * N * N + channel[:, None] * N + channel[None, :]
    dstate = tl.load(after + square)
    dvalue = _product(tl.trans(scores), dout, DTYPE, PRECISION)
    dvalue += _product(key * until_end, tl.trans(dstate), DTYPE, PRECISION)
    if BONUS:
        bonus = tl.load(u + (head % H) * N + channel)[None, :]
        dvalue += tl.sum(row * key * bonus, 1)[:, None] * dout
    tl.store(dv + tile, dvalue, mask=inside)

    state = tl.load(before + square)
    drow += since_start * _product(dout, state, DTYPE, PRECISION)
    dkey_end = until_end * _product(value, dstate, DTYPE, PRECISION)
    dkey += dkey_end
    dtotal = tl.sum(key * dkey_end, 0) + tl.exp(total) * tl.sum(state.to(tl.float32) * dstate.to(tl.float32), 0)

    readers, writers = row * drow, key * dkey
    ddecay = tl.cumsum(readers - writers, 0, reverse=True) - readers + dtotal[None, :]
    # A decay below e^-80 has no gradient in float32; what the sums above leave there is rounding.
    tl.store(dlog_decay + tile, tl.where(decay < -80.0, 0.0, ddecay), mask=inside)
    if BONUS:
        dread = tl.sum(dout * value, 1)[:, None]
        drow += bonus * key * dread
        dkey += bonus * row * dread
        tl.store(du + place * N + channel, tl.sum(row * key * dread, 0))
    tl.store(dr + tile, drow, mask=inside)
    tl.store(dk + tile, dkey, mask=inside)
