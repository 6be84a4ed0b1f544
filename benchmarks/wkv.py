"""The WKV kernels on a GPU beside flash-linear-attention's and a token-by-token kernel, errors first, then times.

    python benchmarks/wkv.py [--minutes 10] [--training] [--sweep] [--profile] [--out FILE]
    python benchmarks/wkv.py --device cpu --tiny        a smoke test in Triton's interpreter; its times mean nothing

First comes what the kernels are judged by: the forward pass without gradients against flash-linear-attention's `chunk_rwkv6`
in the same run, which has a process and a time limit of its own, since its autotuning can take minutes. Times are medians over
CUDA events, inputs in bfloat16 and log decays in float32, in turn from sets that together exceed the L2 cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from machine import ceilings, finish, guarded, milliseconds, row

from gfqa.kernels.testing import relative_error
from gfqa.kernels.wkv6 import finch_wkv, wkv6

Shape = tuple[int, int, int, int]
SHAPES: list[Shape] = [(1, 65536, 12, 64), (8, 8192, 12, 64), (1, 65536, 32, 64), (8, 8192, 32, 64), (8, 8192, 7, 64)]
TINY: list[Shape] = [(1, 150, 1, 16)]
WIDTHS = (16, 30, 11, 8, 12)
SWEEP: dict[str, list[dict[str, int]]] = {
    "bounded_output": [
        {"C": 32, "num_warps": 4, "num_stages": 2},
        {"C": 32, "num_warps": 4, "num_stages": 3},
        {"C": 64, "num_warps": 4, "num_stages": 1},
        {"C": 64, "num_warps": 4, "num_stages": 3},
        {"C": 64, "num_warps": 8, "num_stages": 2},
    ],
    "span_update": [
        {"C": 32, "num_warps": 4, "num_stages": 3},
        {"C": 64, "num_warps": 4, "num_stages": 2},
        {"C": 64, "num_warps": 8, "num_stages": 3},
    ],
    "any_output": [
        {"C": 64, "num_warps": 4, "num_stages": 1},
        {"C": 32, "num_warps": 4, "num_stages": 1},
        {"C": 16, "num_warps": 4, "num_stages": 1},
        {"C": 16, "num_warps": 4, "num_stages": 2},
    ],
    "scan": [{"num_warps": 1, "TILE": 64, "GROUP": 16}, {"num_warps": 4, "TILE": 256, "GROUP": 8}],
}
GRADIENT_SWEEP: dict[str, list[dict[str, int]]] = {
    "bounded_training": [{"C": 64, "num_warps": 4, "num_stages": 2}],
    "any_training": [{"C": 64, "num_warps": 4, "num_stages": 1}],
    "gradient_update": [{"num_warps": 8}],
    "bounded_gradient": [{"num_warps": 4}],
    "any_gradient": [{"num_warps": 4}],
}


def make_inputs(shape: Shape, dtype: torch.dtype, device: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """r, k, v ~ N(0, 1); log decays uniform in [-1, 0]."""
    generator = torch.Generator(device).manual_seed(seed)
    inputs = {name: torch.randn(shape, device=device, generator=generator).to(dtype) for name in ("r", "k", "v")}
    inputs["log_decay"] = -torch.rand(shape, device=device, generator=generator)
    return inputs


def check(shape: Shape, device: str, dtype: torch.dtype, floor: float | None, decay: float) -> dict[str, Any]:
    """Relative RMS errors against the reference on the same inputs in float32: forward alone, and with all gradients."""
    inputs = make_inputs(shape, dtype, device)
    inputs["log_decay"] *= decay
    B, T, H, N = shape
    inputs["u"] = torch.randn(H, N, device=device)
    inputs["state"] = torch.randn(B, H, N, N, device=device)
    starts = torch.zeros(B, T, dtype=torch.bool, device=device)
    starts[0, 128] = True
    weights = torch.randn(shape, device=device), torch.randn(B, H, N, N, device=device)

    def all_results(backend: str) -> dict[str, torch.Tensor]:
        leaves = {n: (x.float() if backend == "reference" else x).clone().requires_grad_() for n, x in inputs.items()}
        y, last = wkv6(**leaves, starts=starts, floor=floor, backend=backend)
        loss = (y.float() * weights[0]).sum() + (last * weights[1]).sum()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return {"y": y, "state": last} | {f"d{n}": g for n, g in zip(leaves, gradients, strict=True)}

    expected, actual = all_results("reference"), all_results("triton")
    with torch.no_grad():
        y, last = wkv6(**inputs, starts=starts, floor=floor, backend="triton")
    errors = {"read y": relative_error(y, expected["y"]), "read state": relative_error(last, expected["state"])}
    errors |= {name: relative_error(actual[name], expected[name]) for name in expected}
    figures = "  ".join(f"{name} {error:.1e}" for name, error in errors.items())
    print(f"{str(dtype)[6:]:>8} floor {floor!s:>5} decay x{decay:<6g} {figures}", flush=True)
    return {"dtype": str(dtype)[6:], "floor": floor, "decay": decay, "errors": errors}


class Bench:
    """Input sets of one shape and the times measured on them."""

    def __init__(self, shape: Shape, device: str, tiny: bool) -> None:
        self.shape, self.device = shape, device
        self.sets = [make_inputs(shape, torch.bfloat16, device, seed) for seed in range(1 if tiny else 3)]
        self.repeats = 2 if tiny else 21
        self.numbers = shape[0] * shape[1] * shape[2] * shape[3]

    def forward(self, function: Callable[..., Any]) -> float:
        def call(index: int) -> None:
            with torch.no_grad():
                function(**self.sets[index])

        return milliseconds(call, len(self.sets), self.repeats, self.device)

    def training(self, function: Callable[..., Any]) -> float:
        weights = torch.randn(self.shape, device=self.device).bfloat16()

        def call(index: int) -> None:
            leaves = {name: x.detach().requires_grad_() for name, x in self.sets[index].items()}
            torch.autograd.grad(function(**leaves)[0], list(leaves.values()), weights)

        return milliseconds(call, len(self.sets), self.repeats, self.device)

    def show(self, name: str, ms: float, bytes_each: float | None, limits: dict[str, float]) -> dict[str, Any]:
        rate = self.numbers / ms / 1e6
        share = "" if bytes_each is None else f"{bytes_each * rate / limits['copy_gb_per_s']:.0%} of copy"
        row(WIDTHS, (" ".join(map(str, self.shape)), name, f"{ms:.3f} ms", f"{rate:.1f} G", share))
        return {"shape": self.shape, "form": name, "ms": ms, "g_channel_tokens_per_s": rate, "share_of_copy": share}


def ours(floor: float | None) -> Callable[..., Any]:
    return partial(wkv6, floor=floor, backend="triton")


def fused(r: torch.Tensor, k: torch.Tensor, v: torch.Tensor, log_decay: torch.Tensor) -> Any:
    """Decay activations in bfloat16, decays and key scaling inside the kernels: what a Finch-C2 layer calls."""
    bias = torch.zeros(r.shape[2:], device=r.device)
    return finch_wkv(r, k, v, r, bias, floor=-1.0, scale_keys=True, backend="triton")


def peer_process(shape: Shape, device: str, training: bool, seconds: float) -> dict[str, float] | None:
    """flash-linear-attention's times on this shape from a process of its own, or None where it does not answer in time."""
    command = [sys.executable, str(Path(__file__).resolve()), "--peer", *map(str, shape), "--device", device]
    try:
        done = subprocess.run(
            command + ["--training"] * training, timeout=seconds, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"flash-linear-attention gave no figure for {shape} within {seconds:.0f} s", flush=True)
        return None
    if done.returncode:
        print(f"flash-linear-attention on {shape}: {done.stderr.strip()[-300:]}", flush=True)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def peer(shape: Shape, device: str, training: bool) -> None:
    """The peer's process: one JSON line with its times and its difference from our output on the same inputs."""
    from fla.ops.rwkv6 import chunk_rwkv6  # type: ignore[import-not-found]

    def function(r: torch.Tensor, k: torch.Tensor, v: torch.Tensor, log_decay: torch.Tensor) -> Any:
        u = torch.zeros(r.shape[2:], device=r.device, dtype=r.dtype)
        return chunk_rwkv6(r, k, v, log_decay, u, scale=1.0, output_final_state=True)

    bench = Bench(shape, device, tiny=False)
    answer = {"forward": bench.forward(function)}
    with torch.no_grad():
        expected, found = ours(-1.0)(**bench.sets[0])[0], function(**bench.sets[0])[0]
    answer["difference"] = relative_error(found, expected)
    if training:
        answer["training"] = bench.training(function)
    print(json.dumps(answer))


