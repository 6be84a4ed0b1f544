"""Weights and whole training states on disk: safetensors in shards of bounded size, each folder replaced in one step."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gfqa.errors import ModelError
from gfqa.model.checkpoint import WEIGHTS, dequantised, quantised
from gfqa.model.language_model import LanguageModel

MEGABYTE = 1 << 20


def weights_of(model: LanguageModel, masters: Iterable[tuple[str, Tensor]], *, shipped: bool) -> dict[str, Tensor]:
    """What a phase leaves: int8 rows with their scales where `shipped`, else bfloat16 with float32 base decays.

    masters: (`NAME.master`, float32) pairs of the optimizer, which know the weights better than the model does.
    """
    exact = {name.removesuffix(".master"): t for name, t in masters if name.endswith(".master")}
    named = {name: exact.get(name, p).detach() for name, p in model.named_parameters()}
    if shipped:
        return quantised(named)
    return {
        name: t.to(torch.float32 if name.endswith("time_decay") else torch.bfloat16).cpu().contiguous()
        for name, t in named.items()
    }


def save_shards(tensors: Iterable[tuple[str, Tensor]], folder: Path, about: dict[str, Any], shard_bytes: int) -> None:
    """Write tensors as weights-NNN.safetensors of at most about `shard_bytes` each, and about.json beside them.

    The folder appears whole or not at all: it is written under another name, which then takes its place.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for i, shard in enumerate(_shards(tensors, shard_bytes)):
        save_file(shard, fresh / f"weights-{i:03d}.safetensors")
    (fresh / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    for path in fresh.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _shards(tensors: Iterable[tuple[str, Tensor]], shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > shard_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
    if shard:
        yield shard


def is_state(folder: Path) -> bool:
    """Whether `load_shards` finds something there, if only what an interrupted replacement left."""
    return any(
        next(path.glob("weights-*.safetensors"), None) for path in (folder, folder.with_name(folder.name + ".old"))
    )


def load_shards(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Every tensor of a folder's shards as stored, and what about.json says.

    Raises ModelError where there is none or one is damaged. A folder whose replacement was interrupted is found again.
    """
    if not folder.exists() and (old := folder.with_name(folder.name + ".old")).exists():
        folder = old
    files = sorted(folder.glob("weights-*.safetensors"))
    if not files:
        raise ModelError(f"There are no weights-NNN.safetensors in {folder}.")
    try:
        tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
        about = json.loads((folder / "about.json").read_text())
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"Cannot read {folder}: {error}.") from None
    return tensors, about


def load_weights(folder: Path) -> dict[str, Tensor]:
    """The parameters, float32, of a folder of shards or of a model folder (`weights.safetensors`)."""
    if (folder / WEIGHTS).is_file():
        try:
            return dequantised(load_file(folder / WEIGHTS))
        except (SafetensorError, OSError) as error:
            raise ModelError(f"Cannot read {folder / WEIGHTS}: {error}.") from None
    return dequantised(load_shards(folder)[0])
