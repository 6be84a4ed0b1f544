"""One token through the model as Triton launches: the functions of `reference`, same arguments and results."""

# mypy: ignore-errors

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton

from gfqa.kernels.decode_step import triton_gold_kernels as gold
from gfqa.kernels.decode_step import triton_kernels as kernels


@dataclass
class Launch:
    """How matrix rows are spread. rows: of a program, by the columns they have (numbers of a tile / warps of 32 threads).

    tile: numbers of a program's tile at most; warps: of a program; spread: programs wanted, so that short matrices fill the
    chip too; lines: rows of a low-rank matrix read at once; early: start a launch before the one ahead has ended.
    mix_apart: from this width on, a low-rank mix has a launch of its own: done again in every program, it would be most of what
    the programs read.
    """

    tile: int = 16384
    warps: int = 4
    spread: int = 128
    lines: int = 8
    early: bool = True
    mix_apart: int = 1024


LAUNCH = Launch()


def embed(token, table, norm, x, e, o, o_before, kappa, kappa_before, ids, length, scale, memory, unit):
    """See `reference.embed`."""
    weight, bias, eps = norm
    _run(
        kernels.embed_kernel, (1,), x, token, table, weight, bias, x, e, o, o_before, kappa, kappa_before, ids, length,
        x if scale is None else scale, memory, eps, unit, C=len(x), BLOCK=_block(len(x)), SCALED=scale is not None,
    )  # fmt: skip


def shifted_low(x, shift, norm, mix, w1, z, low):
    """See `reference.shifted_low`."""
    weight, bias, eps = norm
    c, n = len(x), len(low)
    rows = _rows(n, c)
    _run(kernels.shifted_low_kernel, (triton.cdiv(n, rows),), x, x, shift, weight, bias, mix, w1, z, low, eps, n,
         C=c, BLOCK=_block(c), ROWS=rows)  # fmt: skip


def finch_products(z, shift, low, mixes, w2, matrices, order, out):
    """See `reference.finch_products`."""
    c, a = len(z), len(matrices[4])
    b = 0 if matrices[5] is None else len(matrices[5])
    rows = _rows(4 * c, c)
    grid = 4 * triton.cdiv(c, rows) + triton.cdiv(a, rows) + triton.cdiv(b, rows)
    mixed = _mixed(z, shift, low, mixes, w2)
    last = matrices[4] if matrices[5] is None else matrices[5]
    _run(
        kernels.finch_products_kernel, (grid,), z, z, shift, low, mixes, w2, *matrices[:5], last, mixed, out, a, b,
        MIX_R=order[0], MIX_K=order[1], MIX_V=order[2], MIX_F=order[3], MIX_A=order[4],
        C=c, INNER=w2.shape[1], BLOCK=_block(c), ROWS=rows, LINES=LAUNCH.lines,
        READY=mixed is not z,
    )  # fmt: skip


def finch_state(products, w2, bias, bonus, norm, state, z, shift, y, floor, scale_keys):
    """See `reference.finch_state`."""
    heads, n = state.shape[:2]
    second = w2[1] is not None
    weight, offset, eps = norm
    rows = min(16, n) if second else n
    a, b = len(w2[0]), len(w2[1]) if second else 0
    _run(
        kernels.finch_state_kernel, (heads, n // rows), z, products, w2[0], w2[1] if second else w2[0], bias, bonus,
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


def channel_keys(x, shift, norm, mixes, matrices, z, hidden, gate):
    """See `reference.channel_keys`."""
    weight, bias, eps = norm
    c, f = len(x), len(hidden)
    rows = _rows(f + c, c)
    _run(
        kernels.channel_keys_kernel, (triton.cdiv(f, rows) + triton.cdiv(c, rows),), x, x, shift, weight, bias, *mixes,
        *matrices, z, hidden, gate, eps, C=c, F=f, BLOCK=_block(c), ROWS=rows,
    )  # fmt: skip


def channel_values(hidden, gate, w, x, z, shift):
    """See `reference.channel_values`."""
    c, f = w.shape
    rows = _rows(c, f)
    _run(kernels.channel_values_kernel, (triton.cdiv(c, rows),), x, hidden, gate, w, x, z, shift,
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
    )  # fmt: skip


def own_rows(mixed, low, w2, norm, own, length):
    """See `reference.own_rows`."""
    weight, bias, eps = norm
    c, (layers, _, n) = mixed.shape[-1], low.shape
    _run(
        gold.own_rows_kernel, (2 * layers,), mixed, mixed, low, w2, weight, bias, own, length, eps, own.stride(1),
        C=c, INNER=n, BLOCK=_block(c), LINES=2 * LAUNCH.lines, num_warps=8,
    )  # fmt: skip


def query(z, shift, low, mix, w2, w, raw):
    """See `reference.query`."""
    c = len(z)
    rows = _rows(c, c)
    mixed = _mixed(z, shift, low, mix.view(1, c), w2.view(1, -1, c))
    _run(gold.query_kernel, (triton.cdiv(c, rows),), z, z, shift, low, mix, w2, w, mixed, raw,
         C=c, INNER=len(low), BLOCK=_block(c), ROWS=rows, LINES=LAUNCH.lines, READY=mixed is not z)  # fmt: skip


def query_norm(raw, norm, scale, z, shift, q):
    """See `reference.query_norm`."""
    weight, bias, eps = norm
    c = len(raw)
    _run(gold.query_norm_kernel, (1,), raw, raw, weight, bias, raw if scale is None else scale, z, shift, q, eps,
         C=c, BLOCK=_block(c), SCALED=scale is not None)  # fmt: skip


def logits(x, norm, w, out):
    """See `reference.logits`."""
    weight, bias, eps = norm
    c, v = len(x), len(out)
    rows = _rows(v, c)
    _run(kernels.logits_kernel, (triton.cdiv(v, rows),), x, x, weight, bias, w, out, eps, v,
         C=c, BLOCK=_block(c), ROWS=rows)  # fmt: skip


def _mixed(z, shift, low, mixes, w2):
    """Inputs [groups, C], z mixed with the shift, where they are made apart; else z itself."""
    c, groups = len(z), len(mixes)
    if c < LAUNCH.mix_apart:
        return z
    mixed = torch.empty((groups, c), dtype=torch.float32, device=z.device)
    _run(kernels.mixed_kernel, (triton.cdiv(c, 128), groups), z, z, shift, low, mixes, w2, mixed,
         C=c, INNER=w2.shape[1], LINES=_block(w2.shape[1]), COLUMNS=128)  # fmt: skip
    return mixed


def _run(kernel, grid, where, *arguments, num_warps=None, **constants):
    early = LAUNCH.early and where.is_cuda
    options = {"launch_pdl": True} if early else {}
    with torch.cuda.device_of(where):
        kernel[grid](*arguments, **constants, EARLY=early, num_warps=num_warps or LAUNCH.warps, **options)


def _block(n):
    return max(16, triton.next_power_of_2(n))


def _rows(n_rows, n_columns):
    """Rows of a program: few enough for its tile and for `spread` programs, a power of two."""
    fitting = max(1, LAUNCH.tile // _block(n_columns))
    wanted = max(1, n_rows // LAUNCH.spread)
    return min(fitting, 1 << (wanted.bit_length() - 1))
