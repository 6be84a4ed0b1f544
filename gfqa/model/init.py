"""Initial weights, deterministic where the reference is (MODEL zoo parity), seeded elsewhere.

Letters: j channel, l layer, delta_j = j/C, a = l/(L-1), b = 1 - l/L.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gfqa.errors import ModelError
from gfqa.model.language_model import LanguageModel

ZERO_WEIGHTS = ("att.output.weight", "ffn.receptance.weight", "ffn.value.weight")


@torch.no_grad()
def init_weights(model: LanguageModel, seed: int = 0) -> LanguageModel:
    """Fill every parameter in place, on the CPU's generator; returns the model."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        value = initial_value(model, name, weight.shape, generator)
        weight.copy_(value)
    return model


def initial_value(model: LanguageModel, name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """The initial value of one parameter by its reference name."""
    config = model.config
    if name == "emb.weight":
        return _uniform(shape, 1e-4, generator)
    if name == "head.weight":
        gain = 0.5 * math.sqrt(config.vocab_size / config.n_embd) if config.vocab_size > config.n_embd else 0.5
        return _orthogonal(shape, gain, generator)
    if name in ("pointer.key.weight", "pointer.value.weight"):
        return torch.zeros(shape)  # The pointer begins with what every GOLD layer sees.
    if name in ("pointer.first.weight", "pointer.last.weight"):
        return _orthogonal(shape, 0.5, generator)
    if name == "pointer.edges.weight":
        return _uniform(shape, 0.02, generator)
    if name.startswith("w_kv_cache_"):
        return _orthogonal(shape, 1.0, generator)
    last = name.rsplit(".", 2)
    if "ln_x" in last:
        layer = int(name.split(".")[1])
        return torch.full(shape, ((1 + layer) / config.n_layer) ** 0.7 if last[-1] == "weight" else 0.0)
    if any(part.startswith("ln") for part in last):
        return torch.ones(shape) if last[-1] == "weight" else torch.zeros(shape)
    layer, tail = int(name.split(".")[1]), name.split(".", 2)[2]
    if tail.endswith("_w1"):
        return torch.zeros(shape)
    if tail.endswith("_w2"):
        return _uniform(shape, 0.01, generator)
    if ".time_" in tail:
        return time_vector(tail, layer, config.n_layer, shape, is_channel_mix=tail.startswith("ffn"))
    if len(shape) == 2:
        is_zero = tail in ZERO_WEIGHTS
        gain = 0.1 if tail in ("att.key.weight", "att.gate.weight") else 1.0
        return torch.zeros(shape) if is_zero else _orthogonal(shape, gain, generator)
    raise ModelError(f"There is no initial value for the parameter {name!r}.")


def time_vector(tail: str, layer: int, n_layer: int, shape: torch.Size, *, is_channel_mix: bool) -> Tensor:
    """The deterministic `time_*` vectors of a block: `tail` is the name inside it, such as `att.time_maa_k`."""
    n = math.prod(shape)
    a = layer / (n_layer - 1) if n_layer > 1 else 0.0
    b = 1 - layer / n_layer
    value: Tensor
    index = torch.arange(n, dtype=torch.float32)
    delta = index / n
    kind = tail.split("time_")[1]
    if kind == "decay":
        value = -6 + 5 * (index / (n - 1)) ** (0.7 + 1.3 * a)
    elif kind == "faaaa":
        value = a * (1 - index / (n - 1)) + 0.1 * ((index + 1) % 3 - 1)
    elif is_channel_mix or kind in ("maa_x", "maa_k", "maa_w", "maa_v_cache"):
        value = 1 - delta**b
    elif kind in ("maa_r", "maa_g", "maa_q"):
        value = 1 - delta ** (b / 2)
    elif kind in ("maa_v", "maa_v2"):
        value = 1 - (delta**b + 0.3 * a)
    else:
        raise ModelError(f"There is no initial value for the parameter {tail!r}.")
    return value.view(shape)


def _uniform(shape: torch.Size, bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound


def _orthogonal(shape: torch.Size, gain: float, generator: torch.Generator) -> Tensor:
    rows, columns = shape
    flat = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
    q, r = torch.linalg.qr(flat)
    q = q * r.diagonal().sign()
    return gain * (q if rows >= columns else q.T)
