"""Inputs and comparisons for the WKV forms: random tensors, kinds of decay, all outputs and gradients of one call."""

from __future__ import annotations

import torch
from torch import Tensor

from gfqa.kernels.testing import relative_error
from gfqa.kernels.wkv6 import wkv6

DECAYS = ("bounded", "mixed", "vanishing", "none", "resetting", "infinite")
GRADIENTS = ("r", "k", "v", "log_decay", "u", "state")


def log_decay_of(kind: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """bounded: at least -1; mixed: e^-0.0001 to e^-10000 beside each other; resetting: a few e^(-1e30); infinite: -inf."""
    uniform = torch.rand(shape, generator=generator)
    if kind == "bounded":
        return -uniform
    if kind == "mixed":
        return -(10.0 ** (uniform * 8 - 4))
    if kind in ("vanishing", "none"):
        return torch.full(shape, -1e4 if kind == "vanishing" else 0.0)
    return torch.where(uniform < 0.1, -1e30 if kind == "resetting" else -torch.inf, -0.1)


def make_case(
    shape: tuple[int, int, int, int],
    *,
    decay: str = "bounded",
    bonus: bool = False,
    state: bool = True,
    starts: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> dict[str, Tensor | None]:
    """Arguments of `wkv6` for [B, T, H, N]; `starts` begins chains at the second row's first chunk and every second one."""
    generator = torch.Generator().manual_seed(sum(shape))
    B, T, H, N = shape
    case: dict[str, Tensor | None] = {}
    for name in ("r", "k", "v"):
        case[name] = torch.randn(shape, generator=generator).to(device, dtype)
    case["log_decay"] = log_decay_of(decay, shape, generator).to(device)
    case["u"] = torch.randn(H, N, generator=generator).to(device) if bonus else None
    case["state"] = torch.randn(B, H, N, N, generator=generator).to(device) if state else None
    case["starts"] = None
    if starts:
        chunk = torch.arange(T) // 64
        at_chunk = torch.arange(T) % 64 == 0
        rows = torch.arange(B).unsqueeze(1)
        case["starts"] = (at_chunk & ((chunk + rows) % 2 == 1)).to(device)
    return case


def results(case: dict[str, Tensor | None], backend: str, floor: float | None = None) -> dict[str, Tensor]:
    """y, the final state, and the gradients of a fixed random weighting of both."""
    inputs = {name: case[name].clone().requires_grad_() for name in GRADIENTS if case[name] is not None}  # type: ignore[union-attr]
    arguments = [inputs.get(name) for name in GRADIENTS]
    y, last = wkv6(*arguments, starts=case["starts"], floor=floor, backend=backend)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(x.shape, generator=generator).to(x.device) for x in (y, last)]
    loss = (y.float() * weights[0]).sum() + (last * weights[1]).sum()
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    found = {"y": y, "final state": last}
    for (name, tensor), gradient in zip(inputs.items(), gradients, strict=True):
        found["d " + name] = torch.zeros_like(tensor) if gradient is None else gradient
    return {name: tensor.detach() for name, tensor in found.items()}


def errors(case: dict[str, Tensor | None], backend: str, floor: float | None = None) -> dict[str, float]:
    """Relative RMS error of every result of `backend` against the reference in float32."""
    exact = {name: x.float() if x is not None and x.is_floating_point() else x for name, x in case.items()}
    expected, actual = results(exact, "reference"), results(case, backend, floor)
    # Gradients of vanished decays are all zero: 1e-3 is small beside the other gradients, which are around 1 or more.
    return {name: relative_error(actual[name], expected[name], floor=1e-3) for name in expected}
