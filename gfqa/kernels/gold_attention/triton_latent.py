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
from gfqa.kernels.gold_attention.latent_tokens import GROUP, TAU_STEPS, LatentTokens

HEADS = 16
"""Heads of one program: the smallest width of a matrix product."""
TILE, BIGRAM_ROWS = 128, 8
WARPS, STAGES = 8, 3
REGISTERS: int | None = 128
"""Registers a thread of the logits' kernel is held to: two programs then fit a multiprocessor where keys are narrow."""


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
    own_tiles, own_parts = common.own_shares(own_keys.shape[2])
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
    # [H, V', r + 2], as the product leaves it: the numbers of one head and id side by side, rows a multiple of 16 bytes.
    by_head = shared.unigram.view(-1, H, N).transpose(0, 1)
    columns = torch.cat((queries[:, 2:], queries[:, 1:2], queries[:, :1]), dim=1).to(by_head.dtype)
    columns = torch.nn.functional.pad(columns, (0, 0, 0, -columns.shape[1] % 8))
    table = torch.bmm(by_head, columns.transpose(1, 2))
    U = memory.z.shape[0]
    e_first, e_second = (torch.empty((U, room), dtype=torch.float32, device=q.device) for _ in range(2))
    with torch.cuda.device_of(q):
        kernels.bigram_kernel[(triton.cdiv(U, BIGRAM_ROWS), room // HEADS)](
            table, memory.z, shared.first, shared.second, e_first, e_second, U, H, table.shape[1], memory.z.shape[1],
            room=room, width=table.shape[2], HEADS=HEADS, ROWS=BIGRAM_ROWS,
            PARTS=triton.next_power_of_2(memory.z.shape[1]), num_warps=4,
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
