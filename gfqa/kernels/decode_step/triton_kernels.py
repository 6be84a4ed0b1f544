"""Triton kernels of one token through the model: every program reads the vectors whole and its own rows of a matrix.

A layer norm or a token shift of C numbers is done again in every program, which costs less than a launch. Matrices lie row by
row, [out, in]; vectors between launches are float32. Vectors and rows are tuples of parts of COLS columns (a power of two), so
that a width of three times 256 is not computed as 1,024.

Each kernel loads its weights first, into registers, and what an earlier token left; only then it waits for the launch before
it (`begin`): with EARLY it is started while that one still runs. A step's first launch waits for everything.
What that launch wrote is read before anything is added up: the compiler moves no load over a barrier.
Large matrices are read by programs that take several tiles of ROWS rows, one after the other (TURNS): the next tile's loads
are on their way while one is multiplied, and a norm is made once for all of them.
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
def columns(base, C: tl.constexpr, COLS: tl.constexpr):
    """A vector [C] in float32, zeros beyond."""
    found = ()
    for first in tl.static_range(0, C, COLS):
        column = first + tl.arange(0, COLS)
        if first + COLS <= C:
            part = tl.load(base + column)
        else:
            part = tl.load(base + column, mask=column < C, other=0.0)
        found = found + (part.to(tl.float32),)
    return found


@triton.jit
def keep(base, parts, C: tl.constexpr, COLS: tl.constexpr):
    """Write a vector [C]."""
    for number in tl.static_range(len(parts)):
        column = number * COLS + tl.arange(0, COLS)
        tl.store(base + column, parts[number], mask=column < C)


@triton.jit
def matrix(base, row, n_rows, C: tl.constexpr, stride: tl.constexpr, COLS: tl.constexpr):
    """Rows [ROWS] of a matrix, zeros outside, as they are stored."""
    found, known = (), (row < n_rows)[:, None]
    for first in tl.static_range(0, C, COLS):
        column = first + tl.arange(0, COLS)
        place = base + row.to(tl.int64)[:, None] * stride + column[None, :]
        if first + COLS <= C:
            part = tl.load(place, mask=known, other=0.0)
        else:
            part = tl.load(place, mask=known & (column < C)[None, :], other=0.0)
        found = found + (part,)
    return found


@triton.jit
def following(
    tiles, base, row, turn: tl.constexpr, n_rows, C: tl.constexpr, stride: tl.constexpr, COLS: tl.constexpr,
    ROWS: tl.constexpr, TURNS: tl.constexpr,
):  # fmt: skip
    """The tile of a turn whose first one began at row, to be asked for before it is needed; after the last one, any tile."""
    if turn < TURNS:
        return matrix(base, row + turn * ROWS, n_rows, C, stride, COLS)
    else:
        return tiles


@triton.jit
def times(tiles, parts):
    """Matrix rows times a vector: [ROWS]."""
    found = tiles[0].to(tl.float32) * parts[0][None, :]
    for number in tl.static_range(1, len(tiles)):
        found += tiles[number].to(tl.float32) * parts[number][None, :]
    return tl.sum(found, 1)


@triton.jit
def between(now, before, shares):
    """now, mixed with the token before by shares."""
    found = ()
    for number in tl.static_range(len(now)):
        found = found + (now[number] + (before[number] - now[number]) * shares[number],)
    return found


@triton.jit
def total(parts):
    found = parts[0]
    for number in tl.static_range(1, len(parts)):
        found += parts[number]
    return tl.sum(found, 0)


@triton.jit
def moments(parts, eps, C: tl.constexpr, COLS: tl.constexpr):
    """Of a vector [C]: its mean and one over its standard deviation."""
    mean = total(parts) / C
    squares = ()
    for number in tl.static_range(len(parts)):
        apart = parts[number] - mean
        if number * COLS + COLS > C:
            apart = tl.where(number * COLS + tl.arange(0, COLS) < C, apart, 0.0)
        squares = squares + (apart * apart,)
    return mean, tl.rsqrt(total(squares) / C + eps)


@triton.jit
def normed(parts, gains, offsets, eps, C: tl.constexpr, COLS: tl.constexpr):
    """Layer norm of a vector [C]; gains and offsets are zeros beyond, and so is this."""
    mean, factor = moments(parts, eps, C, COLS)
    found = ()
    for number in tl.static_range(len(parts)):
        found = found + ((parts[number] - mean) * factor * gains[number] + offsets[number],)
    return found


@triton.jit
def rms(parts, C: tl.constexpr):
    """Of a vector [C]: its root mean square, never zero."""
    squares = ()
    for number in tl.static_range(len(parts)):
        squares = squares + (parts[number] * parts[number],)
    return tl.sqrt(total(squares) / C) + 1e-8


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def embed_kernel(
    token, table, weight, bias, x, e, o, o_before, kappa, kappa_before, ids, length, scale, memory, eps, unit,
    C: tl.constexpr, COLS: tl.constexpr, SCALED: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """One program: see `reference.embed`."""
    gain, shift = columns(weight, C, COLS), columns(bias, C, COLS)
    begin(EARLY)
    number = tl.load(token)
    place = tl.load(length)
    o_was, kappa_was = columns(o, C, COLS), columns(kappa, C, COLS)
    now = normed(columns(table + number * C, C, COLS), gain, shift, eps, C, COLS)
    keep(o_before, o_was, C, COLS)
    keep(kappa_before, kappa_was, C, COLS)
    keep(x, now, C, COLS)
    keep(e, now, C, COLS)
    size = rms(now, C)
    for number_of in tl.static_range(len(now)):
        column = number_of * COLS + tl.arange(0, COLS)
        tl.store(o + column, now[number_of] / size, mask=column < C)
    tl.store(ids + place, number)
    if SCALED:
        visible = (place + 1 + memory).to(tl.float32)
        tl.store(scale, tl.minimum(tl.maximum(tl.log(visible) * unit, 0.5), 4.0))
    tl.store(length, place + 1)


@triton.jit
def project_kernel(
    y, weight, bias, w, x, eps, C: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, NORM: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.project`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    tiles = matrix(w, row, C, C, C, COLS)
    if NORM:
        gain, offset = columns(weight, C, COLS), columns(bias, C, COLS)
    begin(EARLY)
    inside, now = columns(y, C, COLS), tl.load(x + row, mask=row < C)
    if NORM:
        inside = normed(inside, gain, offset, eps, C, COLS)
    tl.store(x + row, now + times(tiles, inside), mask=row < C)


@triton.jit
def gathered(
    x, parts, stats, of_gain, of_bias, eps, first, C: tl.constexpr, SPAN: tl.constexpr, HEADS: tl.constexpr,
    HEAD_BLOCK: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """x plus an output matrix W times a layer norm of [C], the heads' shares in order: SPAN columns from first."""
    sums, gains, now = (), (), ()
    for start in tl.static_range(0, SPAN, COLS):
        column = first + start + tl.arange(0, COLS)
        inside = column < C
        found = tl.load(parts + column, mask=inside, other=0.0)
        for head in tl.static_range(1, HEADS):
            found += tl.load(parts + head * C + column, mask=inside, other=0.0)
        sums = sums + (found,)
        gains = gains + (tl.load(of_gain + column, mask=inside, other=0.0),)
        before = tl.load(x + column, mask=inside, other=0.0)
        now = now + (before + tl.load(of_bias + column, mask=inside, other=0.0),)
    # W ((y - m) / d * gain + bias) = (W (gain y) - m W gain) / d + W bias
    head = tl.arange(0, HEAD_BLOCK)
    known = head < HEADS
    mean = tl.load(stats + 2 * head, mask=known, other=0.0)
    squares = tl.load(stats + 2 * head + 1, mask=known, other=0.0)
    middle = tl.sum(mean, 0) / HEADS
    apart = tl.where(known, mean - middle, 0.0)
    scale = tl.rsqrt(tl.sum(squares + apart * apart * (C // HEADS), 0) / C + eps)
    found = ()
    for number in tl.static_range(len(sums)):
        found = found + (now[number] + (sums[number] - middle * gains[number]) * scale,)
    return found


@triton.jit
def gather_kernel(
    x, parts, stats, of_gain, of_bias, middle, eps, C: tl.constexpr, HEADS: tl.constexpr, HEAD_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """`gathered` in a launch of its own."""
    first = tl.program_id(0) * COLUMNS
    begin(EARLY)
    now = gathered(x, parts, stats, of_gain, of_bias, eps, first, C, COLUMNS, HEADS, HEAD_BLOCK, COLUMNS)
    column = first + tl.arange(0, COLUMNS)
    tl.store(middle + column, now[0], mask=column < C)


@triton.jit
def channel_keys_kernel(
    x, parts, stats, of_gain, of_bias, shift, weight, bias, mix_k, mix_r, w_k, w_r, middle, z, hidden, gate,
    output_eps, eps, C: tl.constexpr, F: tl.constexpr, HEADS: tl.constexpr, HEAD_BLOCK: tl.constexpr,
    COLS: tl.constexpr, ROWS: tl.constexpr, TURNS: tl.constexpr, READY: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.channel_keys`. Programs: those of the keys [F], then of the gate [C]. READY: middle is there."""
    blocks: tl.constexpr = (F + ROWS * TURNS - 1) // (ROWS * TURNS)
    number = tl.program_id(0)
    base, mix, limit, first = w_k, mix_k, F, number
    if number >= blocks:
        base, mix, limit, first = w_r, mix_r, C, number - blocks
    row = first * (ROWS * TURNS) + tl.arange(0, ROWS)
    tiles, share = matrix(base, row, limit, C, C, COLS), columns(mix, C, COLS)
    gain, offset = columns(weight, C, COLS), columns(bias, C, COLS)
    before = columns(shift, C, COLS)
    begin(EARLY)
    if READY:
        now = columns(middle, C, COLS)
    else:
        now = gathered(x, parts, stats, of_gain, of_bias, output_eps, 0, C, C, HEADS, HEAD_BLOCK, COLS)
        if number == 0:
            keep(middle, now, C, COLS)
    ahead = following(tiles, base, row, 1, limit, C, C, COLS, ROWS, TURNS)
    now = normed(now, gain, offset, eps, C, COLS)
    mixed = between(now, before, share)
    if number == 0:
        keep(z, now, C, COLS)
    for turn in tl.static_range(TURNS):
        found, at = times(tiles, mixed), row + turn * ROWS
        tiles = ahead
        ahead = following(tiles, base, row, turn + 2, limit, C, C, COLS, ROWS, TURNS)
        if number >= blocks:
            tl.store(gate + at, tl.sigmoid(found), mask=at < limit)
        else:
            found = tl.maximum(found, 0.0)
            tl.store(hidden + at, found * found, mask=at < limit)


@triton.jit
def channel_values_kernel(
    hidden, gate, w, middle, z, x, shift, C: tl.constexpr, F: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr,
    TURNS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.channel_values`."""
    row = tl.program_id(0) * (ROWS * TURNS) + tl.arange(0, ROWS)
    tiles = matrix(w, row, C, F, F, COLS)
    begin(EARLY)
    whole = columns(hidden, F, COLS)
    ahead = following(tiles, w, row, 1, C, F, F, COLS, ROWS, TURNS)
    for turn in tl.static_range(TURNS):
        at = row + turn * ROWS
        inside = at < C
        now, moved = tl.load(middle + at, mask=inside), tl.load(z + at, mask=inside)
        share = tl.load(gate + at, mask=inside, other=0.0)
        found = now + times(tiles, whole) * share
        tiles = ahead
        ahead = following(tiles, w, row, turn + 2, C, F, F, COLS, ROWS, TURNS)
        tl.store(x + at, found, mask=inside)
        tl.store(shift + at, moved, mask=inside)


@triton.jit
def logits_kernel(
    x, weight, bias, w, logits, eps, V, C: tl.constexpr, COLS: tl.constexpr, ROWS: tl.constexpr, TURNS: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """See `reference.logits`."""
    row = tl.program_id(0) * (ROWS * TURNS) + tl.arange(0, ROWS)
    tiles = matrix(w, row, V, C, C, COLS)
    gain, offset = columns(weight, C, COLS), columns(bias, C, COLS)
    begin(EARLY)
    now = columns(x, C, COLS)
    ahead = following(tiles, w, row, 1, V, C, C, COLS, ROWS, TURNS)
    now = normed(now, gain, offset, eps, C, COLS)
    for turn in tl.static_range(TURNS):
        found, at = times(tiles, now), row + turn * ROWS
        tiles = ahead
        ahead = following(tiles, w, row, turn + 2, V, C, C, COLS, ROWS, TURNS)
        tl.store(logits + at, found, mask=at < V)
