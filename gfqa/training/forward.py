"""The model over packed rows: many chains a row, GOLD layers and the head only where there is a loss.

A row is `T` positions; a chain begins wherever `starts` is True, always at a multiple of the WKV chunk. Language-modelling
rows let every position attend to all before it, so that earlier chains are the memory of later ones. Question rows hold
documents first and question chains behind them; `spans` says which run of document positions a question sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gfqa.kernels.wkv6 import register_operators
from gfqa.model.gold import Attend, GoldInputs
from gfqa.model.key_cache import rounded
from gfqa.model.language_model import Block, LanguageModel, query_scale
from gfqa.model.layers import previous_token, rms
from gfqa.model.pointer import PointerInputs, likeliest, nearness_bias, passage_tokens, pointer_block, pointer_inputs
from gfqa.model.state import BlockState
from gfqa.training.spans import FlexMask, Spans, dense_mask, document_mass, flex_attention_of, seen_from


@dataclass
class Marked:
    """Where passages answer their questions, N chains of T tokens (`training.passage_rows`).

    asked, tokens, first, last [N]: tokens of the question and of the chain, first and last token of the answer, 0 for none;
    firsts bool [N, T]: every token at which it may begin; question [N]: the same number where one is asked of several passages.
    """

    asked: Tensor
    tokens: Tensor
    first: Tensor
    last: Tensor
    firsts: Tensor
    question: Tensor


@dataclass
class Chosen:
    """How the right passage fared among those that its question was asked of: the sum of -log p, how many questions were
    asked of several passages, and of how many the right one was the likeliest.
    """

    loss: Tensor
    count: Tensor
    hits: Tensor


def chosen(logits: Tensor, marked: Marked) -> Chosen:
    """logits [N, T] of an answer's first token. The log odds that passages answer (`model.pointer.Pointed.answerable`) compete
    for the question that they were asked: a passage that is normalised on its own never learns how sure to be beside others
    (Clark and Gardner, 2018, let the paragraphs of a question share one softmax).
    """
    odds = logits[:, 1:].logsumexp(dim=1) - logits[:, 0]
    right, same = marked.last > 0, marked.question[:, None] == marked.question[None, :]
    rivals = same & ~right
    compared = right & rivals.any(dim=1)
    of_rivals = odds[None].expand_as(same).masked_fill(~rivals, -torch.inf)
    # Where there are no rivals nothing is lost, and no gradient is made of infinities.
    highest = torch.where(compared, of_rivals.logsumexp(dim=1), odds.detach() - 100)
    losses = F.softplus(highest - odds)
    return Chosen((losses * compared).sum(), compared.sum(), (compared & (of_rivals.amax(dim=1) < odds)).sum())


def dropped(x: Tensor, share: Tensor) -> Tensor:
    """Dropout with its share in a tensor: another share, none for a measurement, is not compiled anew."""
    return x * (torch.rand_like(x, dtype=torch.float32) >= share).to(x.dtype) / (1 - share).to(x.dtype)


def finch_block(block: Block, x: Tensor, starts: Tensor, drop: Tensor | None = None) -> Tensor:
    """One Finch block over packed rows, [B, T, C] -> [B, T, C]; what it adds to x is dropped out by the share `drop`."""
    y = block(x, BlockState(), starts)[0]
    return y if drop is None else x + dropped(y - x, drop)


def gold_block(block: Block, x: Tensor, starts: Tensor, inputs: GoldInputs, attend: Attend) -> Tensor:
    """One GOLD block over the last Tq positions of packed rows, [B, Tq, C] -> [B, Tq, C]."""
    x = x + block.att.train_forward(block.ln1(x), starts, inputs, attend)  # type: ignore[operator]
    y: Tensor = x + block.ffn(block.ln2(x), None, starts)[0]
    return y


def pointing_block(
    block: Block, x: Tensor, starts: Tensor, inputs: PointerInputs, drop: Tensor | None = None
) -> Tensor:
    """One GOLD block over chains that see all of themselves, [N, T, C] -> [N, T, C]; `drop` as in a Finch block."""
    y = pointer_block(block, x, starts, inputs)
    return y if drop is None else x + dropped(y - x, drop)


def cross_entropy(model: LanguageModel, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of -log p of targets >= 0 and whether each was the most likely; x [n, C], targets [n] (-1: none)."""
    logits = model.logits(x)
    losses = F.cross_entropy(logits, targets, ignore_index=-1, reduction="sum")
    return losses, (logits.argmax(dim=-1) == targets).detach()


