"""Triton kernels that make keys and values of a GOLD layer; see `build` for what they compute.

A program makes TILE tokens. C columns do not fit its registers, so it goes over them twice, COLUMNS at a time, and makes the
mixture anew the second time: from a compressed key and a table's row that is less work than fetching it back. What the layer
norm needs is known after the first time: with tau = tanh(m w1) the sum of a row is that of m + tau . (sum of w2), that of its
squares m . m + 2 tau . (w2 m) + tau w2 w2^T tau.

Numbers that differ from memory to memory are not specialised: a multiple of 16 among them would be another compilation.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.wkv6.triton_tiles import product


@triton.jit
def _tanh(x):
    return 1.0 - 2.0 / (1.0 + tl.exp(2.0 * x))


@triton.jit
def _compressed(codes, scales, place, present, width: tl.constexpr, WIDTH: tl.constexpr, SCALED: tl.constexpr, DTYPE):
    """Codes [TILE, WIDTH] of the tokens at `place`, zeros beyond `width` and where not present, and their scales [TILE]."""
    at = tl.arange(0, WIDTH)
    mask = present[:, None] & (at < width)[None, :]
    rows = tl.load(codes + place[:, None] * width + at[None, :], mask=mask, other=0)
    scale = tl.where(present, 1.0, 0.0)
    if SCALED:
        scale = tl.load(scales + place, mask=present, other=0.0).to(tl.float32)
    return rows.to(DTYPE), scale


@triton.jit
def _key(table, row, start, C: tl.constexpr, COLUMNS: tl.constexpr):
    """[TILE, COLUMNS] in float32 of a table [.., C]."""
    column = start + tl.arange(0, COLUMNS)
    return tl.load(table + row[:, None] * C + column[None, :]).to(tl.float32)


@triton.jit
def _matrix_block(matrix, start, C: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr):
    """[LINES, COLUMNS] of a matrix [LINES, C]."""
    line, column = tl.arange(0, LINES), start + tl.arange(0, COLUMNS)
    return tl.load(matrix + line[:, None] * C + column[None, :])


@triton.jit(do_not_specialize=["S"])
def inverse_rms_kernel(
    table, second, bigram, order, codes, scales, w_c, found, S, C: tl.constexpr, width: tl.constexpr,
    TILE: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr, SCALED: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """found[place] = 1 / (rms + 1e-8) of table's row + W_c c, for TILE sorted tokens; w_c: [WIDTH, C]."""
    token = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = token < S
    place = tl.load(order + token, mask=inside, other=0)
    number = tl.load(bigram + token, mask=inside, other=0)
    row = tl.load(second + number).to(tl.int64)
    code, scale = _compressed(codes, scales, place, inside, width, WIDTH, SCALED, DTYPE)
    squares = tl.zeros([TILE], tl.float32)
    for start in range(0, C, COLUMNS):
        expanded = product(code, _matrix_block(w_c, start, C, WIDTH, COLUMNS), DTYPE, PRECISION)
        raw = _key(table, row, start, C, COLUMNS) + expanded * scale[:, None]
        squares += tl.sum(raw * raw, 1)
    tl.store(found + place, 1.0 / (tl.sqrt(squares / C) + 1e-8), mask=inside)


