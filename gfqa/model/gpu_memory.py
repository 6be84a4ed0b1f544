"""What GOLD layers attend over on a GPU, made from token ids and compressed keys: sorted by bigram, int8 or latent.

What depends on a token, or on a token and the one before it, alone is computed once for each distinct one. The device is waited
for twice, while tokens are sorted out; all that comes after runs while the question's launches are on their way.
S tokens, U bigrams, V' distinct ids, w key width.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfqa.kernels.gold_attention import build, latent_tokens, runs_triton
from gfqa.kernels.gold_attention.build import CompressedTokens, Mixer, Pairs
from gfqa.kernels.gold_attention.triton_memory import SortedMemory
from gfqa.model.layers import rms

if TYPE_CHECKING:
    from gfqa.model.gold import GoldTimeMix
    from gfqa.model.key_cache import KeyCache
    from gfqa.model.language_model import LanguageModel

KEYS, VALUES = 0, 1
"""The sides of a GOLD layer's mix, in the order of `time_maa_kv_w1`."""


@dataclass(frozen=True)
class DistinctTokens:
    """The cached tokens, sorted out.

    o: [V' + 1, C] of the distinct ids, unigram: [V' + 1, C] what their embeddings add to W_b [e ; c]; last rows zero.
    pairs: each distinct bigram's rows of them; tokens: sorted by bigram; offsets: [U + 1] int32, where each bigram's begin.
    """

    o: Tensor
    unigram: Tensor
    pairs: Pairs
    tokens: CompressedTokens
    offsets: Tensor


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
    found = tokens or distinct_tokens(model, cache)
    form, heads = form_for(model), model.config.n_head
    inverse = form.inverse_rms(found.unigram, found.pairs, found.tokens)
    memories = []
    for layer in model.gold_layers():
        z = bigram_mixes(layer, found)
        keys, key_scales = form.make_rows(
            found.unigram, found.pairs, mixer_of(layer, z, KEYS), heads, key_dtype, found.tokens, inverse
        )
        values, value_scales = form.make_rows(found.o, found.pairs, mixer_of(layer, z, VALUES), heads, value_dtype)
        sorted_out = (found.tokens.bigram, found.offsets, found.tokens.order)
        memories.append(SortedMemory(keys, key_scales, values, value_scales, *sorted_out))
    return memories


@torch.no_grad()
def latent_memory(
    model: LanguageModel,
    cache: KeyCache,
    dtype: torch.dtype = torch.int8,
    value_dtype: torch.dtype = torch.bfloat16,
    tokens: DistinctTokens | None = None,
) -> list[latent_tokens.LatentTokens]:
    """The memory of every GOLD layer without keys; dtype: of the compressed keys and of tau. The rest as `sorted_memory`."""
    found = tokens or distinct_tokens(model, cache)
    order = found.tokens.order
    bigram = torch.empty_like(order)
    bigram[order] = found.tokens.bigram.long()
    pairs = torch.stack((found.pairs.first, found.pairs.second), dim=1).long()
    before = torch.arange(len(order), device=order.device) - 1
    before.masked_fill_(pairs[bigram, 0] == len(found.o) - 1, -1)
    keys = cache.keys.to(order.device)
    shared = latent_tokens.shared_tokens(found.unigram, pairs, bigram, keys, before, found.tokens.w_c, dtype)
    memories = []
    for layer in model.gold_layers():
        z = bigram_mixes(layer, found)
        values, _ = form_for(model).make_rows(
            found.o, found.pairs, mixer_of(layer, z, VALUES), model.config.n_head, found.o.dtype
        )
        key = mixer_of(layer, z, KEYS)
        memories.append(
            latent_tokens.latent_tokens(
                shared,
                values,
                key.z,
                key.mix,
                key.mix_w,
                (key.w1, key.w2),
                (key.gain, key.bias, key.epsilon),
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
    ids = cache.ids.to(device)
    occurs = torch.zeros(model.config.vocab_size, dtype=torch.bool, device=device)
    occurs.index_fill_(0, ids, True)
    used = occurs.nonzero().squeeze(1)
    token = occurs.cumsum(0)[ids] - 1
    previous = token.roll(1)
    previous[:1].fill_(len(used))
    previous.index_fill_(0, cache.chain_starts.to(device), len(used))
    # One sort gives the order, the bigrams' numbers and where each begins.
    codes, order = torch.sort(previous * len(used) + token, stable=True)
    begins = torch.ones(len(codes), dtype=torch.bool, device=device)
    begins[1:] = codes[1:] != codes[:-1]
    offsets = begins.nonzero().squeeze(1)
    found = codes[offsets]
    pairs = Pairs((found // max(1, len(used))).to(torch.int32), (found % max(1, len(used))).to(torch.int32))
    bigram = begins.cumsum(0, dtype=torch.int32) - 1
    e = model.embed(used)
    w_x, w_c = model.w_kv_cache_b.weight.split((model.config.n_embd, model.config.key_width), dim=1)
    o, unigram = (torch.cat((rows, torch.zeros_like(e[:1]))) for rows in (rms(e), e @ w_x.t()))
    scales = None if cache.scales is None else cache.scales.to(device)
    return DistinctTokens(
        o=o,
        unigram=unigram,
        pairs=pairs,
        tokens=CompressedTokens(cache.codes.to(device), scales, w_c, bigram, order),
        offsets=torch.nn.functional.pad(offsets, (0, 1), value=len(codes)).to(torch.int32),
    )


def form_for(model: LanguageModel) -> ModuleType:
    """The functions of `build` that this model's device and heads run."""
    if not runs_triton(model.emb.weight):
        return build
    # Imported on use: a platform without Triton still has the plain form.
    from gfqa.kernels.gold_attention import triton, triton_build

    return triton_build if model.config.head_size in triton.HEAD_SIZES else build


def bigram_mixes(layer: GoldTimeMix, found: DistinctTokens) -> Tensor:
    """z [U, 2 r] float32 of a layer, keys' half, then values': what its token shifts are mixed by.

    The product with a mixture of two rows of o is that of each, so it is made once for a distinct id.
    """
    w1, share = layer.time_maa_kv_w1, layer.time_maa_v_cache.view(-1, 1)
    now, before = found.o @ ((1 - share) * w1), found.o @ (share * w1)
    return torch.tanh(now[found.pairs.second.long()].float() + before[found.pairs.first.long()].float())


def mixer_of(layer: GoldTimeMix, z: Tensor, side: int) -> Mixer:
    r = z.shape[1] // 2
    keys = side == KEYS
    mix = layer.time_maa_k if keys else layer.time_maa_v
    w1, w2 = (layer.time_key_w1, layer.time_key_w2) if keys else (layer.time_value_w1, layer.time_value_w2)
    norm = layer.ln_k if keys else layer.ln_v
    return Mixer(
        z=z[:, side * r : (side + 1) * r],
        mix=mix.view(-1),
        mix_w=layer.time_maa_kv_w2[side],
        w1=w1,
        w2=w2,
        gain=norm.weight,
        bias=norm.bias,
        epsilon=norm.eps,
    )
