"""The WKV recurrence on a GPU: launches of the Triton kernels, forward, backward and without gradients.

Forward: what every span of chunks adds to the state (all spans at once), a scan of the state over spans, the outputs (all
spans at once); see `triton_read`. For backward the states before each chunk of 64 tokens are kept, in the type of the inputs:
they are operands of matrix products in that type. Autograd and torch.compile see them as operators, `triton_ops`.
"""

from __future__ import annotations

import functools
import math
import os

import torch
from torch import Tensor

from gfqa.kernels.wkv6 import triton_kernels, triton_read
from gfqa.kernels.wkv6.chunked import CHUNK, EXPONENT_LIMIT

HEAD_SIZES = (16, 32, 64)

FLOAT32_PRODUCTS = "tf32x3"
"""How matrix products of float32 inputs run: three TF32 products, close to float32; "ieee" is exact and slow."""

LAUNCH: dict[str, dict[str, int]] = {
    "span_update": {"num_warps": 4, "num_stages": 3, "C": 64},
    "bounded_output": {"num_warps": 4, "num_stages": 2, "C": 64},
    "any_output": {"num_warps": 8, "num_stages": 1, "C": 64},
    "bounded_training": {"num_warps": 8, "num_stages": 2, "C": CHUNK},
    "any_training": {"num_warps": 8, "num_stages": 1, "C": CHUNK},
    "scan": {"num_warps": 2, "TILE": 128, "GROUP": 16},
    "gradient_update": {"num_warps": 4},
    "bounded_gradient": {"num_warps": 8},
    "any_gradient": {"num_warps": 8},
}
"""Launch settings of every kernel. C: tokens worked on at once (with gradients 64, since states are kept so often); TILE,
GROUP: state entries a program of the scan owns, and pieces it loads at once (fewer where there are fewer)."""

PROGRAMS = {"cut": 4.0, "whole": 1.5}
"""A sequence is cut into spans so that there are about `cut` programs a multiprocessor, or not at all where its heads alone
give `whole` programs a multiprocessor (one pass instead of two)."""


