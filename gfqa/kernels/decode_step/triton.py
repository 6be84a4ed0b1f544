"""One token through the model as Triton launches: the functions of `reference`, same arguments and results."""

# mypy: ignore-errors

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import triton

from gfqa.kernels.decode_step import triton_finch_kernels as finch
from gfqa.kernels.decode_step import triton_gold_kernels as gold
from gfqa.kernels.decode_step import triton_kernels as kernels
from gfqa.kernels.decode_step.early import begins_early
from gfqa.kernels.decode_step.triton_scan_kernels import gold_scan_kernel
from gfqa.kernels.gold_attention import triton as attention

COLUMNS = 128
"""Columns of a program that has all rows of a low-rank matrix, or no matrix."""


@dataclass(frozen=True)
class Shape:
    """How the rows of a kind of product are spread.

    tile: numbers of a program's rows at most; warps: of a program; spread: programs wanted, so that short matrices fill the
    chip too; turns: tiles of a program, one after the other, where a kernel has that.
    """

    tile: int = 16384
    warps: int = 4
    spread: int = 128
    turns: int = 1


@dataclass
class Launch:
    """Shapes, all measured choices; and for models of any width how launches begin.

    low: products before a tanh; gathered: a channel mix that adds up the heads' shares of a GOLD layer's output itself;
    output: those shares; sums_apart: they are added up in a launch of their own: in a wide model they would be most of what
    is read. early: start a launch before the one ahead has ended; ahead: a scan started early asks L2 for what it reads
    first, soon: so many tiles of keys a program.
    """

    low: Shape = Shape()
    products: Shape = Shape()
    project: Shape = Shape(warps=2, spread=192)
    keys: Shape = Shape()
    values: Shape = Shape(tile=8192, warps=2)
    gathered: Shape = Shape(tile=32768, warps=8, spread=96)
    output: Shape = Shape(warps=8)
    logits: Shape = Shape()
    early: bool = True
    ahead: bool = True
    soon: int = 1
    sums_apart: bool = False

    def reshaped(self, **changes: int) -> Launch:
        """A copy whose every shape has these numbers instead."""
        shapes = {name: replace(value, **changes) for name, value in vars(self).items() if isinstance(value, Shape)}
        return replace(self, **shapes)


WIDE = 1024
LAUNCH = Launch()
WIDE_LAUNCH = Launch(
    low=Shape(spread=40),
    products=Shape(tile=8192, turns=4),
    project=Shape(warps=8),
    keys=Shape(tile=8192, turns=8),
    values=Shape(tile=8192, warps=8, turns=2),
    sums_apart=True,
)
"""For models of width WIDE and more."""


def launch_of(width: int) -> Launch:
    """How a model of a width is launched."""
    return WIDE_LAUNCH if width >= WIDE else LAUNCH


def embed(token, table, norm, x, e, o, o_before, kappa, kappa_before, ids, length, scale, memory, unit):
    """See `reference.embed`."""
    weight, bias, eps = norm
    _run(
        kernels.embed_kernel, (1,), x, token, table, weight, bias, x, e, o, o_before, kappa, kappa_before, ids, length,
        x if scale is None else scale, memory, eps, unit, C=len(x), COLS=_cols(len(x)), SCALED=scale is not None, first=True,
    )  # fmt: skip


