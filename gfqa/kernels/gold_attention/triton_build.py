"""Keys and values of a GOLD layer on a GPU: launches of `triton_build_kernels`, the functions of `build`."""

# mypy: ignore-errors

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gfqa.kernels.gold_attention import triton_build_kernels as kernels
from gfqa.kernels.gold_attention.build import CompressedTokens, Mixer, Pairs
from gfqa.kernels.gold_attention.triton import HEAD_SIZES, precision
from gfqa.kernels.gold_attention.triton_memory import SMALLEST_SCALE

SMALLEST_SIDE = 16
"""Of a tensor core's operand."""
RMS_LAUNCH = {"TILE": 128, "num_warps": 8, "num_stages": 3}
LAUNCH = {"TILE": 128, "num_warps": 8, "num_stages": 2}
WIDE_LAUNCH = {**LAUNCH, "TILE": 64}
"""For heads or LoRAs of more than 64: twice the columns, so half the tokens."""
FLOAT32_LAUNCH = {"TILE": 32, "num_warps": 8, "num_stages": 1}
"""For a float32 model, whose operands would not fit the shared memory otherwise; it is slow, and there for comparisons."""
RMS_COLUMNS, COLUMNS, WIDE_COLUMNS = 64, 32, 16
"""Columns worked on at once; more would not fit the registers beside the sums over the LoRA's."""


def inverse_rms(table: Tensor, pairs: Pairs, tokens: CompressedTokens) -> Tensor:
    """Triton form of `build.inverse_rms`: same arguments and results."""
    S, C = len(tokens), table.shape[1]
    found = torch.empty(S, dtype=torch.float32, device=table.device)
    if S:
        operand = _operand(table)
        launch = FLOAT32_LAUNCH if operand == torch.float32 else RMS_LAUNCH
        with torch.cuda.device_of(table):
            kernels.inverse_rms_kernel[(triton.cdiv(S, launch["TILE"]),)](
                table, pairs.second, tokens.bigram, tokens.order, tokens.codes, _or(tokens.scales, found),
                _padded(tokens.w_c.t(), operand), found, S, C, tokens.codes.shape[1],
                COLUMNS=_columns(C, RMS_COLUMNS), WIDTH=_side(tokens.codes.shape[1]), SCALED=tokens.scales is not None,
                DTYPE=_name(operand), PRECISION=precision(), **launch,
            )  # fmt: skip
    return found


def make_rows(
    table: Tensor,
    pairs: Pairs,
    mixer: Mixer,
    n_head: int,
    dtype: torch.dtype,
    tokens: CompressedTokens | None = None,
    inverse: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Triton form of `build.make_rows`: same arguments and results. ValueError for a head size the kernels do not take."""
    C = table.shape[1]
    N, n = C // n_head, len(pairs) if tokens is None else len(tokens)
    if N not in HEAD_SIZES:
        raise ValueError(f"keys are made for heads of size 16, 32, 64 or 128, not {N}")
    rows = torch.empty((n_head, n, N), dtype=dtype, device=table.device)
    scales = torch.empty((n_head, n), dtype=torch.float16, device=table.device) if dtype == torch.int8 else None
    if n == 0:
        return rows, scales
    operand = _operand(table)
    z, mix_w, w2 = _padded(mixer.z, operand, lines=False), _padded(mixer.mix_w, operand), _padded(mixer.w2, operand)
    w1, turned, wide = _padded(mixer.w1, operand, lines=False), w2.t().contiguous(), w2.float()
    given, width = (None, None, None, None, None, None), SMALLEST_SIDE
    if tokens is not None:
        w_c, width = _padded(tokens.w_c.t(), operand), tokens.codes.shape[1]
        given = (tokens.bigram, tokens.order, tokens.codes, tokens.scales, inverse, w_c)
    launch, columns = LAUNCH, COLUMNS
    if operand == torch.float32:
        launch, columns = FLOAT32_LAUNCH, WIDE_COLUMNS
    elif max(N, w2.shape[0]) > 64:
        launch, columns = WIDE_LAUNCH, WIDE_COLUMNS
    with torch.cuda.device_of(table):
        kernels.rows_kernel[(triton.cdiv(n, launch["TILE"]),)](
            table, pairs.first, pairs.second, *(_or(tensor, table) for tensor in given), z, mixer.mix.float(), mix_w,
            w1, turned, w2, (wide @ wide.t()).to(operand), wide.sum(1), mixer.gain.float(), mixer.bias.float(),
            rows, _or(scales, rows), n, len(table) - 1, mixer.epsilon, C, width,
            N=N, COLUMNS=_columns(C, columns), WIDTH=_side(width), MIXES=z.shape[1], LORA=w2.shape[0],
            TOKENS=tokens is not None, SCALED=tokens is not None and tokens.scales is not None,
            QUANTISED=scales is not None, SMALLEST=SMALLEST_SCALE, DTYPE=_name(operand), PRECISION=precision(), **launch,
        )  # fmt: skip
    return rows, scales


def _operand(table):
    """The type that products take: float16 has three bits more than bfloat16; mixtures of unit rows and int8 codes fit it."""
    return torch.float16 if table.dtype in (torch.float16, torch.bfloat16) else torch.float32


def _name(operand):
    return tl.float32 if operand == torch.float32 else tl.float16


def _padded(matrix, dtype, lines=True):
    """A matrix whose lines (or columns) are filled up with zeros to a size that products take, contiguous."""
    size = matrix.shape[0 if lines else 1]
    missing = _side(size) - size
    if missing:
        matrix = torch.nn.functional.pad(matrix, (0, 0, 0, missing) if lines else (0, missing))
    return matrix.to(dtype).contiguous()


def _side(size):
    return max(SMALLEST_SIDE, triton.next_power_of_2(size))


def _columns(width, most):
    """The largest power of two up to `most` that divides the width."""
    return min(most, width & -width)


def _or(tensor, other):
    """A kernel argument that is not read needs some tensor all the same."""
    return other if tensor is None else tensor
