"""Triton kernel of GOLD attention for one query over a memory sorted by bigram.

A program owns one head and a share of the memory, see `triton_kernels`. Most of its time is instructions and not memory, so
masks, conversions and rescalings that can be left out are.
"""

# mypy: ignore-errors

import triton
import triton.language as tl

from gfqa.kernels.gold_attention.triton_parts import LOWEST, ask_for, digits, value_rows

SLACK = tl.constexpr(8.0)
"""How far (powers of two) a logit may be above what weights are relative to, before what is summed so far is shrunk."""


@triton.jit
def widened(tile, ASM: tl.constexpr = False):
    """A tile of values in float32; bytes become the low bits of 2^23 + 128 + code, which takes no slow conversion."""
    if tile.dtype == tl.int8 and ASM:
        # Four bytes of a register at once; the compiler would turn each one's sign by itself.
        return tl.inline_asm_elementwise(
            """{
            .reg .b32 b;
            xor.b32 b, $4, 0x80808080;
            prmt.b32 $0, b, 0x4B000000, 0x7540;
            prmt.b32 $1, b, 0x4B000000, 0x7541;
            prmt.b32 $2, b, 0x4B000000, 0x7542;
            prmt.b32 $3, b, 0x4B000000, 0x7543;
            sub.f32 $0, $0, 0f4B000080;
            sub.f32 $1, $1, 0f4B000080;
            sub.f32 $2, $2, 0f4B000080;
            sub.f32 $3, $3, 0f4B000080;
            }""",
            "=&r,=&r,=&r,=&r,r", [tile], tl.float32, True, 4,
        )  # fmt: skip
    elif tile.dtype == tl.int8:
        bits = tile.to(tl.uint8, bitcast=True).to(tl.int32) ^ 0x4B000080
        return bits.to(tl.float32, bitcast=True) - 8388736.0
    else:
        return tile.to(tl.float32)


@triton.jit
def _add_one(out, reached, tile, scale, begin, end, ASM: tl.constexpr):
    """out [ROWS, N] plus the values of ROWS bigrams, as `value_rows` gives them, each times its tokens' weights.

    reached: [TILE], the running sum of the weights; a bigram's tokens lie side by side, so its sum is a difference.
    """
    before = tl.where(begin > 0, tl.gather(reached, tl.maximum(begin, 1) - 1, 0), 0.0)
    summed = (tl.gather(reached, tl.maximum(end, 1) - 1, 0) - before) * scale
    return out + summed[:, None] * widened(tile, ASM)


