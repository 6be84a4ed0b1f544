"""The decode step of one token as few fused launches (`gfqa.kernels.decode_step`), on the buffers of a `DecodeStep`.

Seven launches a Finch block, seven a GOLD block over a memory with keys, and eight besides: with D768's 8 and 4 blocks, 92.
Wide models (`WIDE_LAUNCH`) have another a GOLD block. A launch that waits for the one before costs a microsecond, what
all programs of a launch compute for themselves costs more than that: so there are many small launches (docs/benchmarks.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gfqa.kernels.decode_step import launches
from gfqa.model.config import ModelConfig
from gfqa.model.language_model import LanguageModel
from gfqa.model.state import BlockState
from gfqa.model.step_attention import StepAttention
from gfqa.model.step_weights import Finch, Gold, Mixing, Norm, layer_norm, weights_of


def can_fuse(config: ModelConfig) -> bool:
    """Whether the fused launches compute this kind of model: Finch or Finch-C2 below GOLD, as trained by default."""
    c2 = config.tmix == "x060c2" and bool(config.use_v2) and bool(config.use_one_minus_w)
    plain = config.cmix == config.cmix2 == "x060" and not config.parallel and config.rope is None
    return (c2 or config.tmix == "x060") and config.tmix2 == "gold" and plain


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
        self._x, self._middle, self._e, self._z, self._y, self._gate, self._raw = (vector(c) for _ in range(7))
        self._o_before, self._kappa_before = (vector(c, like=weight.dtype) for _ in range(2))
        self._parts, self._stats, self._totals = vector(heads, c), vector(heads, 2), vector(heads)
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
            b.token[0], model.emb.weight, layer_norm(model.blocks[0].ln0), self._x, self._e, o, self._o_before, kappa,
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
            self._raw, kappa, self._kappa_before, o, self._o_before, self._own_low, own.mixes, own.w2,
            self._own_mixed,
        )  # fmt: skip
        run.own_low(self._own_mixed, own.low1, self._own_inner)
        run.own_sums(self._own_mixed, self._own_inner, own.low2)
        run.own_rows(self._own_mixed, own.norm, b.own, b.length)
        for number, gold in enumerate(self._weights.gold):
            self._gold(run, number, gold, b.blocks[len(self._weights.finch) + number])
        head = model.emb.weight if model.config.tie_embeddings else model.head.weight
        run.logits(self._x, layer_norm(model.ln_out), head, b.logits)

    def _finch(self, run: Any, finch: Finch, state: BlockState) -> None:
        assert state.wkv is not None and state.att_shift is not None  # noqa: PT018
        shift, wkv = state.att_shift[0], state.wkv[0]
        n = 4 * len(self._x) + sum(len(matrix) for matrix in finch.matrices[4:] if matrix is not None)
        products = self._products[:n]
        run.finch_products(
            self._x, shift, finch.norm, finch.mix, finch.w1, finch.mixes, finch.w2, finch.matrices, finch.order, self._z,
            products,
        )  # fmt: skip
        run.finch_state(
            products, finch.inner, finch.bias, finch.bonus, finch.norm_x, wkv, self._z, shift, self._y, finch.floor,
            finch.second,
        )  # fmt: skip
        run.project(self._y, finch.norm_x if finch.second else None, finch.output, self._x)
        self._channels(run, None, finch.mixing, state)

    def _gold(self, run: Any, number: int, gold: Gold, state: BlockState) -> None:
        assert state.att_shift is not None
        shift = state.att_shift[0]
        run.query(
            self._x, shift, gold.norm, gold.mix, gold.w1, gold.mix_q, gold.w2, gold.query, self._z, self._raw
        )  # fmt: skip
        partials = self._attention.partials(number, self._raw, gold.norm_q, self._scale)
        run.gold_output(partials, gold.gain, gold.output, self._z, shift, self._parts, self._stats, self._totals)
        self._attention.settle(number, self._totals)
        self._channels(run, gold.folded, gold.mixing, state)

    def _channels(self, run: Any, folded: Norm | None, mixing: Mixing, state: BlockState) -> None:
        """folded: the norm of a GOLD block's output, whose heads' shares are still to be added to x."""
        assert state.ffn_shift is not None
        shift = state.ffn_shift[0]
        shares = None if folded is None else (self._parts, self._stats, folded)
        middle = self._x if folded is None else self._middle
        run.channel_keys(
            self._x, shares, shift, mixing.norm, mixing.mixes, mixing.matrices, middle, self._z, self._hidden, self._gate
        )  # fmt: skip
        run.channel_values(self._hidden, self._gate, mixing.value, middle, self._z, self._x, shift)
