"""GOLD attention as one scan of logits and one sum a bigram: what every compact form of the memory shares.

A form gives the logits of a few query rows over all its tokens; the softmax, the mass a token gets, the sum of the mass over
the tokens of one bigram and its product with the bigrams' values are the same for all. S tokens, U bigrams, H heads of width
N, R query rows; logits lie token by token, [S, H * R], so that a bigram's sum reads whole rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.gold_attention.reference import own_attention

ROWS_AT_ONCE = 8
"""Query rows of one scan; bounds the logits to S * H * ROWS_AT_ONCE float32 numbers."""
LANES = 16
"""Logit rows are padded to a multiple of this, so that what is done to every token runs along whole vectors."""


@dataclass(frozen=True)
class Bigrams:
    """The tokens of each distinct bigram.

    order: [S] int64, tokens sorted by bigram, in their own order within one. offsets: [U] int64, where each bigram's begin.
    values: [U, H * N], float32 or bfloat16.
    """

    order: Tensor
    offsets: Tensor
    values: Tensor


class Scores(Protocol):
    """A form of one layer's memory."""

    @property
    def bigrams(self) -> Bigrams: ...

    def logits(self, query: Tensor) -> Tensor:
        """Query rows [R, H, N] float32, already scaled -> [padded(S), H * R] float32; rows from S on are arbitrary."""
        ...

    def memory_bytes(self) -> int:
        """Bytes of the tensors held for this layer alone."""
        ...


def padded(n: int) -> int:
    """Rows of the logits of n tokens."""
    return -(-n // LANES) * LANES


def scan_attention(
    q: Tensor, own_keys: Tensor, own_values: Tensor, memory: Scores, *, want_mass: bool = False
) -> tuple[Tensor, Tensor | None]:
    """`gold_attention` over a compact form; the same arguments and results."""
    query = q.float() * q.shape[-1] ** -0.5
    out, total = own_attention(query, own_keys, own_values)
    # A batch of single queries shares the scans; with several queries a row, only the last one's mass is wanted.
    one = q.shape[2] == 1
    groups = [tuple(t[:, :, 0].transpose(0, 1) for t in (query, out, total))] if one else zip(query, out, total)
    masses = []
    for queries, outs, totals in groups:
        for start in range(0, queries.shape[1], ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            weights, factor = _attend(queries[:, rows], memory, outs[:, rows], totals[:, rows])
            if want_mass and (one or rows.stop >= queries.shape[1]):
                masses.append(_mass(weights, factor, len(memory.bigrams.order), last_only=not one))
    if not want_mass:
        return out.to(q.dtype), None
    return out.to(q.dtype), masses[0] if len(masses) == 1 else torch.cat(masses)


def _attend(query: Tensor, memory: Scores, out: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Merge the memory into out [H, R, N] and total [H, R, 1] (log-sum-exp), in place.

    Returns weights [padded(S), H * R] and the factor [H, R, 1] that makes mass of them.
    """
    n_head, n_rows, width = query.shape
    bigrams = memory.bigrams
    n_tokens = len(bigrams.order)
    weights = memory.logits(query.transpose(0, 1))
    weights[n_tokens:] = -torch.inf
    lanes = weights.view(-1, LANES * weights.shape[1])
    peak = lanes.amax(dim=0).view(LANES, -1).amax(dim=0)
    lanes.sub_(peak.repeat(LANES)).exp_()
    sums = lanes.sum(dim=0).view(LANES, -1).sum(dim=0)
    peak = peak.view(n_head, n_rows, 1)
    mass = F.embedding_bag(bigrams.order, weights, bigrams.offsets, mode="sum")
    # Every head's mass meets every head's values, and the diagonal is kept: the values are read once, in order.
    every = (mass.t().to(bigrams.values.dtype) @ bigrams.values).float()
    scanned = torch.diagonal(every.view(n_head, n_rows, n_head, width), dim1=0, dim2=2).permute(2, 0, 1)
    merged = torch.logaddexp(total, peak + sums.log().view(n_head, n_rows, 1))
    out.mul_(torch.exp(total - merged)).add_(scanned * torch.exp(peak - merged))
    total.copy_(merged)
    return weights, torch.exp(peak - merged)


def _mass(weights: Tensor, factor: Tensor, n_tokens: int, *, last_only: bool) -> Tensor:
    """What of their attention the rows, or the last of them alone, give each token, [R or 1, H, S]; overwrites weights."""
    n_head, n_rows, _ = factor.shape
    if last_only and n_rows > 1:
        # A copy, or the other rows would be kept alive with it.
        last = weights[:n_tokens].view(n_tokens, n_head, n_rows)[:, :, -1] * factor[:, -1, 0]
        return last.t().unsqueeze(0)
    weights.view(-1, LANES * n_head * n_rows).mul_(factor.flatten().repeat(LANES))
    return weights[:n_tokens].view(n_tokens, n_head, n_rows).permute(2, 1, 0)
