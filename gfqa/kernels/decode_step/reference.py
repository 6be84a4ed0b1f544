"""One token through the model in plain PyTorch, launch by launch: what each of the fused kernels does.

Everything is written in place. Vectors between launches are float32: x [C] the residual stream, z [C] a layer norm of it; C
width, H heads of size N, F channel-mix width, V vocabulary, G GOLD layers, w key width. Matrices are [out, in], of any float
type. A norm is (weight [C], bias [C], epsilon). `shift` [C] is the last token's norm, in any float type.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.gold_attention.triton_memory import SortedMemory, plain_attend
from gfqa.kernels.wkv6.decay import log_decay

Norm = tuple[Tensor, Tensor, float]
Partials = tuple[Tensor, Tensor, Tensor]
"""Of attention, P a head: largest logits (powers of two) and sums [H, P] float32, weighted values [H, P, N], any float type."""
Folded = tuple[Tensor, Tensor, float]
"""A norm before an output matrix W, taken from behind it: W gain [C] and W bias [C] float32, epsilon."""


def embed(
    token: Tensor,
    table: Tensor,
    norm: Norm,
    x: Tensor,
    e: Tensor,
    o: Tensor,
    o_before: Tensor,
    kappa: Tensor,
    kappa_before: Tensor,
    ids: Tensor,
    length: Tensor,
    scale: Tensor | None,
    memory: int,
    unit: float,
) -> None:
    """x, e: norm of the token's row of table [V, C]; o: that over its root mean square.

    o_before and kappa_before get what o and kappa were. token: [1] int64, put into ids [room] at length [1] int32, which then
    counts it. scale: [1], the factor on queries, log(visible) * unit in 1/2..4 with `memory` + length keys visible; or None.
    """
    place = length.long()
    o_before.copy_(o)
    kappa_before.copy_(kappa)
    now = _norm(table[token.view(1)][0], norm)
    x.copy_(now)
    e.copy_(now)
    o.copy_(_over_rms(now))
    ids[place] = token.view(1)
    length += 1
    if scale is not None:
        scale.copy_((torch.log((length + memory).float()) * unit).clamp(0.5, 4.0))


def finch_products(
    x: Tensor,
    shift: Tensor,
    norm: Norm,
    mix: Tensor,
    w1: Tensor,
    mixes: Tensor,
    w2: Tensor,
    matrices: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None],
    order: tuple[int, int, int, int, int],
    z: Tensor,
    out: Tensor,
) -> None:
    """Receptance, key, value, fourth, tanh of the decay's inside and, if there is one, of the second value's: `out`.

    z: norm of x. low [5 * inner]: tanh of w1 [5 * inner, C] times z mixed with the shift by mix [C]. The inputs are z mixed
    with the shift by mixes[i] + low[i] w2[i], i of `order` (the last two: decay, and as the fourth); mixes [5, C],
    w2 [5, inner, C]. matrices: [C, C] four times, [a, C], [b, C] or None. out: [4 C + a + b].
    """
    inputs = _mixed(x, shift, norm, mix, w1, mixes, w2, z)
    parts = [matrix.float() @ inputs[i] for matrix, i in zip(matrices[:4], order[:4], strict=True)]
    parts.append(torch.tanh(matrices[4].float() @ inputs[order[4]]))
    if matrices[5] is not None:
        parts.append(torch.tanh(matrices[5].float() @ inputs[order[3]]))
    out.copy_(torch.cat(parts))


def finch_output(
    products: Tensor,
    w2: tuple[Tensor, Tensor | None],
    bias: Tensor,
    bonus: Tensor,
    norm: Norm,
    state: Tensor,
    z: Tensor,
    shift: Tensor,
    w: Tensor,
    floor: float | None,
    scale_keys: bool,
    moved: Tensor,
    parts: Tensor,
    stats: Tensor,
) -> None:
    """The recurrence read from state [H, N, N] float32, times the output matrix w [C, C]; shift gets z.

    products: as `finch_products` leaves them. w2: [a, C] of the decay, which is added to bias [C]; [b, C] of the second value,
    which with the fourth is added (Finch-C2), or None: then keys have a bonus [C], and the norm, head by head, and the
    fourth's gate come before w (Finch). parts [H, C], stats [H, 2]: as `_head_shares` gives them, with Finch-C2's gain.
    moved [3, C]: factors, keys and values that move the state on; the next `channel_keys` does.
    """
    heads, n = state.shape[:2]
    c = heads * n
    r, k, v, fourth = products[: 4 * c].view(4, heads, n)
    inside = products[4 * c :]
    a = w2[0].shape[0]
    decays = log_decay(bias.float() + inside[:a] @ w2[0].float(), floor).view(heads, n)
    if scale_keys:
        k = k * -torch.expm1(decays)
    read = state
    if w2[1] is None:
        read = state + (bonus.float().view(heads, n) * k).unsqueeze(1) * v.unsqueeze(2)
    out = (read * r.unsqueeze(1)).sum(-1)
    moved.copy_(torch.stack((torch.exp(decays), k, v)).view(3, c))
    if w2[1] is None:
        normed = F.group_norm(out.view(1, c), heads, norm[0].float(), norm[1].float(), norm[2])
        _head_shares((normed[0] * F.silu(fourth.reshape(c))).view(heads, n), None, w, parts, stats)
    else:
        second = (inside[a:] @ w2[1].float()).view(heads, n)
        _head_shares(out + fourth + second, norm[0], w, parts, stats)
    shift.copy_(z)


def channel_keys(
    x: Tensor,
    parts: Tensor,
    stats: Tensor,
    folded: Folded | None,
    shift: Tensor,
    norm: Norm,
    mixes: tuple[Tensor, Tensor],
    matrices: tuple[Tensor, Tensor],
    moving: tuple[Tensor, Tensor] | None,
    middle: Tensor,
    z: Tensor,
    hidden: Tensor,
    gate: Tensor,
) -> None:
    """middle [C]: x plus what the output matrix gives, of which parts and stats are the heads' shares, `folded` its norm.

    z: norm of that; hidden [F]: square of relu of the first matrix [F, C], gate [C]: sigmoid of the second [C, C], times z
    mixed with the shift by the first and the second of `mixes` [C]. moving: a state and what moves it, see `finch_output`.
    """
    found, c, heads = parts.sum(0), len(x), len(parts)
    if folded is not None:
        mean = stats[:, 0].mean()
        squares = stats[:, 1].sum() + (c // heads) * (stats[:, 0] - mean).square().sum()
        found = (found - mean * folded[0]) * torch.rsqrt(squares / c + folded[2]) + folded[1]
    middle.copy_(x + found)
    z.copy_(_norm(middle, norm))
    key, receptance = (
        matrix.float() @ torch.lerp(z, shift.float(), mix.float()) for matrix, mix in zip(matrices, mixes, strict=True)
    )
    hidden.copy_(torch.relu(key).square())
    gate.copy_(torch.sigmoid(receptance))
    if moving is not None:
        state, (factor, k, v) = moving[0], moving[1].view(3, heads, -1)
        state.copy_(state * factor.unsqueeze(1) + k.unsqueeze(1) * v.unsqueeze(2))


def channel_values(
    hidden: Tensor, gate: Tensor, w: Tensor, middle: Tensor, z: Tensor, x: Tensor, shift: Tensor
) -> None:
    """x [C]: middle + gate * (w [C, F] times hidden); shift gets z."""
    x.copy_(middle + gate * (w.float() @ hidden))
    shift.copy_(z)


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
    w1: Tensor,
    mixed: Tensor,
    inner_low: Tensor,
) -> None:
    """kappa: raw over its root mean square. mixed [G, 2, C]: kappa and o, each mixed with the token before by mixes [G, 2, C]
    + low [G, 2 * inner] w2 [G, 2, inner, C]; inner_low [G, 2, R]: tanh of w1 [G, 2, R, C] times it."""
    now = torch.stack((_over_rms(raw), o.float()))
    before = torch.stack((kappa_before.float(), o_before.float()))
    shares = mixes.float() + (low.view(*w2.shape[:2], 1, -1) @ w2.float()).squeeze(-2)
    mixed.copy_(torch.lerp(now.expand_as(shares), before.expand_as(shares), shares))
    inner_low.copy_(torch.tanh(w1.float() @ mixed.unsqueeze(-1)).squeeze(-1))
    kappa.copy_(now[0])


def own_rows(mixed: Tensor, low: Tensor, w2: Tensor, norm: Norm, own: Tensor, length: Tensor) -> None:
    """The token's keys and values: norms ([G, 2, C]) of mixed [G, 2, C] + low [G, 2, R] w2 [G, 2, R, C].

    own: [G, 2, room, C], keys and values; written at length - 1.
    """
    rows = mixed + (low.unsqueeze(-2) @ w2.float()).squeeze(-2)
    gain, bias, eps = norm
    rows = F.layer_norm(rows, rows.shape[-1:], eps=eps) * gain.float() + bias.float()
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
    raw.copy_(w.float() @ _mixed(x, shift, norm, mix, w1, mix_q.view(1, -1), w2.unsqueeze(0), z)[0])


def query_norm(raw: Tensor, norm: Norm, scale: Tensor | None, q: Tensor) -> None:
    """q [C], of any float type: the norm of raw, times scale [1]."""
    found = _norm(raw, norm)
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
    """Partial results merged; parts and stats as `_head_shares` gives them for w [C, C] and the gain [C] of a norm before it.

    totals [H]: logarithms (powers of two) of the sums; shift gets z.
    """
    peaks, sums, outs = partials
    highest = peaks.amax(1, keepdim=True)
    shares = torch.exp2(peaks - highest)
    total = (sums * shares).sum(1, keepdim=True)
    _head_shares((outs.float() * shares.unsqueeze(-1)).sum(1) / total, gain, w, parts, stats)
    totals.copy_((highest + torch.log2(total))[:, 0])
    shift.copy_(z)


def logits(x: Tensor, norm: Norm, w: Tensor, out: Tensor) -> None:
    """out [V] float32: w [V, C] times the norm of x."""
    out.copy_(w.float() @ _norm(x, norm))


def _mixed(
    x: Tensor, shift: Tensor, norm: Norm, mix: Tensor, w1: Tensor, mixes: Tensor, w2: Tensor, z: Tensor
) -> Tensor:
    """z, and inputs [groups, C] as in `finch_products`; w1 [groups * inner, C], mixes [groups, C], w2 [groups, inner, C]."""
    z.copy_(_norm(x, norm))
    low = torch.tanh(w1.float() @ torch.lerp(z, shift.float(), mix.float()))
    shares = mixes.float() + torch.bmm(low.view(len(mixes), 1, -1), w2.float())[:, 0]
    return z + (shift.float() - z) * shares


def _head_shares(out: Tensor, gain: Tensor | None, w: Tensor, parts: Tensor, stats: Tensor) -> None:
    """parts [H, C]: what each head of out [H, N], times its gain, adds to w [C, C] times it. stats [H, 2]: each head's mean
    and sum of squares around it."""
    heads, n = out.shape
    scaled = out if gain is None else out * gain.float().view(heads, n)
    parts.copy_(torch.einsum("chn,hn->hc", w.float().view(-1, heads, n), scaled))
    mean = out.mean(1)
    stats.copy_(torch.stack((mean, (out - mean.unsqueeze(1)).square().sum(1)), dim=1))


def _norm(x: Tensor, norm: Norm) -> Tensor:
    weight, bias, eps = norm
    return F.layer_norm(x.float(), x.shape, weight.float(), bias.float(), eps)


def _over_rms(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x) * x.shape[-1] ** -0.5 + 1e-8)