@triton.jit
def scan_share(
    query, keys, key_scales, values, value_scales, bigram, offsets, peaks, sums, outs, logits, S, U, part, tiles, head,
    place, factor, N: tl.constexpr, TILE: tl.constexpr, VALUE_ROWS: tl.constexpr, KEY_SCALES: tl.constexpr,
    VALUE_SCALES: tl.constexpr, INTEGER: tl.constexpr, KEYS_FIRST: tl.constexpr, AHEAD: tl.constexpr,
    GIVEN: tl.constexpr, MASS: tl.constexpr, ASK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """One head's query [N] against share `part` of the memory, into the partial result at `place`; GIVEN: see its logits.

    Sums stay spread over the threads (`total` by place in the tile, `out` by place among the tile's bigrams) and are added
    up once at the end; only the largest logit is looked for tile by tile. WHOLE: the memory is no shorter than a tile.
    """
    channel, token = tl.arange(0, N), tl.arange(0, TILE)
    keys += head * S * N
    key_scales += head * S
    logits += head * S
    values += head * U * N
    value_scales += head * U
    if INTEGER and not GIVEN:
        # Rows 0 and 1 of the query's side of the product are its digits. With keys on the left a token's two products lie in
        # neighbouring columns, which few threads have to exchange.
        line = tl.arange(0, 16)
        high, low, unit = digits(query[None, :] + tl.zeros([16, N], tl.float32))
        both = tl.where((line == 0)[:, None], high, tl.where((line == 1)[:, None], low, 0)).to(tl.int8)
        if KEYS_FIRST:
            both = tl.trans(both)
        place_value = tl.where(line == 0, 128, tl.where(line == 1, 1, 0))
        factor = factor * tl.max(unit, 0)

    peak = tl.full([], LOWEST, tl.float32)
    total = tl.zeros([TILE], tl.float32)
    out = tl.zeros([VALUE_ROWS, N], tl.float32)
    row = tl.arange(0, VALUE_ROWS)
    # A tile's first and last bigram are read a tile ahead: where its values lie depends on them.
    latest = tl.maximum(S - TILE, 0)
    start = tl.minimum(part * tiles * TILE, latest)
    next_first, next_last = tl.load(bigram + start), tl.load(bigram + tl.minimum(start + TILE, S) - 1)
    for tile in range(part * tiles, tl.minimum(part * tiles + tiles, tl.cdiv(S, TILE))):
        # The last tile begins early enough to be whole, if there is one: masks on keys cost a tenth of the instructions.
        start = tl.minimum(tile * TILE, latest)
        if WHOLE:
            limit = TILE
            inside = token >= tile * TILE - start
        else:
            limit = tl.minimum(S - start, TILE)
            inside = token < limit
        first, count = next_first, next_last - next_first + 1
        following = tl.minimum(start + TILE, latest)
        next_first = tl.load(bigram + following)
        next_last = tl.load(bigram + tl.minimum(following + TILE, S) - 1)
        if ASK == 2 and VALUE_ROWS < TILE:  # noqa: SIM102 - known when it is compiled, unlike the count
            if count > VALUE_ROWS:
                # Where bigrams are many, most of a tile's values come in rounds that nothing else asks for.
                ask_for(values + (first + VALUE_ROWS).to(tl.int64) * N, (count - VALUE_ROWS) * N, TILE * N, ASK)
        if AHEAD:
            # Most tiles have no more values than these: they come while the logits are made.
            value, value_scale, value_begin, value_end = value_rows(
                values, value_scales, offsets, first, row, count, start, limit, N, VALUE_SCALES
            )
        if GIVEN:
            logit = tl.load(logits + start + token, mask=inside, other=0.0)
        else:
            numbers = keys + tl.cast(start, tl.int64) * N + (token[:, None] * N + channel[None, :])
            if WHOLE:
                key = tl.load(numbers)
            else:
                key = tl.load(numbers, mask=inside[:, None], other=0)
            if INTEGER:
                if KEYS_FIRST:
                    found = tl.dot(key, both, out_dtype=tl.int32)
                    logit = tl.sum(found * place_value[None, :], 1).to(tl.float32) * factor
                else:
                    found = tl.dot(both, tl.trans(key), out_dtype=tl.int32)
                    logit = tl.sum(found * place_value[:, None], 0).to(tl.float32) * factor
            else:
                logit = tl.sum(key.to(tl.float32) * query[None, :], 1) * factor
            if KEY_SCALES and WHOLE:
                logit *= tl.load(key_scales + start + token).to(tl.float32)
            elif KEY_SCALES:
                logit *= tl.load(key_scales + start + token, mask=inside, other=0.0).to(tl.float32)
            if MASS:
                tl.store(logits + start + token, logit, mask=inside)
        logit = tl.where(inside, logit, float("-inf"))
        highest = tl.max(logit, 0)
        # What weights are relative to need not be the largest logit, only near it.
        if highest > peak + SLACK:
            shrink = tl.exp2(peak - highest)
            total *= shrink
            out *= shrink
            peak = highest
        weight = tl.exp2(logit - peak)
        total += weight

        reached = tl.cumsum(weight, 0)
        if not AHEAD:
            value, value_scale, value_begin, value_end = value_rows(
                values, value_scales, offsets, first, row, count, start, limit, N, VALUE_SCALES
            )
        out = _add_one(out, reached, value, value_scale, value_begin, value_end, ASK == 2)
        for more in tl.static_range(1, TILE // VALUE_ROWS):
            if more * VALUE_ROWS < count:
                value, value_scale, value_begin, value_end = value_rows(
                    values, value_scales, offsets, first, more * VALUE_ROWS + row, count, start, limit, N, VALUE_SCALES
                )
                out = _add_one(out, reached, value, value_scale, value_begin, value_end, ASK == 2)

    tl.store(peaks + place, peak)
    tl.store(sums + place, tl.sum(total, 0))
    tl.store(outs + place * N + channel, tl.sum(out, 0))


@triton.jit(do_not_specialize=["tiles", "parts", "offset"])
def scan_one_kernel(
    q, keys, key_scales, values, value_scales, bigram, offsets, peaks, sums, outs, logits, S, U, tiles, parts, offset,
    first_row, row_step, factor, q_head_stride,
    N: tl.constexpr, TILE: tl.constexpr, VALUE_ROWS: tl.constexpr, KEY_SCALES: tl.constexpr, VALUE_SCALES: tl.constexpr,
    INTEGER: tl.constexpr, KEYS_FIRST: tl.constexpr, AHEAD: tl.constexpr, GIVEN: tl.constexpr, MASS: tl.constexpr,
    ASK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """One query against one share of the memory; with GIVEN its logits are there already and no key is read.

    The partials' rows are first_row, first_row + row_step, …: one a head.
    """
    head, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    query = tl.zeros([N], tl.float32)
    if not GIVEN:
        query = tl.load(q + head * q_head_stride + tl.arange(0, N)).to(tl.float32)
    scan_share(
        query, keys, key_scales, values, value_scales, bigram, offsets, peaks, sums, outs, logits, S, U, part, tiles, head,
        (first_row + head * row_step) * parts + offset + part, factor,
        N, TILE, VALUE_ROWS, KEY_SCALES, VALUE_SCALES, INTEGER, KEYS_FIRST, AHEAD, GIVEN, MASS, ASK, WHOLE,
    )  # fmt: skip
