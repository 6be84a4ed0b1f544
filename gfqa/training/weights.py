"""Intermediate weights: bfloat16 safetensors in shards of bounded size, with about.json beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gfqa.model.language_model import LanguageModel

SHARD_BYTES = 15 << 20


def save_shards(model: LanguageModel, folder: Path, about: dict[str, Any], shard_bytes: int = SHARD_BYTES) -> None:
    """Write a model's weights as weights-NNN.safetensors of at most about `shard_bytes`, and about.json.

    Everything is bfloat16 but the base decays, which stay float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, parameter in model.named_parameters():
        dtype = torch.float32 if name.endswith("time_decay") else torch.bfloat16
        value = parameter.detach().to(dtype).cpu().contiguous()
        if size and size + value.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += value.nbytes
    for i, shard in enumerate(shards):
        save_file(shard, folder / f"weights-{i:03d}.safetensors")
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")


def load_shards(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder's shards. Raises FileNotFoundError where there is none."""
    files = sorted(folder.glob("weights-*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no weights in {folder}")
    return {name: tensor for file in files for name, tensor in load_file(file).items()}
