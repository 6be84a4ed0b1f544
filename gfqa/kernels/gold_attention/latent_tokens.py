"""A GOLD layer's memory in the latent form as the GPU reads it: no key is held, tokens lie sorted by bigram.

See `triton_latent` for the algebra. Plain PyTorch: the latents are made here, and keys are made from them where wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gfqa.kernels.gold_attention.reference import LayerMemory, gold_attention
from gfqa.kernels.gold_attention.triton_memory import bounds, sort_memory, stored
from gfqa.kernels.gold_attention.triton_memory import plain_attend as sorted_attend

GROUP = 4
"""Parts of the mix in one product."""
PREPARE_CHUNK = 16384
TAU_STEPS = 127


@dataclass(frozen=True)
class SharedTokens:
    """What the latents of all layers have in common; tokens [S] sorted by bigram.

    c, c_before: [S, w] codes (int8, bfloat16 or float32) of a token's and its predecessor's compressed key; scale,
    scale_before: [S] float32 with s c = scale * code. s, s_before: [S] float32, 0 before a chain's first token.
    unigram: [V', C], E of each distinct id, and a row of zeros; first, second: [U] int32, each bigram's rows of it.
    bigram: [S] int32; offsets: [U + 1] int32; order: [S] int64, places in the cache. w_c: [C, w] float32.
    """

    c: Tensor
    c_before: Tensor
    scale: Tensor
    scale_before: Tensor
    s: Tensor
    s_before: Tensor
    unigram: Tensor
    first: Tensor
    second: Tensor
    bigram: Tensor
    offsets: Tensor
    order: Tensor
    w_c: Tensor

    def __len__(self) -> int:
        return self.bigram.numel()


@dataclass(frozen=True)
class LatentTokens:
    """One layer's latents. tau: [S, R] int8 in steps of 1/127, or float; mean, deviation: [S] float32 of k'', deviation its
    reciprocal; z: [U, r], r a multiple of 4; values: [H, U, N], int8 with value_scales [H, U] float16.

    mix: [1 + r, C] float32, lora: [R, C] float32, gain, bias: [C] float32 of the layer norm on keys.
    """

    shared: SharedTokens
    tau: Tensor
    mean: Tensor
    deviation: Tensor
    z: Tensor
    values: Tensor
    value_scales: Tensor | None
    mix: Tensor
    lora: Tensor
    gain: Tensor
    bias: Tensor

    def __len__(self) -> int:
        return len(self.shared)

    @property
    def order(self) -> Tensor:
        return self.shared.order

    @property
    def bigram(self) -> Tensor:
        return self.shared.bigram

    @property
    def offsets(self) -> Tensor:
        return self.shared.offsets

    @property
    def nbytes(self) -> int:
        """Bytes one decode step reads from device memory; the unigram table is read once a step and layer too."""
        t = self.shared
        tokens = (
            self.tau,
            self.mean,
            self.deviation,
            t.c,
            t.c_before,
            t.scale,
            t.scale_before,
            t.s,
            t.s_before,
            t.bigram,
        )
        bigrams = (self.z, self.values, self.value_scales, t.first, t.second, t.offsets, t.unigram)
        read = [tensor for tensor in (*tokens, *bigrams) if tensor is not None]
        return sum(tensor.numel() * tensor.element_size() for tensor in read)

    def memory_bytes(self) -> int:
        """Bytes held for this layer alone; `shared` belongs to all."""
        held = (self.tau, self.mean, self.deviation, self.z, self.values, self.value_scales)
        return sum(tensor.numel() * tensor.element_size() for tensor in held if tensor is not None)


def shared_tokens(
    unigram: Tensor, pairs: Tensor, bigram: Tensor, keys: Tensor, before: Tensor, w_c: Tensor, dtype: torch.dtype
) -> SharedTokens:
    """Sort tokens by bigram and store their compressed keys.

    unigram [V' , C] with a row of zeros; pairs [U, 2], each bigram's rows of it; bigram [S] in the cache's order; keys
    [S, w] float32; before [S] int64, the predecessor's place or -1; w_c [C, w]; dtype of the codes (int8 or a float type).
    """
    bigram, order = torch.sort(bigram, stable=True)
    begins = before[order] < 0
    c = keys[order].float()
    c_before = keys[before[order].clamp(min=0)].float().masked_fill(begins.unsqueeze(-1), 0.0)
    codes, scale = _codes(c, dtype)
    codes_before, scale_before = _codes(c_before, dtype)
    first, second = pairs.unbind(1)
    w_c = w_c.float()
    s = _inverse_rms(unigram, second[bigram], codes.float() * scale.unsqueeze(-1), w_c)
    s_before = _inverse_rms(unigram, first[bigram], codes_before.float() * scale_before.unsqueeze(-1), w_c)
    s_before = s_before.masked_fill(begins, 0.0)
    return SharedTokens(
        c=codes,
        c_before=codes_before,
        scale=scale * s,
        scale_before=scale_before * s_before,
        s=s,
        s_before=s_before,
        unigram=unigram,
        first=first.to(torch.int32).contiguous(),
        second=second.to(torch.int32).contiguous(),
        bigram=bigram.to(torch.int32),
        offsets=bounds(bigram),
        order=order,
        w_c=w_c,
    )


def latent_tokens(
    shared: SharedTokens,
    values: Tensor,
    z: Tensor,
    mix: Tensor,
    mix_w: Tensor,
    lora: tuple[Tensor, Tensor],
    norm: tuple[Tensor, Tensor, float],
    tau_dtype: torch.dtype = torch.int8,
    value_dtype: torch.dtype = torch.bfloat16,
) -> LatentTokens:
    """One layer's latents: values [H, U, N]; z [U, r]; mix [C], mix_w [r, C]; the key LoRA's matrices [C, R] and [R, C]; the
    weight, bias and epsilon of its layer norm."""
    room = -z.shape[1] % GROUP
    z = torch.nn.functional.pad(z.float(), (0, room))
    all_mix = torch.cat((mix.float().view(1, -1), torch.nn.functional.pad(mix_w.float(), (0, 0, 0, room))))
    inner, outer = lora[0].float(), lora[1].float()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, max(1, len(shared)), PREPARE_CHUNK):
        tile = slice(start, start + PREPARE_CHUNK)
        mixed = _mixed(shared, z, all_mix, tile)
        tau = torch.tanh(mixed @ inner)
        codes = torch.round(tau * TAU_STEPS).to(torch.int8) if tau_dtype == torch.int8 else tau.to(tau_dtype)
        key = mixed + _tau(codes) @ outer
        mean = key.mean(dim=-1)
        deviation = ((key - mean.unsqueeze(-1)).square().mean(dim=-1) + norm[2]).rsqrt()
        parts.append((codes, mean, deviation))
    stacked = [torch.cat(column) for column in zip(*parts)]
    held, value_scales = stored(values, value_dtype)
    narrow = torch.float32 if tau_dtype == torch.float32 else torch.float16
    return LatentTokens(
        shared=shared,
        tau=stacked[0],
        mean=stacked[1],
        deviation=stacked[2],
        z=z.to(narrow).contiguous(),
        values=held,
        value_scales=value_scales,
        mix=all_mix,
        lora=outer,
        gain=norm[0].float(),
        bias=norm[1].float(),
    )


def widened(memory: LatentTokens) -> LayerMemory:
    """The memory with its keys, float32, in the cache's order."""
    shared = memory.shared
    key = widened_keys(memory, slice(None))
    place = torch.empty_like(shared.order)
    place[shared.order] = torch.arange(len(shared), device=place.device)
    heads, _, n = memory.values.shape
    keys = key[place].unflatten(-1, (heads, n)).transpose(0, 1)
    values = memory.values.float()
    if memory.value_scales is not None:
        values = values * memory.value_scales.float().unsqueeze(-1)
    return LayerMemory(keys, values, shared.bigram.long()[place])


def widened_keys(memory: LatentTokens, tile: slice) -> Tensor:
    """The keys of some tokens, [n, C] float32, in sorted order."""
    mixed = _mixed(memory.shared, memory.z.float(), memory.mix, tile)
    key = mixed + _tau(memory.tau[tile]) @ memory.lora - memory.mean[tile].unsqueeze(-1)
    return key * memory.deviation[tile].unsqueeze(-1) * memory.gain + memory.bias


def plain_attention(
    q: Tensor, own_keys: Tensor, own_values: Tensor, memory: LatentTokens, *, want_mass: bool = False
) -> tuple[Tensor, Tensor | None]:
    """`reference.gold_attention` over a latent memory."""
    return gold_attention(q, own_keys, own_values, widened(memory), want_mass=want_mass)


def plain_attend(
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    memory: LatentTokens,
    *,
    want_logits: bool = False,
    own_length: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `triton_memory.plain_attend`, over a latent memory; its logits are in `memory.order` too."""
    held = sort_memory(widened(memory), torch.float32, torch.float32)
    return sorted_attend(q, own_keys, own_values, held, want_logits=want_logits, own_length=own_length)


def _codes(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """rows [S, w] as codes and a float32 scale each. int8 codes of keys stored as int8 come back as they were stored."""
    if dtype != torch.int8:
        return rows.to(dtype), rows.new_ones(len(rows))
    scale = (rows.abs().amax(dim=-1) / 127).clamp(min=1e-30)
    return torch.round(rows / scale.unsqueeze(-1)).to(torch.int8), scale


def _tau(codes: Tensor) -> Tensor:
    return codes.float() / TAU_STEPS if codes.dtype == torch.int8 else codes.float()


def _inverse_rms(unigram: Tensor, rows: Tensor, c: Tensor, w_c: Tensor) -> Tensor:
    """s [S]: what `rms` multiplies E + W_c c by."""
    found = []
    for start in range(0, max(1, len(rows)), PREPARE_CHUNK):
        tile = slice(start, start + PREPARE_CHUNK)
        raw = unigram[rows[tile]].float() + c[tile] @ w_c.t()
        found.append(1 / (torch.linalg.vector_norm(raw, dim=-1) * raw.shape[-1] ** -0.5 + 1e-8))
    return torch.cat(found)


def _mixed(shared: SharedTokens, z: Tensor, mix: Tensor, tile: slice) -> Tensor:
    """kappa + g (kappa_before - kappa) of sorted tokens, [n, C] float32."""
    bigram = shared.bigram[tile].long()
    sides = (
        (shared.second, shared.c, shared.scale, shared.s),
        (shared.first, shared.c_before, shared.scale_before, shared.s_before),
    )
    now, before = (
        shared.unigram[rows[bigram].long()].float() * s[tile].unsqueeze(-1)
        + (c[tile].float() * scale[tile].unsqueeze(-1)) @ shared.w_c.t()
        for rows, c, scale, s in sides
    )
    return now + (before - now) * torch.addmm(mix[0], z[bigram], mix[1:])
