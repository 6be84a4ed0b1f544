"""The WKV kernels on a GPU: errors against the definition, then times beside flash-linear-attention's `chunk_rwkv6`.

    python3 benchmarks/wkv.py [--sweep] [--profile]

Times are medians over CUDA events, inputs in bfloat16 and log decays in float32, cycling through input sets that
together exceed the L2 cache. The peer is measured when it can be imported, in the same run on the same tensors.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gfqa.kernels.testing import relative_error
from gfqa.kernels.wkv6 import triton as form
from gfqa.kernels.wkv6 import wkv6

SHAPES = [(8, 8192, 7, 64), (1, 65536, 12, 64), (16, 4096, 8, 64)]
SETS, WARMUP, REPEATS = 4, 4, 24


def make_inputs(shape: tuple[int, int, int, int], dtype: torch.dtype, seed: int = 0) -> dict[str, torch.Tensor]:
    """r, k, v ~ N(0, 1); log decays uniform in [-1, 0]."""
    generator = torch.Generator("cuda").manual_seed(seed)
    inputs = {name: torch.randn(shape, device="cuda", generator=generator).to(dtype) for name in ("r", "k", "v")}
    inputs["log_decay"] = -torch.rand(shape, device="cuda", generator=generator)
    return inputs


def check(dtype: torch.dtype, floor: float | None, decay: float = 1.0) -> None:
    """Print the relative RMS error of every output and gradient against the reference on the same inputs in float32."""
    inputs = make_inputs((2, 1000, 3, 64), dtype)
    inputs["log_decay"] *= decay
    inputs["u"] = torch.randn(3, 64, device="cuda")
    inputs["state"] = torch.randn(2, 3, 64, 64, device="cuda")
    starts = torch.zeros(2, 1000, dtype=torch.bool, device="cuda")
    starts[0, 128], starts[1, 0], starts[1, 640] = True, True, True
    weights = torch.randn(2, 1000, 3, 64, device="cuda"), torch.randn(2, 3, 64, 64, device="cuda")

    def all_results(backend: str) -> dict[str, torch.Tensor]:
        leaves = {n: (x.float() if backend == "reference" else x).clone().requires_grad_() for n, x in inputs.items()}
        y, last = wkv6(**leaves, starts=starts, floor=floor, backend=backend)
        loss = (y.float() * weights[0]).sum() + (last * weights[1]).sum()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return {"y": y, "state": last} | {f"d{n}": g for n, g in zip(leaves, gradients, strict=True)}

    expected, actual = all_results("reference"), all_results("triton")
    figures = "  ".join(f"{n} {relative_error(actual[n], expected[n]):.1e}" for n in expected)
    print(
        f"{str(dtype)[6:]:>8} {form.WARPS['gradient']} warps floor {floor!s:>5} decay x{decay:<6g} {figures}",
        flush=True,
    )


def milliseconds(call: Callable[[int], Any]) -> float:
    """Median time of `call(set)`; the sets take turns."""
    for index in range(WARMUP):
        call(index % SETS)
    times = []
    for index in range(REPEATS):
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        before.record()
        call(index % SETS)
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after))
    return statistics.median(times)


def forward_and_backward(
    function: Callable[..., Any], sets: list[dict[str, torch.Tensor]], weights: torch.Tensor
) -> tuple[float, float]:
    """Times in ms of the forward alone (no gradient) and of forward plus backward."""

    def forward(index: int) -> None:
        with torch.no_grad():
            function(**sets[index])

    def both(index: int) -> None:
        leaves = {name: x.detach().requires_grad_() for name, x in sets[index].items()}
        torch.autograd.grad(function(**leaves)[0], list(leaves.values()), weights)

    return milliseconds(forward), milliseconds(both)


def peer() -> Callable[..., Any] | None:
    """flash-linear-attention's kernel with our arguments (no bonus), or None where it is not installed."""
    try:
        from fla.ops.rwkv6 import chunk_rwkv6
    except ImportError as error:
        print(f"flash-linear-attention is not measured: {error}")
        return None

    def call(r: torch.Tensor, k: torch.Tensor, v: torch.Tensor, log_decay: torch.Tensor) -> Any:
        u = torch.zeros(r.shape[2:], device=r.device, dtype=r.dtype)
        return chunk_rwkv6(r, k, v, log_decay, u, scale=1.0, output_final_state=True)

    return call


