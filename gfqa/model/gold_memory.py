"""What GOLD layers attend over, made from token ids and compressed keys: tables by unigram, by bigram, keys by token.

Much of a key and all of a value depend on the token and the one before it alone, so it is computed once for each distinct
token or bigram; what is left for each token runs in tiles that stay in the processor's cache, all layers over one tile.
S tokens, U bigrams, V' distinct ids, C width, w key width, G GOLD layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.gold_attention.exact import ExactMemory
from gfqa.kernels.gold_attention.latent import LatentMemory, SharedLatents
from gfqa.kernels.gold_attention.quantised import QuantisedMemory, quantise_rows
from gfqa.kernels.gold_attention.scan import LANES, Bigrams, Scores, padded
from gfqa.kernels.spans import each_span

if TYPE_CHECKING:
    from gfqa.model.language_model import LanguageModel

TILE = 1024
"""Tokens or bigrams worked on at once: a few float32 rows of width C each then stay in a core's second-level cache."""
SPAN_TILES = 4
"""Tiles that one thread works through at a stretch."""


@dataclass(frozen=True)
class Tokens:
    """The cached tokens, sorted out.

    used: [V'] the distinct ids; token: [S] each token's row of it. begins: [S] bool, True where the predecessor is the zero
    vector, whose row is V'. order: [S] tokens by bigram, each bigram's from offsets [U] on; bigram: [S];
    first, second: [U] the bigrams' rows.
    """

    used: Tensor
    token: Tensor
    begins: Tensor
    order: Tensor
    offsets: Tensor
    bigram: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, ids: Tensor, chain_starts: Tensor, vocab_size: int) -> Tokens:
        """ids [S] int64 on the CPU, S > 0; chain_starts [n]."""
        there = torch.zeros(vocab_size, dtype=torch.bool)
        there[ids] = True
        used = there.nonzero().squeeze(1)
        token = (there.cumsum(0) - 1)[ids]
        begins = torch.zeros(len(ids), dtype=torch.bool)
        begins[chain_starts] = True
        begins[0] = True
        before = torch.cat((token[:1], token[:-1])).masked_fill_(begins, len(used))
        codes = before * len(used) + token
        if len(used) < 40_000:
            codes = codes.int()  # Sorts twice as fast, and (V' + 1) * V' fits.
        codes, order = torch.sort(codes, stable=True)
        fresh = torch.cat((torch.ones(1, dtype=torch.bool), codes[1:] != codes[:-1]))
        offsets = fresh.nonzero().squeeze(1)
        bigram = torch.empty_like(token)
        bigram[order] = fresh.cumsum(0) - 1
        distinct = codes[offsets].long()
        return cls(used, token, begins, order, offsets, bigram, distinct // len(used), distinct % len(used))


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
        both = _rows(self.z_now[number], tokens.second[which]).add_(_rows(self.z_before[number], tokens.first[which]))
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
    known = Tables(o, F.pad(e @ _split(model)[0].t(), (0, 0, 0, 1)), [], [], [], [])
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


def bigram_tables(
    model: LanguageModel, tokens: Tokens, known: Tables, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """Each GOLD layer's z of the keys [U, r + 2] and values [U, C] of the distinct bigrams; the values in `dtype`."""
    layers, n = model.gold_layers(), len(tokens.first)
    z_keys = [factors.mix.new_empty(n, factors.mix.shape[0]) for factors in known.key]
    values = [known.o.new_empty(n, known.o.shape[1], dtype=dtype) for _ in layers]

    def fill(span: slice) -> None:
        for tile in _tiles(span):
            o = _rows(known.o, tokens.second[tile])
            delta = _rows(known.o, tokens.first[tile]).sub_(o)
            o, delta = o.to(z_keys[0].dtype), delta.to(z_keys[0].dtype)
            for number, layer in enumerate(layers):
                z_keys[number][tile], z = known.z(number, tokens, tile)
                mixed, _ = known.value[number].apply(o, delta, z)
                values[number][tile] = layer.ln_v(mixed.to(known.o.dtype))

    _each_span(n, fill)
    return z_keys, values


def raw_keys(
    model: LanguageModel, tokens: Tokens, known: Tables, z_keys: list[Tensor], keys: Tensor, span: slice
) -> Iterator[tuple[slice, int, Tensor, Tensor, Tensor]]:
    """(tile, layer number, key before its layer norm [T, C], the LoRA's tau [T, R], kappa's scale s [T]) of a span's tiles.

    The key is the caller's to overwrite.
    """
    w_c = _split(model)[1].t()
    for tile in _tiles(span):
        # One token of overlap gives the tile's first token its predecessor.
        low = max(tile.start - 1, 0)
        kappa = _rows(known.unigram, tokens.token[low : tile.stop]).addmm_(keys[low : tile.stop].to(w_c.dtype), w_c)
        s = _rms_scale(kappa)
        kappa.mul_(s)
        s, now = s[tile.start - low :], kappa[tile.start - low :]
        delta = torch.empty_like(now)
        torch.sub(kappa[: len(now) - 1 + tile.start - low], kappa[1:], out=delta[1 - (tile.start - low) :])
        first = tokens.begins[tile].nonzero().squeeze(1)
        delta[first] = -now[first]
        now, delta, bigram = now.to(z_keys[0].dtype), delta.to(z_keys[0].dtype), tokens.bigram[tile]
        for number, factors in enumerate(known.key):
            key, tau = factors.apply(now, delta, _rows(z_keys[number], bigram))
            yield tile, number, key.to(kappa.dtype), tau, s


def exact_memory(model: LanguageModel, tokens: Tokens, keys: Tensor) -> list[Scores]:
    """The memory of every GOLD layer with every key held; keys: [S, w], the compressed ones."""
    known, layers = tables(model, tokens), model.gold_layers()
    z_keys, values = bigram_tables(model, tokens, known, known.o.dtype)
    held = [known.o.new_empty(len(keys), model.config.n_embd) for _ in layers]

    def fill(span: slice) -> None:
        for tile, number, key, _, _ in raw_keys(model, tokens, known, z_keys, keys, span):
            held[number][tile] = layers[number].ln_k(key)

    _each_span(len(keys), fill)
    return [ExactMemory(k, Bigrams(tokens.order, tokens.offsets, v)) for k, v in zip(held, values, strict=True)]


def quantised_memory(model: LanguageModel, tokens: Tokens, keys: Tensor) -> list[Scores]:
    """The memory of every GOLD layer with int8 keys and bfloat16 values."""
    layers, rows = model.gold_layers(), padded(len(keys))
    codes = [torch.empty(rows, model.config.n_embd, dtype=torch.int8) for _ in layers]
    scales = [torch.empty(rows // LANES, 1) for _ in layers]
    products = torch.bfloat16 if _bfloat16_is_fast() and model.emb.weight.dtype == torch.float32 else None
    with _bfloat16_products():
        known = tables(model, tokens, products)
        z_keys, values = bigram_tables(model, tokens, known, torch.bfloat16)

        def fill(span: slice) -> None:
            for tile, number, key, _, _ in raw_keys(model, tokens, known, z_keys, keys, span):
                stop = padded(tile.stop)
                blocks = slice(tile.start // LANES, stop // LANES)
                quantise_rows(layers[number].ln_k(key), codes[number][tile.start : stop], scales[number][blocks])

        _each_span(len(keys), fill)
    return [
        QuantisedMemory(c, s, Bigrams(tokens.order, tokens.offsets, v))
        for c, s, v in zip(codes, scales, values, strict=True)
    ]


def latent_memory(model: LanguageModel, tokens: Tokens, keys: Tensor, held: torch.dtype | None = None) -> list[Scores]:
    """The memory of every GOLD layer without keys: see `gfqa.kernels.gold_attention.latent`.

    held: the type tau and the values are kept in; None keeps them exact.
    """
    known, layers = tables(model, tokens), model.gold_layers()
    z_keys, values = bigram_tables(model, tokens, known, held or known.o.dtype)
    n, order = len(keys), tokens.order
    scale = known.o.new_empty(n, 1)
    taus = [known.o.new_empty(n, layer.time_key_w1.shape[1], dtype=held) for layer in layers]
    means, deviations = ([known.o.new_empty(n, 1) for _ in layers] for _ in range(2))

    def fill(span: slice) -> None:
        for tile, number, key, tau, s in raw_keys(model, tokens, known, z_keys, keys, span):
            scale[tile], taus[number][tile] = s, tau
            variance, mean = torch.var_mean(key, dim=1, keepdim=True, correction=0)
            means[number][tile] = mean
            deviations[number][tile] = torch.rsqrt(variance + layers[number].ln_k.eps)

    _each_span(n, fill)
    before = order - 1
    absent = tokens.begins[order].unsqueeze(1)
    scaled = keys.to(scale.dtype) * scale
    shared = SharedLatents(
        known.unigram,
        tokens.first,
        tokens.second,
        tokens.bigram[order],
        scaled[order],
        scaled[before].masked_fill_(absent, 0),
        scale[order],
        scale[before].masked_fill_(absent, 0),
        _split(model)[1],
    )
    return [
        LatentMemory(
            shared=shared,
            bigrams=Bigrams(order, tokens.offsets, values[number]),
            tau=taus[number][order],
            mean=means[number][order],
            deviation=deviations[number][order],
            z=z_keys[number][:, :-2].contiguous(),
            mix=layer.time_maa_k.view(-1),
            mix_w=layer.time_maa_kv_w2[0],
            lora=layer.time_key_w2,
            gain=layer.ln_k.weight,
            bias=layer.ln_k.bias,
        )
        for number, layer in enumerate(layers)
    ]


@contextlib.contextmanager
def _bfloat16_products() -> Iterator[None]:
    """Matrix products of float32 whose factors the processor may round to bfloat16: finer than int8 keys, twice as fast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _bfloat16_is_fast() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported())


def tanh_of_half(x: Tensor) -> Tensor:
    """tanh(x / 2) in x's place.

    By the logistic function: torch's own tanh takes ten times as long. What is near zero loses its last bits, no more than
    what is near one has to lose.
    """
    return x.sigmoid_().mul_(2).sub_(1)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype


def _rows(table: Tensor, index: Tensor) -> Tensor:
    # Plain indexing gives the same at half the speed.
    return table.index_select(0, index)


def _tiles(span: slice) -> Iterator[slice]:
    return (slice(start, min(start + TILE, span.stop)) for start in range(span.start, span.stop, TILE))


def _each_span(n: int, work: Callable[[slice], None]) -> None:
    each_span(n, SPAN_TILES * TILE, work)


def _with_mean(w2: Tensor, mean: Tensor) -> Tensor:
    """The matrix [r + 2, C] that gives z w2 + mean of z followed by two ones.

    A bias of `addmm` is a pass over the result of its own. The mean comes in two parts, so that a product that rounds its
    factors to bfloat16 keeps sixteen bits of it.
    """
    high = mean.view(1, -1).bfloat16().to(mean.dtype)
    return torch.cat((w2, high, mean.view(1, -1) - high))


def _split(model: LanguageModel) -> tuple[Tensor, Tensor]:
    """The columns of W_b that embeddings and compressed keys meet: ([C, C], [C, w])."""
    c = model.config.n_embd
    return model.w_kv_cache_b.weight[:, :c], model.w_kv_cache_b.weight[:, c:]


def _rms_scale(x: Tensor) -> Tensor:
    """What `rms` multiplies each row by, [T, 1], in x's own dtype."""
    return (torch.linalg.vector_norm(x, dim=-1, keepdim=True) * x.shape[-1] ** -0.5 + 1e-8).reciprocal_()


def _rms(x: Tensor) -> Tensor:
    return x * _rms_scale(x)
