"""Greedy tokens of every form of the memory on the CPU against float32, over 256 tokens with the shipped reader.

    python benchmarks/greedy_cpu.py [--tokens 16000] [--steps 256]

The memory is this project's own source. Every form begins from the state that float32 keys leave after the question and reads
the tokens that they choose; a row says how many of the steps choose the same token, and of the others the largest margin of
float32, in units of the form's root-mean-square error at that step. What ends an answer does not end the run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.decode_truth import Plainly, Step, against_float32  # noqa: E402
from gfqa.answer.prompt import document_ids, question_ids  # noqa: E402
from gfqa.model import KeyCache  # noqa: E402
from gfqa.model.key_cache import rounded  # noqa: E402
from gfqa.model.state import ModelState  # noqa: E402
from gfqa.model.stepping import answer_steps  # noqa: E402
from gfqa.reader import Reader, open_model  # noqa: E402

FORMS = ("float32", "int8", "latent", "latent16")
QUESTIONS = (
    "Which function reads the configuration file?",
    "What does the store do when another process holds its lock?",
    "How many passages are read again?",
)


@torch.inference_mode()
def memory(reader: Reader, tokens: int) -> KeyCache:
    """About so many tokens of this project's source, each file a chain."""
    ids: list[torch.Tensor] = []
    keys: list[torch.Tensor] = []
    for path in sorted((ROOT / "gfqa").rglob("*.py")):
        if sum(map(len, ids)) >= tokens:
            break
        text = path.read_text(encoding="utf-8")
        ids.append(torch.tensor(document_ids(reader.tokenizer, str(path.relative_to(ROOT)), text)[0]))
        keys.append(rounded(reader.model.prefill(ids[-1][None])[0][0], "int8"))
    starts = torch.tensor([0, *map(len, ids[:-1])]).cumsum(0)
    return KeyCache(torch.cat(ids), torch.cat(keys), starts)


def steps_of(reader: Reader, cache: KeyCache, form: str, room: int) -> Callable[[ModelState], Step]:
    """As `gfqa ask` steps over a memory of this form: in place where it does so."""

    def make(state: ModelState) -> Step:
        own = KeyCache(cache.ids, cache.keys, cache.chain_starts, form=form)
        return answer_steps(reader.model, own, state, room) or Plainly(reader.model, state, own)

    return make


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tokens", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=256)
    bench = parser.parse_args()
    reader = open_model(None, "cpu")
    cache = memory(reader, bench.tokens)
    forms = {form: steps_of(reader, cache, form, bench.steps) for form in FORMS}
    rows: dict[str, Any] = {"tokens": len(cache)}
    for asked in QUESTIONS:
        question = torch.tensor([question_ids(reader.tokenizer, asked)])
        rows[asked] = against_float32(reader.model, cache, question, bench.steps, forms)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