@triton.jit
def _mixed(
    table, row, row_before, code, scale, s, code_before, scale_before, s_before, w_c, share, mix, mix_w, start,
    C: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr, MIXES: tl.constexpr, TOKENS: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """now + (before - now) * (mix + z mix_w) of COLUMNS columns, float32."""
    now = _key(table, row, start, C, COLUMNS)
    before = _key(table, row_before, start, C, COLUMNS)
    if TOKENS:
        block = _matrix_block(w_c, start, C, WIDTH, COLUMNS)
        now = (now + product(code, block, DTYPE, PRECISION) * scale[:, None]) * s[:, None]
        before = (before + product(code_before, block, DTYPE, PRECISION) * scale_before[:, None]) * s_before[:, None]
    part = product(share, _matrix_block(mix_w, start, C, MIXES, COLUMNS), DTYPE, PRECISION)
    part += tl.load(mix + start + tl.arange(0, COLUMNS))[None, :]
    return now + (before - now) * part


@triton.jit(do_not_specialize=["S", "nothing"])
def rows_kernel(
    table, first, second, bigram, order, codes, scales, inverse, w_c, z, mix, mix_w, w1, w2_turned, w2, gram, sums,
    gain, bias, made, made_scales, S, nothing, epsilon, C: tl.constexpr, width: tl.constexpr,
    N: tl.constexpr, TILE: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr, MIXES: tl.constexpr,
    LORA: tl.constexpr, TOKENS: tl.constexpr, SCALED: tl.constexpr, QUANTISED: tl.constexpr,
    SMALLEST: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """made [C / N, S, N] and made_scales [C / N, S]: TILE sorted tokens' keys, or with TOKENS false TILE bigrams' values.

    w_c [WIDTH, C], z [U, MIXES], mix_w [MIXES, C], w1 and w2_turned [C, LORA], w2 [LORA, C], gram = w2 w2^T [LORA, LORA] with
    zeros where a width was rounded up; mix, gain, bias [C], sums [LORA] of w2's rows float32. nothing: the row of zeros.
    """
    token = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = token < S
    number = token
    if TOKENS:
        number = tl.load(bigram + token, mask=inside, other=0)
    row = tl.load(second + number, mask=inside, other=nothing).to(tl.int64)
    row_before = tl.load(first + number, mask=inside, other=nothing).to(tl.int64)
    lane = tl.arange(0, MIXES)
    share = tl.load(z + number.to(tl.int64)[:, None] * MIXES + lane[None, :], mask=inside[:, None], other=0.0)
    code, scale, s, code_before, scale_before, s_before = share, 0.0, 0.0, share, 0.0, 0.0
    if TOKENS:
        place = tl.load(order + token, mask=inside, other=0)
        follows = inside & (row_before != nothing)
        code, scale = _compressed(codes, scales, place, inside, width, WIDTH, SCALED, DTYPE)
        s = tl.load(inverse + place, mask=inside, other=0.0)
        code_before, scale_before = _compressed(codes, scales, place - 1, follows, width, WIDTH, SCALED, DTYPE)
        s_before = tl.load(inverse + place - 1, mask=follows, other=0.0)

    column, rank = tl.arange(0, COLUMNS), tl.arange(0, LORA)
    inner, crossed = tl.zeros([TILE, LORA], tl.float32), tl.zeros([TILE, LORA], tl.float32)
    total, squares = tl.zeros([TILE], tl.float32), tl.zeros([TILE], tl.float32)
    for start in range(0, C, COLUMNS):
        mixed = _mixed(
            table, row, row_before, code, scale, s, code_before, scale_before, s_before, w_c, share, mix, mix_w,
            start, C, COLUMNS, WIDTH, MIXES, TOKENS, DTYPE, PRECISION,
        )  # fmt: skip
        at = (start + column)[:, None] * LORA + rank[None, :]
        narrow = mixed.to(DTYPE)
        inner += product(narrow, tl.load(w1 + at), DTYPE, PRECISION)
        crossed += product(narrow, tl.load(w2_turned + at), DTYPE, PRECISION)
        total += tl.sum(mixed, 1)
        squares += tl.sum(mixed * mixed, 1)

    tau = _tanh(inner).to(DTYPE)
    wide = tau.to(tl.float32)
    squared = product(tau, tl.load(gram + rank[:, None] * LORA + rank[None, :]), DTYPE, PRECISION)
    mean = (total + tl.sum(wide * tl.load(sums + rank)[None, :], 1)) / C
    squares += tl.sum(wide * (2.0 * crossed + squared), 1)
    deviation = tl.rsqrt(tl.maximum(squares / C - mean * mean, 0.0) + epsilon)

    channel, line = tl.arange(0, N), token.to(tl.int64)
    for head in range(0, C // N):
        mixed = _mixed(
            table, row, row_before, code, scale, s, code_before, scale_before, s_before, w_c, share, mix, mix_w,
            head * N, C, N, WIDTH, MIXES, TOKENS, DTYPE, PRECISION,
        )  # fmt: skip
        key = mixed + product(tau, _matrix_block(w2, head * N, C, LORA, N), DTYPE, PRECISION)
        key = (key - mean[:, None]) * deviation[:, None] * tl.load(gain + head * N + channel)[None, :]
        key += tl.load(bias + head * N + channel)[None, :]
        if QUANTISED:
            peak = tl.maximum(tl.max(tl.abs(key), 1) / 127.0, SMALLEST).to(tl.float16)
            tl.store(made_scales + line, peak, mask=inside)
            key = key * (1.0 / peak.to(tl.float32))[:, None]
            key = tl.floor(tl.minimum(tl.maximum(key, -127.0), 127.0) + 0.5)
        tl.store(made + line[:, None] * N + channel[None, :], key.to(made.dtype.element_ty), mask=inside[:, None])
        line += S
