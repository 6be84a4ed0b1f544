"""One token through the model as Triton launches: the functions of `reference`, same arguments and results."""

# mypy: ignore-errors

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton

from gfqa.kernels.decode_step import triton_finch_kernels as finch
from gfqa.kernels.decode_step import triton_gold_kernels as gold
from gfqa.kernels.decode_step import triton_kernels as kernels
from gfqa.kernels.decode_step.triton_scan_kernels import gold_scan_kernel
from gfqa.kernels.gold_attention import triton as attention


@dataclass
class Launch:
    """How matrix rows are spread. rows: of a program, by the columns they have (numbers of a tile / warps of 32 threads).

    tile: numbers of a program's tile at most; warps: of a program; spread: programs wanted, so that short matrices fill the
    chip too; lines: rows of a low-rank matrix read at once by 4 warps; early: start a launch before the one ahead has
    ended; ahead: a launch started early asks L2 for what it has no registers for, soon: so many tiles of a memory's keys a
    program among it.
    low_warps, low_spread, low_registers: where every program multiplies a low-rank mix with its second matrix, as for GOLD's
    queries; registers are those of a thread, at most, of wide models as many as it takes.
    mix_tile, mix_warps, mix_spread, mix_lines: where every program makes its low-rank mix whole, as for a Finch block's
    products, which asks for fewer and larger ones; mix_registers: of a thread at most, so that a program begun early fits
    beside two of the launch before.
    sum_warps, sum_spread, sum_registers: where every program adds up the heads' shares of a GOLD block's output.
    mix_apart: from this width on, mixes and sums have launches of their own: they would be most of what is read.
    """

    tile: int = 16384
    warps: int = 4
    spread: int = 128
    lines: int = 4
    low_warps: int = 4
    low_spread: int = 128
    low_registers: int = 160
    early: bool = True
    ahead: bool = True
    soon: int = 2
    mix_tile: int = 32768
    mix_warps: int = 8
    mix_spread: int = 96
    mix_lines: int = 16
    mix_registers: int = 160
    sum_warps: int = 8
    sum_spread: int = 96
    sum_registers: int = 160
    mix_apart: int = 1024


LAUNCH = Launch()


def embed(token, table, norm, x, e, o, o_before, kappa, kappa_before, ids, length, scale, memory, unit):
    """See `reference.embed`."""
    weight, bias, eps = norm
    _run(
        kernels.embed_kernel, (1,), x, token, table, weight, bias, x, e, o, o_before, kappa, kappa_before, ids, length,
        x if scale is None else scale, memory, eps, unit, C=len(x), BLOCK=_block(len(x)), SCALED=scale is not None,
    )  # fmt: skip


