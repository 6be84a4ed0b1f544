"""A model's weights as the launches of `gfqa.kernels.decode_step` take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from gfqa.model.language_model import LanguageModel

Norm = tuple[Tensor, Tensor, float]
"""Weight, bias, epsilon."""


@dataclass(frozen=True)
class Mixing:
    """One channel mix: norm, mixes and matrices of key and receptance, the value's matrix."""

    norm: Norm
    mixes: tuple[Tensor, Tensor]
    matrices: tuple[Tensor, Tensor]
    value: Tensor

    @classmethod
    def of(cls, block: Any) -> Mixing:
        ffn = block.ffn
        mixes = (ffn.time_maa_k.view(-1), ffn.time_maa_r.view(-1))
        return cls(layer_norm(block.ln2), mixes, (ffn.key.weight, ffn.receptance.weight), ffn.value.weight)


@dataclass(frozen=True)
class Finch:
    """One Finch block's weights as `finch_products`, `finch_state` and `project` take them; second: Finch-C2."""

    norm: Norm
    mix: Tensor
    w1: Tensor
    mixes: Tensor
    w2: Tensor
    matrices: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]
    order: tuple[int, int, int, int, int]
    inner: tuple[Tensor, Tensor | None]
    bias: Tensor
    bonus: Tensor
    norm_x: Norm
    output: Tensor
    floor: float | None
    second: bool
    mixing: Mixing

    @classmethod
    def of(cls, block: Any, second: bool) -> Finch:
        att = block.att
        names, order = ("rkv", (0, 1, 2, 4, 3)) if second else ("wkv", (3, 1, 2, 4, 0))
        mixes = [*(getattr(att, f"time_maa_{name}") for name in names)]
        mixes += [att.time_maa_w, att.time_maa_v2] if second else [att.time_maa_r, att.time_maa_g]
        last = _turned(att.time_value2_w1) if second else None
        return cls(
            norm=layer_norm(block.ln1),
            mix=att.time_maa_x.view(-1),
            w1=_turned(att.time_maa_w1),
            mixes=torch.cat([mix.view(1, -1) for mix in mixes]),
            w2=att.time_maa_w2,
            matrices=(
                att.receptance.weight,
                att.key.weight,
                att.value.weight,
                att.value.weight if second else att.gate.weight,
                _turned(att.time_decay_w1),
                last,
            ),
            order=order,
            inner=(att.time_decay_w2, att.time_value2_w2 if second else None),
            bias=att.time_decay.view(-1),
            bonus=att.time_faaaa.view(-1),
            norm_x=layer_norm(att.ln_x),
            output=att.output.weight,
            floor=att.floor,
            second=second,
            mixing=Mixing.of(block),
        )


@dataclass(frozen=True)
class Gold:
    """One GOLD block's weights but for keys and values; gain and folded: those of the norm before the output matrix."""

    norm: Norm
    mix: Tensor
    w1: Tensor
    mix_q: Tensor
    w2: Tensor
    query: Tensor
    norm_q: Norm
    gain: Tensor
    output: Tensor
    folded: Norm
    mixing: Mixing

    @classmethod
    def of(cls, block: Any) -> Gold:
        att = block.att
        return cls(
            norm=layer_norm(block.ln1),
            mix=att.time_maa_x.view(-1),
            w1=_turned(att.time_maa_q_w1),
            mix_q=att.time_maa_q.view(-1),
            w2=att.time_maa_q_w2,
            query=att.query.weight,
            norm_q=layer_norm(att.ln_q),
            gain=att.ln_x.weight,
            output=att.output.weight,
            folded=_folded(att),
            mixing=Mixing.of(block),
        )


@dataclass(frozen=True)
class Own:
    """What makes the keys and values of new tokens, all G layers and both sides together; see `own_mixed`, `own_rows`."""

    mix: Tensor
    w1: Tensor
    mixes: Tensor
    w2: Tensor
    low1: Tensor
    low2: Tensor
    norm: Norm

    @classmethod
    def of(cls, layers: Sequence[Any]) -> Own:
        def stacked(*of_layer: Callable[[Any], Tensor]) -> Tensor:
            return torch.stack([torch.stack([part(layer) for part in of_layer]) for layer in layers]).contiguous()

        return cls(
            mix=stacked(lambda a: a.time_maa_v_cache.view(-1))[:, 0],
            w1=stacked(lambda a: a.time_maa_kv_w1.t())[:, 0],
            mixes=stacked(lambda a: a.time_maa_k.view(-1), lambda a: a.time_maa_v.view(-1)),
            w2=torch.stack([layer.time_maa_kv_w2 for layer in layers]),
            low1=stacked(lambda a: a.time_key_w1.t(), lambda a: a.time_value_w1.t()),
            low2=stacked(lambda a: a.time_key_w2, lambda a: a.time_value_w2),
            norm=(
                stacked(lambda a: a.ln_k.weight, lambda a: a.ln_v.weight),
                stacked(lambda a: a.ln_k.bias, lambda a: a.ln_v.bias),
                layers[0].ln_k.eps,
            ),
        )


@dataclass(frozen=True)
class Weights:
    """A model's weights as the launches take them: its own tensors, turned copies of the low-rank ones, folded norms."""

    finch: list[Finch]
    gold: list[Gold]
    own: Own


_known: WeakKeyDictionary[LanguageModel, Weights] = WeakKeyDictionary()


def weights_of(model: LanguageModel) -> Weights:
    """Made once a model, which must not change afterwards."""
    if model not in _known:
        cut = model.config.n_layer - model.config.n_gold
        finch = [Finch.of(block, model.config.tmix == "x060c2") for block in model.blocks[:cut]]
        _known[model] = Weights(finch, [Gold.of(block) for block in model.blocks[cut:]], Own.of(model.gold_layers()))
    return _known[model]


def layer_norm(norm: Any) -> Norm:
    assert isinstance(norm, nn.LayerNorm | nn.GroupNorm)
    return norm.weight, norm.bias, norm.eps


def _turned(matrix: Tensor) -> Tensor:
    """[in, out] as [out, in]."""
    return matrix.t().contiguous()


def _folded(att: Any) -> Norm:
    """The norm before an output matrix W, as it is taken from behind it: W gain, W bias, epsilon."""
    gain, bias, eps = layer_norm(att.ln_x)
    w = att.output.weight.float()
    return w @ gain.float(), w @ bias.float(), eps
