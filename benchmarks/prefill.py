"""Ingest: the application on a generated tree, then the whole Finch half of models of three sizes by length.

    python benchmarks/prefill.py [--minutes 10] [--ingest] [--tokens 3000000] [--out FILE]
    python benchmarks/prefill.py --pipeline [--tokens 300000]       everything but the model: walk, decode, tokenise, store
    python benchmarks/prefill.py --device cpu --tiny                a smoke test; its times mean nothing

First comes `gfqa ingest` itself with the shipped reader, tokens/s from its own JSON, after a small ingest that compiles the
kernels. --ingest stops there. The models have random weights in bfloat16; each figure includes token ids coming from pinned
memory and int8 keys going back to it. Memory is the peak that torch allocated. Shares are of the copy bandwidth and matrix
rate measured in the same run, against 84 bytes a channel, token and layer, and two operations a weight.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import corpus
from machine import ceilings, finish, guarded, row

from gfqa.model import LanguageModel, ModelConfig
from gfqa.model.checkpoint import place
from gfqa.model.init import init_weights
from gfqa.model.key_cache import quantise_keys
from gfqa.model.prefill_graph import SegmentReader, segment_tokens

ROOT = Path(__file__).resolve().parent.parent
SIZES = [(512, 12), (768, 12), (2048, 24)]
LENGTHS = [1 << 14, 1 << 16, 1 << 18, 1 << 20]
WIDTHS = (12, 9, 9, 11, 10, 9, 9)


def application(device: str, tokens: int) -> dict[str, Any]:
    """`gfqa ingest` of about `tokens` tokens in a process of its own: its tokens, seconds and tokens/s."""

    def ingest(folder: Path, home: Path) -> tuple[dict[str, Any], float]:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "gfqa.cli", "ingest", str(folder), "--name", "bench", "--device", device, "--json"],
            env={**os.environ, "GFQA_HOME": str(home), "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"gfqa ingest ended with {done.returncode}: {done.stderr[-1500:]}")
        return json.loads(done.stdout), time.monotonic() - began

    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / name for name in ("small", "large")}
        for (name, folder), wanted in zip(folders.items(), (min(100_000, tokens), tokens), strict=True):
            corpus(folder, 3 * wanted)
            report, seconds = ingest(folder, Path(temporary) / f"home of {name}")
            prefilled = report["tokens"]["prefilled"]
            figures = {
                "tokens": prefilled,
                "documents": report["documents"]["ingested"],
                "seconds": report["seconds"],
                "tokens_per_s": round(prefilled / report["seconds"]),
                "process_s": round(seconds, 2),
                "process_tokens_per_s": round(prefilled / seconds),
            }
            print(f"gfqa ingest --device {device}, {name}: {figures}", flush=True)
    return figures


def pipeline(tokens: int) -> dict[str, Any]:
    """An ingest in this process whose model gives random keys at once: what reading, tokenising and storing alone take."""
    from gfqa import ingest, prefill
    from gfqa.ingest import open_model

    class Nothing(SegmentReader):
        """Keys of the right shape, without a model."""

        def _run(self, ids: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, ...]:
            del starts
            return self._codes[: ids.shape[1]], self._scales[: ids.shape[1]]

        _codes = torch.randint(-127, 128, (1 << 17, 28), dtype=torch.int8)
        _scales = torch.rand(1 << 17).to(torch.float16)

    prefill.SegmentReader = Nothing  # type: ignore[misc]
    prefill.TOKENS_AT_ONCE["cpu"] = 16384
    reader = open_model(None, "cpu")
    _ = reader.model
    phases: dict[str, float] = {}

    def note(phase: str, done: int, total: int) -> None:
        phases.setdefault(phase + " begins", time.perf_counter())
        phases[phase + " ends"] = time.perf_counter()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "tree"
        corpus(folder, 3 * tokens)
        began, processor = time.perf_counter(), time.process_time()
        report = ingest.run([folder], reader=reader, home=Path(temporary) / "home", on_progress=note)
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
    figures = {
        "tokens": report.prefilled,
        "tokens_per_s": round(report.prefilled / seconds),
        "tokens_per_processor_s": round(report.prefilled / processor),
        "seconds": {name: round(at - began, 3) for name, at in phases.items()} | {"all": round(seconds, 3)},
        "processors": os.cpu_count(),
    }
    print(f"without the model: {figures}", flush=True)
    return figures


def make_model(width: int, layers: int, device: str) -> LanguageModel:
    """GoldFinch with random weights: head size 64, decays bounded at -1, int8 keys of a sixteenth of the width."""
    config = ModelConfig(
        n_embd=width, n_layer=layers, head_size=64, vocab_size=16384, tmix="x060c2", tmix2="gold", decay_floor=-1.0
    )
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    return place(init_weights(LanguageModel(config), seed=1), device, dtype).requires_grad_(False).eval()


@torch.inference_mode()
def half(model: LanguageModel, length: int, tokens: int, device: str) -> tuple[float, float]:
    """Seconds and peak bytes of reading one chain of `length` tokens in segments of `tokens`."""
    on_gpu = device != "cpu"
    reader = SegmentReader(model, tokens, quantise_keys)
    ids = torch.from_numpy(np.random.default_rng(length).integers(0, 16384, length))
    ids = ids.pin_memory() if on_gpu else ids
    hosts = [torch.empty(length, model.config.key_width, dtype=torch.int8), torch.empty(length, dtype=torch.float16)]
    hosts = [host.pin_memory() if on_gpu else host for host in hosts]
    for _ in range(3):
        reader.read(ids[:tokens])  # compiles, captures, replays
    reader.reset()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    for start in range(0, length, tokens):
        results = reader.read(ids[start : start + tokens])
        for host, result in zip(hosts, results, strict=True):
            host[start : start + tokens].copy_(result, non_blocking=True)
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    return seconds, float(torch.cuda.max_memory_allocated()) if on_gpu else 0.0


def size(width: int, layers: int, chosen: argparse.Namespace, limits: dict[str, float]) -> list[dict[str, Any]]:
    """One model at every length, then its segment sizes."""
    model = make_model(width, layers, chosen.device)
    lower = layers - model.config.n_gold
    weights = sum(p.numel() for block in model.blocks[:lower] for p in block.parameters() if p.dim() >= 2)
    best = 64 if chosen.tiny else segment_tokens(width)
    lengths = [100] if chosen.tiny else LENGTHS
    cases = [(length, best) for length in lengths] + [(lengths[-1], best * 2), (lengths[-1], max(64, best // 2))]
    figures = []
    for length, tokens in cases:
        times = [half(model, length, tokens, chosen.device) for _ in range(1 if chosen.tiny else 3)]
        seconds, memory = min(times)
        speed = length / seconds
        figure = {
            "model": f"D{width} L{layers}",
            "tokens": length,
            "segment": tokens,
            "tokens_per_s": speed,
            "peak_bytes": memory,
            "matrix_share": 2 * weights * speed / limits["matrix_tflop_per_s"] / 1e12,
            "copy_share": 84 * width * lower * speed / limits["copy_gb_per_s"] / 1e9,
        }
        figures.append(figure)
        row(
            WIDTHS,
            (
                figure["model"],
                length,
                tokens,
                f"{speed:,.0f}",
                f"{memory / 1e6:.0f} MB",
                f"{figure['matrix_share']:.0%}",
                f"{figure['copy_share']:.0%}",
            ),
        )
    return figures


def main() -> None:
    """The application first, then models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a smoke test")
    parser.add_argument("--minutes", type=float, default=10.0, help="sections that would begin later are left out")
    parser.add_argument("--tokens", type=int, default=3_000_000, help="about how many the application reads")
    parser.add_argument("--ingest", action="store_true", help="the application only")
    parser.add_argument("--no-ingest", action="store_true", help="models only")
    parser.add_argument("--pipeline", action="store_true", help="everything but the model, on the CPU")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    chosen = parser.parse_args()
    if chosen.pipeline:
        finish({"pipeline": pipeline(chosen.tokens)}, chosen.out)
        return
    results: dict[str, Any] = {}
    if not chosen.no_ingest:
        wanted = 3000 if chosen.tiny else chosen.tokens
        results["ingest"] = guarded("ingest", chosen.minutes, partial(application, chosen.device, wanted))
    if not chosen.ingest:
        limits = results["ceilings"] = ceilings(chosen.device, chosen.tiny)
        print(f"torch {torch.__version__}, {limits}", flush=True)
        row(WIDTHS, ("model", "tokens", "segment", "tokens/s", "peak", "matrix", "copy"))
        for width, layers in [(128, 3)] if chosen.tiny else SIZES:
            name = f"D{width} L{layers}"
            results[name] = guarded(name, chosen.minutes, partial(size, width, layers, chosen, limits))
    finish(results, chosen.out)


if __name__ == "__main__":
    main()
