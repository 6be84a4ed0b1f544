"""GOLD attention on a GPU over a memory sorted by bigram: launches of `triton_kernels`.

The memory is cut into shares, one program each; the chain's own keys are further shares; a last kernel merges them. The number
of shares depends on shapes only, so every launch can be captured in a CUDA graph.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Protocol

import torch
import triton
from torch import Tensor

from gfqa.kernels.gold_attention import triton_kernels as kernels
from gfqa.kernels.gold_attention.triton_memory import SortedMemory
from gfqa.kernels.gold_attention.triton_one_kernels import scan_one_kernel

HEAD_SIZES = (16, 32, 64, 128)
FLOAT32_PRODUCTS = "tf32x3"
"""How matrix products of float32 operands run: three TF32 products, close to float32; "ieee" is exact and slow."""

OWN_TILE, MASS_TILE = 64, 1024


@dataclass
class Launch:
    """How a scan is launched; the values are measured choices, `benchmarks/decode.py --sweep` tries others.

    tile: tokens a step; value_rows: bigrams whose values are read at once; per_processor: programs wanted a multiprocessor;
    integer: int8 keys are multiplied with the query's digits, or else widened (one query only); keys_first: keys on the left of
    that product; ahead: a tile's values are asked for before its logits are made, which takes registers; registers: of a thread
    at most.
    """

    tile: int = 256
    value_rows: int = 64
    warps: int = 4
    stages: int = 3
    per_processor: int = 8
    integer: bool = True
    keys_first: bool = True
    ahead: bool = True
    registers: int | None = None


ONE = Launch(registers=128)
SHORT = 8
"""Tiles a share of one query's scan, below which half as many shares are quicker."""
ROWS = Launch(tile=64, value_rows=32, per_processor=4)
MAX_ROWS = 64
"""Query rows of one program; more rows are more programs, each reading the memory again (mostly from L2)."""


class Values(Protocol):
    """The values of a memory sorted by bigram, as `SortedMemory` holds them."""

    @property
    def values(self) -> Tensor: ...
    @property
    def value_scales(self) -> Tensor | None: ...
    @property
    def bigram(self) -> Tensor: ...
    @property
    def offsets(self) -> Tensor: ...


@dataclass(frozen=True)
class Partials:
    """Partial results of `rows` = B * H * T query rows, `parts` each: largest logit, sum [rows, parts], values [.., N]."""

    peaks: Tensor
    sums: Tensor
    outs: Tensor

    @classmethod
    def empty(cls, rows: int, parts: int, n: int, device: torch.device) -> Partials:
        shapes = ((rows, parts), (rows, parts), (rows, parts, n))
        return cls(*(torch.empty(shape, dtype=torch.float32, device=device) for shape in shapes))


