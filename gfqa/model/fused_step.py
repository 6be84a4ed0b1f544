"""The decode step of one token as few fused launches (`gfqa.kernels.decode_step`), on the buffers of a `DecodeStep`.

Four launches a Finch block, five a GOLD block over a memory with keys, and six besides: with D768's 8 and 4 blocks, 58.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from gfqa.kernels.decode_step import launches
from gfqa.model.config import ModelConfig
from gfqa.model.language_model import LanguageModel
from gfqa.model.state import BlockState
from gfqa.model.step_attention import StepAttention

Norm = tuple[Tensor, Tensor, float]


def can_fuse(config: ModelConfig) -> bool:
    """Whether the fused launches compute this kind of model: Finch or Finch-C2 below GOLD, as trained by default."""
    c2 = config.tmix == "x060c2" and bool(config.use_v2) and bool(config.use_one_minus_w)
    plain = config.cmix == config.cmix2 == "x060" and not config.parallel and config.rope is None
    return (c2 or config.tmix == "x060") and config.tmix2 == "gold" and plain


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
        return cls(_norm(block.ln2), mixes, (ffn.key.weight, ffn.receptance.weight), ffn.value.weight)


@dataclass(frozen=True)
class Finch:
    """One Finch block's weights as `finch_products` and `finch_output` take them; second: Finch-C2."""

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
    folded: Norm | None
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
            norm=_norm(block.ln1),
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
            norm_x=_norm(att.ln_x),
            output=att.output.weight,
            folded=_folded(att) if second else None,
            floor=att.floor,
            second=second,
            mixing=Mixing.of(block),
        )


@dataclass(frozen=True)
class Gold:
    """One GOLD block's weights but for keys and values."""

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
            norm=_norm(block.ln1),
            mix=att.time_maa_x.view(-1),
            w1=_turned(att.time_maa_q_w1),
            mix_q=att.time_maa_q.view(-1),
            w2=att.time_maa_q_w2,
            query=att.query.weight,
            norm_q=_norm(att.ln_q),
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


@dataclass(frozen=True)
class Buffers:
    """What a `DecodeStep` carries and the launches write: token [1, 1], ids [1, room], compressed [1, room, w], length [1]
    int32, o and kappa [1, C], each block's state, own [G, 2, room, C] keys and values, logits [V]."""

    token: Tensor
    ids: Tensor
    compressed: Tensor
    length: Tensor
    o: Tensor
    kappa: Tensor
    blocks: Sequence[BlockState]
    own: Tensor
    logits: Tensor


