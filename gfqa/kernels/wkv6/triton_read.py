"""Triton kernels of the WKV recurrence, forward.

A head's tokens are cut into spans of a few chunks. `span_update_kernel` finds what each span adds to the state and its whole
decay, all spans at once; `state_scan_kernel` gives every span the state before it; `span_output_kernel` runs a span with the
state in registers. Where there are heads enough to fill the chip one span is the whole sequence, and only the last kernel
runs. So r is read once, k, v and the decays once or twice, and states reach memory once a span (KEEP writes those before every
chunk too, for a backward pass).
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.wkv6.triton_tiles import decays_of, one_minus_exp, product, row_of, rows_of, scores_of_any, sums


@triton.jit
def _begins(starts, token):
    """Whether a chain begins at `token`, of a row whose flags, one for 64 tokens, lie at `starts`."""
    flag = tl.load(starts + token // 64)
    return (flag != 0) & (token % 64 == 0)


@triton.jit(do_not_specialize=["T", "span", "flags"])
def span_update_kernel(
    keys, values, decays, bias, starts, added, total, shift, floor, T, H, span, flags,
    N: tl.constexpr, C: tl.constexpr, KIND: tl.constexpr, SCALE: tl.constexpr, STARTS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """What `span` chunks add to the state, [value, key], and their whole log decay (-1e30 where a chain begins in them)."""
    number, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row0 = (head // H) * T
    stride, rows, channel = H * N, tl.arange(0, C), tl.arange(0, N)
    place = ((head // H) * tl.num_programs(0) + number) * H + head % H
    DTYPE: tl.constexpr = keys.dtype.element_ty
    base = tl.zeros([N], tl.float32)
    if KIND != "log":
        base += tl.load(bias + (head % H) * N + channel)

    state = tl.zeros([N, N], tl.float32)
    whole = tl.zeros([N], tl.float32)
    first = number * span * C
    for token in range(first, tl.minimum(first + span * C, T), C):
        start = (row0 + token) * H * N + (head % H) * N
        limit = (T - token).to(tl.int32)
        key = rows_of(keys + start, rows, limit, stride, N)
        value = rows_of(values + start, rows, limit, stride, N)
        decay = decays_of(decays + start, base, shift, floor, rows, limit, stride, KIND, N)
        if SCALE:
            key *= one_minus_exp(decay)
        if STARTS:
            begins = _begins(starts + (head // H) * flags, token)
            state = tl.where(begins, 0.0, state)
            whole = tl.where(begins, -1e30, whole)
        # Own decays were clamped, so the difference is exact enough wherever the factor is not nothing.
        after = tl.minimum(tl.cumsum(decay, 0, reverse=True) - decay, 0.0)
        chunk_total = tl.sum(decay, 0)
        state = state * tl.exp(chunk_total)[None, :]
        state += product(tl.trans(value), key * tl.exp(after), DTYPE, PRECISION)
        whole += chunk_total
    tl.store(added + place * N * N + channel[:, None] * N + channel[None, :], state)
    tl.store(total + place * N + channel, whole)


@triton.jit(do_not_specialize=["T", "span", "flags"])
def span_output_kernel(
    r, k, v, decays, bias, u, starts, before, y, last, kept, shift, floor, T, H, span, flags,
    N: tl.constexpr, C: tl.constexpr, KIND: tl.constexpr, SCALE: tl.constexpr, STARTS: tl.constexpr,
    BONUS: tl.constexpr, BOUNDED: tl.constexpr, BEFORE: tl.constexpr, LAST: tl.constexpr, KEEP: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The outputs of `span` chunks from the state before them (zeros without BEFORE); with LAST also the state after."""
    number, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    row0 = (head // H) * T
    stride, rows, channel = H * N, tl.arange(0, C), tl.arange(0, N)
    place = ((head // H) * tl.num_programs(0) + number) * H + head % H
    square = channel[:, None] * N + channel[None, :]
    lower = rows[:, None] > rows[None, :]
    DTYPE: tl.constexpr = r.dtype.element_ty
    base = tl.zeros([N], tl.float32)
    if KIND != "log":
        base += tl.load(bias + (head % H) * N + channel)
    bonus = tl.zeros([N], tl.float32)
    if BONUS:
        bonus += tl.load(u + (head % H) * N + channel)

    state = tl.zeros([N, N], tl.float32)
    if BEFORE:
        state += tl.load(before + place * N * N + square)
    first = number * span * C
    for token in range(first, tl.minimum(first + span * C, T), C):
        start = (row0 + token) * H * N + (head % H) * N
        limit = (T - token).to(tl.int32)
        row = rows_of(r + start, rows, limit, stride, N)
        key = rows_of(k + start, rows, limit, stride, N)
        value = rows_of(v + start, rows, limit, stride, N)
        decay = decays_of(decays + start, base, shift, floor, rows, limit, stride, KIND, N)
        if SCALE:
            key *= one_minus_exp(decay)
        if STARTS:
            state = tl.where(_begins(starts + (head // H) * flags, token), 0.0, state)
        if KEEP:
            chunk = (head // H) * tl.cdiv(T, C) + token // C
            tl.store(kept + (chunk * H + head % H) * N * N + square, state)
        if BOUNDED:
            # Readers and writers are scaled relative to the middle of the chunk, and so is the state while it is read.
            inclusive = tl.cumsum(decay, 0)
            since = inclusive - decay
            middle = row_of(since, rows, C // 2)
            reader = (row * tl.exp(since - middle[None, :])).to(DTYPE)
            writer = (key * tl.exp(middle[None, :] - inclusive)).to(DTYPE)
            state *= tl.exp(middle)[None, :]
            scores = tl.where(lower, product(reader, tl.trans(writer), DTYPE, PRECISION), 0.0)
            rest = tl.exp(tl.sum(decay, 0) - middle)
        else:
            scores = scores_of_any(row, key, decay, rows, C, DTYPE, PRECISION)
            reader = (row * tl.exp(sums(lower.to(tl.float32), decay, DTYPE, PRECISION))).to(DTYPE)
            after = sums((rows[:, None] < rows[None, :]).to(tl.float32), decay, DTYPE, PRECISION)
            writer = (key * tl.exp(after)).to(DTYPE)
        out = product(scores, value, DTYPE, PRECISION) + product(reader, tl.trans(state), DTYPE, PRECISION)
        if BONUS:
            out += tl.sum(row * key * bonus[None, :], 1)[:, None] * value
        tl.store(y + start + rows[:, None] * stride + channel[None, :], out, mask=(rows < limit)[:, None])
        written = product(tl.trans(value), writer, DTYPE, PRECISION)
        state = (state + written) * rest[None, :] if BOUNDED else state * tl.exp(tl.sum(decay, 0))[None, :] + written
    if LAST:
        tl.store(last + head * N * N + square, state)
