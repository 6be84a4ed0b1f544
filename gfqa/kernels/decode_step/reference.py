"""One token through the model in plain PyTorch, launch by launch: what each of the fused kernels does.

Everything is written in place. Vectors between launches are float32: x [C] the residual stream, z [C] a layer norm of it; C
width, H heads of size N, F channel-mix width, V vocabulary, G GOLD layers, w key width. Matrices are [out, in], of any float
type. A norm is (weight [C], bias [C], epsilon). `shift` [C] is the last token's norm, in any float type.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.wkv6.decay import log_decay

Norm = tuple[Tensor, Tensor, float]


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


def shifted_low(x: Tensor, shift: Tensor, norm: Norm, mix: Tensor, w1: Tensor, z: Tensor, low: Tensor) -> None:
    """z: norm of x; low [n]: tanh of w1 [n, C] times z mixed with the shift by mix [C]."""
    z.copy_(_norm(x, norm))
    low.copy_(torch.tanh(w1.float() @ torch.lerp(z, shift.float(), mix.float())))


def finch_products(
    z: Tensor,
    shift: Tensor,
    low: Tensor,
    mixes: Tensor,
    w2: Tensor,
    matrices: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None],
    order: tuple[int, int, int, int, int],
    out: Tensor,
) -> None:
    """Receptance, key, value, fourth, tanh of the decay's inside and, if there is one, of the second value's: `out`.

    Their inputs are z mixed with the shift by mixes[i] + low[i] w2[i], i of `order` (the last two: decay, and as the fourth);
    mixes [5, C], low [5 * inner], w2 [5, inner, C]. matrices: [C, C] four times, [a, C], [b, C] or None. out: [4 C + a + b].
    """
    shares = mixes.float() + torch.bmm(low.view(5, 1, -1), w2.float())[:, 0]
    inputs = z + (shift.float() - z) * shares
    parts = [matrix.float() @ inputs[i] for matrix, i in zip(matrices[:4], order[:4], strict=True)]
    parts.append(torch.tanh(matrices[4].float() @ inputs[order[4]]))
    if matrices[5] is not None:
        parts.append(torch.tanh(matrices[5].float() @ inputs[order[3]]))
    out.copy_(torch.cat(parts))


def finch_state(
    products: Tensor,
    w2: tuple[Tensor, Tensor | None],
    bias: Tensor,
    bonus: Tensor,
    norm: Norm,
    state: Tensor,
    z: Tensor,
    shift: Tensor,
    y: Tensor,
    floor: float | None,
    scale_keys: bool,
) -> None:
    """One step of the recurrence: state [H, N, N] float32, shift gets z, y [C].

    products: as `finch_products` leaves them. w2: [a, C] of the decay, which is added to bias [C]; [b, C] of the second value,
    which with the fourth is added to y (Finch-C2), or None: then keys have a bonus [C], and y goes through the norm, head by
    head, and the fourth's gate (Finch).
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
    state.copy_(state * torch.exp(decays).unsqueeze(1) + k.unsqueeze(1) * v.unsqueeze(2))
    if w2[1] is None:
        normed = F.group_norm(out.view(1, c), heads, norm[0].float(), norm[1].float(), norm[2])
        y.copy_(normed[0] * F.silu(fourth.reshape(c)))
    else:
        y.copy_((out + fourth).view(c) + inside[a:] @ w2[1].float())
    shift.copy_(z)


def project(y: Tensor, norm: Norm | None, w: Tensor, x: Tensor) -> None:
    """x += w [C, C] times the norm of y [C] (any float type), or y itself."""
    x += w.float() @ (y.float() if norm is None else _norm(y, norm))


def channel_keys(
    x: Tensor,
    shift: Tensor,
    norm: Norm,
    mixes: tuple[Tensor, Tensor],
    matrices: tuple[Tensor, Tensor],
    z: Tensor,
    hidden: Tensor,
    gate: Tensor,
) -> None:
    """z: norm of x; hidden [F]: square of relu of the first matrix [F, C], gate [C]: sigmoid of the second [C, C], times z
    mixed with the shift by the first and the second of `mixes` [C]."""
    z.copy_(_norm(x, norm))
    key, receptance = (
        matrix.float() @ torch.lerp(z, shift.float(), mix.float()) for matrix, mix in zip(matrices, mixes, strict=True)
    )
    hidden.copy_(torch.relu(key).square())
    gate.copy_(torch.sigmoid(receptance))


def channel_values(hidden: Tensor, gate: Tensor, w: Tensor, x: Tensor, z: Tensor, shift: Tensor) -> None:
    """x += gate [C] * (w [C, F] times hidden); shift gets z."""
    x += gate * (w.float() @ hidden)
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


def query(z: Tensor, shift: Tensor, low: Tensor, mix: Tensor, w2: Tensor, w: Tensor, raw: Tensor) -> None:
    """raw [C]: w [C, C] times z mixed with the shift by mix [C] + low [q] w2 [q, C]."""
    raw.copy_(w.float() @ torch.lerp(z, shift.float(), mix.float() + low @ w2.float()))


def query_norm(raw: Tensor, norm: Norm, scale: Tensor | None, z: Tensor, shift: Tensor, q: Tensor) -> None:
    """q [C], of any float type: the norm of raw, times scale [1]; shift gets z."""
    found = _norm(raw, norm)
    q.copy_(found if scale is None else found * scale)
    shift.copy_(z)


def logits(x: Tensor, norm: Norm, w: Tensor, out: Tensor) -> None:
    """out [V] float32: w [V, C] times the norm of x."""
    out.copy_(w.float() @ _norm(x, norm))


def _norm(x: Tensor, norm: Norm) -> Tensor:
    weight, bias, eps = norm
    return F.layer_norm(x.float(), x.shape, weight.float(), bias.float(), eps)


def _over_rms(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x) * x.shape[-1] ** -0.5 + 1e-8)
