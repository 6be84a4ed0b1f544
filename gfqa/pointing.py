"""The second look of a model with a pointer: the best passages read with the question at once, and the likeliest span of them.

The answer stands in the document word for word, so where it stands is known, and nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from gfqa.answer import prompt
from gfqa.answer.citations import Span
from gfqa.answer.confidence import FOUND, HOPE, confidence
from gfqa.answer.generate import Generated
from gfqa.memory import Memory
from gfqa.model.pointer import Pointed, point
from gfqa.passages import Ranking
from gfqa.reread import Second, passage, window

PASSAGES = 5
"""At most so many passages are read again, together."""
PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("‘", "’"), ("«", "»"))


def point_out(
    memory: Memory, question: str, first: float, ranking: Ranking, *, max_tokens: int, on_text: Callable[[str], None]
) -> Second:
    """The likeliest span of the best passages, if it is likely enough. first: the first look's score.

    Passages that share too little with the question are not read at all.
    """
    likely = partial(confidence, first)
    covered = ranking.evidence.coverage
    numbers = [n for n in ranking.order[:PASSAGES].tolist() if likely(HOPE, float(covered[n])) >= FOUND]
    if not numbers:
        best = max((likely(HOPE, float(covered[n])) for n in ranking.order[:PASSAGES].tolist()), default=0.0)
        return Second(None, None, best, 0)
    spans = [ranking.span(memory, number) for number in numbers]
    asked = prompt.asking_ids(memory.reader.tokenizer, question)
    chains = [[*asked, *passage(memory, span)] for span in spans]
    found = _pointed(memory, len(asked), chains)
    scores = [
        likely(float(again), float(covered[number]))
        for number, again in zip(numbers, found.answerable.sigmoid().tolist(), strict=True)
    ]
    read = sum(map(len, chains))
    for row in sorted(range(len(numbers)), key=lambda row: -scores[row]):
        text, ids = _said(memory, chains[row], int(found.first[row]), int(found.last[row]), max_tokens)
        if scores[row] >= FOUND and any(map(str.isalnum, text)):
            on_text(text)
            generated = Generated(text, ids, True, scores[row], None)
            at = _place(memory, spans[row], int(found.first[row]) - len(asked), len(ids))
            return Second(generated, numbers[row], scores[row], read, at)
    return Second(None, None, max(scores), read)


def _pointed(memory: Memory, asked: int, chains: list[list[int]]) -> Pointed:
    """What the pointer says of chains that begin with `asked` tokens of a question, read in one padded batch; on the CPU."""
    device = memory.reader.device
    ids = torch.zeros(len(chains), max(map(len, chains)), dtype=torch.long)
    for row, chain in enumerate(chains):
        ids[row, : len(chain)] = torch.tensor(chain)
    lengths = torch.tensor([len(chain) for chain in chains], device=device)
    with torch.inference_mode():
        found = point(memory.reader.model, ids.to(device), torch.full_like(lengths, asked), lengths)
    return Pointed(*(part.cpu() for part in (found.first, found.last, found.log_p, found.answerable)))


def _said(memory: Memory, chain: list[int], first: int, last: int, max_tokens: int) -> tuple[str, tuple[int, ...]]:
    """The text of a span and its ids, at most `max_tokens` of them."""
    ids = tuple(chain[first : min(last + 1, first + max_tokens)])
    return trimmed(b"".join(map(memory.reader.tokenizer.piece_bytes, ids)).decode("utf-8", "ignore")), ids


def trimmed(text: str) -> str:
    """An answer without what its tokens drag in at its ends: white space, commas, brackets and quotes of which the other
    one is missing.
    """
    while True:
        before, text = text, text.strip().rstrip(",;:")
        for opening, closing in PAIRS:
            if text.startswith(opening) and (closing not in text[1:]):
                text = text[1:]
            if text.endswith(closing) and (opening not in text[:-1]):
                text = text[:-1]
        if text == before:
            return text


def _place(memory: Memory, span: Span, first: int, n: int) -> Span | None:
    """`n` tokens from token `first` of a passage's chain on, as a span of its document; None where they are of its header."""
    header, (low, _) = memory.origins[span.chain].entry.header_tokens, window(memory, span)
    return Span(span.chain, low + first - header, low + first - header + n, 1.0) if first >= header else None
