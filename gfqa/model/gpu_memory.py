"""What GOLD layers attend over on a GPU, made from token ids and compressed keys: sorted by bigram, int8 or latent.

What depends on a token, or on a token and the one before it, alone is computed once for each distinct one.
S tokens, U bigrams, V' distinct ids, w key width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfqa.kernels.gold_attention import latent_tokens as latent
from gfqa.kernels.gold_attention.triton_memory import SortedMemory, bounds, stored
from gfqa.model.layers import rms

if TYPE_CHECKING:
    from gfqa.model.gold import GoldTimeMix
    from gfqa.model.key_cache import KeyCache
    from gfqa.model.language_model import LanguageModel

CHUNK = 65536
"""Tokens or bigrams worked on at once: a few rows of the model's width each."""


@dataclass(frozen=True)
class DistinctTokens:
    """The cached tokens, sorted out.

    o: [V' + 1, C] of the distinct ids, unigram: [V' + 1, C] what their embeddings add to W_b [e ; c]; last rows zero.
    pairs: [U, 2], each distinct bigram's rows of them (the row of zeros before a chain); bigram: [S]; keys: [S, w] and
    before: [S], the predecessor's place or -1. All in the cache's order.
    """

    o: Tensor
    unigram: Tensor
    pairs: Tensor
    bigram: Tensor
    keys: Tensor
    before: Tensor
    w_c: Tensor


@torch.no_grad()
def sorted_memory(
    model: LanguageModel,
    cache: KeyCache,
    key_dtype: torch.dtype = torch.int8,
    value_dtype: torch.dtype = torch.int8,
    tokens: DistinctTokens | None = None,
) -> list[SortedMemory]:
    """The memory of every GOLD layer with its keys, on the model's device; key_dtype, value_dtype as in `sort_memory`.

    tokens: of the cache, where they are known already.
    Raises ValueError for a model with RoPE, whose keys have a place and cannot be sorted.
    """
    tokens = tokens or distinct_tokens(model, cache)
    bigram, order = torch.sort(tokens.bigram, stable=True)
    heads = (model.config.n_head, model.config.head_size)
    offsets, narrow = bounds(bigram), bigram.to(torch.int32)
    memories = []
    for layer in model.gold_layers():
        keys = torch.empty((heads[0], len(order), heads[1]), dtype=key_dtype, device=order.device)
        scales = torch.empty(keys.shape[:2], dtype=torch.float16, device=order.device)
        for start in range(0, len(order), CHUNK):
            tile = slice(start, start + CHUNK)
            rows, previous = _rows(tokens, order[tile])
            key = layer.keys(tokens.o[rows[0]], tokens.o[previous[0]], rows[1], previous[1])
            codes, scale = stored(key.view(-1, *heads).transpose(0, 1), key_dtype)
            keys[:, tile] = codes
            if scale is not None:
                scales[:, tile] = scale
        values, value_scales = stored(_values(model, layer, tokens), value_dtype)
        key_scales = scales if key_dtype == torch.int8 else None
        memories.append(SortedMemory(keys, key_scales, values, value_scales, narrow, offsets, order))
    return memories


@torch.no_grad()
def latent_memory(
    model: LanguageModel,
    cache: KeyCache,
    dtype: torch.dtype = torch.int8,
    value_dtype: torch.dtype = torch.bfloat16,
    tokens: DistinctTokens | None = None,
) -> list[latent.LatentTokens]:
    """The memory of every GOLD layer without keys; dtype: of the compressed keys and of tau. The rest as `sorted_memory`."""
    tokens = tokens or distinct_tokens(model, cache)
    shared = latent.shared_tokens(
        tokens.unigram, tokens.pairs, tokens.bigram, tokens.keys, tokens.before, tokens.w_c, dtype
    )
    memories = []
    for layer in model.gold_layers():
        inner = layer.time_maa_kv_w2.shape[1]
        z = torch.cat(
            [
                torch.tanh((o + (before - o) * layer.time_maa_v_cache.view(-1)) @ layer.time_maa_kv_w1[:, :inner])
                for o, before in _pairs(tokens)
            ]
        )
        memories.append(
            latent.latent_tokens(
                shared,
                _values(model, layer, tokens),
                z,
                layer.time_maa_k.view(-1),
                layer.time_maa_kv_w2[0],
                (layer.time_key_w1, layer.time_key_w2),
                (layer.ln_k.weight, layer.ln_k.bias, layer.ln_k.eps),
                dtype,
                value_dtype,
            )
        )
    return memories


@torch.no_grad()
def distinct_tokens(model: LanguageModel, cache: KeyCache) -> DistinctTokens:
    """The cache's tokens on the model's device. Raises ValueError for a model with RoPE."""
    if model.config.rope is not None:
        raise ValueError("a model with RoPE has no sorted memory: its keys depend on their place")
    device = model.emb.weight.device
    used, token = torch.unique(cache.ids.to(device), return_inverse=True)
    before = torch.arange(len(token), device=device) - 1
    before[cache.chain_starts.to(device)] = -1
    previous = torch.where(before < 0, len(used), token[before.clamp(min=0)])
    codes, bigram = torch.unique(previous * len(used) + token, return_inverse=True)
    pairs = torch.stack((codes // max(1, len(used)), codes % max(1, len(used))), dim=1)
    e = model.embed(used)
    w_x, w_c = model.w_kv_cache_b.weight.split((model.config.n_embd, model.config.key_width), dim=1)
    o, unigram = (torch.cat((rows, torch.zeros_like(e[:1]))) for rows in (rms(e), e @ w_x.t()))
    return DistinctTokens(o, unigram, pairs, bigram, cache.keys.to(device), before, w_c)


def _rows(tokens: DistinctTokens, places: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(row of o, kappa [n, C]) of the tokens at `places`, and of their predecessors."""
    first, second = tokens.pairs[tokens.bigram[places]].unbind(1)
    before = tokens.before[places]
    absent = (before < 0).unsqueeze(1)
    w_c = tokens.w_c.t()
    kappa = rms(tokens.unigram[second] + tokens.keys[places].to(w_c.dtype) @ w_c)
    kappa_before = rms(tokens.unigram[first] + tokens.keys[before.clamp(min=0)].to(w_c.dtype) @ w_c)
    return (second, kappa), (first, kappa_before.masked_fill(absent, 0.0))


def _pairs(tokens: DistinctTokens) -> Iterator[tuple[Tensor, Tensor]]:
    """(o, o of the token before) of the distinct bigrams, [n, C] at a time; at least once."""
    for start in range(0, max(1, len(tokens.pairs)), CHUNK):
        first, second = tokens.pairs[start : start + CHUNK].unbind(1)
        yield tokens.o[second], tokens.o[first]


def _values(model: LanguageModel, layer: GoldTimeMix, tokens: DistinctTokens) -> Tensor:
    """Values [H, U, N] of the distinct bigrams."""
    heads = (model.config.n_head, model.config.head_size)
    values = [layer.values(o, before).view(-1, *heads) for o, before in _pairs(tokens)]
    return torch.cat(values).transpose(0, 1)
