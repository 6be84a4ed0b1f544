"""Triton kernels of the latent form of GOLD attention: the unigrams' parts of each bigram, and the logits of tokens.

Columns are heads, HEADS at a time; tokens lie sorted by bigram. See `triton_latent` for the algebra and the names.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.wkv6.triton_tiles import product


@triton.jit
def bigram_kernel(
    table, z, first, second, e_first, e_second, U, H, rows, parts, room: tl.constexpr, width: tl.constexpr,
    HEADS: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """The unigrams' parts of ROWS bigrams and HEADS heads, [U, room] each with zeros beyond H.

    table: [H, rows, width], a row the parts of the mix, then the mix's constant, then the query itself. A row of parts is read
    whole, 16 bytes a thread.
    e_first = constant[first] + sum over r of z_r part_r[first], e_second = query[second] - the same of second.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    head, part = tl.program_id(1) * HEADS + tl.arange(0, HEADS), tl.arange(0, PARTS)
    inside = row < U
    both = inside[:, None] & (head < H)[None, :]
    line = head.to(tl.int64)[None, :] * rows
    before = table + (line + tl.load(first + row, mask=inside, other=0)[:, None]) * width
    now = table + (line + tl.load(second + row, mask=inside, other=0)[:, None]) * width
    share = tl.load(z + row[:, None] * parts + part[None, :], mask=inside[:, None] & (part < parts)[None, :], other=0.0)
    share = share.to(tl.float32)[:, None, :]
    whole = both[:, :, None] & (part < parts)[None, None, :]
    tile = tl.load(before[:, :, None] + part[None, None, :], mask=whole, other=0.0).to(tl.float32)
    one = tl.sum(tile * share, 2) + tl.load(before + parts, mask=both, other=0.0).to(tl.float32)
    tile = tl.load(now[:, :, None] + part[None, None, :], mask=whole, other=0.0).to(tl.float32)
    two = tl.sum(tile * share, 2) + tl.load(now + parts, mask=both, other=0.0).to(tl.float32)
    two = tl.load(now + parts + 1, mask=both, other=0.0).to(tl.float32) - two
    place = row.to(tl.int64)[:, None] * room + head[None, :]
    mask = inside[:, None] & (head < room)[None, :]
    tl.store(e_first + place, one, mask=mask)
    tl.store(e_second + place, two, mask=mask)


@triton.jit
def _tile(base, token, inside, width: tl.constexpr, WIDTH: tl.constexpr):
    """[TILE, WIDTH] in float32: rows of `width` numbers, zeros beyond."""
    column = tl.arange(0, WIDTH)
    mask = inside[:, None] & (column < width)[None, :]
    return tl.load(base + token.to(tl.int64)[:, None] * width + column[None, :], mask=mask, other=0).to(tl.float32)


@triton.jit
def _columns(base, width: tl.constexpr, room: tl.constexpr, head, WIDTH: tl.constexpr):
    """[WIDTH, HEADS]: a group of heads of an absorbed query, zeros beyond `width`."""
    line = tl.arange(0, WIDTH)
    return tl.load(base + line[:, None] * room + head[None, :], mask=(line < width)[:, None], other=0.0)


@triton.jit
def latent_kernel(
    q_tau, q_now, q_mixed, q_sums, q_constant, e_first, e_second, tau, c, c_before, scale, scale_before, s, s_before,
    mean, deviation, z, bigram, logits, S, H, mixes,
    room: tl.constexpr, width: tl.constexpr, lora: tl.constexpr,
    TILE: tl.constexpr, HEADS: tl.constexpr, GROUP: tl.constexpr, WIDTH: tl.constexpr, LORA: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The logits of one query on TILE tokens, for HEADS heads; logits: [H, S].

    Row lengths are constants, so that the compiler knows how rows are aligned and reads 16 bytes at once.
    """
    token = tl.program_id(0) * TILE + tl.arange(0, TILE)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    inside = token < S
    number = tl.load(bigram + token, mask=inside, other=0).to(tl.int64)
    place = number[:, None] * room + head[None, :]

    logit = product(_tile(tau, token, inside, lora, LORA), _columns(q_tau, lora, room, head, LORA), DTYPE, PRECISION)
    now = _tile(c, token, inside, width, WIDTH) * tl.load(scale + token, mask=inside, other=0.0)[:, None]
    logit += product(now, _columns(q_now, width, room, head, WIDTH), DTYPE, PRECISION)
    before = _tile(c_before, token, inside, width, WIDTH)
    step = (before * tl.load(scale_before + token, mask=inside, other=0.0)[:, None] - now).to(DTYPE)
    logit += product(step, _columns(q_mixed, width, room, head, WIDTH), DTYPE, PRECISION)
    # GROUP parts of the mix side by side in one product; a thread has all of them for its heads, and adds them up itself.
    line, column = tl.arange(0, WIDTH), tl.arange(0, GROUP * HEADS)
    columns = q_mixed + (1 + column // HEADS)[None, :] * (width * room) + line[:, None] * room
    columns += (tl.program_id(1) * HEADS + column % HEADS)[None, :]
    shares = z + number[:, None] * mixes + tl.arange(0, GROUP)[None, :]
    for mix in range(0, mixes, GROUP):
        right = tl.load(columns + mix * (width * room), mask=(line < width)[:, None], other=0.0)
        parts = tl.reshape(product(step, right, DTYPE, PRECISION), [TILE, GROUP, HEADS])
        logit += tl.sum(parts * tl.load(shares + mix).to(tl.float32)[:, :, None], 1)

    # The unigrams' parts, and what the norm does.
    logit += tl.load(s + token, mask=inside, other=0.0)[:, None] * tl.load(e_second + place)
    logit += tl.load(s_before + token, mask=inside, other=0.0)[:, None] * tl.load(e_first + place)
    logit -= tl.load(mean + token, mask=inside, other=0.0)[:, None] * tl.load(q_sums + head)[None, :]
    logit = logit * tl.load(deviation + token, mask=inside, other=0.0)[:, None] + tl.load(q_constant + head)[None, :]
    mask = inside[:, None] & (head < H)[None, :]
    tl.store(logits + head.to(tl.int64)[None, :] * S + token[:, None], logit, mask=mask)
