"""What the Triton kernels of the WKV recurrence share: tiles of rows, products, sums of log decays, one chunk's scores.

A tile is [C, N], rows are tokens and columns channels, float32. Log decays are clamped at -80 on loading (e^-80 beside 1 is
nothing in float32), so that every sum over a chunk stays finite.
"""

# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def rows_of(base, rows, limit, stride, N: tl.constexpr):
    """[C, N] in float32: the given rows of a tile at `base`, zeros outside 0 <= row < limit."""
    columns = tl.arange(0, N)
    inside = (rows >= 0) & (rows < limit)
    tile = tl.load(base + rows[:, None] * stride + columns[None, :], mask=inside[:, None], other=0.0)
    return tile.to(tl.float32)


@triton.jit
def decays_of(base, bias, shift, floor, rows, limit, stride, KIND: tl.constexpr, N: tl.constexpr):
    """[C, N] log decays, zeros outside: as given (KIND "log"), or of the activation `base` + bias [N].

    "exp": -exp(activation); "sigmoid": floor * sigmoid(activation - shift).
    """
    decay = rows_of(base, rows, limit, stride, N)
    if KIND != "log":
        activation = decay + bias[None, :]
        decay = -tl.exp(activation) if KIND == "exp" else floor * tl.sigmoid(activation - shift)
        decay = tl.where((rows < limit)[:, None], decay, 0.0)
    return tl.maximum(decay, -80.0)


@triton.jit
def one_minus_exp(x):
    """1 - e^x for x <= 0, to float32's precision also where x is tiny (a series there, no difference)."""
    near = -x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6)))))
    return tl.where(x > -0.25, near, 1 - tl.exp(x))


@triton.jit
def product(a, b, DTYPE: tl.constexpr, PRECISION: tl.constexpr):
    """Matrix product of operands rounded to DTYPE, summed in float32."""
    a, b = a.to(DTYPE), b.to(DTYPE)
    if PRECISION == "interpreted":
        # Triton's interpreter would multiply the bit patterns of bfloat16 operands.
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def row_of(x, rows, index):
    """[N]: one row of a tile."""
    return tl.sum(tl.where(rows[:, None] == index, x, 0.0), 0)


@triton.jit
def sums(mask, decay, DTYPE: tl.constexpr, PRECISION: tl.constexpr):
    """[C, N]: for every row the sum of the log decays that mask [C, C] picks, as a matrix product.

    Only sums, never differences of sums: a large decay beside small ones costs no accuracy. In bfloat16 the decays go as
    two parts, which leaves an error of 2^-17 of each.
    """
    total = product(mask, decay, DTYPE, PRECISION)
    if tl.bfloat16 == DTYPE:
        total += product(mask, decay - decay.to(DTYPE).to(tl.float32), DTYPE, PRECISION)
    return tl.minimum(total, 0.0)


@triton.jit
def halves(rows, half):
    """Masks of one level of halving, where blocks of 2 * half tokens are read by their second halves from their first.

    Returns reader [C] (token is in a second half), between [C, C] (which log decays lie between a token and the middle of
    its block), pair [C, C] (the row reads the column).
    """
    segment = rows // half
    reader = segment % 2 == 1
    same = segment[:, None] == segment[None, :]
    between = same & (reader[:, None] == (rows[None, :] < rows[:, None])) & (rows[None, :] != rows[:, None])
    pair = reader[:, None] & (segment[:, None] == segment[None, :] + 1)
    return reader, between, pair


@triton.jit
def scores_of_any(row, key, decay, rows, C: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr):
    """[C, C]: what each token of a chunk reads of each earlier one, for any decay, by halving (see `chunked`).

    One operand holds both sides of a level: readers scaled by their way from the middle, writers by theirs to it.
    """
    LEVELS: tl.constexpr = 6 if C == 64 else 5 if C == 32 else 4
    scores = tl.zeros([C, C], tl.float32)
    for level in range(1, LEVELS + 1):
        reader, between, pair = halves(rows, C >> level)
        way = tl.exp(sums(between.to(tl.float32), decay, DTYPE, PRECISION))
        both = tl.where(reader[:, None], row, key) * way
        scores += tl.where(pair, product(both, tl.trans(both), DTYPE, PRECISION), 0.0)
    return scores