def compare(shapes: list[Shape], chosen: argparse.Namespace, limits: dict[str, float]) -> list[dict[str, Any]]:
    """Ours on every shape, then the peers, then ratios."""
    figures: list[dict[str, Any]] = []
    mine: dict[Shape, float] = {}
    for shape in shapes:
        bench = Bench(shape, chosen.device, chosen.tiny)
        # 20 bytes a number: r, k, v, decays read, y written, and k, v, decays once more for what spans add.
        for name, function, size in (
            ("gfqa, floor -1", ours(-1.0), 20.0),
            ("gfqa, any decay", ours(None), 20.0),
            ("gfqa, floor -1, fused decays", fused, 16.0),
        ):
            ms = guarded(f"{name} {shape}", chosen.minutes, partial(bench.forward, function))
            if ms is not None:
                figures.append(bench.show(name, ms, size, limits))
                mine.setdefault(shape, ms)
    for shape in shapes:
        theirs = guarded(
            f"flash-linear-attention {shape}",
            chosen.minutes,
            partial(peer_process, shape, chosen.device, chosen.training, chosen.peer_seconds),
        )
        if theirs is not None and shape in mine:
            figures.append({"shape": shape, "form": "flash-linear-attention", **theirs})
            print(
                f"{shape}: ours {mine[shape]:.3f} ms, flash-linear-attention {theirs['forward']:.3f} ms: "
                f"{theirs['forward'] / mine[shape]:.2f}x (outputs differ by {theirs['difference']:.1e})",
                flush=True,
            )
    return figures


