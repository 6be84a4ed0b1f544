"""The pointer: where in a passage a question is answered, as the first and the last token of a span.

The second look reads `<q> question`, then a passage, as one chain, and answers verbatim. The Finch layers read it from left to
right, the question first; the GOLD layers then run at every position and see all of the chain, what comes later too. Their keys
and values are those of the cache plus a projection of what the Finch layers made of the token: nothing here is cached, so
nothing need be small. Attention has no positions, so part of the heads look near: to both sides, back, or ahead.

Not of the paper. Position 0, `<q>`, stands for "not in this passage" (Devlin et al., 2019, answer SQuAD 2.0 so); a span is
scored by its first token, and by its last given the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gfqa.model.layers import linear, previous_token, rms, split_heads
from gfqa.model.state import empty_state

if TYPE_CHECKING:
    from gfqa.model.language_model import Block, LanguageModel

FAR = 8.0
NEARNESS = ((0.0, 0.0), (0.0, 0.0), (1 / 16, 1 / 16), (1 / 4, FAR), (FAR, 1 / 4), (FAR, 1 / 32), (0.0, 0.0))
"""What a token's distance back and ahead costs in a head, in nats a token; heads take these in turn."""
LONGEST = 64
"""Tokens of a span at most."""


class Pointer(nn.Module):
    """Parameters beside the GOLD layers. C: width of the model, W: `pointer_width`."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.ln_in, self.ln_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.key, self.value = linear(width, width), linear(width, width)
        self.edges = linear(width, 2)
        self.first, self.last = linear(width, inner), linear(width, inner)

    def edge_logits(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Stream [B, T, C] after the GOLD blocks, seen bool [B, T] -> (first token's logits [B, T] float32, h [B, T, C])."""
        h = self.ln_out(x)
        return self._logits(h, 0).masked_fill(~seen, -math.inf), h

    def last_logits(self, h: Tensor, first: Tensor, seen: Tensor) -> Tensor:
        """Logits [B, K, T] float32 of the last token given first tokens [B, K]: not before it, at most LONGEST tokens."""
        at = torch.arange(h.shape[1], device=h.device)
        begins = self.first(h).gather(1, first[..., None].expand(-1, -1, self.first.out_features))
        pairs = torch.einsum("bkw,btw->bkt", begins, self.last(h)).float() * self.first.out_features**-0.5
        after = at - first[..., None]
        allowed = (after >= 0) & (after < LONGEST) & seen[:, None]
        return (pairs + self._logits(h, 1)[:, None]).masked_fill(~allowed, -math.inf)

    def _logits(self, h: Tensor, edge: int) -> Tensor:
        return nn.functional.linear(h, self.edges.weight[edge]).float()


@dataclass
class PointerInputs:
    """What the GOLD layers attend to: o, kappa and those of the token before [B, T, C], and bias [B, H, T, T] on the logits."""

    o: Tensor
    o_previous: Tensor
    kappa: Tensor
    kappa_previous: Tensor
    bias: Tensor


def pointer_inputs(
    pointer: Pointer, x: Tensor, o: Tensor, kappa: Tensor, starts: Tensor | None, bias: Tensor
) -> PointerInputs:
    """x [B, T, C]: the stream after the Finch layers; o, kappa [B, T, C]: what a GOLD layer sees of a cached token."""
    h = pointer.ln_in(x)
    o, kappa = rms(o + pointer.value(h)), rms(kappa + pointer.key(h))
    return PointerInputs(o, previous_token(o, None, starts), kappa, previous_token(kappa, None, starts), bias)