class Forward:
    """The packed forward pass of one model, compiled piece by piece where asked.

    dropout: share of what each block adds, and of the embeddings that enter the first, that is left out of passage rows:
    the others are far from learnt by heart. `measuring` is the same pass without it.
    """

    def __init__(self, model: LanguageModel, *, compiled: bool, flex: bool, dropout: float = 0.0) -> None:
        self.model, self.config = model, model.config
        device = model.emb.weight.device
        self._drop = torch.tensor(dropout, device=device) if dropout else None
        self._no_drop = torch.tensor(0.0, device=device)
        self.flex = flex
        if compiled:
            register_operators()
        wrap: Callable[[Any], Any] = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self._finch, self._gold, self._loss = wrap(finch_block), wrap(gold_block), wrap(cross_entropy)
        self._pointing, self._mass = wrap(pointing_block), wrap(document_mass)
        self._flex_attention = wrap(flex_attention_of()) if flex else None
        self._flex_mask: FlexMask | None = None

    def language(self, ids: Tensor, starts: Tensor, targets: Tensor, round_keys: bool) -> tuple[Tensor, Tensor, Tensor]:
        """ids, targets [B, T], starts bool [B, T] -> (summed loss, hits [B*T], decompressed keys [B, T, C])."""
        x, e, compressed = self._lower(ids, starts, round_keys, None)
        visible = torch.arange(1, ids.shape[1] + 1, device=ids.device).expand(ids.shape)
        inputs = self._inputs(e, compressed, starts, visible)
        for block in self._gold_blocks():
            x = self._gold(block, x, starts, inputs, causal)
        return *self._loss(self.model, x.flatten(0, 1), targets.flatten()), inputs.kappa

    def questions(
        self,
        ids: Tensor,
        starts: Tensor,
        targets: Tensor,
        spans: Spans,
        round_keys: bool,
        looks: tuple[Tensor, list[Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """ids, starts [B, Td + Tq], targets [B, Tq] -> (summed loss, hits [B*Tq], decompressed keys [B, Td + Tq, C]).

        looks: positions [B, M] among the Tq, and a list that gets each GOLD layer's `document_mass` from there.
        """
        x, kappa = self._questions(ids, starts, targets.shape[1], spans, round_keys, looks)
        return *self._loss(self.model, x.flatten(0, 1), targets.flatten()), kappa

    def each(
        self,
        ids: Tensor,
        starts: Tensor,
        targets: Tensor,
        spans: Spans,
        round_keys: bool,
        looks: tuple[Tensor, list[Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `questions`, but -log p of every target [B, Tq] and whether another token was likelier; 0, False without one."""
        x, _ = self._questions(ids, starts, targets.shape[1], spans, round_keys, looks)
        losses, wrong = torch.zeros(targets.shape, device=x.device), torch.zeros_like(targets, dtype=torch.bool)
        counted = targets >= 0
        for chosen in counted.nonzero().split(4096):
            at = tuple(chosen.T)
            logits = self.model.logits(x.detach()[at]).detach().float()
            losses[at] = F.cross_entropy(logits, targets[at], reduction="none")
            wrong[at] = logits.argmax(dim=-1) != targets[at]
        return losses, wrong

    def passages(self, ids: Tensor, marked: Marked) -> tuple[Tensor, Tensor, Chosen]:
        """ids [N, T] -> (summed loss of N chains, hits [N]: the likeliest of span and none is what was marked, the choice).

        The loss of a chain is -log p of a first token among those marked, and of the last token given the marked first.
        """
        logits, h, seen = self._edges(ids, marked)
        first = logits.log_softmax(dim=1)
        lost = -first.masked_fill(~marked.firsts, -torch.inf).logsumexp(dim=1)
        last = self.model.pointer.last_logits(h, marked.first[:, None], seen)[:, 0].log_softmax(dim=1)
        some = marked.last > 0
        lost = lost - torch.where(some, last.gather(1, marked.last[:, None])[:, 0], 0.0)
        with torch.no_grad():
            best = likeliest(self.model.pointer, logits, h, seen, 1)
            # In another place the same words are as long.
            whole = marked.firsts.gather(1, best.first[:, None])[:, 0] & (
                best.last - best.first == marked.last - marked.first
            )
            hits = torch.where(some, whole & (best.answerable > 0), best.answerable <= 0)
        return lost.sum(), hits, chosen(logits, marked)

    def pointed(self, ids: Tensor, marked: Marked) -> tuple[Tensor, Tensor]:
        """Of the likeliest span and the one marked: F1 of their tokens, float32, and whether they are the same, bool [N]."""
        logits, h, seen = self._edges(ids, marked)
        best = likeliest(self.model.pointer, logits.detach(), h.detach(), seen, 8)
        shared = torch.minimum(best.last, marked.last) - torch.maximum(best.first, marked.first) + 1
        sizes = (best.last - best.first) + (marked.last - marked.first) + 2
        return 2 * shared.clamp(min=0) / sizes, (best.first == marked.first) & (best.last == marked.last)

    def _edges(self, ids: Tensor, marked: Marked) -> tuple[Tensor, Tensor, Tensor]:
        """(logits [N, T] of an answer's first token, the pointer's view of every token [N, T, C], where one may be [N, T])."""
        starts = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
        starts[:, 0] = True
        x, e, compressed = self._lower(ids, starts, False, self._drop)
        bias = nearness_bias(marked.asked, marked.tokens, ids.shape[1], self.config.n_head, x.dtype)
        kappa = self.model.decompress(e, compressed)
        inputs = pointer_inputs(self.model.pointer, x, rms(e), kappa, starts, bias)
        for block in self._gold_blocks():
            x = self._pointing(block, x, starts, inputs, self._drop)
        seen = passage_tokens(marked.asked, marked.tokens, ids.shape[1])
        return *self.model.pointer.edge_logits(x, seen), seen

    def _questions(
        self,
        ids: Tensor,
        starts: Tensor,
        n_questions: int,
        spans: Spans,
        round_keys: bool,
        looks: tuple[Tensor, list[Tensor]] | None,
    ) -> tuple[Tensor, Tensor]:
        """(the last block's output at the question positions [B, Tq, C], decompressed keys [B, Td + Tq, C])."""
        x, e, compressed = self._lower(ids, starts, round_keys, None)
        inputs = self._inputs(e, compressed, starts, spans.visible)
        attend = self._question_attention(spans)
        if looks is not None:
            attend = self._looking(attend, spans, *looks)
        x, starts = x[:, -n_questions:].contiguous(), starts[:, -n_questions:].contiguous()
        for block in self._gold_blocks():
            # Not compiled: `attend` holds this batch's mask, and a compiled block would be compiled anew for each.
            x = gold_block(block, x, starts, inputs, attend)
        return x, inputs.kappa

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Inside, nothing is dropped out. Gradients are kept as ever: without them every block would be compiled anew."""
        before, self._drop = self._drop, None if self._drop is None else self._no_drop
        try:
            yield
        finally:
            self._drop = before

    def _lower(
        self, ids: Tensor, starts: Tensor, round_keys: bool, drop: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        e = x = self.model.embed(ids)
        if drop is not None:
            x = dropped(x, drop)
        for layer in range(self.config.split_layer):
            x = self._finch(self.model.blocks[layer], x, starts, drop)
        compressed = self.model.w_kv_cache_a(x)
        if round_keys:
            # Straight through: the forward pass sees the stored form, the gradient passes as if it were not rounded.
            stored = rounded(compressed.detach(), self.config.key_dtype).to(compressed.dtype)
            compressed = compressed + (stored - compressed.detach())
        return x, e, compressed

    def _inputs(self, e: Tensor, compressed: Tensor, starts: Tensor, visible: Tensor) -> GoldInputs:
        o, kappa = rms(e), self.model.decompress(e, compressed)
        scale = None if self.config.length_scale is None else query_scale(visible, self.config.length_scale)
        return GoldInputs(o, previous_token(o, None, starts), kappa, previous_token(kappa, None, starts), scale)

    def _gold_blocks(self) -> list[Block]:
        return [self.model.blocks[i] for i in range(self.config.split_layer, self.config.n_layer)]  # type: ignore[misc]

    def _looking(self, attend: Attend, spans: Spans, at: Tensor, mass: list[Tensor]) -> Attend:
        """The same attention, of which the mass on the documents from positions `at` is kept."""
        sees = seen_from(spans, at)

        def looking(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            mass.append(self._mass(q, k, at, sees, spans.document.shape[1]))
            return attend(q, k, v)

        return looking

    def _question_attention(self, spans: Spans) -> Attend:
        if self._flex_attention is None:
            mask = dense_mask(spans)
            return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        if self._flex_mask is None:
            self._flex_mask = FlexMask(spans)
        block_mask = self._flex_mask.of(spans)
        flex = self._flex_attention
        return lambda q, k, v: flex(q, k, v, block_mask)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every position sees all before it in its row."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)