def wkv6(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    u: Tensor | None = None,
    state: Tensor | None = None,
    *,
    starts: Tensor | None = None,
    floor: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Triton form of `reference.wkv6`: same arguments and results; `starts` may be True only at multiples of 64.

    floor: a promise that log_decay >= floor everywhere; from -1.25 up it saves the work that unbounded decays need.
    Nothing is kept for a backward pass where no argument needs a gradient.

    Raises:
        ValueError: a head size other than 16, 32 or 64, or types other than float32 and bfloat16.
    """
    arguments = (r, k, v, log_decay, u, state)
    if not (torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in arguments)):
        return _read(r, k, v, log_decay.float(), None, u, state, starts, "log", False, floor)
    _check(v)
    if r.shape[1] == 0:
        return _nothing(v, state)
    bounded = _is_bounded(floor)
    if not torch.compiler.is_compiling():
        from gfqa.kernels.wkv6 import triton_ops  # noqa: F401 (registers; a tenth of a second that only training needs)
    y, last, _ = torch.ops.gfqa.wkv6_forward(
        r.to(v.dtype), k.to(v.dtype), v, log_decay.float(), _float(u), _float(state), _flags(starts), bounded
    )
    return y, last


def finch_wkv(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    bias: Tensor,
    u: Tensor | None = None,
    state: Tensor | None = None,
    *,
    starts: Tensor | None = None,
    floor: float | None = None,
    scale_keys: bool = False,
) -> tuple[Tensor, Tensor]:
    """Triton form of `gfqa.kernels.wkv6.finch_wkv`, without gradients: decays and key scaling inside the kernels."""
    kind = "exp" if floor is None else "sigmoid"
    return _read(r, k, v, w, bias, u, state, starts, kind, scale_keys, floor)


def _read(r, k, v, decays, bias, u, state, starts, kind, scale, floor):
    _check(v)
    if r.shape[1] == 0:
        return _nothing(v, state)
    # A call of a custom operation imports torch._dynamo, which takes seconds: only a compiled model needs one.
    read = torch.ops.gfqa.wkv6_read if torch.compiler.is_compiling() else launch_read
    return read(
        r.to(v.dtype), k.to(v.dtype), v, decays, _float(bias), _float(u), _float(state), _flags(starts),
        kind, scale, -1.0 if floor is None else floor, _is_bounded(floor),
    )  # fmt: skip


def launch_read(r, k, v, decays, bias, u, state, starts, kind, scale, floor, bounded):
    return launch(r, k, v, decays, bias, u, state, starts, None, kind, scale, floor, bounded)


def launch(r, k, v, decays, bias, u, state, starts, kept, kind, scale, floor, bounded):
    """The forward kernels: (y, last state); the states before each chunk go into `kept` where there is one."""
    r, k, v, decays = (x.contiguous() for x in (r, k, v, decays))
    B, T, H, N = r.shape
    update = _settings("span_update", N)
    output = _settings(("bounded" if bounded else "any") + ("_output" if kept is None else "_training"), N)
    span = _span(T, B * H, _multiprocessors(r.device))
    spans = -(-T // (span * CHUNK))
    y, last = outputs(v)
    before = state if state is None else state.contiguous()
    shift = math.log(-floor)
    flags = 0 if starts is None else starts.shape[1]
    shared = {"N": N, "KIND": kind, "SCALE": scale, "STARTS": starts is not None, "PRECISION": _precision()}
    with torch.cuda.device_of(r):
        if spans > 1:
            added = torch.empty((B, spans, H, N, N), dtype=torch.float32, device=v.device)
            total = torch.empty((B, spans, H, N), dtype=torch.float32, device=v.device)
            triton_read.span_update_kernel[(spans, B * H)](
                k, v, decays, _or(bias, r), _or(starts, r), added, total, shift, floor,
                T, H, span * CHUNK // update["C"], flags, **shared, **update,
            )  # fmt: skip
            before = torch.empty_like(added)
            _scan(added, total, state, before, last, backward=False)
        triton_read.span_output_kernel[(spans, B * H)](
            r, k, v, decays, _or(bias, r), _or(u, r), _or(starts, r), _or(before, r), y, last, _or(kept, r),
            shift, floor, T, H, span * CHUNK // output["C"], flags, BONUS=u is not None, BOUNDED=bounded,
            BEFORE=before is not None, LAST=spans == 1, KEEP=kept is not None, **shared, **output,
        )  # fmt: skip
    return y, last


def launch_backward(r, k, v, log_decay, u, starts, before, dy, dlast, bounded):
    """Gradients of r, k, v, log_decay, of u per chunk [B, chunks, H, N] (of size 0 without u), and of the state."""
    r, k, v, log_decay, dy = (x.contiguous() for x in (r, k, v, log_decay, dy))
    T, H, N = r.shape[1:]
    shapes = gradients_of(r, k, v, log_decay, u, before)
    dr, dk, dv, dlog_decay, du, dstate = shapes
    added = torch.empty_like(before, dtype=torch.float32)
    total = torch.empty(before.shape[:-1], dtype=torch.float32, device=r.device)
    after = torch.empty_like(before)
    grid = (before.shape[1], r.shape[0] * H)
    shared = {"N": N, "C": CHUNK, "PRECISION": _precision()}
    with torch.cuda.device_of(r):
        triton_kernels.gradient_update_kernel[grid](
            r, dy, log_decay, _or(starts, r), added, total, T, H, grid[0],
            STARTS=starts is not None, **shared, **_settings("gradient_update", N),
        )  # fmt: skip
        _scan(added, total, dlast, after, dstate, backward=True)
        triton_kernels.gradient_kernel[grid](
            r, k, v, log_decay, _or(u, r), before, after, dy, dr, dk, dv, dlog_decay, du, T, H,
            BONUS=u is not None, BOUNDED=bounded,
            **shared, **_settings("bounded_gradient" if bounded else "any_gradient", N),
        )  # fmt: skip
    return shapes


def gradients_of(r, k, v, log_decay, u, before):
    """Room for the gradients of r, k, v, log_decay, of u per chunk, and of the state."""
    B, chunks, H, N, _ = before.shape
    same = [torch.empty(r.shape, dtype=x.dtype, device=x.device) for x in (r, k, v, log_decay)]
    du = torch.empty((B, chunks, H, N) if u is not None else (0,), dtype=torch.float32, device=r.device)
    return *same, du, torch.empty((B, H, N, N), dtype=torch.float32, device=r.device)


def _scan(added, total, first, carried, last, *, backward):
    B, pieces, H, N = total.shape
    settings = dict(LAUNCH["scan"])
    settings["GROUP"] = min(settings["GROUP"], max(2, 1 << (pieces - 1).bit_length()))
    settings["TILE"] = min(settings["TILE"], N * N)
    triton_kernels.state_scan_kernel[(N * N // settings["TILE"], B * H)](
        added, total, _or(first, added), carried, last, pieces, H,
        N=N, FIRST=first is not None, BACKWARD=backward, **settings,
    )  # fmt: skip


def _settings(name: str, size: int) -> dict[str, int]:
    """Launch settings for heads of `size`. Eight warps on float32 tiles of 16 columns read outside memory on an H200."""
    settings = LAUNCH[name]
    return settings | {"num_warps": min(settings["num_warps"], max(4, size // 8))}


def _span(tokens: int, heads: int, multiprocessors: int) -> int:
    """Chunks of 64 tokens in a span: all of them, or few enough to fill the chip with spans."""
    chunks = -(-tokens // CHUNK)
    if heads >= PROGRAMS["whole"] * multiprocessors:
        return chunks
    return -(-chunks // max(1, int(PROGRAMS["cut"] * multiprocessors / heads)))


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2


def outputs(v):
    B, T, H, N = v.shape
    last = torch.empty((B, H, N, N), dtype=torch.float32, device=v.device)
    return torch.empty((B, T, H, N), dtype=v.dtype, device=v.device), last


def _nothing(v, state):
    B, _, H, N = v.shape
    S = v.new_zeros(B, H, N, N, dtype=torch.float32) if state is None else state.float().clone()
    return v.new_zeros(B, 0, H, N), S


def _check(v):
    if v.shape[-1] not in HEAD_SIZES or v.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(
            f"the Triton WKV takes float32 or bfloat16 heads of size 16, 32 or 64, not {v.dtype} of {v.shape[-1]}"
        )


def _is_bounded(floor):
    return floor is not None and -floor * (CHUNK // 2) <= EXPONENT_LIMIT


def _flags(starts):
    return None if starts is None else starts[:, ::CHUNK].to(torch.int8).contiguous()


def _float(x):
    return None if x is None else x.float()


def _precision():
    return "interpreted" if os.environ.get("TRITON_INTERPRET") == "1" else FLOAT32_PRODUCTS


def _or(tensor, other):
    """A kernel argument that is not read needs some tensor all the same."""
    return other if tensor is None else tensor.contiguous()
