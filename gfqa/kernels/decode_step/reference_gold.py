"""The launches of `reference` for GOLD layers: own keys and values of all layers at once, queries, attention, its output."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.decode_step.reference_parts import Norm, Partials, layer_norm, mixed_inputs, over_rms
from gfqa.kernels.gold_attention.triton_memory import SortedMemory, plain_attend


def cache_key(
    x: Tensor,
    e: Tensor,
    o: Tensor,
    o_before: Tensor,
    matrices: tuple[Tensor, Tensor],
    mixes: Tensor,
    w1: Tensor,
    compressed: Tensor,
    length: Tensor,
    raw: Tensor,
    low: Tensor,
) -> None:
    """The token's compressed key, its place length - 1 of compressed [room, w] float32; raw [C]: what e adds to kappa.

    matrices: [w, C] of the key, [C, C + w] of the decompression. low: [G, n], tanh of w1 [G, n, C] times o mixed with o_before
    by mixes [G, C].
    """
    compressed[length.long() - 1] = matrices[0].float() @ x
    raw.copy_(matrices[1][:, : len(x)].float() @ e)
    mixed = torch.lerp(o.float(), o_before.float(), mixes.float())
    low.copy_(torch.tanh(w1.float() @ mixed.unsqueeze(-1)).squeeze(-1))


def decompress(compressed: Tensor, length: Tensor, w: Tensor, raw: Tensor) -> None:
    """raw [C] += what the compressed key adds to kappa; w: [C, C + w]."""
    raw += w[:, len(raw) :].float() @ compressed[length.long() - 1][0]


def own_mixed(
    raw: Tensor,
    kappa: Tensor,
    kappa_before: Tensor,
    o: Tensor,
    o_before: Tensor,
    low: Tensor,
    mixes: Tensor,
    w2: Tensor,
    mixed: Tensor,
) -> None:
    """kappa: raw over its root mean square. mixed [G, 2, C]: kappa and o, each mixed with the token before by mixes [G, 2, C]
    + low [G, 2 * inner] w2 [G, 2, inner, C]."""
    now = torch.stack((over_rms(raw), o.float()))
    before = torch.stack((kappa_before.float(), o_before.float()))
    shares = mixes.float() + (low.view(*w2.shape[:2], 1, -1) @ w2.float()).squeeze(-2)
    mixed.copy_(torch.lerp(now.expand_as(shares), before.expand_as(shares), shares))
    kappa.copy_(now[0])


def own_low(mixed: Tensor, w1: Tensor, low: Tensor) -> None:
    """low [G, 2, R]: tanh of w1 [G, 2, R, C] times mixed [G, 2, C]."""
    low.copy_(torch.tanh(w1.float() @ mixed.unsqueeze(-1)).squeeze(-1))


def own_sums(mixed: Tensor, low: Tensor, w2: Tensor) -> None:
    """mixed [G, 2, C] += low [G, 2, R] w2 [G, 2, R, C]."""
    mixed += (low.unsqueeze(-2) @ w2.float()).squeeze(-2)


def own_rows(mixed: Tensor, norm: Norm, own: Tensor, length: Tensor) -> None:
    """The token's keys and values, norms ([G, 2, C]) of mixed [G, 2, C]: at length - 1 of own [G, 2, room, C]."""
    gain, bias, eps = norm
    rows = F.layer_norm(mixed, mixed.shape[-1:], eps=eps) * gain.float() + bias.float()
    own[:, :, length.long() - 1] = rows.unsqueeze(2).to(own.dtype)


def query(
    x: Tensor,
    shift: Tensor,
    norm: Norm,
    mix: Tensor,
    w1: Tensor,
    mix_q: Tensor,
    w2: Tensor,
    w: Tensor,
    z: Tensor,
    raw: Tensor,
) -> None:
    """z: norm of x; raw [C]: w [C, C] times z mixed with the shift by mix_q [C] + low w2 [q, C], low as `finch_products`'."""
    raw.copy_(w.float() @ mixed_inputs(x, shift, norm, mix, w1, mix_q.view(1, -1), w2.unsqueeze(0), z)[0])


def query_norm(raw: Tensor, norm: Norm, scale: Tensor | None, q: Tensor) -> None:
    """q [C], of any float type: the norm of raw, times scale [1]."""
    found = layer_norm(raw, norm)
    q.copy_(found if scale is None else found * scale)


def gold_scan(
    raw: Tensor,
    norm: Norm,
    scale: Tensor | None,
    own: Tensor,
    length: Tensor,
    memory: SortedMemory,
    logits: Tensor | None,
) -> Partials:
    """Attention of `query_norm`'s query over the memory and the first length [1] of own keys and values [2, room, C].

    logits: [H, S], filled with those of the memory, in its order; or None. The number of partial results is the form's own.
    """
    heads, _, n = memory.keys.shape
    q = torch.empty_like(raw)
    query_norm(raw, norm, scale, q)
    keys, values = (rows.view(1, -1, heads, n).transpose(1, 2) for rows in own)
    out, totals, found = plain_attend(
        q.view(1, heads, 1, n), keys, values, memory, want_logits=logits is not None, own_length=length
    )
    if logits is not None:
        logits.copy_(found[0])
    return totals[0], torch.ones_like(totals[0]), out[0]


def gold_output(
    partials: Partials, gain: Tensor, w: Tensor, z: Tensor, shift: Tensor, parts: Tensor, stats: Tensor, totals: Tensor
) -> None:
    """Partial results merged to out [H, N]; parts [H, C]: what each head, times its part of the gain [C] of the norm before
    the output matrix, adds to w [C, C] times it. stats [H, 2]: each head's mean and sum of squares around it.

    totals [H]: logarithms (powers of two) of the sums; shift gets z.
    """
    peaks, sums, outs = partials
    highest = peaks.amax(1, keepdim=True)
    shares = torch.exp2(peaks - highest)
    total = (sums * shares).sum(1, keepdim=True)
    out = (outs.float() * shares.unsqueeze(-1)).sum(1) / total
    heads, n = out.shape
    scaled = out * gain.float().view(heads, n)
    parts.copy_(torch.einsum("chn,hn->hc", w.float().view(-1, heads, n), scaled))
    mean = out.mean(1)
    stats.copy_(torch.stack((mean, (out - mean.unsqueeze(1)).square().sum(1)), dim=1))
    totals.copy_((highest + torch.log2(total))[:, 0])
    shift.copy_(z)