def finch_products(x, shift, norm, mix, w1, mixes, w2, matrices, order, z, out):
    """See `reference.finch_products`."""
    c, a = len(x), len(matrices[4])
    b = 0 if matrices[5] is None else len(matrices[5])
    mixed = _mixed(x, shift, norm, mix, w1, mixes, w2, z)
    shape = launch_of(c).products
    rows = _rows(4 * c, c, shape)
    grid = sum(triton.cdiv(n, rows * shape.turns) for n in (c, c, c, c, a, b))
    last = matrices[4] if matrices[5] is None else matrices[5]
    _run(
        finch.finch_products_kernel, (grid,), x, mixed, *matrices[:5], last, out, a, b, MIX_R=order[0], MIX_K=order[1],
        MIX_V=order[2], MIX_F=order[3], MIX_A=order[4], C=c, COLS=_cols(c), ROWS=rows, TURNS=shape.turns,
        shape=shape,
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
    rows = _rows(c, c, launch_of(c).project)
    weight, bias, eps = norm or (x, x, 0.0)
    _run(kernels.project_kernel, (triton.cdiv(c, rows),), x, y, weight, bias, w, x, eps,
         C=c, COLS=_cols(c), ROWS=rows, NORM=norm is not None, shape=launch_of(c).project)  # fmt: skip


def channel_keys(x, shares, shift, norm, mixes, matrices, middle, z, hidden, gate):
    """See `reference.channel_keys`."""
    weight, bias, eps = norm
    c, f, launch = len(x), len(hidden), launch_of(len(x))
    parts, stats, (*of_norm, output_eps) = shares or (x, x, (x, x, 0.0))
    heads = len(parts) if shares else 1
    ready = shares is None or launch.sums_apart
    output = {"C": c, "HEADS": heads, "HEAD_BLOCK": _block(heads)}
    if ready and shares:
        _run(kernels.gather_kernel, (triton.cdiv(c, COLUMNS),), x, x, parts, stats, *of_norm, middle, output_eps,
             COLUMNS=COLUMNS, **output)  # fmt: skip
    shape = launch.keys if ready else launch.gathered
    rows = _rows(f + c, c, shape)
    _run(
        kernels.channel_keys_kernel, (sum(triton.cdiv(n, rows * shape.turns) for n in (f, c)),), x, x, parts, stats, *of_norm,
        shift, weight, bias, *mixes, *matrices, middle, z, hidden, gate, output_eps, eps, F=f, COLS=_cols(c), ROWS=rows,
        TURNS=shape.turns, READY=ready, shape=shape, **output,
    )  # fmt: skip


def channel_values(hidden, gate, w, middle, z, x, shift):
    """See `reference.channel_values`."""
    c, f = w.shape
    shape = launch_of(c).values
    rows = _rows(c, f, shape)
    _run(kernels.channel_values_kernel, (triton.cdiv(c, rows * shape.turns),), x, hidden, gate, w, middle, z, x, shift,
         C=c, F=f, COLS=_cols(f), ROWS=rows, TURNS=shape.turns, shape=shape)  # fmt: skip


def cache_key(x, e, o, o_before, matrices, mixes, w1, compressed, length, raw, low):
    """See `reference.cache_key`."""
    c, width, (layers, n) = len(x), len(matrices[0]), low.shape
    rows = _rows(width + c + layers * n, c)
    grid = triton.cdiv(width, rows) + triton.cdiv(c, rows) + layers * triton.cdiv(n, rows)
    _run(
        gold.cache_key_kernel, (grid,), x, x, e, o, o_before, *matrices, mixes, w1, compressed, length, raw, low, layers,
        n, C=c, WIDTH=width, COLS=_cols(c), ROWS=rows,
    )  # fmt: skip


def decompress(compressed, length, w, raw):
    """See `reference.decompress`."""
    c, width = len(raw), compressed.shape[1]
    rows = _rows(c, width)
    _run(gold.decompress_kernel, (triton.cdiv(c, rows),), raw, compressed, length, w, raw,
         C=c, WIDTH=width, COLS=_cols(width), ROWS=rows)  # fmt: skip


def own_mixed(raw, kappa, kappa_before, o, o_before, low, mixes, w2, mixed):
    """See `reference.own_mixed`."""
    c, layers, inner = len(raw), len(mixed), w2.shape[2]
    _run(
        gold.own_mixed_kernel, (triton.cdiv(c, COLUMNS), 2 * layers), raw, raw, kappa, kappa_before, o, o_before, low, mixes,
        w2, mixed, C=c, INNER=inner, COLS=_cols(c), LINES=_block(inner), COLUMNS=COLUMNS,
    )  # fmt: skip


def own_low(mixed, w1, low):
    """See `reference.own_low`."""
    layers, _, n, c = w1.shape
    rows = _rows(2 * layers * n, c)
    _run(
        gold.own_low_kernel, (triton.cdiv(n, rows), 2 * layers), mixed, mixed, w1, low, n, C=c, COLS=_cols(c), ROWS=rows
    )


def own_sums(mixed, low, w2):
    """See `reference.own_sums`."""
    layers, _, n, c = w2.shape
    _run(gold.own_sums_kernel, (triton.cdiv(c, COLUMNS), 2 * layers), mixed, mixed, low, w2,
         C=c, INNER=n, LINES=_block(n), COLUMNS=COLUMNS)  # fmt: skip


def own_rows(mixed, norm, own, length):
    """See `reference.own_rows`."""
    weight, bias, eps = norm
    layers, _, c = mixed.shape
    _run(gold.own_rows_kernel, (2 * layers,), mixed, mixed, weight, bias, own, length, eps, own.stride(1),
         C=c, COLS=_cols(c))  # fmt: skip


def query(x, shift, norm, mix, w1, mix_q, w2, w, z, raw):
    """See `reference.query`."""
    c = len(x)
    mixed = _mixed(x, shift, norm, mix, w1, mix_q.view(1, c), w2.unsqueeze(0), z)
    rows = _rows(c, c, launch_of(c).project)
    _run(gold.query_kernel, (triton.cdiv(c, rows),), x, mixed, w, raw,
         C=c, COLS=_cols(c), ROWS=rows, shape=launch_of(c).project)  # fmt: skip


def query_norm(raw, norm, scale, q):
    """See `reference.query_norm`."""
    weight, bias, eps = norm
    c = len(raw)
    _run(gold.query_norm_kernel, (1,), raw, raw, weight, bias, _or(scale, raw), q, eps,
         C=c, COLS=_cols(c), SCALED=scale is not None)  # fmt: skip


def gold_scan(raw, norm, scale, own, length, memory, logits):
    """See `reference.gold_scan`."""
    weight, bias, eps = norm
    (heads, size, n), c, launch = memory.keys.shape, len(raw), attention.ONE
    own_tiles, own_parts = attention.own_shares(own.shape[1])
    tiles, parts = attention.shares(
        triton.cdiv(size, launch.tile), heads, launch.per_processor, raw.device, short=attention.SHORT
    )
    parts += own_parts
    partials = attention.Partials.empty(heads, parts, n, raw.device)
    peaks, sums, outs = partials.peaks, partials.sums, partials.outs
    keys, values = memory.keys, memory.values
    _run(
        gold_scan_kernel, (heads, parts), raw, raw, weight, bias, _or(scale, raw), own, length, keys,
        _or(memory.key_scales, keys), values, _or(memory.value_scales, values), memory.bigram, memory.offsets, peaks, sums,
        outs, _or(logits, raw), size, values.shape[1], tiles, own_tiles, own_parts, parts, own.stride(0),
        attention.logit_factor(n), eps, C=c, N=n, COLS=_cols(c), OWN_TILE=attention.OWN_TILE, TILE=launch.tile,
        VALUE_ROWS=launch.value_rows, KEY_SCALES=memory.key_scales is not None,
        VALUE_SCALES=memory.value_scales is not None, INTEGER=launch.integer and keys.dtype == torch.int8 and n >= 32,
        KEYS_FIRST=launch.keys_first, AHEAD=launch.ahead, MASS=logits is not None, SCALED=scale is not None, SOON=LAUNCH.soon,
        WHOLE=size >= launch.tile,
        ASK=2 * raw.is_cuda,
        num_warps=launch.warps, num_stages=launch.stages, registers=launch.registers,
    )  # fmt: skip
    return peaks, sums, outs


def gold_output(partials, gain, w, z, shift, parts, stats, totals):
    """See `reference.gold_output`."""
    peaks, sums, outs = partials
    (heads, n_parts), n, c = peaks.shape, outs.shape[-1], len(z)
    rows = _rows(heads * c, n, launch_of(c).output)
    _run(
        gold.gold_output_kernel, (heads, triton.cdiv(c, rows)), z, peaks, sums, outs, gain, w, z, shift, parts, stats,
        totals, n_parts, C=c, N=n, ROWS=rows, PARTS=max(2, triton.next_power_of_2(n_parts)),
        shape=launch_of(c).output,
    )  # fmt: skip


def logits(x, norm, w, out):
    """See `reference.logits`."""
    weight, bias, eps = norm
    c, v, shape = len(x), len(out), launch_of(len(x)).logits
    rows = _rows(v, c, shape)
    _run(kernels.logits_kernel, (triton.cdiv(v, rows * shape.turns),), x, x, weight, bias, w, out, eps, v,
         C=c, COLS=_cols(c), ROWS=rows, TURNS=shape.turns, shape=shape)  # fmt: skip


def _mixed(x, shift, norm, mix, w1, mixes, w2, z):
    """Inputs [groups, C] of products, as `reference_parts.mixed_inputs`; z is made too."""
    weight, bias, eps = norm
    c, groups, n = len(x), len(mixes), len(w1)
    low = torch.empty(n, dtype=torch.float32, device=x.device)
    rows = _rows(n, c, launch_of(c).low)
    _run(finch.shifted_low_kernel, (triton.cdiv(n, rows),), x, x, shift, weight, bias, mix, w1, z, low, eps, n,
         C=c, COLS=_cols(c), ROWS=rows, shape=launch_of(c).low)  # fmt: skip
    mixed = torch.empty((groups, c), dtype=torch.float32, device=x.device)
    _run(finch.mixed_kernel, (triton.cdiv(c, COLUMNS), groups), x, z, shift, low, mixes, w2, mixed,
         C=c, INNER=w2.shape[1], LINES=_block(w2.shape[1]), COLUMNS=COLUMNS)  # fmt: skip
    return mixed


def _run(
    kernel, grid, where, *arguments, shape=None, first=False, num_warps=None, num_stages=3, registers=None, **constants
):
    """first: of a step: what the last step left is there for this launch and, since they begin after it, for all others.

    Without a first launch ahead of it, an early one may read what is still being written.
    """
    shape = shape or Shape()
    early = LAUNCH.early and begins_early(where.device)
    options = {"launch_pdl": True} if early and not first else {}
    options |= {"num_warps": num_warps or shape.warps, "num_stages": num_stages, "maxnreg": registers}
    with torch.cuda.device_of(where):
        kernel[grid](*arguments, **constants, EARLY=early * (1 + LAUNCH.ahead), **options)


def _or(tensor, other):
    """A kernel argument that is not read needs some tensor all the same."""
    return other if tensor is None else tensor


def _block(n):
    return max(16, triton.next_power_of_2(n))


def _cols(n):
    """Columns of a part of a vector [n]: a power of two so that parts are few and little is computed beyond n."""
    sizes = [1 << power for power in range(4, 11)]
    return min(sizes, key=lambda size: triton.cdiv(n, size) * (size + 48))


def _rows(n_rows, n_columns, shape=None):
    """Rows of a program: few enough for its tile and for `spread` programs, a power of two."""
    shape, width = shape or Shape(), _cols(n_columns)
    wanted = min(n_rows // (shape.spread * shape.turns), shape.tile // (triton.cdiv(n_columns, width) * width))
    return 1 << (max(1, wanted).bit_length() - 1)
