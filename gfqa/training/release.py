"""Make a model folder from training weights: int8 matrices, the configuration, the tokenizer, checksums."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gfqa.errors import GfqaError
from gfqa.model.checkpoint import build, save_model, write_checksums
from gfqa.model.config import ModelConfig
from gfqa.training.weights import load_weights

MOST_BYTES = 32_000_000
"""What a shipped reader may weigh in all."""


def release(
    weights: Path, model: dict[str, Any], tokenizer: Path, out: Path, average: Path | None = None
) -> dict[str, int]:
    """Write the folder; returns the bytes of each file and their total. Raises GfqaError where that is too much to ship,
    and for a pointer that no phase has trained.

    average: weights, or a model folder, of the same shape, the mean of which and of `weights` is written. Where one was trained
    on from the other, the mean keeps what the first knew better (Wortsman et al. 2022, arXiv 2109.01903).
    """
    config = ModelConfig.from_dict(model)
    tensors = load_weights(weights)
    if average is not None:
        other = load_weights(average)
        if {name: t.shape for name, t in tensors.items()} != {name: t.shape for name, t in other.items()}:
            raise GfqaError(f"{average} holds other weights than {weights}.", hint="Both must be of one configuration.")
        tensors = {name: (t.float() + other[name].float()) / 2 for name, t in tensors.items()}
    made = build(config, tensors)
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
    write_checksums(out)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir()) if path.is_file()}
    total = sum(sizes.values())
    if total > MOST_BYTES:
        raise GfqaError(f"{out} holds {total} bytes, more than the {MOST_BYTES} a shipped reader may have.")
    return {**sizes, "total": total}
