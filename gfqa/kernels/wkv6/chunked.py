"""The WKV recurrence as matrix products over chunks of 64 tokens, in plain PyTorch.

Within a chunk token i reads token j < i through A[i, j] = sum_n r[i, n] k[j, n] exp(sum of log_decay over j < m < i).
A block of tokens whose decays are bounded splits that exponent at its middle, exp(a - c) exp(c - b), and becomes one
product. Where decays are unbounded a block is halved instead: reads across the middle have both exponents <= 0 (decay
from the middle to the reader, decay from the writer to the middle), and the halves are treated alike, down to single
tokens. Sums of log decays are never subtracted there, so a decay of e^-10000 next to one of e^-0.01 costs no accuracy.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 64
SEGMENT = 512
"""Tokens worked on at a time (a multiple of CHUNK): their intermediate tensors stay in a CPU's cache."""

EXPONENT_LIMIT = 40.0
"""Largest exponent a centred block may form: two of them multiply to e^80, inside float32."""

_VANISHED = -80.0
"""Exponents are clamped here: e^-80 still is a normal float32, and subnormal factors slow a CPU tenfold."""

_SMALL = 2
"""Halves up to this many tokens are multiplied elementwise: a batch of tiny matrix products is slower."""


def wkv6(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    u: Tensor | None = None,
    state: Tensor | None = None,
    *,
    starts: Tensor | None = None,
    floor: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Chunked form of `reference.wkv6`: same arguments and results; `starts` may be True only at multiples of 64.

    floor: a promise that log_decay >= floor everywhere; without it the smallest decay is measured (one pass).

    Raises:
        ValueError: a chain starts inside a chunk (checked on CPU tensors only; elsewhere it would wait for the device).
    """
    B, T, H, N = r.shape
    if T == 1:
        return step(r, k, v, log_decay, u, state, starts=starts)
    dtype = torch.float64 if v.dtype == torch.float64 else torch.float32
    S = v.new_zeros(B, H, N, N, dtype=dtype) if state is None else state.to(dtype)
    if T == 0:
        return v.new_zeros(B, 0, H, N), S.clone()
    if starts is not None:
        _check_starts(starts)

    size = min(CHUNK, 1 << (T - 1).bit_length())
    block = _block_size(log_decay, size, floor)
    outputs = []
    for first in range(0, T, SEGMENT):
        piece = slice(first, first + SEGMENT)
        rows, keys, values, decays = (_split(x[:, piece].to(dtype), size) for x in (r, k, v, log_decay))
        resets = None if starts is None else starts[:, piece][:, ::CHUNK]
        if block == size:
            y, S = _bounded(rows, keys, values, decays, S, resets)
        else:
            y, S = _unbounded(rows, keys, values, decays.clamp(min=_VANISHED), S, resets, block)
        if u is not None:
            y = y + (rows * u.to(dtype)[None, None, :, None, :] * keys).sum(-1, keepdim=True) * values
        outputs.append(y.transpose(2, 3).flatten(1, 2))
    return torch.cat(outputs, 1)[:, :T].to(v.dtype), S


def step(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    u: Tensor | None = None,
    state: Tensor | None = None,
    *,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One token, T == 1: the recurrence itself, in a handful of operations on any device."""
    dtype = torch.float64 if v.dtype == torch.float64 else torch.float32
    row, key, value = (x[:, 0].to(dtype) for x in (r, k, v))
    added = value.unsqueeze(-1) * key.unsqueeze(-2)
    if state is None:
        y, S = torch.zeros_like(value), added
    else:
        S = state.to(dtype)
        if starts is not None:
            S = S.masked_fill(starts[:, 0, None, None, None], 0.0)
        y = (S @ row.unsqueeze(-1)).squeeze(-1)
        S = torch.addcmul(added, S, log_decay[:, 0].to(dtype).exp().unsqueeze(-2))
    if u is not None:
        y = y + (row * u.to(dtype) * key).sum(-1, keepdim=True) * value
    return y.unsqueeze(1).to(v.dtype), S


def _check_starts(starts: Tensor) -> None:
    if starts.device.type != "cpu":
        return
    positions = starts.nonzero()[:, 1]
    inside = positions[positions % CHUNK != 0]
    if inside.numel():
        raise ValueError(f"a chain starts at token {int(inside[0])}, which is not a multiple of {CHUNK}")


def _block_size(log_decay: Tensor, size: int, floor: float | None) -> int:
    """The largest power of two, up to `size`, whose centred exponents stay within EXPONENT_LIMIT."""
    if floor is None or size // 2 * -floor > EXPONENT_LIMIT:
        floor = float(log_decay.detach().amin())
    block = size
    while block > 1 and block // 2 * -floor > EXPONENT_LIMIT:
        block //= 2
    return block


def _split(x: Tensor, size: int) -> Tensor:
    """[B, T, H, N] to [B, chunks, H, size, N], contiguous; zeros fill the last chunk (no key, no decay)."""
    B, T, H, N = x.shape
    if T % size:
        x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, -T % size))
    return x.reshape(B, -1, size, H, N).transpose(2, 3).contiguous()


