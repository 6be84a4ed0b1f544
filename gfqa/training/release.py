"""Make a model folder from training weights: int8 matrices, the configuration, the tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gfqa.errors import GfqaError
from gfqa.model.checkpoint import build, save_model
from gfqa.model.config import ModelConfig
from gfqa.training.weights import load_weights

MOST_BYTES = 32_000_000
"""What a shipped reader may weigh in all."""


def release(weights: Path, model: dict[str, Any], tokenizer: Path, out: Path) -> dict[str, int]:
    """Write the folder; returns the bytes of each file and their total. Raises GfqaError where that is too much to ship,
    and for a pointer that no phase has trained.
    """
    config = ModelConfig.from_dict(model)
    made = build(config, load_weights(weights))
    if config.pointer_width and not made.pointer.key.weight.any():
        # It begins at nothing, and only passage rows take it from there: answers would be spans drawn at random.
        raise GfqaError(
            f"The pointer of {weights} was never trained.",
            hint="Train with passage_rows, or set model.pointer_width=0.",
        )
    save_model(made, out, quantise=True)
    target = out / config.tokenizer
    if target.resolve() != tokenizer.resolve():
        shutil.copyfile(tokenizer, target)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir()) if path.is_file()}
    total = sum(sizes.values())
    if total > MOST_BYTES:
        raise GfqaError(f"{out} holds {total} bytes, more than the {MOST_BYTES} a shipped reader may have.")
    return {**sizes, "total": total}
