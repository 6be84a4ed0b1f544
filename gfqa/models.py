"""Models on this machine: list, describe, verify, and convert a .pth file once, in a process of its own."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from gfqa import digest
from gfqa.errors import ModelError, UsageError
from gfqa.model import ModelConfig, load_model
from gfqa.model.checkpoint import CHECKSUMS, CONFIG, SCALE, WEIGHTS, model_identity
from gfqa.model_folders import all_folders
from gfqa.reader import find_model, model_name, open_tokenizer


@dataclass(frozen=True)
class ModelInfo:
    """A model folder. parameters is None until its weights were counted; bytes: of all its files."""

    name: str
    folder: Path
    config: ModelConfig
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "folder": str(self.folder),
            "layout": self.config.layout,
            "bytes": self.bytes,
            "bytes_per_token": bytes_per_token(self.config),
            "config": self.config.to_dict(),
        }


def installed() -> list[ModelInfo]:
    """The shipped reader and the models in gfqa's data directory."""
    return [describe(folder) for folder in all_folders()]


def describe(path: str | Path | None) -> ModelInfo:
    """What a model folder holds; ModelError where it is none."""
    folder = find_model(path)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return ModelInfo(model_name(folder), folder, ModelConfig.load(folder / CONFIG), size)


def bytes_per_token(settings: ModelConfig) -> int:
    """What one token costs in a cache: its id and its compressed key."""
    width = {"int8": 1, "bfloat16": 2, "float32": 4}[settings.key_dtype]
    scale = 2 if settings.key_dtype == "int8" and settings.key_width else 0
    return (2 if settings.vocab_size <= 65536 else 4) + scale + settings.key_width * width


def count_parameters(folder: Path) -> int:
    """How many numbers the weights of a model folder are, from the head of the file alone; ModelError if it has none."""
    file = folder / WEIGHTS
    try:
        with safe_open(file, framework="numpy") as tensors:
            shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys() if not name.endswith(SCALE)]  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot read {file}: {error}.") from None
    return sum(math.prod(shape) for shape in shapes)


def verify(path: str | Path | None) -> dict[str, Any]:
    """Check a model folder: checksums where it has any, names, shapes and finiteness of the weights, and the tokenizer.

    Returns the documented object of `models verify --json`; ModelError says what is wrong.
    """
    info = describe(path)
    checked = _check_sums(info.folder)
    model = load_model(info.folder)
    tokenizer = open_tokenizer(info.folder, info.config)
    if tokenizer.vocab_size > info.config.vocab_size:
        raise ModelError(f"The tokenizer of {info.folder} has more pieces than the model has embeddings.")
    return {
        "schema": 1,
        "name": info.name,
        "folder": str(info.folder),
        "identity": model_identity(info.folder),
        "tokenizer": tokenizer.identity,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "checksums": checked,
    }


def convert(source: Path, destination: Path, tokenizer: Path | None = None) -> ModelInfo:
    """Turn a published .pth file into a model folder, with weights-only loading in a child process and no fallback.

    tokenizer: a file to put beside the weights. UsageError for a missing file or a destination that is not empty,
    ModelError for a file that is no checkpoint of a known model.
    """
    for file in (source, tokenizer):
        if file is not None and not file.is_file():
            raise UsageError(f"There is no file {file}.")
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(f"{destination} exists already.", hint="Name a new folder.")
    order = {"source": str(source), "destination": str(destination), "tokenizer": tokenizer and str(tokenizer)}
    child = subprocess.run(
        [sys.executable, "-m", "gfqa.model.convert", json.dumps(order)], capture_output=True, text=True, check=False
    )
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        raise ModelError(f"The converter could not read {source} (exit code {child.returncode}).") from None
    if "error" in answer:
        raise ModelError(str(answer["error"]))
    return describe(destination)


def _check_sums(folder: Path) -> int:
    """How many files matched the folder's SHA256SUMS; 0 without one."""
    sums = folder / CHECKSUMS
    if not sums.is_file():
        return 0
    count = 0
    for line in sums.read_text("utf-8").splitlines():
        expected, _, name = line.partition("  ")
        if Path(name).name != name:
            raise ModelError(f"{sums} names a file outside its folder: {name!r}.")
        try:
            actual = digest.of_file(folder / name).hex()
        except OSError as error:
            raise ModelError(f"Cannot read {folder / name}: {error.strerror}.") from None
        if actual != expected:
            raise ModelError(f"{folder / name} does not match its checksum.", hint="Install the model again.")
        count += 1
    if WEIGHTS not in sums.read_text("utf-8"):
        raise ModelError(f"{sums} has no checksum of {WEIGHTS}.")
    return count
