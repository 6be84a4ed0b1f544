"""Who sees whom in a packed question row, as masks for the attention, and where its attention falls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128
"""Queries and keys of a block of the flexible attention's mask."""


@dataclass
class Spans:
    """Who sees whom in a question row of Td document and Tq question positions.

    document [B, Td]: True where a document's token stands, False at padding. A question position sees its own chain up to
    itself and the document positions first <= k < last: first, last [B, Tq]. chain [B, Tq]: the number of its chain, whose
    positions stand together. visible [B, Tq]: how many keys it sees.
    """

    document: Tensor
    first: Tensor
    last: Tensor
    chain: Tensor
    visible: Tensor


@dataclass
class Places:
    """Where the documents answer M questions of a row; -1 where there is none.

    at [B, M]: the position among the Tq whose attention is to point there, the last before the answer; first, last [B, M]:
    the document positions first <= k < last that are the place.
    """

    at: Tensor
    first: Tensor
    last: Tensor


def document_mass(q: Tensor, k: Tensor, at: Tensor, sees: Tensor, n_documents: int) -> Tensor:
    """Attention mass on the documents, summed over heads, [B, M, Td] float32.

    q [B, H, Tq, N], k [B, H, Td + Tq, N]; at [B, M]: rows of q; sees bool [B, M, Td + Tq]: the keys they see.
    """
    rows = q.gather(2, at[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))
    logits = (rows @ k.transpose(-1, -2)).float() * q.shape[3] ** -0.5
    mass: Tensor = logits.masked_fill(~sees[:, None], -torch.inf).softmax(dim=-1)
    return mass[..., :n_documents].sum(dim=1)


def shares_at(mass: Tensor, places: Places) -> tuple[Tensor, Tensor]:
    """(share of each question's mass on the documents that is on its place, whether the heaviest BLOCK / 2 tokens touch it).

    mass [B, M, Td]. [B, M] each; what is no question (`at` < 0) has some value.
    """
    k = torch.arange(mass.shape[-1], device=mass.device)
    inside = (k >= places.first[..., None]) & (k < places.last[..., None])
    share = (mass * inside).sum(dim=-1) / mass.sum(dim=-1).clamp(min=1e-20)
    size = BLOCK // 2
    heaviest = mass.detach().unflatten(-1, (-1, size)).sum(dim=-1).argmax(dim=-1) * size
    return share, (heaviest < places.last) & (heaviest + size > places.first)


def dense_mask(spans: Spans) -> Tensor:
    """bool [B, 1, Tq, Td + Tq]: a question sees its run of documents and its own chain up to itself."""
    at = torch.arange(spans.document.shape[1], device=spans.document.device)
    inside = (at >= spans.first[:, :, None]) & (at < spans.last[:, :, None])
    documents = inside & spans.document[:, None, :]
    n = spans.chain.shape[1]
    causal_part = torch.ones(n, n, dtype=torch.bool, device=spans.chain.device).tril()
    own = (spans.chain[:, :, None] == spans.chain[:, None, :]) & causal_part
    return torch.cat((documents, own), dim=-1).unsqueeze(1)


def seen_from(spans: Spans, at: Tensor) -> Tensor:
    """bool [B, M, Td + Tq]: the keys that question positions at [B, M] see, as in `dense_mask`."""
    first, last, chain = (part.gather(1, at)[..., None] for part in (spans.first, spans.last, spans.chain))
    k = torch.arange(spans.document.shape[1], device=at.device)
    documents = (k >= first) & (k < last) & spans.document[:, None]
    own = (spans.chain[:, None] == chain) & (torch.arange(spans.chain.shape[1], device=at.device) <= at[..., None])
    return torch.cat((documents, own), dim=-1)


def flex_attention_of() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    def attend(q: Tensor, k: Tensor, v: Tensor, block_mask: Any) -> Tensor:
        return flex_attention(q, k, v, block_mask=block_mask)

    return attend


class FlexMask:
    """The same rule as `dense_mask` as a block mask, whose empty blocks cost nothing.

    The mask function and the tensors it reads live as long as this object: a new closure a step would be compiled anew.
    """

    def __init__(self, spans: Spans) -> None:
        self._n_documents, self._n_questions = spans.document.shape[1], spans.chain.shape[1]
        n_documents = self._n_documents
        document = F.pad(spans.document.int(), (0, self._n_questions))
        key_chain = F.pad(spans.chain, (n_documents, 0), value=-1)
        first, last, chain = spans.first.clone(), spans.last.clone(), spans.chain.clone()
        self._document, self._key_chain = document, key_chain
        self._first, self._last, self._chain = first, last, chain

        def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            inside = (document[b, k] > 0) & (k >= first[b, q]) & (k < last[b, q])
            own = (chain[b, q] == key_chain[b, k]) & (k - n_documents <= q)
            return inside | own

        self._sees = sees

    def of(self, spans: Spans) -> Any:
        """The block mask of one batch, of the shape this object was made for."""
        from torch.nn.attention.flex_attention import BlockMask

        self._document[:, : self._n_documents].copy_(spans.document)
        self._key_chain[:, self._n_documents :].copy_(spans.chain)
        self._first.copy_(spans.first)
        self._last.copy_(spans.last)
        self._chain.copy_(spans.chain)
        some, full = _blocks(spans)
        # torch's own `create_block_mask` sorts blocks in a compiled kernel that takes minutes to build for long rows.
        return BlockMask.from_kv_blocks(
            *_ordered(some & ~full),
            *_ordered(full),
            BLOCK_SIZE=BLOCK,
            mask_mod=self._sees,
            seq_lengths=(self._n_questions, self._n_documents + self._n_questions),
        )


def _blocks(spans: Spans) -> tuple[Tensor, Tensor]:
    """Which blocks of BLOCK x BLOCK have a pair that is seen, and which have nothing else: bool [B, 1, Tq / BLOCK, T / BLOCK].

    A question sees documents' tokens of one run, and the positions from its chain's first to itself: keys are counted, not
    looked at one by one.
    """
    batch, n_documents = spans.document.shape
    n_questions, device = spans.chain.shape[1], spans.chain.device
    at = torch.arange(n_questions, device=device)
    begins = F.pad(spans.chain[:, 1:] != spans.chain[:, :-1], (1, 0), value=True)
    chain_first = torch.where(begins, at, 0).cummax(dim=1).values
    total = n_documents + n_questions
    edges = torch.arange(-(-total // BLOCK) + 1, device=device) * BLOCK
    known = F.pad(spans.document.long().cumsum(dim=1), (1, 0))

    def before(bounds: Tensor) -> Tensor:
        """Documents' tokens before positions [B, Tq, blocks + 1]."""
        return known.gather(1, bounds.clamp(max=n_documents).flatten(1)).view(bounds.shape)

    inside = before(
        edges.clamp(max=n_documents).clamp(spans.first.unsqueeze(-1).long(), spans.last.unsqueeze(-1).long())
    )
    own = edges.clamp((n_documents + chain_first).unsqueeze(-1), (n_documents + at + 1).unsqueeze(-1))
    seen = F.pad(inside.diff(dim=-1) + own.diff(dim=-1), (0, 0, 0, -n_questions % BLOCK))
    seen = seen.view(batch, 1, -1, BLOCK, seen.shape[-1]).sum(dim=3)
    return seen > 0, seen == BLOCK * BLOCK


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """int32 (number of True a row, places with those of True first) of bool [B, 1, rows, blocks]."""
    order = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(dim=-1).int(), order.int()
