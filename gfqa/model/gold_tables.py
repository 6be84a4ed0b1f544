"""What GOLD layers need of each distinct token id, and the matrices that make keys and values of mixed tokens.

U bigrams, V' distinct ids, C width, r width of the mixes, R of the LoRA. `gfqa.model.gold_memory` puts them together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from gfqa.model.gold_memory import Tokens
    from gfqa.model.language_model import LanguageModel


@dataclass(frozen=True)
class Tables:
    """Per distinct id: o [V' + 1, C] (last row zero), unigram [V' + 1, C], the part of W_b [e ; c] that e gives (likewise).

    Per layer: z_now, z_before [V' + 1, 2 r], what the token and its predecessor add to the bigram's z, which the token shifts
    are mixed by (keys' half, then values'); key, value: what makes of the mixed token a key and a value.
    """

    o: Tensor
    unigram: Tensor
    z_now: list[Tensor]
    z_before: list[Tensor]
    key: list[Factors]
    value: list[Factors]

    def z(self, number: int, tokens: Tokens, which: slice) -> tuple[Tensor, Tensor]:
        """What a layer's bigrams `which` multiply its keys' and its values' mix by: twice [T, r + 2]."""
        r = self.z_now[number].shape[1] // 2
        both = rows(self.z_now[number], tokens.second[which]).add_(rows(self.z_before[number], tokens.first[which]))
        tanh_of_half(both.mul_(2))
        keys, values = (both.new_ones(len(both), r + 2, dtype=self.key[number].mix.dtype) for _ in range(2))
        keys[:, :r], values[:, :r] = both[:, :r], both[:, r:]
        return keys, values


@dataclass(frozen=True)
class Factors:
    """mix [r + 2, C], what z gives, see `_with_mean`; double_w1 [C, R], w2 [R, C]: the LoRA, its first part doubled.

    All in the type that the products take, to which they are rounded once.
    """

    mix: Tensor
    double_w1: Tensor
    w2: Tensor

    @classmethod
    def of(cls, mix_w2: Tensor, mean: Tensor, w1: Tensor, w2: Tensor, dtype: torch.dtype) -> Factors:
        return cls(_with_mean(mix_w2, mean).to(dtype), (2 * w1).to(dtype), w2.to(dtype))

    def apply(self, x: Tensor, delta: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, C] mixed with its predecessors, which are delta [T, C] away, and its LoRA; tau [T, R]."""
        mix = z @ self.mix
        mixed = torch.addcmul(x, delta, mix, out=mix)
        tau = tanh_of_half((mixed @ self.double_w1).to(_wide(x.dtype))).to(x.dtype)
        return mixed.addmm_(tau, self.w2), tau


def tables(model: LanguageModel, tokens: Tokens, products: torch.dtype | None = None) -> Tables:
    """The tables of the distinct ids; products: the type of `Factors`, None the model's own."""
    e = model.embed(tokens.used)
    o = F.pad(_rms(e), (0, 0, 0, 1))
    known = Tables(o, F.pad(e @ split_decompression(model)[0].t(), (0, 0, 0, 1)), [], [], [], [])
    for layer in model.gold_layers():
        # (o + (o_before - o) m) w1, with the mix m taken into the matrices.
        mix, w1 = layer.time_maa_v_cache.view(-1, 1), layer.time_maa_kv_w1
        known.z_now.append(o @ (w1 - mix * w1))
        known.z_before.append(o @ (mix * w1))
        for factors, mix_w2, mean, w1, w2 in (
            (known.key, layer.time_maa_kv_w2[0], layer.time_maa_k, layer.time_key_w1, layer.time_key_w2),
            (known.value, layer.time_maa_kv_w2[1], layer.time_maa_v, layer.time_value_w1, layer.time_value_w2),
        ):
            factors.append(Factors.of(mix_w2, mean, w1, w2, products or o.dtype))
    return known


@contextlib.contextmanager
def bfloat16_products() -> Iterator[None]:
    """Matrix products of float32 whose factors the processor may round to bfloat16: finer than int8 keys, twice as fast.

    For what stays float32, see `products_type`.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def products_type(dtype: torch.dtype) -> torch.dtype:
    """The type that a float32 model's keys are made in where int8 will hold them: bfloat16 if the processor multiplies it.

    Rounding once, and not again in every product, nearly halves the products' time; int8 keys are 4 % farther from exact ones.
    """
    fast = dtype == torch.float32 and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else dtype


def tanh_of_half(x: Tensor) -> Tensor:
    """tanh(x / 2) in x's place.

    By the logistic function: torch's own tanh takes ten times as long. What is near zero loses its last bits, no more than
    what is near one has to lose.
    """
    return x.sigmoid_().mul_(2).sub_(1)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype


def rows(table: Tensor, index: Tensor) -> Tensor:
    """table[index]: plain indexing gives the same at half the speed."""
    return table.index_select(0, index)


def _with_mean(w2: Tensor, mean: Tensor) -> Tensor:
    """The matrix [r + 2, C] that gives z w2 + mean of z followed by two ones.

    A bias of `addmm` is a pass over the result of its own. The mean comes in two parts, so that a product that rounds its
    factors to bfloat16 keeps sixteen bits of it.
    """
    high = mean.view(1, -1).bfloat16().to(mean.dtype)
    return torch.cat((w2, high, mean.view(1, -1) - high))


def split_decompression(model: LanguageModel) -> tuple[Tensor, Tensor]:
    """The columns of W_b that embeddings and compressed keys meet: ([C, C], [C, w])."""
    c = model.config.n_embd
    return model.w_kv_cache_b.weight[:, :c], model.w_kv_cache_b.weight[:, c:]


def rms_scale(x: Tensor) -> Tensor:
    """What `rms` multiplies each row by, [T, 1], in x's own dtype."""
    return (torch.linalg.vector_norm(x, dim=-1, keepdim=True) * x.shape[-1] ** -0.5 + 1e-8).reciprocal_()


def _rms(x: Tensor) -> Tensor:
    return x * rms_scale(x)
