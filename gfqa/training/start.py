"""The model a phase begins with."""

from __future__ import annotations

from pathlib import Path

import torch

from gfqa.model.checkpoint import build, place
from gfqa.model.config import ModelConfig
from gfqa.model.init import init_weights
from gfqa.model.language_model import LanguageModel
from gfqa.training.config import TrainConfig
from gfqa.training.weights import load_weights


def new_model(config: TrainConfig, device: torch.device) -> LanguageModel:
    """The model of a phase, bfloat16 weights on a GPU: from `start`, or initialised."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    shape = ModelConfig.from_dict(config.model)
    model = init_weights(LanguageModel(shape), config.seed)
    if config.start:
        tensors = load_weights(Path(config.start))
        # Weights from before there was a pointer get a new one.
        new = {name: p for name, p in model.named_parameters() if name.startswith("pointer.")}
        model = build(shape, new | tensors)
    else:
        if shape.tie_embeddings:
            # The same matrix is the head: logits need a scale that the tiny embeddings of the reference lack.
            torch.nn.init.normal_(model.emb.weight, std=0.02)
    return place(model, device, dtype).train().requires_grad_(True)
