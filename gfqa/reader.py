"""An opened model: folder, configuration, tokenizer and the identity its caches carry. Shared by the use cases.

The weights are loaded at the first use only: an `ingest` that finds nothing new never touches them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from gfqa import config
from gfqa.answer.confidence import Confidence
from gfqa.answer.prompt import tokenizer_identity
from gfqa.cachestore import Identity
from gfqa.errors import ModelError, UsageError
from gfqa.model import LanguageModel, ModelConfig, load_model
from gfqa.model.checkpoint import CONFIG, model_identity
from gfqa.model_folders import SHIPPED, find_model, model_name, named_tokenizer
from gfqa.tokenizer import Tokenizer

__all__ = ["SHIPPED", "Reader", "find_model", "model_name", "open_model", "open_tokenizer", "resolve_device"]

NUMERICS_VERSION = 1


@dataclass(frozen=True)
class Reader:
    """A model folder opened for use on `device`."""

    folder: Path
    config: ModelConfig
    tokenizer: Tokenizer
    identity: Identity
    device: str
    score: Confidence = field(default_factory=Confidence)

    @cached_property
    def model(self) -> LanguageModel:
        """The loaded model, eval mode, on the device."""
        model = load_model(self.folder, self.device)
        if self.tokenizer.vocab_size > self.config.vocab_size:
            raise ModelError(f"The tokenizer of {self.folder} has more pieces than the model has embeddings.")
        return model

    @property
    def name(self) -> str:
        """What messages call the model."""
        return self.identity.model_name


def open_model(path: str | Path | None = None, device: str = "auto") -> Reader:
    """Open a model: a folder, the name of one under `models/` in gfqa's data directory, or None for the shipped reader.

    Raises ModelError for a folder that is no model and for a device that is not there, UsageError for an unknown device.
    """
    folder = find_model(path)
    place = resolve_device(device)
    settings = ModelConfig.load(folder / CONFIG)
    tokenizer = open_tokenizer(folder, settings)
    identity = Identity(
        model=model_identity(folder),
        tokenizer=tokenizer_identity(tokenizer),
        layout=settings.layout,
        key_dtype=settings.key_dtype,
        key_width=settings.key_width,
        numerics_version=NUMERICS_VERSION,
        model_name=model_name(folder),
    )
    return Reader(folder, settings, tokenizer, identity, place, Confidence.load(folder))


def open_tokenizer(folder: Path, settings: ModelConfig) -> Tokenizer:
    """The tokenizer the configuration names, which lies in the same folder ("bytes" is built in)."""
    return named_tokenizer(folder, settings.tokenizer)


def resolve_device(name: str) -> str:
    """The device a name stands for: "auto" is the first GPU where there is one, else the CPU.

    Raises UsageError for an unknown name, ModelError for a GPU that is not there and for MPS.
    """
    if not re.fullmatch(f"{config.DEVICES}|mps", name):
        raise UsageError(f"There is no device {name!r}.", hint="Use auto, cpu, cuda or cuda:N.")
    kind, _, index = name.partition(":")
    if kind == "mps":
        raise ModelError(
            "The MPS device is not supported: its results have not been measured.", hint="Use --device cpu."
        )
    count = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "auto":
        return "cuda" if count else "cpu"
    if kind == "cuda" and int(index or 0) >= count:
        found = "no GPU that torch can use" if not count else f"{count} GPU" + ("s" if count > 1 else "")
        raise ModelError(f"The device {name} was asked for, but this machine has {found}.", hint="Use --device cpu.")
    return name
