"""GOLD decode on the CPU with the shipped reader: building the memory, the question's pass, each further token.

`python benchmarks/decode_cpu.py [--tokens 10000 100000 1000000] [--forms materialised int8 latent] [--threads 2]` tokenises
this project's own source and Python's standard library into documents (real bigrams), pre-fills the first of them, draws the
other tokens' compressed keys from those of the same id, and times each form in turn. Prints one JSON object; times are the
best of the repeats, since other work on the machine only ever adds, with processor time beside the clock's for the same reason.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gfqa.answer import prompt
from gfqa.model import KeyCache
from gfqa.model.key_cache import rounded
from gfqa.reader import Reader, open_model

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "Which file sets the default timeout of fetch_rates, and to how many seconds?"
PREFILLED = 8192


def documents(reader: Reader, tokens: int) -> list[list[int]]:
    """Ids of the project's and the standard library's sources, cut at `tokens` in all."""
    files = sorted((ROOT / "gfqa").rglob("*.py")) + sorted((ROOT / "examples").rglob("*.md"))
    files += sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    found, total = [], 0
    for file in files:
        if "site-packages" in file.parts:
            continue
        ids, _ = prompt.document_ids(reader.tokenizer, file.name, file.read_text(encoding="utf-8", errors="replace"))
        found.append(list(ids[: tokens - total]))
        total += len(found[-1])
        if total == tokens:
            return found
    raise SystemExit(f"there are only {total} tokens of text on this machine")


def compressed_keys(reader: Reader, ids: Tensor) -> Tensor:
    """Keys [S, key_width] as int8 storage gives them back: of the first tokens computed, of others those of an equal id."""
    generator = torch.Generator().manual_seed(0)
    known = reader.model.prefill(ids[None, :PREFILLED])[0][0]
    source = torch.randint(len(known), (len(ids),), generator=generator)
    where = torch.full((reader.config.vocab_size,), -1).index_put((ids[:PREFILLED],), torch.arange(len(known)))
    seen = where[ids]
    source = torch.where(seen >= 0, seen, source)
    source[: len(known)] = torch.arange(len(known))
    return rounded(known[source], "int8")


def measure(
    reader: Reader, ids: Tensor, keys: Tensor, starts: Tensor, form: str, repeats: int, steps: int
) -> dict[str, object]:
    """Best seconds, of the clock and of all cores, of building, of the first pass and of a step, and what came out."""
    model = reader.model
    question = torch.tensor([prompt.question_ids(reader.tokenizer, QUESTION)])
    spent: dict[str, list[tuple[float, float]]] = {"build": [], "question": [], "step": []}

    def timed(what: str, began: tuple[float, float]) -> None:
        spent[what].append((time.perf_counter() - began[0], time.process_time() - began[1]))

    for _ in range(repeats):
        cache = KeyCache(ids, keys, starts, form=form)
        began = time.perf_counter(), time.process_time()
        cache.layers(model)
        timed("build", began)
        state, piece, produced = None, question, []
        for number in range(steps + 1):
            attention: list[Tensor] = []
            began = time.perf_counter(), time.process_time()
            logits, state = model.decode(piece, state, cache, attention=attention, last_only=True)
            timed("step" if number else "question", began)
            piece = logits[:, -1].argmax(-1, keepdim=True)
            produced.append(int(piece))
    best = {f"{what}_s": round(min(wall for wall, _ in times), 4) for what, times in spent.items()}
    cpu = {f"{what}_cpu_s": round(min(cpu for _, cpu in times), 4) for what, times in spent.items()}
    return {
        **best,
        **cpu,
        "tokens_per_s": round(1 / best["step_s"], 1),
        "memory_mb": round(cache.prepared_bytes() / 1e6),
        "produced": produced,
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--forms", nargs="+", default=["materialised", "int8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    reader = open_model(None, "cpu")
    figures: dict[str, object] = {}
    texts = documents(reader, max(arguments.tokens))
    everything = torch.tensor([id for ids in texts for id in ids])
    keys = compressed_keys(reader, everything)
    borders = np.cumsum([0, *map(len, texts)])[:-1]
    for n in arguments.tokens:
        starts = torch.from_numpy(borders[borders < n].copy())
        bigrams = len(torch.unique(everything[: n - 1] * reader.config.vocab_size + everything[1:n]))
        forms = {
            form: measure(reader, everything[:n], keys[:n], starts, form, arguments.repeats, arguments.steps)
            for form in arguments.forms
        }
        figures[str(n)] = {"documents": len(starts), "tokens_per_bigram": round(n / bigrams, 2), "forms": forms}
    figures["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figures["command"] = "python benchmarks/decode_cpu.py " + " ".join(sys.argv[1:])
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
