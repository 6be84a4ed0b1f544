"""The child process that reads one .pth file: `python -m gfqa.model.convert ORDER`, started by `gfqa models convert`.

A .pth file is a pickle, and pickles can run code. It is read once, with weights-only loading and no fallback, in a process that
does nothing else; everything after it works on safetensors. ORDER is a JSON object {"source", "destination", "tokenizer"};
standard output gets {"folder": ...} or {"error": a sentence}.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gfqa.errors import GfqaError, ModelError
from gfqa.model.checkpoint import CONFIG, FLOATS, WEIGHTS, build, write_atomically
from gfqa.model.config import ModelConfig, Rope, lora_sizes

WORLD_TOKENIZER = "rwkv_vocab_v20230424.txt"
_PREFIXES = ("_forward_module.", "module.", "model.")


def convert(source: Path, destination: Path, tokenizer: Path | None = None) -> None:
    """Write the model folder `destination` from the checkpoint `source`. ModelError where that is not possible."""
    tensors = read_checkpoint(source)
    config = infer_config(tensors, WORLD_TOKENIZER if tokenizer is None else tokenizer.name)
    # Building the model checks every name, every shape and every number before anything is written.
    build(config, {name: tensor.float() for name, tensor in tensors.items()})
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}."))
    try:
        text = json.dumps(config.to_dict(), indent=2) + "\n"
        write_atomically(staging / CONFIG, lambda path: path.write_text(text))
        write_atomically(staging / WEIGHTS, lambda path: save_file(tensors, path))
        if tokenizer is not None:
            shutil.copyfile(tokenizer, staging / tokenizer.name)
        staging.chmod(0o755)
        # An existing empty folder is replaced; one with anything in it makes this fail.
        staging.rename(destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_checkpoint(source: Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file by the reference's names, contiguous, as stored."""
    try:
        if source.suffix == ".safetensors":
            loaded = load_file(source)
        else:
            loaded = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(f"{source} holds more than tensors, or is damaged; it was not loaded.") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        kind = ".safetensors" if source.suffix == ".safetensors" else ".pth"
        raise ModelError(f"{source} is no readable {kind} file ({type(error).__name__}).") from None
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise ModelError(f"{source} is no dictionary of tensors.")
    tensors = {}
    for name, value in loaded.items():
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        if value.dtype not in FLOATS:
            raise ModelError(f"The weight {name!r} in {source} is of type {value.dtype}, which is not supported.")
        # Tensors may share storage in a pickle; safetensors wants each on its own.
        tensors[name] = value.contiguous().clone()
    return tensors


def infer_config(tensors: Mapping[str, Tensor], tokenizer: str) -> ModelConfig:
    """The configuration that names and shapes of a published GoldFinch, Finch, GPTAlpha or Llama file imply.

    What leaves no trace in them is taken to be the reference's default: head size 64 where no layer shows it, no RoPE in
    GOLD and GPTAlpha layers, RoPE with base 10,000 in Llama layers.
    """
    blocks = sorted({int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))})
    if not blocks or blocks != list(range(len(blocks))) or "emb.weight" not in tensors:
        raise ModelError("The file holds no language model of a known kind: it lacks 'emb.weight' or 'blocks.0'.")
    vocab_size, n_embd = tensors["emb.weight"].shape
    kinds = [_time_mix(tensors, layer) for layer in blocks]
    split = next((layer for layer in blocks if kinds[layer] != kinds[0]), len(blocks))
    upper = kinds[split] if split < len(blocks) else ""
    if any(kind != upper for kind in kinds[split:]):
        raise ModelError("The layers of the file alternate between more kinds than a model can have.")
    values: dict[str, Any] = {
        "n_embd": n_embd,
        "n_layer": len(blocks),
        "vocab_size": vocab_size,
        "tmix": kinds[0],
        "tmix2": upper,
        "cmix": _channel_mix(tensors, 0),
        "cmix2": _channel_mix(tensors, len(blocks) - 1),
        "tie_embeddings": "head.weight" not in tensors,
        "lora": lora_sizes(tensors),
        "tokenizer": tokenizer,
    }
    heads = [tensor.shape for name, tensor in tensors.items() if name.endswith("att.time_faaaa") and tensor.dim() == 2]
    if heads:
        values["head_size"] = heads[0][1]
    if "blocks.0.ffn.key.weight" in tensors:
        values["dim_ffn"] = tensors["blocks.0.ffn.key.weight"].shape[0]
    if upper:
        values["inv_other_layer_ratio"] = _layer_ratio(len(blocks), split)
    if "w_kv_cache_a.weight" in tensors:
        values["kv_cache_compression_ratio"] = n_embd / tensors["w_kv_cache_a.weight"].shape[0]
    if "llama" in kinds:
        values["rope"] = Rope()
    return ModelConfig(**values)


def _time_mix(tensors: Mapping[str, Tensor], layer: int) -> str:
    """The kind of a layer by the parameter that only this kind has."""
    marks = {
        "gold": "time_maa_q",
        "x060c2": "time_value2_w1",
        "x060": "gate.weight",
        "gptalpha": "ln_r.weight",
        "llama": "wq.weight",
    }
    for kind, mark in marks.items():
        if f"blocks.{layer}.att.{mark}" in tensors:
            return kind
    raise ModelError(f"Layer {layer} of the file is of no known kind.")


def _channel_mix(tensors: Mapping[str, Tensor], layer: int) -> str:
    return "llama" if f"blocks.{layer}.ffn.w1.weight" in tensors else "x060"


def _layer_ratio(n_layer: int, split: int) -> float:
    """A ratio r with int(n_layer * (r - 1) / r) == split, the published 3 where it fits."""
    for ratio in (3.0, 2.0, 6.0, *(n_layer / (n_layer - split - share) for share in (0.0, 0.5))):
        if int(n_layer * (ratio - 1) / ratio) == split:
            return ratio
    raise ModelError(f"The file has its upper layers from {split} of {n_layer} on, which no ratio gives.")


def main(order: str) -> None:
    """Carry out one order and answer on standard output."""
    request = json.loads(order)
    tokenizer = request["tokenizer"]
    try:
        convert(Path(request["source"]), Path(request["destination"]), Path(tokenizer) if tokenizer else None)
        answer = {"folder": request["destination"]}
    except GfqaError as error:
        answer = {"error": error.message}
    except OSError as error:
        answer = {"error": f"{error.strerror or type(error).__name__}: {error.filename or request['destination']}."}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