def nearness_bias(asked: Tensor, length: Tensor, size: int, n_head: int, dtype: torch.dtype) -> Tensor:
    """Additive attention bias [B, H, T, T], T = size: -inf at padding, and NEARNESS between tokens of the passage.

    asked, length [B]: tokens of the question at the chain's beginning, and of the whole chain.
    """
    at = torch.arange(size, device=asked.device)
    ahead = (at[None, :] - at[:, None]).float()
    costs = torch.tensor([NEARNESS[head % len(NEARNESS)] for head in range(n_head)], device=asked.device)
    near = -(costs[:, 0, None, None] * (-ahead).clamp(min=0) + costs[:, 1, None, None] * ahead.clamp(min=0))
    told = at < asked[:, None]
    bias = near.to(dtype)[None] * ~(told[:, None, :, None] | told[:, None, None, :])
    return bias.masked_fill((at >= length[:, None])[:, None, None, :], -math.inf)


def pointer_block(block: Block, x: Tensor, starts: Tensor | None, inputs: PointerInputs) -> Tensor:
    """One GOLD block over a chain that sees all of itself: [B, T, C] -> [B, T, C]."""
    att: Any = block.att
    heads = att.n_head
    q = split_heads(att.queries(block.ln1(x), None, starts), heads)
    k = split_heads(att.keys(inputs.o, inputs.o_previous, inputs.kappa, inputs.kappa_previous), heads)
    v = split_heads(att.values(inputs.o, inputs.o_previous), heads)
    seen = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=inputs.bias)
    x = x + att.output(att.ln_x(seen.transpose(1, 2).flatten(-2)))
    y: Tensor = x + block.ffn(block.ln2(x), None, starts)[0]
    return y


@dataclass(frozen=True)
class Pointed:
    """The likeliest span of each of B chains: first, last [B] (token numbers, inclusive), and log p [B] of the span given that
    there is one; answerable [B]: log odds that the passage answers at all, float32.
    """

    first: Tensor
    last: Tensor
    log_p: Tensor
    answerable: Tensor


def passage_tokens(asked: Tensor, length: Tensor, size: int) -> Tensor:
    """bool [B, T]: where a span may begin or end, position 0 for none included."""
    at = torch.arange(size, device=asked.device)
    return ((at >= asked[:, None]) & (at < length[:, None])) | (at == 0)


def point(
    model: LanguageModel, ids: Tensor, asked: Tensor, length: Tensor, tries: int = 8, *, begins: Tensor | None = None
) -> Pointed:
    """Answer chains `<q> question passage`, padded on the right, verbatim. Exact over the `tries` likeliest first tokens.

    ids [B, T] of any integer type; asked, length [B]: tokens of the question and of the whole chain; begins [B]: the first
    token that may be answered with, that after the question if not given. Needs a model with `pointer_width`.
    """
    pointer, seen = model.pointer, passage_tokens(asked if begins is None else begins, length, ids.shape[1])
    e = model.embed(ids.long())
    x, _ = model.lower_half(e, empty_state(model.config.n_layer))
    kappa = model.decompress(e, model.w_kv_cache_a(x))
    bias = nearness_bias(asked, length, ids.shape[1], model.config.n_head, x.dtype)
    inputs = pointer_inputs(pointer, x, rms(e), kappa, None, bias)
    for block in model.blocks[model.config.split_layer :]:
        x = pointer_block(block, x, None, inputs)  # type: ignore[arg-type]
    logits, h = pointer.edge_logits(x, seen)
    return likeliest(pointer, logits, h, seen, tries)


def likeliest(pointer: Pointer, logits: Tensor, h: Tensor, seen: Tensor, tries: int) -> Pointed:
    """The span of highest probability among the `tries` likeliest first tokens; arguments as `edge_logits` gives them."""
    # A passage of no tokens has nothing but position 0 to point at.
    spans = logits.index_fill(1, torch.zeros(1, dtype=torch.long, device=logits.device), -math.inf)
    log_any = spans.logsumexp(dim=1)
    best, first = (spans - log_any[:, None]).topk(min(tries, logits.shape[1]), dim=1)
    last_log_p, last = pointer.last_logits(h, first, seen).log_softmax(dim=2).max(dim=2)
    log_p, which = (best + last_log_p).nan_to_num(-math.inf).max(dim=1)
    at = which[:, None]
    return Pointed(first.gather(1, at)[:, 0], last.gather(1, at)[:, 0], log_p, log_any - logits[:, 0])
