"""What GOLD layers attend over, made from token ids and compressed keys: tables by unigram, by bigram, keys by token.

Much of a key and all of a value depend on the token and the one before it alone, so it is computed once for each distinct
token or bigram; what is left for each token runs in tiles that stay in the processor's cache, all layers over one tile.
S tokens, U bigrams, V' distinct ids, C width, w key width, G GOLD layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.gold_attention.exact import ExactMemory
from gfqa.kernels.gold_attention.latent import LatentMemory, SharedLatents
from gfqa.kernels.gold_attention.quantised import QuantisedMemory, quantise_rows
from gfqa.kernels.gold_attention.scan import LANES, Bigrams, Scores, padded

if TYPE_CHECKING:
    from gfqa.model.language_model import LanguageModel

TILE = 512
"""Tokens or bigrams worked on at once: a few float32 rows of width C each then stay in a core's second-level cache."""


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

    Per bigram and layer: z_key, z_value [G, U, r], what the token shifts are mixed by.
    """

    o: Tensor
    unigram: Tensor
    z_key: list[Tensor]
    z_value: list[Tensor]


def tables(model: LanguageModel, tokens: Tokens) -> Tables:
    """The tables of the distinct ids and bigrams."""
    e = model.embed(tokens.used)
    o = F.pad(_rms(e), (0, 0, 0, 1))
    unigram = F.pad(e @ _split(model)[0].t(), (0, 0, 0, 1))
    z_key, z_value = [], []
    for layer in model.gold_layers():
        # (o + (o_before - o) m) w1, with the mix m taken into the matrices.
        mix, w1 = layer.time_maa_v_cache.view(-1, 1), layer.time_maa_kv_w1
        z = _rows(o @ (w1 - mix * w1), tokens.second).add_(_rows(o @ (mix * w1), tokens.first)).tanh_()
        key, value = z.chunk(2, dim=1)
        z_key.append(key.contiguous())
        z_value.append(value.contiguous())
    return Tables(o, unigram, z_key, z_value)


def bigram_values(model: LanguageModel, tokens: Tokens, known: Tables, dtype: torch.dtype) -> list[Tensor]:
    """Each GOLD layer's values [U, C] of the distinct bigrams."""
    layers = model.gold_layers()
    values = [known.o.new_empty(len(tokens.first), known.o.shape[1], dtype=dtype) for _ in layers]
    for tile in _tiles(len(tokens.first)):
        o = _rows(known.o, tokens.second[tile])
        delta = _rows(known.o, tokens.first[tile]).sub_(o)
        for layer, z, out in zip(layers, known.z_value, values, strict=True):
            mix = torch.addmm(layer.time_maa_v.view(-1), z[tile], layer.time_maa_kv_w2[1])
            mixed = torch.addcmul(o, delta, mix, out=mix)
            mixed.addmm_(torch.tanh(mixed @ layer.time_value_w1), layer.time_value_w2)
            out[tile] = layer.ln_v(mixed)
    return values


def raw_keys(
    model: LanguageModel, tokens: Tokens, known: Tables, keys: Tensor
) -> Iterator[tuple[slice, int, Tensor, Tensor, Tensor]]:
    """(tile, layer number, key before its layer norm [T, C], the LoRA's tau [T, R], kappa's scale s [T]) tile by tile.

    The key is the caller's to overwrite.
    """
    layers, w_c = model.gold_layers(), _split(model)[1].t()
    for tile in _tiles(len(tokens.token)):
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
        for number, layer in enumerate(layers):
            z = _rows(known.z_key[number], tokens.bigram[tile])
            mix = torch.addmm(layer.time_maa_k.view(-1), z, layer.time_maa_kv_w2[0])
            key = torch.addcmul(now, delta, mix, out=mix)
            tau = torch.tanh(key @ layer.time_key_w1)
            yield tile, number, key.addmm_(tau, layer.time_key_w2), tau, s