def compare() -> None:
    """Print the table of times."""
    forms: dict[str, Callable[..., Any] | None] = {
        "gfqa, floor -1": lambda **x: wkv6(**x, floor=-1.0),
        "gfqa": wkv6,
        "flash-linear-attention": peer(),
    }
    print(f"{'B T H N':>16}  {'form':<24}{'forward ms':>11}{'G/s':>7}{'fwd+bwd ms':>12}{'G/s':>7}")
    for shape in SHAPES:
        sets = [make_inputs(shape, torch.bfloat16, seed) for seed in range(SETS)]
        weights = torch.randn(shape, device="cuda").bfloat16()
        size = shape[0] * shape[1] * shape[2] * shape[3] / 1e6
        measured = {}
        for name, function in forms.items():
            if function is None:
                continue
            try:
                forward, both = measured[name] = forward_and_backward(function, sets, weights)
            except Exception:
                traceback.print_exc(limit=3)
                continue
            label = " ".join(map(str, shape))
            print(
                f"{label:>16}  {name:<24}{forward:11.3f}{size / forward:7.1f}{both:12.3f}{size / both:7.1f}", flush=True
            )
        if "flash-linear-attention" in measured and "gfqa, floor -1" in measured:
            for name in ("gfqa, floor -1", "gfqa"):
                ratios = [theirs / ours for ours, theirs in zip(measured[name], measured["flash-linear-attention"])]
                print(f"{'':>16}  {name}: {ratios[0]:.2f}x forward, {ratios[1]:.2f}x forward and backward")
        del sets, weights
        torch.cuda.empty_cache()


def sweep() -> None:
    """Try launch settings one kernel at a time on the first shape and print each."""
    sets = [make_inputs(SHAPES[0], torch.bfloat16, seed) for seed in range(SETS)]
    weights = torch.randn(SHAPES[0], device="cuda").bfloat16()
    for floor in (-1.0, None):
        for kernel, choices in {
            "update": (2, 4, 8),
            "scan": (1, 2, 4),
            "output": (2, 4, 8),
            "gradient": (4, 8),
        }.items():
            kept = form.WARPS[kernel]
            for warps in choices:
                form.WARPS[kernel] = warps
                try:
                    both = forward_and_backward(lambda **x: wkv6(**x, floor=floor), sets, weights)  # noqa: B023
                    print(f"floor {floor!s:>5} {kernel:>9} {warps} warps: {both[0]:.3f} {both[1]:.3f} ms", flush=True)
                except Exception:
                    traceback.print_exc(limit=1)
            form.WARPS[kernel] = kept
    kept_group = form.SCAN_GROUP
    for group in (4, 8, 16, 32):
        form.SCAN_GROUP = group
        both = forward_and_backward(lambda **x: wkv6(**x, floor=-1.0), sets, weights)
        print(f"scan group {group}: {both[0]:.3f} {both[1]:.3f} ms", flush=True)
    form.SCAN_GROUP = kept_group


def profile() -> None:
    """Print the time of every kernel of one forward and backward."""
    for shape in SHAPES[:2]:
        inputs = {name: x.requires_grad_() for name, x in make_inputs(shape, torch.bfloat16).items()}
        weights = torch.randn(shape, device="cuda").bfloat16()
        for floor in (-1.0, None):
            for recorded in (False, True):
                with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as record:
                    torch.autograd.grad(wkv6(**inputs, floor=floor)[0], list(inputs.values()), weights)
                    torch.cuda.synchronize()
                if recorded:
                    for event in sorted(record.events(), key=lambda event: event.time_range.start):
                        print(f"{shape} floor {floor!s:>5} {event.name[:50]:<50} {event.device_time / 1e3:8.3f} ms")


def main() -> None:
    """Check, compare, and on request sweep launch settings or list kernel times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", action="store_true", help="try launch settings")
    parser.add_argument("--profile", action="store_true", help="list the time of every kernel")
    chosen = parser.parse_args()
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    chosen_warps = form.WARPS["gradient"]
    for dtype in (torch.float32, torch.bfloat16):
        for floor, decay in ((-1.0, 1.0), (None, 1.0), (None, 1e4)):
            # Both warp counts of the gradient kernel: they compile to different matrix instructions.
            for form.WARPS["gradient"] in (chosen_warps, 12 - chosen_warps):
                try:
                    check(dtype, floor, decay)
                except Exception:
                    traceback.print_exc(limit=4)
    form.WARPS["gradient"] = chosen_warps
    compare()
    if chosen.profile:
        profile()
    if chosen.sweep:
        sweep()


if __name__ == "__main__":
    main()