def finch_products(x, shift, norm, mix, w1, mixes, w2, matrices, order, z, out):
    """See `reference.finch_products`."""
    weight, bias, eps = norm
    c, inner, a = len(x), w2.shape[1], len(matrices[4])
    b = 0 if matrices[5] is None else len(matrices[5])
    if c >= LAUNCH.mix_apart:
        mixed, rows, options = _mixed(x, shift, norm, mix, w1, mixes, w2, z)[1], _rows(4 * c, c), {}
    else:
        mixed, options = x, {"num_warps": LAUNCH.mix_warps, "maxnreg": LAUNCH.mix_registers}
        rows = _power(4 * c // LAUNCH.mix_spread, LAUNCH.mix_tile // _block(c))
    grid = 4 * triton.cdiv(c, rows) + triton.cdiv(a, rows) + triton.cdiv(b, rows)
    last = matrices[4] if matrices[5] is None else matrices[5]
    _run(
        finch.finch_products_kernel, (grid,), x, x, shift, weight, bias, mix, w1, mixes, w2, *matrices[:5], last, mixed,
        z, out, eps, a, b, MIX_R=order[0], MIX_K=order[1], MIX_V=order[2], MIX_F=order[3], MIX_A=order[4],
        C=c, INNER=inner, BLOCK=_block(c), ROWS=rows, LINES=min(LAUNCH.mix_lines, triton.next_power_of_2(inner)),
        READY=mixed is not x, **options,
    )  # fmt: skip


def finch_state(products, w2, bias, bonus, norm, state, z, shift, y, floor, scale_keys):
    """See `reference.finch_state`."""
    heads, n = state.shape[:2]
    second = w2[1] is not None
    weight, offset, eps = norm
    rows = min(16, n) if second else n
    a, b = len(w2[0]), len(w2[1]) if second else 0
    _run(
        finch.finch_state_kernel, (heads, n // rows), z, products, w2[0], w2[1] if second else w2[0], bias, bonus,
        weight, offset, state, z, shift, y, eps, floor or 0.0, math.log(-floor) if floor else 0.0, a, b,
        C=heads * n, N=n, ROWS=rows, A=_block(a), B=_block(b), FLOOR=floor is not None, SCALE_KEYS=scale_keys,
        SECOND=second,
    )  # fmt: skip


def project(y, norm, w, x):
    """See `reference.project`."""
    c = len(x)
    rows = _rows(c, c)
    weight, bias, eps = norm or (x, x, 0.0)
    _run(kernels.project_kernel, (triton.cdiv(c, rows),), x, y, weight, bias, w, x, eps,
         C=c, BLOCK=_block(c), ROWS=rows, NORM=norm is not None)  # fmt: skip


def channel_keys(x, shares, shift, norm, mixes, matrices, middle, z, hidden, gate):
    """See `reference.channel_keys`."""
    weight, bias, eps = norm
    c, f = len(x), len(hidden)
    parts, stats, (*of_norm, output_eps) = shares or (x, x, (x, x, 0.0))
    heads = len(parts) if shares else 1
    ready = shares is None or c >= LAUNCH.mix_apart
    output = {"C": c, "HEADS": heads, "HEAD_BLOCK": _block(heads)}
    if ready and shares:
        _run(kernels.gather_kernel, (triton.cdiv(c, 128),), x, x, parts, stats, *of_norm, middle, output_eps,
             COLUMNS=128, **output)  # fmt: skip
    rows, options = _rows(f + c, c), {}
    if not ready:
        options = {"num_warps": LAUNCH.sum_warps, "maxnreg": LAUNCH.sum_registers}
        rows = _power((f + c) // LAUNCH.sum_spread, LAUNCH.mix_tile // _block(c))
    _run(
        kernels.channel_keys_kernel, (triton.cdiv(f, rows) + triton.cdiv(c, rows),), x, x, parts, stats, *of_norm, shift,
        weight, bias, *mixes, *matrices, middle, z, hidden, gate, output_eps, eps, F=f, BLOCK=_block(c), ROWS=rows,
        READY=ready, **output, **options,
    )  # fmt: skip


def channel_values(hidden, gate, w, middle, z, x, shift):
    """See `reference.channel_values`."""
    c, f = w.shape
    rows = _rows(c, f)
    _run(kernels.channel_values_kernel, (triton.cdiv(c, rows),), x, hidden, gate, w, middle, z, x, shift,
         C=c, F=f, BLOCK=_block(f), ROWS=rows)  # fmt: skip


def cache_key(x, e, o, o_before, matrices, mixes, w1, compressed, length, raw, low):
    """See `reference.cache_key`."""
    c, width, (layers, n) = len(x), len(matrices[0]), low.shape
    rows = _rows(width + c + layers * n, c)
    grid = triton.cdiv(width, rows) + triton.cdiv(c, rows) + layers * triton.cdiv(n, rows)
    _run(
        gold.cache_key_kernel, (grid,), x, x, e, o, o_before, *matrices, mixes, w1, compressed, length, raw, low, layers,
        n, C=c, WIDTH=width, BLOCK=_block(c), ROWS=rows,
    )  # fmt: skip


def decompress(compressed, length, w, raw):
    """See `reference.decompress`."""
    c, width = len(raw), compressed.shape[1]
    rows = _rows(c, width)
    _run(gold.decompress_kernel, (triton.cdiv(c, rows),), raw, compressed, length, w, raw,
         C=c, WIDTH=width, BLOCK=_block(width), ROWS=rows)  # fmt: skip


def own_mixed(raw, kappa, kappa_before, o, o_before, low, mixes, w2, w1, mixed, inner_low):
    """See `reference.own_mixed`."""
    c, (layers, _, n) = len(raw), inner_low.shape
    rows = _rows(2 * layers * n, c)
    _run(
        gold.own_mixed_kernel, (triton.cdiv(n, rows), 2 * layers), raw, raw, kappa, kappa_before, o, o_before, low, mixes,
        w2, w1, mixed, inner_low, n, C=c, INNER=w2.shape[2], BLOCK=_block(c), ROWS=rows, LINES=LAUNCH.lines,
        maxnreg=LAUNCH.low_registers if c < LAUNCH.mix_apart else None,
    )  # fmt: skip


def own_rows(mixed, low, w2, norm, own, length):
    """See `reference.own_rows`."""
    weight, bias, eps = norm
    c, (layers, _, n) = mixed.shape[-1], low.shape
    _run(
        gold.own_rows_kernel, (2 * layers,), mixed, mixed, low, w2, weight, bias, own, length, eps, own.stride(1),
        C=c, INNER=n, BLOCK=_block(c), LINES=16, num_warps=8,
    )  # fmt: skip


def query(x, shift, norm, mix, w1, mix_q, w2, w, z, raw):
    """See `reference.query`."""
    c, inner = len(x), len(w2)
    low, mixed = _mixed(x, shift, norm, mix, w1, mix_q.view(1, c), w2.view(1, inner, c), z)
    rows, options = _rows(c, c), {}
    if mixed is None:
        options = {"num_warps": LAUNCH.low_warps, "maxnreg": LAUNCH.low_registers}
        rows = _power(c // LAUNCH.low_spread, LAUNCH.tile * LAUNCH.low_warps // 4 // _block(c))
    _run(
        gold.query_kernel, (triton.cdiv(c, rows),), x, z, shift, low, mix_q, w2, w, _or(mixed, z), raw, C=c, INNER=inner,
        BLOCK=_block(c), ROWS=rows, LINES=LAUNCH.lines * LAUNCH.low_warps // 4, READY=mixed is not None, **options,
    )  # fmt: skip


def query_norm(raw, norm, scale, q):
    """See `reference.query_norm`."""
    weight, bias, eps = norm
    c = len(raw)
    _run(gold.query_norm_kernel, (1,), raw, raw, weight, bias, _or(scale, raw), q, eps,
         C=c, BLOCK=_block(c), SCALED=scale is not None)  # fmt: skip


def gold_scan(raw, norm, scale, own, length, memory, logits):
    """See `reference.gold_scan`."""
    weight, bias, eps = norm
    (heads, size, n), c, launch = memory.keys.shape, len(raw), attention.ONE
    own_tiles, own_parts = attention.own_shares(own.shape[1])
    tiles, parts = attention.shares(
        triton.cdiv(size, launch.tile), heads, launch.per_processor, raw.device, beside=own_parts
    )
    parts += own_parts
    partials = attention.Partials.empty(heads, parts, n, raw.device)
    peaks, sums, outs = partials.peaks, partials.sums, partials.outs
    keys, values = memory.keys, memory.values
    _run(
        gold_scan_kernel, (heads, parts), raw, raw, weight, bias, _or(scale, raw), own, length, keys,
        _or(memory.key_scales, keys), values, _or(memory.value_scales, values), memory.bigram, memory.offsets, peaks, sums,
        outs, _or(logits, raw), size, values.shape[1], tiles, own_tiles, own_parts, parts, own.stride(0),
        attention.logit_factor(n), eps, C=c, N=n, BLOCK=_block(c), OWN_TILE=attention.OWN_TILE, TILE=launch.tile,
        VALUE_ROWS=launch.value_rows, KEY_SCALES=memory.key_scales is not None,
        VALUE_SCALES=memory.value_scales is not None, INTEGER=launch.integer and keys.dtype == torch.int8 and n >= 32,
        KEYS_FIRST=launch.keys_first, AHEAD=launch.ahead, MASS=logits is not None, SCALED=scale is not None, SOON=LAUNCH.soon,
        num_warps=launch.warps, num_stages=launch.stages,
    )  # fmt: skip
    return peaks, sums, outs


def gold_output(partials, gain, w, z, shift, parts, stats, totals):
    """See `reference.gold_output`."""
    peaks, sums, outs = partials
    (heads, n_parts), n, c = peaks.shape, outs.shape[-1], len(z)
    rows = _rows(heads * c, n)
    _run(
        gold.gold_output_kernel, (heads, triton.cdiv(c, rows)), z, peaks, sums, outs, gain, w, z, shift, parts, stats,
        totals, n_parts, C=c, N=n, ROWS=rows, PARTS=max(2, triton.next_power_of_2(n_parts)), num_warps=8,
    )  # fmt: skip


def logits(x, norm, w, out):
    """See `reference.logits`."""
    weight, bias, eps = norm
    c, v = len(x), len(out)
    rows = _rows(v, c)
    _run(kernels.logits_kernel, (triton.cdiv(v, rows),), x, x, weight, bias, w, out, eps, v,
         C=c, BLOCK=_block(c), ROWS=rows)  # fmt: skip


def _mixed(x, shift, norm, mix, w1, mixes, w2, z):
    """(low, mixed): z and low are made, and from `mix_apart` on inputs [groups, C] of products too, else None."""
    weight, bias, eps = norm
    c, groups, n = len(x), len(mixes), len(w1)
    low = torch.empty(n, dtype=torch.float32, device=x.device)
    rows = _rows(n, c)
    _run(finch.shifted_low_kernel, (triton.cdiv(n, rows),), x, x, shift, weight, bias, mix, w1, z, low, eps, n,
         C=c, BLOCK=_block(c), ROWS=rows)  # fmt: skip
    if c < LAUNCH.mix_apart:
        return low, None
    mixed = torch.empty((groups, c), dtype=torch.float32, device=x.device)
    _run(finch.mixed_kernel, (triton.cdiv(c, 128), groups), x, z, shift, low, mixes, w2, mixed,
         C=c, INNER=w2.shape[1], LINES=_block(w2.shape[1]), COLUMNS=128)  # fmt: skip
    return low, mixed


def _run(kernel, grid, where, *arguments, num_warps=None, num_stages=3, maxnreg=None, **constants):
    early = LAUNCH.early and where.is_cuda
    options = {"launch_pdl": True} if early else {}
    options |= {"num_warps": num_warps or LAUNCH.warps, "num_stages": num_stages, "maxnreg": maxnreg}
    with torch.cuda.device_of(where):
        kernel[grid](*arguments, **constants, EARLY=early * (1 + LAUNCH.ahead), **options)


def _or(tensor, other):
    """A kernel argument that is not read needs some tensor all the same."""
    return other if tensor is None else tensor


def _block(n):
    return max(16, triton.next_power_of_2(n))


def _rows(n_rows, n_columns):
    """Rows of a program: few enough for its tile and for `spread` programs, a power of two."""
    return _power(n_rows // LAUNCH.spread, LAUNCH.tile // _block(n_columns))


def _power(wanted, most):
    """The power of two at or below both, 1 at least."""
    return 1 << (max(1, min(wanted, most)).bit_length() - 1)