def rest(shapes: list[Shape], chosen: argparse.Namespace, limits: dict[str, float]) -> list[dict[str, Any]]:
    """The token-by-token kernel, and forward plus backward on request."""
    from sequential_wkv import sequential_wkv

    figures = []
    for shape in shapes:
        bench = Bench(shape, chosen.device, chosen.tiny)
        bench.repeats = min(bench.repeats, 5)
        kinds: list[tuple[str, Callable[[], float]]] = [
            ("token by token", partial(bench.forward, lambda **x: sequential_wkv(**x)))
        ]
        if chosen.training:
            kinds += [
                (f"gfqa, {word}, forward + backward", partial(bench.training, ours(floor)))
                for word, floor in (("floor -1", -1.0), ("any decay", None))
            ]
        for name, call in kinds:
            ms = guarded(f"{name} {shape}", chosen.minutes, call)
            if ms is not None:
                figures.append(bench.show(name, ms, None, limits))
    return figures


def sweep(shapes: list[Shape], chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Try launch settings, one kernel at a time, the others as they are; every figure in ms, smaller is better."""
    from gfqa.kernels.wkv6 import triton as form

    figures: list[dict[str, Any]] = []
    for shape in shapes[:2]:
        bench = Bench(shape, chosen.device, chosen.tiny)

        def measure(name: str, setting: object, training: bool, bench: Bench = bench, shape: Shape = shape) -> None:
            floor = None if name.startswith("any") else -1.0
            ms = guarded(
                f"{name} {setting}",
                chosen.minutes,
                partial(bench.training if training else bench.forward, ours(floor)),
            )
            if ms is not None:
                figures.append({"shape": shape, "kernel": name, "setting": setting, "ms": ms})
                print(f"{shape} {name:>18} {setting}: {ms:.3f} ms", flush=True)

        for training, table in ((False, SWEEP), (True, GRADIENT_SWEEP if chosen.training else {})):
            for name, settings in table.items():
                kept = dict(form.LAUNCH[name])
                for setting in (kept, *settings):
                    form.LAUNCH[name] = dict(setting)
                    measure(name, setting, training)
                form.LAUNCH[name] = kept
        for name, values in (("cut", (2.0, 4.0, 8.0)), ("whole", (0.5, 1.5, 1e9))):
            kept_value = form.PROGRAMS[name]
            for value in values:
                form.PROGRAMS[name] = value
                measure(f"programs {name}", value, False)
            form.PROGRAMS[name] = kept_value
    return figures


def profile(shapes: list[Shape], device: str) -> None:
    """Print the time of every kernel of one forward and of one forward and backward."""
    for shape in shapes[:2]:
        inputs = {name: x.requires_grad_() for name, x in make_inputs(shape, torch.bfloat16, device).items()}
        weights = torch.randn(shape, device=device).bfloat16()
        for floor in (-1.0, None):
            for recorded in (False, True):
                with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as record:
                    with torch.no_grad():
                        ours(floor)(**inputs)
                    torch.autograd.grad(ours(floor)(**inputs)[0], list(inputs.values()), weights)
                    torch.cuda.synchronize()
                if recorded:
                    for event in sorted(record.events(), key=lambda event: event.time_range.start):
                        print(f"{shape} floor {floor!s:>5} {event.name[:50]:<50} {event.device_time / 1e3:8.3f} ms")


def main() -> None:
    """Compare, check, and on request time training, sweep launch settings or list kernel times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes, for a smoke test")
    parser.add_argument("--minutes", type=float, default=10.0, help="sections that would begin later are left out")
    parser.add_argument("--peer-seconds", type=float, default=150.0, help="time limit of the peer on one shape")
    parser.add_argument("--training", action="store_true", help="forward plus backward as well")
    parser.add_argument("--sweep", action="store_true", help="try launch settings")
    parser.add_argument("--profile", action="store_true", help="list the time of every kernel")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    parser.add_argument("--peer", type=int, nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.device == "cpu":
        # Read by Triton when it is first imported.
        os.environ["TRITON_INTERPRET"] = "1"
    if chosen.peer:
        peer(tuple(chosen.peer), chosen.device, chosen.training)
        return
    shapes = TINY if chosen.tiny else SHAPES
    limits = ceilings(chosen.device, chosen.tiny)
    name = "cpu" if chosen.device == "cpu" else torch.cuda.get_device_name()
    print(f"{name}, torch {torch.__version__}, {limits}", flush=True)
    results: dict[str, Any] = {"device": name, "torch": torch.__version__, "ceilings": limits}
    results["forward"] = compare(shapes, chosen, limits)
    size: Shape = (1, 150, 1, 16) if chosen.tiny else (2, 1000, 3, 64)
    results["errors"] = [
        guarded("check", chosen.minutes, partial(check, size, chosen.device, dtype, floor, decay))
        for dtype in (torch.bfloat16, torch.float32)
        for floor, decay in ((-1.0, 1.0), (None, 1.0), (None, 1e4))
    ]
    results["rest"] = rest(shapes, chosen, limits)
    if chosen.sweep:
        results["sweep"] = sweep(shapes, chosen)
    if chosen.profile:
        guarded("profile", chosen.minutes, partial(profile, shapes, chosen.device))
    finish(results, chosen.out)


if __name__ == "__main__":
    main()
