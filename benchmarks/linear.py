"""The linear law, measured: prefill time per token along one long document, and the memory it takes.

`python benchmarks/linear.py [--tokens 1048576] [--device cpu]` reads one document of that many tokens (this project's own
source, repeated) slice by slice with the state handed on, as `gfqa ingest` does. Prints one JSON object: seconds of
processor time (of the GPU: wall time) per million tokens in each stretch of the document, and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch

from gfqa.prefill import TOKENS_AT_ONCE
from gfqa.reader import open_model

ROOT = Path(__file__).resolve().parent.parent


def document(reader: object, tokens: int) -> torch.Tensor:
    """[1, tokens] ids of the project's source, each copy under another heading."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "gfqa").rglob("*.py")))
    ids: list[int] = []
    copy = 0
    while len(ids) < tokens:
        ids += reader.tokenizer.encode(f"# copy {copy}\n{text}")  # type: ignore[attr-defined]
        copy += 1
    return torch.tensor([ids[:tokens]])


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1 << 20)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    reader = open_model(None, arguments.device)
    ids = document(reader, arguments.tokens)
    on_gpu = reader.device != "cpu"
    step = TOKENS_AT_ONCE["cuda" if on_gpu else "cpu"]

    def now() -> float:
        if on_gpu:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    # Stretches that double: 0-4 k, 4-8 k, 8-16 k, …; the first calls pay for what is allocated once.
    reader.model.prefill(ids[:, :step].to(reader.device))
    state, edge, since = None, step, now()
    stretches, start = [], 0
    for begin in range(0, ids.shape[1], step):
        _, state = reader.model.prefill(ids[:, begin : begin + step].to(reader.device), state)
        end = min(begin + step, ids.shape[1])
        if end >= min(edge, ids.shape[1]):
            at = now()
            stretches.append(
                {"from": start, "to": end, "seconds_per_million": round(1e6 * (at - since) / (end - start), 2)}
            )
            start, since, edge = end, at, 2 * edge
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {
        "device": reader.device,
        "threads": torch.get_num_threads(),
        "tokens": ids.shape[1],
        "stretches": stretches,
        "peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else peak,
        "command": "python benchmarks/linear.py " + " ".join(sys.argv[1:]),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