class FusedStep:
    """One token over a memory of `memory_tokens`: reads and writes the buffers."""

    def __init__(self, model: LanguageModel, buffers: Buffers, attention: StepAttention, memory_tokens: int) -> None:
        config, weight = model.config, model.emb.weight
        self._model, self._buffers, self._memory_tokens = model, buffers, memory_tokens
        self._attention, self._weights = attention, weights_of(model)
        own = self._weights.own

        def vector(*shape: int, like: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=like, device=weight.device)

        c, heads, layers = config.n_embd, config.n_head, config.n_gold
        self._x, self._middle, self._e, self._z, self._gate, self._raw = (vector(c) for _ in range(6))
        self._o_before, self._kappa_before = (vector(c, like=weight.dtype) for _ in range(2))
        self._parts, self._stats, self._moved = vector(heads, c), vector(heads, 2), vector(3, c)
        self._totals = vector(heads)
        self._products = vector(4 * c + config.lora.decay + config.lora.value2)
        self._hidden = vector(config.ffn_width)
        self._own_low, self._own_mixed = vector(layers, own.w1.shape[1]), vector(layers, 2, c)
        self._own_inner = vector(*own.low1.shape[:3])
        self._scale = vector(1) if config.length_scale is not None else None
        self._unit = 1 / math.log(config.length_scale) if config.length_scale is not None else 0.0

    def __call__(self) -> None:
        model, b, run = self._model, self._buffers, launches(self._x)
        o, kappa = b.o[0], b.kappa[0]
        run.embed(
            b.token[0], model.emb.weight, _norm(model.blocks[0].ln0), self._x, self._e, o, self._o_before, kappa,
            self._kappa_before, b.ids[0], b.length, self._scale, self._memory_tokens, self._unit,
        )  # fmt: skip
        for finch, state in zip(self._weights.finch, b.blocks, strict=False):
            self._finch(run, finch, state)
        keys = b.compressed[0]
        key_a, key_b, own = model.w_kv_cache_a.weight, model.w_kv_cache_b.weight, self._weights.own
        run.cache_key(
            self._x,
            self._e,
            o,
            self._o_before,
            (key_a, key_b),
            own.mix,
            own.w1,
            keys,
            b.length,
            self._raw,
            self._own_low,
        )
        run.decompress(keys, b.length, key_b, self._raw)
        run.own_mixed(
            self._raw, kappa, self._kappa_before, o, self._o_before, self._own_low, own.mixes, own.w2, own.low1,
            self._own_mixed, self._own_inner,
        )  # fmt: skip
        run.own_rows(self._own_mixed, self._own_inner, own.low2, own.norm, b.own, b.length)
        for number, gold in enumerate(self._weights.gold):
            self._gold(run, number, gold, b.blocks[len(self._weights.finch) + number])
        head = model.emb.weight if model.config.tie_embeddings else model.head.weight
        run.logits(self._x, _norm(model.ln_out), head, b.logits)

    def _finch(self, run: Any, finch: Finch, state: BlockState) -> None:
        assert state.wkv is not None and state.att_shift is not None  # noqa: PT018
        shift = state.att_shift[0]
        n = 4 * len(self._x) + sum(len(matrix) for matrix in finch.matrices[4:] if matrix is not None)
        run.finch_products(
            self._x, shift, finch.norm, finch.mix, finch.w1, finch.mixes, finch.w2, finch.matrices, finch.order, self._z,
            self._products[:n],
        )  # fmt: skip
        run.finch_output(
            self._products[:n], finch.inner, finch.bias, finch.bonus, finch.norm_x, state.wkv[0], self._z, shift,
            finch.output, finch.floor, finch.second, self._moved, self._parts, self._stats,
        )  # fmt: skip
        self._channels(run, finch.folded, finch.mixing, state, (state.wkv[0], self._moved))

    def _gold(self, run: Any, number: int, gold: Gold, state: BlockState) -> None:
        assert state.att_shift is not None
        shift = state.att_shift[0]
        run.query(
            self._x, shift, gold.norm, gold.mix, gold.w1, gold.mix_q, gold.w2, gold.query, self._z, self._raw
        )  # fmt: skip
        partials = self._attention.partials(number, self._raw, gold.norm_q, self._scale)
        run.gold_output(
            partials, gold.gain, gold.output, self._z, shift, self._parts, self._stats, self._totals
        )  # fmt: skip
        self._attention.settle(number, self._totals)
        self._channels(run, gold.folded, gold.mixing, state, None)

    def _channels(
        self, run: Any, folded: Norm | None, mixing: Mixing, state: BlockState, moving: tuple[Tensor, Tensor] | None
    ) -> None:
        assert state.ffn_shift is not None
        shift = state.ffn_shift[0]
        run.channel_keys(
            self._x, self._parts, self._stats, folded, shift, mixing.norm, mixing.mixes, mixing.matrices, moving,
            self._middle, self._z, self._hidden, self._gate,
        )  # fmt: skip
        run.channel_values(self._hidden, self._gate, mixing.value, self._middle, self._z, self._x, shift)


def _norm(norm: Any) -> Norm:
    assert isinstance(norm, nn.LayerNorm | nn.GroupNorm)
    return norm.weight, norm.bias, norm.eps


def _turned(matrix: Tensor) -> Tensor:
    """[in, out] as [out, in]."""
    return matrix.t().contiguous()


def _folded(att: Any) -> Norm:
    """The norm before an output matrix W, as it is taken from behind it: W gain, W bias, epsilon."""
    gain, bias, eps = _norm(att.ln_x)
    w = att.output.weight.float()
    return w @ gain.float(), w @ bias.float(), eps
