"""E7: the loss on held-out text behind more and more of what stands before it: does more context keep helping?

In the shipped form: the context is the documents before the target, each a chain of its own in the memory, and the target
is a chain of its own that attends over them. Every context length sees the same targets, so the lengths compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from gfqa.answer import prompt
from gfqa.errors import UsageError
from gfqa.evaluation.answerer import Chain, Document, memory_of, prefill_all
from gfqa.evaluation.squad import all_paragraphs
from gfqa.reader import Reader
from gfqa.training.questions.code import read_repository

TARGET_TOKENS = 256
SHORTEST = 64
"""A document of fewer tokens is context only."""
SPREAD = 16_384
"""Tokens behind the longest context, and as many again as it has, among which the targets are."""


def by_context(
    reader: Reader, lengths: Sequence[int] = (1_024, 4_096, 16_384), targets: int = 8, repositories: Sequence[Path] = ()
) -> dict[str, Any]:
    """Mean loss of `targets` documents (their first TARGET_TOKENS tokens) behind each context length in tokens.

    The text is the files of `repositories` in path order, or SQuAD's development paragraphs in theirs. Figures: loss_N in
    nats a token and bits_per_byte_N for N tokens of context (0: none), loss_unrelated_N for the shortest length with the
    end of the text as context instead (less where less is behind the targets), curve and n. UsageError where the text is
    shorter than the longest context.
    """
    documents = _stream(repositories)
    encoded = [prompt.document_ids(reader.tokenizer, document.path, document.text) for document in documents]
    longest = max(lengths)
    before = [0, *accumulate(len(ids) for ids, _ in encoded)]
    # Spread over as much text again as the longest context: more would have to be read first.
    usable = [
        i for i, (ids, _) in enumerate(encoded) if len(ids) >= SHORTEST and longest <= before[i] <= 2 * longest + SPREAD
    ]
    if not usable:
        have = before[-1]
        raise UsageError(
            f"The text has {have:,} tokens, too few for a context of {longest:,}.",
            hint="Give smaller --lengths, or more text with --repo.",
        )
    chosen = usable[:: max(1, len(usable) // targets)][:targets]
    chains = prefill_all(reader, documents[: max(chosen)])
    read = {number: encoded[number][0][:TARGET_TOKENS] for number in chosen}
    tokens = sum(len(ids) - 1 for ids in read.values())
    size = sum(len(reader.tokenizer.piece_bytes(id)) for ids in read.values() for id in ids[1:])
    losses = {
        length: sum(_loss(reader, _context(chains[:number], length), ids) for number, ids in read.items()) / tokens
        for length in (0, *sorted(set(lengths)))
    }
    # The control: as many keys to look at, of the other end of the text, which has little to do with the targets.
    behind = slice(max(chosen) + 1, None)
    elsewhere = _context(prefill_all(reader, _end(documents[behind], encoded[behind], min(lengths))), min(lengths))
    unrelated = sum(_loss(reader, elsewhere, ids) for ids in read.values()) / tokens
    return {
        **{f"loss_{length}": loss for length, loss in losses.items()},
        **{f"bits_per_byte_{length}": loss * tokens / math.log(2) / size for length, loss in losses.items()},
        f"loss_unrelated_{min(lengths)}": unrelated,
        "curve": {str(length): loss for length, loss in losses.items()},
        "target_tokens": tokens,
        "n": len(chosen),
    }


def _stream(repositories: Sequence[Path]) -> list[Document]:
    if not repositories:
        return all_paragraphs()
    documents = []
    for root in repositories:
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder.", hint="Give the root of a repository.")
        documents += [Document(f"{root.name}/{f.path}", f.text) for f in read_repository(root, files=10_000)]
    return documents


def _end(documents: Sequence[Document], encoded: Sequence[tuple[list[int], int]], length: int) -> list[Document]:
    """The last documents that have `length` tokens together."""
    count, total = 0, 0
    while total < length and count < len(documents):
        count += 1
        total += len(encoded[-count][0])
    return list(documents[len(documents) - count :])


def _context(chains: Sequence[Chain], length: int) -> list[Chain]:
    """The last `length` tokens before a target: whole chains, and the end of the one before them."""
    chosen: list[Chain] = []
    room = length
    for chain in reversed(chains):
        if room <= 0:
            break
        chosen.append(chain if len(chain.ids) <= room else Chain(chain.entry, chain.ids[-room:], chain.keys[-room:]))
        room -= len(chosen[-1].ids)
    return chosen[::-1]


@torch.inference_mode()
def _loss(reader: Reader, context: Sequence[Chain], ids: Sequence[int]) -> float:
    """Sum of -log p of every id after the first, nats."""
    row = torch.tensor([list(ids)], device=reader.device)
    if context:
        logits, _ = reader.model.decode(row[:, :-1], None, memory_of(reader, context).cache)
    else:
        logits, _ = reader.model(row[:, :-1])
    return float(torch.nn.functional.cross_entropy(logits[0].float(), row[0, 1:], reduction="sum"))
