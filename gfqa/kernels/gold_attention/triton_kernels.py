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

LOWEST = tl.constexpr(-1e38)
"""Where the running maximum starts: finite, so that a program that saw no key leaves zeros and not NaN."""
SLACK = tl.constexpr(8.0)
"""How far (powers of two) a logit may be above what weights are relative to, before what is summed so far is shrunk."""


@triton.jit
def ask_for(base, n, SIZE: tl.constexpr, ASK: tl.constexpr):
    """Bring n numbers to L2, SIZE (a power of two) at most; nothing where ASK is not 2, as in Triton's interpreter."""
    if ASK == 2:
        line: tl.constexpr = 1024 // base.dtype.element_ty.primitive_bitwidth
        place = base + tl.minimum(line * tl.arange(0, SIZE // line if line < SIZE else 1), n - 1)
        tl.inline_asm_elementwise(
            "{ prefetch.global.L2 [$1]; mov.u32 $0, 0; }", "=r,l", [place.to(tl.int64)], tl.int32, False, 1
        )


@triton.jit
def product(a, b, DTYPE: tl.constexpr, PRECISION: tl.constexpr):
    """Matrix product of operands rounded to DTYPE, summed in float32."""
    a, b = a.to(DTYPE), b.to(DTYPE)
    if PRECISION == "interpreted":
        # Triton's interpreter would multiply the bit patterns of bfloat16 operands.
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def digits(x):
    """x [rows, N] as (128 * high + low) * unit: two int8 tiles and the unit [rows]."""
    unit = tl.maximum(tl.max(tl.abs(x), 1), 1e-30) / 16256.0
    whole = tl.floor(x / unit[:, None] + 0.5)
    high = tl.floor(whole / 128.0 + 0.5)
    return high.to(tl.int8), (whole - 128.0 * high).to(tl.int8), unit


@triton.jit
def leave(peaks, sums, outs, place, inside, peak, total, out, N: tl.constexpr):
    """Write the partial results of rows at `place`."""
    channel = tl.arange(0, N)
    tl.store(peaks + place, peak, mask=inside)
    tl.store(sums + place, total, mask=inside)
    tl.store(outs + place.to(tl.int64)[:, None] * N + channel[None, :], out, mask=inside[:, None])


@triton.jit
def _value_rows(values, scales, offsets, first, row, count, start, limit, N: tl.constexpr, SCALED: tl.constexpr):
    """Rows of values [rows, N] (zero beyond count), their scales, and where their tokens begin and end in the tile."""
    inside = row < count
    channel = tl.arange(0, N)
    # One number for a whole tile moves the pointers, what is added to them stays the same from tile to tile.
    values += first.to(tl.int64) * N
    offsets += first
    tile = tl.load(values + (row[:, None] * N + channel[None, :]), mask=inside[:, None], other=0)
    begin = tl.maximum(tl.load(offsets + row, mask=inside, other=0) - start, 0)
    end = tl.minimum(tl.load(offsets + row + 1, mask=inside, other=0) - start, limit)
    scale = tl.where(inside, 1.0, 0.0)
    if SCALED:
        scale = tl.load(scales + first + row, mask=inside, other=0.0).to(tl.float32)
    return tile, scale, begin, end


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
    """out [ROWS, N] plus the values of ROWS bigrams, as `_value_rows` gives them, each times its tokens' weights.

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
            value, value_scale, value_begin, value_end = _value_rows(
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
            value, value_scale, value_begin, value_end = _value_rows(
                values, value_scales, offsets, first, row, count, start, limit, N, VALUE_SCALES
            )
        out = _add_one(out, reached, value, value_scale, value_begin, value_end, ASK == 2)
        for more in tl.static_range(1, TILE // VALUE_ROWS):
            if more * VALUE_ROWS < count:
                value, value_scale, value_begin, value_end = _value_rows(
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


@triton.jit
def _add_rows(out, weight, token, values, scales, offsets, first, count, start, limit, part, N: tl.constexpr,
              ROWS: tl.constexpr, SCALED: tl.constexpr, DTYPE: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """out [rows, N] plus the values of ROWS bigrams, times the sums of their tokens' weights [rows, TILE]."""
    row = part * ROWS + tl.arange(0, ROWS)
    tile, scale, begin, end = _value_rows(values, scales, offsets, first, row, count, start, limit, N, SCALED)
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
