"""What benchmarks share: times by device events, the two ceilings of a GPU, a budget of minutes, JSON and tables."""

from __future__ import annotations

import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

BEGAN = time.monotonic()


def milliseconds(call: Callable[[int], Any], sets: int, repeats: int, device: str) -> float:
    """Median time of `call(index of an input set)`, the sets in turn, after one warm-up of each."""
    for index in range(sets):
        call(index)
    times = []
    for index in range(repeats):
        if device == "cpu":
            before = time.perf_counter()
            call(index % sets)
            times.append(1e3 * (time.perf_counter() - before))
            continue
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        call(index % sets)
        last.record()
        last.synchronize()
        times.append(first.elapsed_time(last))
    return statistics.median(times)


def ceilings(device: str, tiny: bool) -> dict[str, float]:
    """Copy bandwidth (read plus written) in GB/s and rate of bfloat16 matrix products in TFLOP/s, measured."""
    numbers, side = (1 << 18, 256) if tiny else (1 << 30, 8192)
    source = torch.ones(numbers, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    copy = milliseconds(lambda _: target.copy_(source), 1, 9, device)
    matrices = [torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2)]
    product = milliseconds(lambda _: matrices[0] @ matrices[1], 1, 9, device)
    return {"copy_gb_per_s": 2 * numbers / copy / 1e6, "matrix_tflop_per_s": 2 * side**3 / product / 1e9}


def guarded(name: str, minutes: float, call: Callable[[], Any]) -> Any:
    """Run one section unless the minutes are over; an error is printed and the others go on."""
    if time.monotonic() - BEGAN > 60 * minutes:
        print(f"{name}: left out, {minutes:g} minutes are over", flush=True)
        return None
    try:
        return call()
    except Exception:
        print(f"{name} failed", flush=True)
        traceback.print_exc(limit=4)
        return None


def row(widths: Sequence[int], values: Sequence[object]) -> None:
    """One line of a table, flushed: a run that is cut short keeps it."""
    print("  ".join(f"{value:>{width}}" for width, value in zip(widths, values, strict=True)), flush=True)


def finish(results: dict[str, Any], out: Path | None) -> None:
    """Print the results as one JSON line, and write them to a file if asked."""
    results["command"] = "python " + " ".join(
        [Path(sys.argv[0]).parent.name + "/" + Path(sys.argv[0]).name, *sys.argv[1:]]
    )
    text = json.dumps(results)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
