"""One token through the model in plain PyTorch, launch by launch: what each of the fused kernels does.

Everything is written in place. Vectors between launches are float32: x [C] the residual stream, z [C] a layer norm of it; C
width, H heads of size N, F channel-mix width, V vocabulary, G GOLD layers, w key width. Matrices are [out, in], of any float
type. A norm is (weight [C], bias [C], epsilon). `shift` [C] is the last token's norm, in any float type.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.decode_step.reference_gold import cache_key as cache_key
from gfqa.kernels.decode_step.reference_gold import decompress as decompress
from gfqa.kernels.decode_step.reference_gold import gold_output as gold_output
from gfqa.kernels.decode_step.reference_gold import gold_scan as gold_scan
from gfqa.kernels.decode_step.reference_gold import own_low as own_low
from gfqa.kernels.decode_step.reference_gold import own_mixed as own_mixed
from gfqa.kernels.decode_step.reference_gold import own_rows as own_rows
from gfqa.kernels.decode_step.reference_gold import own_sums as own_sums
from gfqa.kernels.decode_step.reference_gold import query as query
from gfqa.kernels.decode_step.reference_gold import query_norm as query_norm
from gfqa.kernels.decode_step.reference_parts import Norm, Shares, layer_norm, mixed_inputs, over_rms
from gfqa.kernels.wkv6.decay import log_decay


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
    now = layer_norm(table[token.view(1)][0], norm)
    x.copy_(now)
    e.copy_(now)
    o.copy_(over_rms(now))
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
    inputs = mixed_inputs(x, shift, norm, mix, w1, mixes, w2, z)
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
    x += w.float() @ (y.float() if norm is None else layer_norm(y, norm))


def channel_keys(
    x: Tensor,
    shares: Shares | None,
    shift: Tensor,
    norm: Norm,
    mixes: tuple[Tensor, Tensor],
    matrices: tuple[Tensor, Tensor],
    middle: Tensor,
    z: Tensor,
    hidden: Tensor,
    gate: Tensor,
) -> None:
    """middle [C]: x plus the output matrix's product whose heads' shares `gold_output` left. Without shares x has it already,
    and middle is x.

    z: norm of that; hidden [F]: square of relu of the first matrix [F, C], gate [C]: sigmoid of the second [C, C], times z
    mixed with the shift by the first and the second of `mixes` [C].
    """
    if shares is not None:
        parts, stats, (of_gain, of_bias, eps) = shares
        n = len(x) // len(stats)
        mean = stats[:, 0].mean()
        squares = stats[:, 1].sum() + n * (stats[:, 0] - mean).square().sum()
        middle.copy_(x + (parts.sum(0) - mean * of_gain) * torch.rsqrt(squares / len(x) + eps) + of_bias)
    z.copy_(layer_norm(middle, norm))
    key, receptance = (
        matrix.float() @ torch.lerp(z, shift.float(), mix.float()) for matrix, mix in zip(matrices, mixes, strict=True)
    )
    hidden.copy_(torch.relu(key).square())
    gate.copy_(torch.sigmoid(receptance))


def channel_values(
    hidden: Tensor, gate: Tensor, w: Tensor, middle: Tensor, z: Tensor, x: Tensor, shift: Tensor
) -> None:
    """x [C]: middle + gate * (w [C, F] times hidden); shift gets z."""
    x.copy_(middle + gate * (w.float() @ hidden))
    shift.copy_(z)


def logits(x: Tensor, norm: Norm, w: Tensor, out: Tensor) -> None:
    """out [V] float32: w [V, C] times the norm of x."""
    out.copy_(w.float() @ layer_norm(x, norm))
