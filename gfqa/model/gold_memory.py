"""What GOLD layers attend over, made from token ids and compressed keys: tables by unigram, by bigram, keys by token.

Much of a key and all of a value depend on the token and the one before it alone, so it is computed once for each distinct
token or bigram; what is left for each token runs in tiles that stay in the processor's cache, all layers over one tile.
S tokens, U bigrams, V' distinct ids, C width, w key width, G GOLD layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfqa.kernels.gold_attention.exact import ExactMemory
from gfqa.kernels.gold_attention.latent import LatentMemory, SharedLatents
from gfqa.kernels.gold_attention.quantised import QuantisedMemory, quantise_rows
from gfqa.kernels.gold_attention.scan import LANES, Bigrams, Scores, padded
from gfqa.kernels.spans import each_span
from gfqa.model.gold_tables import (
    Tables,
    bfloat16_products,
    products_type,
    rms_scale,
    rows,
    split_decompression,
    tables,
)

if TYPE_CHECKING:
    from gfqa.model.language_model import LanguageModel

TILE = 1024
"""Tokens or bigrams worked on at once: enough for whole products, few enough for a core's caches."""
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


def bigram_tables(
    model: LanguageModel, tokens: Tokens, known: Tables, dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor]]:
    """Each GOLD layer's z of the keys [U, r + 2] and values [U, C] of the distinct bigrams; the values in `dtype`."""
    layers, n = model.gold_layers(), len(tokens.first)
    z_keys = [factors.mix.new_empty(n, factors.mix.shape[0]) for factors in known.key]
    values = [known.o.new_empty(n, known.o.shape[1], dtype=dtype) for _ in layers]

    def fill(span: slice) -> None:
        for tile in _tiles(span):
            o = rows(known.o, tokens.second[tile])
            delta = rows(known.o, tokens.first[tile]).sub_(o)
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
    w_c = split_decompression(model)[1].t()
    for tile in _tiles(span):
        # One token of overlap gives the tile's first token its predecessor.
        low = max(tile.start - 1, 0)
        kappa = rows(known.unigram, tokens.token[low : tile.stop]).addmm_(keys[low : tile.stop].to(w_c.dtype), w_c)
        s = rms_scale(kappa)
        kappa.mul_(s)
        s, now = s[tile.start - low :], kappa[tile.start - low :]
        delta = torch.empty_like(now)
        torch.sub(kappa[: len(now) - 1 + tile.start - low], kappa[1:], out=delta[1 - (tile.start - low) :])
        first = tokens.begins[tile].nonzero().squeeze(1)
        delta[first] = -now[first]
        now, delta, bigram = now.to(z_keys[0].dtype), delta.to(z_keys[0].dtype), tokens.bigram[tile]
        for number, factors in enumerate(known.key):
            key, tau = factors.apply(now, delta, rows(z_keys[number], bigram))
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
    layers, held = model.gold_layers(), padded(len(keys))
    codes = [torch.empty(held, model.config.n_embd, dtype=torch.int8) for _ in layers]
    scales = [torch.empty(held // LANES, 1) for _ in layers]
    with bfloat16_products():
        known = tables(model, tokens, products_type(model.emb.weight.dtype))
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
        split_decompression(model)[1],
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


def _tiles(span: slice) -> Iterator[slice]:
    return (slice(start, min(start + TILE, span.stop)) for start in range(span.start, span.stop, TILE))


def _each_span(n: int, work: Callable[[slice], None]) -> None:
    each_span(n, SPAN_TILES * TILE, work)
