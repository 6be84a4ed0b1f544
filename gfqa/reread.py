"""Reading twice: the best passages for the question, read again between two copies of it.

The documents were read before anybody knew the question. A passage of a few hundred tokens is cheap to read again knowing
it, which a model is trained for where its configuration gives `reread_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gfqa.answer import prompt
from gfqa.answer.citations import Span
from gfqa.answer.confidence import HOPE
from gfqa.answer.generate import Generated, generate
from gfqa.answer.repetition import is_degenerate
from gfqa.answer.sampling import GREEDY, Sampling
from gfqa.memory import Memory
from gfqa.model import KeyCache, ModelState
from gfqa.model.stepping import answer_steps
from gfqa.passages import Ranking

PASSAGES = 3
"""At most so many passages; the first whose answer is sure is taken, else the likeliest."""
SURROUNDINGS = 4096
"""Cached tokens of the passage's own document that the second look attends over: its cost must not grow with the cache."""


@dataclass(frozen=True)
class Second:
    """The second look.

    generated: the answer, None where no passage gave one; passage: the number of the one that did; score: how likely it is
    that this passage (or the best one, if none did) answers the question; tokens: read for it; span: where the answer stands,
    if that is known.
    """

    generated: Generated | None
    passage: int | None
    score: float
    tokens: int
    span: Span | None = None


def can_reread(memory: Memory) -> bool:
    """Whether the model was trained for it; a chained corpus goes on from its own state, where a passage has no place."""
    return memory.reader.config.reread_tokens > 0 and memory.state is None


def read_again(
    memory: Memory,
    question: str,
    first: float,
    ranking: Ranking,
    *,
    max_tokens: int,
    on_text: Callable[[str], None],
    sampling: Sampling = GREEDY,
) -> Second:
    """Read the best passages, best first, until one gives a sure answer; where none does, the likeliest that may be given.

    first: the first look's score. Passages that share too little with the question are not read at all.
    """
    tokenizer, score_of, read, best = memory.reader.tokenizer, memory.reader.score, 0, 0.0
    likeliest: Second | None = None
    for number in ranking.order[:PASSAGES].tolist():
        likely = partial(score_of.of, first, coverage=float(ranking.evidence.coverage[number]))
        if likely(HOPE) < score_of.found:
            best = max(best, likely(HOPE))
            continue
        span = ranking.span(memory, number)
        ids = prompt.reread_ids(tokenizer, question, passage(memory, span), memory.reader.config.reread_copies)
        read += len(ids)
        near = _surroundings(memory, span)
        # Nothing is told before the end: an answer that goes round in circles is seen only then.
        again = generate(
            partial(_decode, memory, near),
            tokenizer,
            ids,
            device=memory.reader.device,
            max_tokens=max_tokens,
            sampling=sampling,
            accept=lambda again, likely=likely: likely(again) >= score_of.found,  # type: ignore[misc]
            begin=partial(answer_steps, memory.reader.model, near),
        )
        score = likely(again.score)
        if again.found and _says_something(again.text) and not is_degenerate(again.text, _text(memory, span)):
            if likeliest is None or score > likeliest.score:
                likeliest = Second(again, number, score, read)
            if score >= score_of.sure:
                break
        best = max(best, score)
    if likeliest is None or likeliest.generated is None:
        return Second(None, None, best, read)
    on_text(likeliest.generated.text)
    return replace(likeliest, tokens=read)


def _says_something(text: str) -> bool:
    """Whether there is a letter or a digit: an answer of punctuation is none."""
    return any(character.isalnum() for character in text)


def passage(memory: Memory, span: Span) -> list[int]:
    """Ids of the document's header and of its window around the span."""
    begin, (low, high) = memory.starts[span.chain], window(memory, span)
    header = memory.ids[begin : begin + memory.origins[span.chain].entry.header_tokens]
    return [*header.tolist(), *memory.ids[begin + low : begin + high].tolist()]


def _text(memory: Memory, span: Span) -> str:
    """What a passage's chain says, its path included."""
    return memory.reader.tokenizer.decode_bytes(passage(memory, span)).decode("utf-8", "replace")


def window(memory: Memory, span: Span) -> tuple[int, int]:
    """About `reread_tokens` tokens of the document around the span, from a line's start if one is near: the first, the end."""
    entry, begin = memory.origins[span.chain].entry, memory.starts[span.chain]
    ids = np.asarray(memory.ids[begin : begin + entry.n_tokens])
    header, width = entry.header_tokens, memory.reader.config.reread_tokens
    middle = (span.start + span.end) // 2
    high = min(len(ids), max(header, middle - width // 2) + width)
    low = max(header, high - width)
    if low > header:
        piece = memory.reader.tokenizer.piece_bytes
        lines = (at + 1 for at in range(low, min(low + width // 6, span.start)) if b"\n" in piece(int(ids[at])))
        low = next(lines, low)
    return low, high


def _surroundings(memory: Memory, span: Span) -> KeyCache:
    """The surroundings of the span in its own document, as a memory."""
    begin = memory.starts[span.chain]
    low = begin + max(0, (span.start + span.end - SURROUNDINGS) // 2)
    high = min(begin + memory.origins[span.chain].entry.n_tokens, low + SURROUNDINGS)
    cache = memory.cache
    return KeyCache(
        cache.ids[low:high], cache.keys[low:high], torch.zeros(1, dtype=torch.long, device=cache.ids.device)
    )


def _decode(
    memory: Memory, near: KeyCache, ids: Tensor, state: ModelState | None, attention: list[Tensor]
) -> tuple[Tensor, ModelState]:
    """One pass of a question chain over the surroundings."""
    return memory.reader.model.decode(ids, state, near, attention=attention, last_only=True)
