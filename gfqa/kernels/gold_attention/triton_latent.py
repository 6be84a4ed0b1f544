"""GOLD attention on a GPU in the latent form: no key is held, the query is absorbed instead. Exact up to storage.

With E_t the unigram's part and c_t the compressed key of kappa_t = s_t (E_t + W_c c_t), and g_b = mix + z_b mix_w the mix of
bigram b = (t-1, t), the key before its layer norm is
    k''_t = kappa_t + g_b (kappa_(t-1) - kappa_t) + B tau_t,   tau_t = tanh of the key LoRA's inside.
A logit is linear in k'' up to the norm's mean and deviation, so for q with the norm's gain folded in
    q . k'' = (W_c^T q) . s c + sum_r z_br (W_c^T (q mix_r)) . (s' c' - s c) + (B^T q) . tau + s e2_b + s' e1_b,
where primes mean the token before, z_b0 = 1, and e1, e2 are unigram tables contracted with z_b. A token costs its latents
(tau, c, c') and six numbers to read; heads are the columns of every matrix product. Logits are written, then scanned.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from gfqa.kernels.gold_attention import triton as common
from gfqa.kernels.gold_attention import triton_latent_kernels as kernels
from gfqa.kernels.gold_attention.reference import LayerMemory, gold_attention
from gfqa.kernels.gold_attention.triton_memory import bounds, stored

HEADS = 16
"""Heads of one program: the smallest width of a matrix product."""
GROUP = 4
"""Parts of the mix in one product."""
TILE, BIGRAM_ROWS = 128, 32
WARPS, STAGES = 8, 3
REGISTERS: int | None = 128
"""Registers a thread of the logits' kernel is held to: two programs then fit a multiprocessor where keys are narrow."""
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


def latent_attention(
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    memory: LatentTokens,
    *,
    want_mass: bool = False,
    own_length: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Triton form of `plain_attention`; arguments and errors as `triton.gold_attention`.

    Every query row reads the memory anew: made for decoding, one row or a few.
    """
    out, totals, logits = attend(q, own_keys, own_values, memory, want_logits=want_mass, own_length=own_length)
    return out, common.spread_mass(logits, totals, memory.order, q) if want_mass else None


def attend(
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    memory: LatentTokens,
    *,
    want_logits: bool = False,
    own_length: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `triton.attend`, over a latent memory."""
    common.check(q, own_keys, own_values)
    B, H, T, N = q.shape
    S = len(memory)
    logits = torch.empty((B, H, S), dtype=torch.float32, device=q.device)
    tiles, memory_parts = common.shares(triton.cdiv(S, common.ONE.tile), H, common.ONE.per_processor, q.device)
    own_tiles, own_parts = common.own_shares(own_keys)
    partials = common.Partials.empty(B * H * T, own_parts + memory_parts, N, q.device)
    if T:
        common.scan_own(q, own_keys, own_values, own_length, partials, own_tiles, own_parts)
    for b in range(B):
        for t in range(T if S else 0):
            # The last row's logits stay, for its mass.
            _logits(absorb(q[b, :, t], memory), memory, logits[b])
            common.scan_given(logits[b], memory, partials, (b * H * T + t, T), own_parts, tiles, memory_parts)
    out, totals = common.merge(partials, q)
    return out, totals, logits if want_logits else logits[:, :0]


@dataclass(frozen=True)
class Absorbed:
    """One query [H, N] as the latents see it, in powers of two; the last axis has room for whole groups of heads.

    tau: [R, H'], now: [w, H'], mixed: [1 + r, w, H'] in the products' type. sums, constant: [H'] float32.
    e_first, e_second: [U, H'] float32, the unigrams' parts of each bigram.
    """

    tau: Tensor
    now: Tensor
    mixed: Tensor
    sums: Tensor
    constant: Tensor
    e_first: Tensor
    e_second: Tensor


def absorb(q: Tensor, memory: LatentTokens) -> Absorbed:
    """Absorb one query [H, N]: matrix products of C x (R + w (2 + r)) numbers, and the unigram tables."""
    H, N = q.shape
    shared = memory.shared
    room = triton.cdiv(H, HEADS) * HEADS
    dtype = memory.z.dtype
    q = q.float() * common.logit_factor(N)
    folded = q * memory.gain.view(H, N)
    # [H, 2 + r, N]: the query itself, then one for each part of the mix.
    queries = torch.cat((folded.unsqueeze(1), folded.unsqueeze(1) * memory.mix.view(-1, H, N).transpose(0, 1)), dim=1)
    step = 1 / TAU_STEPS if memory.tau.dtype == torch.int8 else 1.0
    tau = torch.einsum("rhn,hn->rh", memory.lora.view(-1, H, N), folded * step)
    c = torch.einsum("hmn,hnw->mwh", queries, shared.w_c.view(H, N, -1))
    c, tau = (torch.nn.functional.pad(x, (0, room - H)).to(dtype).contiguous() for x in (c, tau))
    sums, constant = (torch.nn.functional.pad(x.sum(-1), (0, room - H)) for x in (folded, q * memory.bias.view(H, N)))
    # [H, V', 2 + r], as the product leaves it: the numbers of one head and id side by side.
    by_head = shared.unigram.view(-1, H, N).transpose(0, 1)
    table = torch.bmm(by_head, queries.transpose(1, 2).to(by_head.dtype))
    U = memory.z.shape[0]
    e_first, e_second = (torch.empty((U, room), dtype=torch.float32, device=q.device) for _ in range(2))
    with torch.cuda.device_of(q):
        kernels.bigram_kernel[(triton.cdiv(U, BIGRAM_ROWS),)](
            table, memory.z, shared.first, shared.second, e_first, e_second, U, H, table.shape[1], room, memory.z.shape[1],
            ROOM=triton.next_power_of_2(room), ROWS=BIGRAM_ROWS, num_warps=4,
        )  # fmt: skip
    return Absorbed(tau, c[0], c[1:], sums, constant, e_first, e_second)


def _logits(absorbed: Absorbed, memory: LatentTokens, logits: Tensor) -> None:
    """Write one query's logits [H, S]."""
    shared = memory.shared
    width, lora, room = shared.c.shape[1], memory.tau.shape[1], absorbed.sums.numel()
    with torch.cuda.device_of(logits):
        kernels.latent_kernel[(triton.cdiv(len(shared), TILE), room // HEADS)](
            absorbed.tau, absorbed.now, absorbed.mixed, absorbed.sums, absorbed.constant, absorbed.e_first,
            absorbed.e_second, memory.tau, shared.c, shared.c_before, shared.scale, shared.scale_before, shared.s,
            shared.s_before, memory.mean, memory.deviation, memory.z, shared.bigram, logits,
            len(shared), logits.shape[0], memory.z.shape[1],
            room=room, width=width, lora=lora, TILE=TILE, HEADS=HEADS, GROUP=GROUP,
            WIDTH=max(16, triton.next_power_of_2(width)), LORA=max(16, triton.next_power_of_2(lora)),
            DTYPE=triton.language.float32 if memory.z.dtype == torch.float32 else triton.language.float16,
            PRECISION=common.precision(), num_warps=WARPS, num_stages=STAGES, maxnreg=REGISTERS if width <= 64 else None,
        )  # fmt: skip


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
