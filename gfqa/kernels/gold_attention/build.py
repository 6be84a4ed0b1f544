"""Keys and values of a GOLD layer for many tokens at once, in the form they are held in: plain PyTorch.

Both are LN(m + tanh(m w1) w2) of a mixture m = now + (before - now) * (mix + z mix_w) of two rows of width C. For values the
rows are those of a table, for keys kappa = s (E + W_c c): a table's row and what the compressed key adds to it. z is the same
for all tokens of a bigram. `triton_build` has the same functions as one kernel. S tokens, U bigrams, V' distinct ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gfqa.kernels.gold_attention.triton_memory import stored

CHUNK = 16384
"""Rows worked on at once: a few float32 matrices of the model's width each."""


@dataclass(frozen=True)
class Pairs:
    """first, second: [U] int32, each distinct bigram's rows of a table [V' + 1, C] whose last row is zero.

    The last row stands before a chain's first token, and nowhere else.
    """

    first: Tensor
    second: Tensor

    def __len__(self) -> int:
        return len(self.second)


@dataclass(frozen=True)
class CompressedTokens:
    """Cached tokens. codes: [S, w] int8 with scales [S], or a float type and None, in the cache's order; w_c: [C, w].

    bigram: [S] int32 ascending; order: [S] int64, each sorted token's place in the cache. A token's predecessor has the place
    before its own.
    """

    codes: Tensor
    scales: Tensor | None
    w_c: Tensor
    bigram: Tensor
    order: Tensor

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True)
class Mixer:
    """What makes a layer's keys, or its values. z: [U, r]; mix: [C]; mix_w: [r, C]; w1: [C, R]; w2: [R, C].

    gain, bias: [C] and epsilon of the layer norm.
    """

    z: Tensor
    mix: Tensor
    mix_w: Tensor
    w1: Tensor
    w2: Tensor
    gain: Tensor
    bias: Tensor
    epsilon: float


def inverse_rms(table: Tensor, pairs: Pairs, tokens: CompressedTokens) -> Tensor:
    """s [S] float32, in the cache's order: what makes kappa of E + W_c c."""
    found = torch.empty(len(tokens), dtype=torch.float32, device=table.device)
    for start in range(0, len(tokens), CHUNK):
        tile = slice(start, start + CHUNK)
        places = tokens.order[tile]
        raw = table[pairs.second[tokens.bigram[tile].long()].long()].float() + _expanded(tokens, places)
        found[places] = 1 / (torch.linalg.vector_norm(raw, dim=-1) * raw.shape[-1] ** -0.5 + 1e-8)
    return found


def make_rows(
    table: Tensor,
    pairs: Pairs,
    mixer: Mixer,
    n_head: int,
    dtype: torch.dtype,
    tokens: CompressedTokens | None = None,
    inverse: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Rows [H, n, N] in `dtype`, and for int8 their scales [H, n] float16: keys of S sorted tokens, or values of U bigrams.

    table: [V' + 1, C], E for keys and o for values; tokens, with `inverse` as `inverse_rms` gives it: makes keys.
    """
    n = len(pairs) if tokens is None else len(tokens)
    shape = (n_head, n, table.shape[1] // n_head)
    rows = torch.empty(shape, dtype=dtype, device=table.device)
    scales = torch.empty(shape[:2], dtype=torch.float16, device=table.device) if dtype == torch.int8 else None
    w1, w2 = mixer.w1.float(), mixer.w2.float()
    for start in range(0, n, CHUNK):
        tile = slice(start, min(start + CHUNK, n))
        number = torch.arange(tile.start, tile.stop, device=table.device)
        now, before = _sides(table, pairs, number, tokens, inverse)
        if tokens is not None:
            number = tokens.bigram[tile].long()
        share = torch.addmm(mixer.mix.float(), mixer.z[number].float(), mixer.mix_w.float())
        mixed = now + (before - now) * share
        made = torch.nn.functional.layer_norm(
            mixed + torch.tanh(mixed @ w1) @ w2,
            mixed.shape[-1:],
            mixer.gain.float(),
            mixer.bias.float(),
            mixer.epsilon,
        )
        held, scale = stored(made.unflatten(-1, (n_head, -1)).transpose(0, 1), dtype)
        rows[:, tile] = held
        if scales is not None and scale is not None:
            scales[:, tile] = scale
    return rows, scales


def _sides(
    table: Tensor, pairs: Pairs, number: Tensor, tokens: CompressedTokens | None, inverse: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The rows that are mixed, [n, C] float32: of the tokens (or bigrams) `number`, and of what stands before them."""
    if tokens is None or inverse is None:
        now, before = (table[rows[number].long()].float() for rows in (pairs.second, pairs.first))
        return now, before
    bigram, place = tokens.bigram[number].long(), tokens.order[number]
    first, second = pairs.first[bigram].long(), pairs.second[bigram].long()
    previous = (place - 1).clamp(min=0)
    now = (table[second].float() + _expanded(tokens, place)) * inverse[place].unsqueeze(-1)
    before = (table[first].float() + _expanded(tokens, previous)) * inverse[previous].unsqueeze(-1)
    return now, before.masked_fill((first == len(table) - 1).unsqueeze(-1), 0.0)


def _expanded(tokens: CompressedTokens, places: Tensor) -> Tensor:
    """W_c c of the tokens at `places` of the cache, [n, C] float32."""
    rows = tokens.codes[places].float() @ tokens.w_c.float().t()
    return rows if tokens.scales is None else rows * tokens.scales[places].float().unsqueeze(-1)