def gold_attention(
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    memory: SortedMemory,
    *,
    want_mass: bool = False,
    own_length: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Triton form of `triton_memory.plain_attention`: same arguments and results.

    q [B, H, T, N], own_keys and own_values [B, H, t, N] float32 or bfloat16, any strides but the last; they may be
    overwritten after the call. own_length: int32 [1] on the device, the own tokens in use where own_keys is a buffer with
    room for more; the T queries are then the last T of those.

    Raises:
        ValueError: a head size or type the kernels do not take, or tensors that do not belong together.
    """
    out, totals, logits = attend(q, own_keys, own_values, memory, want_logits=want_mass, own_length=own_length)
    return out, spread_mass(logits, totals, memory.order, q) if want_mass else None


def attend(
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    memory: SortedMemory,
    *,
    want_logits: bool = False,
    own_length: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `gold_attention`, with what makes mass: (output, log2 of the sums [B, H, T], last query's logits [B, H, S]).

    Logits are in powers of two and in sorted order; without want_logits the tensor is empty.
    """
    check(q, own_keys, own_values)
    _check_memory(q, memory)
    B, H, T, N = q.shape
    S = len(memory)
    logits = torch.empty((B, H, S) if want_logits else 0, dtype=torch.float32, device=q.device)
    if T == 0:
        return q.new_empty(q.shape), torch.empty((B, H, 0), dtype=torch.float32, device=q.device), logits
    one = B * T == 1
    launch = ONE if one else ROWS
    n_tiles = triton.cdiv(S, launch.tile)
    row_blocks = 1 if one else triton.cdiv(B * T, _row_block(B * T))
    tiles, memory_parts = shares(n_tiles, H * row_blocks, launch.per_processor, q.device, short=SHORT if one else 0)
    own_tiles, own_parts = own_shares(own_keys.shape[2])
    partials = Partials.empty(B * H * T, own_parts + memory_parts, N, q.device)
    scan_own(q, own_keys, own_values, own_length, partials, own_tiles, own_parts)
    if S:
        _scan_memory(q, memory, partials, logits, own_parts, tiles, memory_parts, launch, want_logits)
    out, totals = merge(partials, q)
    return out, totals, logits


def check(q: Tensor, own_keys: Tensor, own_values: Tensor) -> None:
    """Raise ValueError where the kernels do not take these queries and own keys."""
    N = q.shape[-1]
    if N not in HEAD_SIZES or q.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(
            f"GOLD attention takes float32 or bfloat16 heads of size 16, 32, 64 or 128, not {q.dtype} of {N}"
        )
    if any(x.stride(-1) != 1 for x in (q, own_keys, own_values)):
        raise ValueError("the last axis of queries, keys and values must be contiguous")
    if own_keys.shape != own_values.shape or own_keys.shape[:2] != q.shape[:2] or own_keys.shape[2] < q.shape[2]:
        shapes = (tuple(q.shape), tuple(own_keys.shape), tuple(own_values.shape))
        raise ValueError(f"queries, own keys and own values of shapes {shapes} do not belong together")


def shares(n_tiles: int, programs: int, per_processor: int, device: torch.device, short: int = 0) -> tuple[int, int]:
    """(tiles a share, shares) of a memory that `programs` programs read side by side; (0, 0) for an empty one.

    short: half as many shares where they would be shorter than so many tiles.
    """
    if n_tiles == 0:
        return 0, 0
    all_programs = per_processor * processors(device)
    if n_tiles * programs < short * all_programs:
        all_programs //= 2
    # Shares of own keys in the same launch do not count: they are short, and with fewer of the memory's in their place part
    # of the chip has nothing to do at the end.
    wanted = max(1, all_programs // programs)
    tiles = triton.cdiv(n_tiles, min(n_tiles, wanted))
    return tiles, triton.cdiv(n_tiles, tiles)


def own_shares(room: int) -> tuple[int, int]:
    """(tiles a share, shares) of `room` own keys: a share is 4 tiles, more where that would be more than 32 shares."""
    n_tiles = triton.cdiv(room, OWN_TILE)
    tiles = max(4, triton.cdiv(n_tiles, 32))
    return tiles, triton.cdiv(n_tiles, tiles)


def processors(device: torch.device) -> int:
    """Multiprocessors of a GPU; 4 in the interpreter, so that small memories are split too."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


def scan_own(
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    own_length: Tensor | None,
    partials: Partials,
    tiles: int,
    parts: int,
) -> None:
    """Write partials 0 to parts - 1: the chain's own keys."""
    B, H, T, N = q.shape
    rows = _row_block(T)
    grid = (B * H, parts, triton.cdiv(T, rows))
    with torch.cuda.device_of(q):
        kernels.own_kernel[grid](
            q, own_keys, own_values, q if own_length is None else own_length,
            partials.peaks, partials.sums, partials.outs, own_keys.shape[2], tiles, partials.peaks.shape[1],
            logit_factor(N), T, H, *q.stride()[:3], *own_keys.stride()[:3], *own_values.stride()[:3],
            N=N, TILE=OWN_TILE, ROWS=rows, LENGTH=own_length is not None, CAUSAL=True,
            DTYPE=product_type(q, own_keys), PRECISION=precision(), num_warps=4,
        )  # fmt: skip


def scan_given(
    logits: Tensor, memory: Values, partials: Partials, rows: tuple[int, int], offset: int, tiles: int, parts: int
) -> None:
    """Write partials offset, …, offset + parts - 1 of one query whose logits [H, S] are known.

    rows: the partials' row of head 0, and how far on that of the next head is.
    """
    H, U, N = memory.values.shape
    none = memory.values
    with torch.cuda.device_of(logits):
        scan_one_kernel[(H, parts)](
            none, none, none, memory.values, _or(memory.value_scales, none), memory.bigram, memory.offsets,
            partials.peaks, partials.sums, partials.outs, logits, logits.shape[-1], U, tiles, partials.peaks.shape[1], offset,
            *rows, 1.0, 0, N=N, TILE=ONE.tile, VALUE_ROWS=ONE.value_rows, KEY_SCALES=False,
            VALUE_SCALES=memory.value_scales is not None, INTEGER=False, KEYS_FIRST=False, AHEAD=ONE.ahead,
            GIVEN=True, MASS=False, ASK=2 * logits.is_cuda, WHOLE=logits.shape[-1] >= ONE.tile,
            num_warps=ONE.warps, num_stages=ONE.stages, maxnreg=ONE.registers,
        )  # fmt: skip


def merge(partials: Partials, q: Tensor) -> tuple[Tensor, Tensor]:
    """(output [B, H, T, N] in q's type, log2 of the sums [B, H, T]) of partials.

    The output lies as [B, T, H, N], so that the heads of a token are one row.
    """
    B, H, T, N = q.shape
    parts = partials.peaks.shape[1]
    out = torch.empty((B, T, H, N), dtype=q.dtype, device=q.device).transpose(1, 2)
    totals = torch.empty((B, H, T), dtype=torch.float32, device=q.device)
    with torch.cuda.device_of(q):
        kernels.merge_kernel[(B * H * T,)](
            partials.peaks, partials.sums, partials.outs, out, totals, parts, T, H, *out.stride()[:3],
            N=N, PARTS=max(2, triton.next_power_of_2(parts)), num_warps=4,
        )  # fmt: skip
    return out, totals


def spread_mass(logits: Tensor, totals: Tensor, order: Tensor, q: Tensor) -> Tensor:
    """The last query's probability on each memory token [B, H, S], in the cache's order, from what `attend` gives."""
    B, H, T, S = *q.shape[:3], order.numel()
    mass = torch.empty((B, H, S), dtype=torch.float32, device=q.device)
    if S and T:
        with torch.cuda.device_of(q):
            kernels.mass_kernel[(triton.cdiv(S, MASS_TILE), B * H)](logits, totals, order, mass, S, T, TILE=MASS_TILE)
    return mass


def pool_mass(logits: Tensor, totals: Tensor, pooled: Tensor, share: float, settled: Tensor | None = None) -> None:
    """pooled [S] += share * the sum over heads of one query's probabilities, in sorted order.

    logits [1, H, S] and totals [1, H, 1] as `attend` gives them for a single query. settled: [S], what pooled held is added
    to it first, and pooled begins anew.
    """
    S = pooled.numel()
    if S:
        with torch.cuda.device_of(pooled):
            kernels.pool_kernel[(triton.cdiv(S, MASS_TILE),)](
                logits, totals, pooled, _or(settled, pooled), S, logits.shape[1], share,
                TILE=MASS_TILE, SETTLE=settled is not None,
            )  # fmt: skip


def logit_factor(n: int) -> float:
    """1/sqrt(N) in powers of two."""
    return n**-0.5 * math.log2(math.e)


def precision() -> str:
    return "interpreted" if os.environ.get("TRITON_INTERPRET") == "1" else FLOAT32_PRODUCTS


def product_type(*operands: Tensor) -> triton.language.dtype:
    """The type operands are multiplied in: float32 as soon as one is float32."""
    return triton.language.float32 if torch.float32 in {x.dtype for x in operands} else triton.language.bfloat16


def _scan_memory(q, memory, partials, logits, offset, tiles, parts, launch, want_logits):
    B, H, T, N = q.shape
    keys, values = memory.keys, memory.values
    integer = keys.dtype == torch.int8 and (launch.integer or B * T > 1)
    arguments = (
        q, keys, _or(memory.key_scales, keys), values, _or(memory.value_scales, values), memory.bigram,
        memory.offsets, partials.peaks, partials.sums, partials.outs, logits, len(memory), values.shape[1], tiles,
        partials.peaks.shape[1], offset,
    )  # fmt: skip
    shared = {
        "N": N, "TILE": launch.tile, "VALUE_ROWS": launch.value_rows, "INTEGER": integer, "MASS": want_logits,
        "KEY_SCALES": memory.key_scales is not None, "VALUE_SCALES": memory.value_scales is not None,
        "num_warps": launch.warps, "num_stages": launch.stages, "maxnreg": launch.registers,
    }  # fmt: skip
    with torch.cuda.device_of(q):
        if B * T == 1:
            scan_one_kernel[(H, parts)](
                *arguments,
                0,
                1,
                logit_factor(N),
                q.stride(1),
                GIVEN=False,
                KEYS_FIRST=launch.keys_first,
                AHEAD=launch.ahead,
                ASK=2 * q.is_cuda,
                WHOLE=len(memory) >= launch.tile,
                **shared,
            )
            return
        rows = _row_block(B * T)
        kernels.scan_rows_kernel[(H, parts, triton.cdiv(B * T, rows))](
            *arguments, logit_factor(N), B * T, T, H, *q.stride()[:3],
            ROWS=rows, KEY_DTYPE=product_type(q, keys),
            # Weights are at most TILE and values of layer norms: float16 holds both, with 3 bits more than bfloat16.
            WEIGHT_DTYPE=triton.language.float32 if values.dtype == torch.float32 else triton.language.float16,
            PRECISION=precision(), **shared,
        )  # fmt: skip


def _row_block(rows):
    return min(MAX_ROWS, max(16, triton.next_power_of_2(rows)))


def _check_memory(q, memory):
    shape, n_values = tuple(memory.keys.shape), memory.values.shape[1]
    if shape != (q.shape[1], len(memory), q.shape[3]) or memory.values.shape != (shape[0], n_values, shape[2]):
        raise ValueError(f"a memory of keys {shape} and values {tuple(memory.values.shape)} does not fit the queries")
    if q.is_cuda and memory.keys.dtype == torch.int8 and q.shape[3] < 32:
        raise ValueError("int8 keys take heads of size 32 or more on a GPU")


def _or(tensor, other):
    """A kernel argument that is not read needs some tensor all the same."""
    return other if tensor is None else tensor