def exact_memory(model: LanguageModel, tokens: Tokens, keys: Tensor) -> list[Scores]:
    """The memory of every GOLD layer with every key held; keys: [S, w], the compressed ones."""
    known, layers = tables(model, tokens), model.gold_layers()
    held = [known.o.new_empty(len(keys), model.config.n_embd) for _ in layers]
    for tile, number, key, _, _ in raw_keys(model, tokens, known, keys):
        held[number][tile] = layers[number].ln_k(key)
    values = bigram_values(model, tokens, known, known.o.dtype)
    return [ExactMemory(k, Bigrams(tokens.order, tokens.offsets, v)) for k, v in zip(held, values, strict=True)]


def quantised_memory(model: LanguageModel, tokens: Tokens, keys: Tensor) -> list[Scores]:
    """The memory of every GOLD layer with int8 keys and bfloat16 values."""
    with _bfloat16_products():
        known, layers = tables(model, tokens), model.gold_layers()
        rows = padded(len(keys))
        codes = [torch.empty(rows, model.config.n_embd, dtype=torch.int8) for _ in layers]
        scales = [torch.empty(rows // LANES, 1) for _ in layers]
        for tile, number, key, _, _ in raw_keys(model, tokens, known, keys):
            stop = padded(tile.stop)
            blocks = slice(tile.start // LANES, stop // LANES)
            quantise_rows(layers[number].ln_k(key), codes[number][tile.start : stop], scales[number][blocks])
        values = bigram_values(model, tokens, known, torch.bfloat16)
    return [
        QuantisedMemory(c, s, Bigrams(tokens.order, tokens.offsets, v))
        for c, s, v in zip(codes, scales, values, strict=True)
    ]


def latent_memory(model: LanguageModel, tokens: Tokens, keys: Tensor, held: torch.dtype | None = None) -> list[Scores]:
    """The memory of every GOLD layer without keys: see `gfqa.kernels.gold_attention.latent`.

    held: the type tau and the values are kept in; None keeps them exact.
    """
    known, layers = tables(model, tokens), model.gold_layers()
    n, order = len(keys), tokens.order
    scale = known.o.new_empty(n, 1)
    taus = [known.o.new_empty(n, layer.time_key_w1.shape[1], dtype=held) for layer in layers]
    means, deviations = ([known.o.new_empty(n, 1) for _ in layers] for _ in range(2))
    for tile, number, key, tau, s in raw_keys(model, tokens, known, keys):
        scale[tile], taus[number][tile] = s, tau
        variance, mean = torch.var_mean(key, dim=1, keepdim=True, correction=0)
        means[number][tile] = mean
        deviations[number][tile] = torch.rsqrt(variance + layers[number].ln_k.eps)
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
    values = bigram_values(model, tokens, known, held or known.o.dtype)
    return [
        LatentMemory(
            shared=shared,
            bigrams=Bigrams(order, tokens.offsets, values[number]),
            tau=taus[number][order],
            mean=means[number][order],
            deviation=deviations[number][order],
            z=known.z_key[number],
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


def _rows(table: Tensor, index: Tensor) -> Tensor:
    # Plain indexing gives the same at half the speed.
    return table.index_select(0, index)


def _tiles(n: int) -> Iterator[slice]:
    return (slice(start, min(start + TILE, n)) for start in range(0, n, TILE))


def _split(model: LanguageModel) -> tuple[Tensor, Tensor]:
    """The columns of W_b that embeddings and compressed keys meet: ([C, C], [C, w])."""
    c = model.config.n_embd
    return model.w_kv_cache_b.weight[:, :c], model.w_kv_cache_b.weight[:, c:]


def _rms_scale(x: Tensor) -> Tensor:
    """What `rms` multiplies each row by, [T, 1], in x's own dtype."""
    return (torch.linalg.vector_norm(x, dim=-1, keepdim=True) * x.shape[-1] ** -0.5 + 1e-8).reciprocal_()


def _rms(x: Tensor) -> Tensor:
    return x * _rms_scale(x)