def _bounded(
    rows: Tensor, keys: Tensor, values: Tensor, decays: Tensor, S: Tensor, resets: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Whole chunks as centred blocks: [B, chunks, H, size, N] and the state before to (y, state after)."""
    before, row_scale, key_scale, middle = _centred(decays)
    rows, keys = rows * row_scale, keys * key_scale
    total = before[..., -1, :] + decays[..., -1, :]
    added = values.transpose(-1, -2) @ keys
    # Left open by the centring: the writers' way from the middle to the end, the readers' from the start to the middle.
    states, S = _carry(added * (total - middle).exp().unsqueeze(-2), total.exp(), S, resets)
    scores = (rows @ keys.transpose(-1, -2)).tril(-1)
    return scores @ values + rows @ (states * middle.exp().unsqueeze(-2)).transpose(-1, -2), S


def _unbounded(
    rows: Tensor, keys: Tensor, values: Tensor, decays: Tensor, S: Tensor, resets: Tensor | None, block: int
) -> tuple[Tensor, Tensor]:
    """As `_bounded` for any decay: chunks are halved down to centred blocks of `block` tokens."""
    size = rows.shape[-2]
    before, after = _sums(decays)
    added = values.transpose(-1, -2) @ (keys * after.exp())
    states, S = _carry(added, decays.sum(-2).exp(), S, resets)
    y = (rows * before.exp()) @ states.transpose(-1, -2)

    half = size // 2
    while half >= block:
        # One factor per token: a reader's (second half) way from the middle, a writer's (first half) way to the middle.
        way = (_halves(size, half, decays) @ decays).clamp(min=_VANISHED).exp()
        row, key = ((x * way).unflatten(-2, (-1, 2, half)) for x in (rows, keys))
        row, key, value = row[..., 1, :, :], key[..., 0, :, :], values.unflatten(-2, (-1, 2, half))[..., 0, :, :]
        if half > _SMALL:
            read = (row @ key.transpose(-1, -2)) @ value
        else:
            scores = (row.unsqueeze(-2) * key.unsqueeze(-3)).sum(-1, keepdim=True)
            read = (scores * value.unsqueeze(-3)).sum(-2)
        y = y + torch.stack((torch.zeros_like(read), read), -3).flatten(-4, -2)
        half //= 2
    if block > 1:
        (row, key, value, decay) = (x.unflatten(-2, (-1, block)) for x in (rows, keys, values, decays))
        _, row_scale, key_scale, _ = _centred(decay)
        scores = ((row * row_scale) @ (key * key_scale).transpose(-1, -2)).tril(-1)
        y = y + (scores @ value).flatten(-3, -2)
    return y, S


def _centred(decays: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums before each token, factors of readers and of writers relative to the middle, the sum up to the middle."""
    before = _sums(decays)[0]
    middle = before[..., decays.shape[-2] // 2, :]
    centred = before - middle.unsqueeze(-2)
    return before, centred.exp(), (-centred - decays).exp(), middle


def _sums(decays: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the log decays before each token and after it, within [..., size, N].

    Products with a triangle of ones: much faster than cumsum along this axis on a CPU, and free of subtraction.
    """
    size = decays.shape[-2]
    lower = decays.new_ones(size, size).tril(-1)
    return (lower @ decays).clamp(min=_VANISHED), (lower.mT @ decays).clamp(min=_VANISHED)


def _halves(size: int, half: int, like: Tensor) -> Tensor:
    """[size, size] of 0 and 1: which log decays lie between each token and the middle of its block of 2 * half tokens."""
    token = torch.arange(size, device=like.device)
    one, other = token.unsqueeze(1), token.unsqueeze(0)
    same = one // half == other // half
    return (same & torch.where(one // half % 2 == 1, other < one, other > one)).to(like.dtype)


def _carry(added: Tensor, decay: Tensor, S: Tensor, resets: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run the state over the chunks: (the state before each [B, chunks, H, N, N], the last state).

    added: what each chunk adds to the state, [B, chunks, H, N, N]; decay: its whole decay, [B, chunks, H, N].
    """
    states = []
    for chunk in range(added.shape[1]):
        if resets is not None:
            S = S.masked_fill(resets[:, chunk, None, None, None], 0.0)
        states.append(S)
        S = torch.addcmul(added[:, chunk], S, decay[:, chunk].unsqueeze(-2))
    return torch.stack(states, 1), S
