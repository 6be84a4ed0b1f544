"""Asking in bulk: documents become a memory in RAM, questions become answers with the places they came from.

The evaluation sees only the protocol `Answerer`. `AskAnswerer` goes through `gfqa.ask`, one question at a time, and is what
published numbers are made with; `BatchAnswerer` decodes questions of equal length together, for the same answers sooner.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gfqa.answer import prompt
from gfqa.answer.citations import locate
from gfqa.answer.generate import pool_attention
from gfqa.ask import ask
from gfqa.cachestore import DocumentEntry
from gfqa.errors import ModelError
from gfqa.memory import Memory, Origin
from gfqa.model import KeyCache
from gfqa.model.key_cache import rounded
from gfqa.passages import cite, find, look, rank
from gfqa.prefill import TOKENS_AT_ONCE, id_array
from gfqa.reader import Reader

MASS_NUMBERS = 1 << 28
"""At most this many attention masses [B, H, S] are held for one GOLD layer."""


@dataclass(frozen=True)
class Document:
    """A document by its path and text; page_starts: the character offsets of the pages of a PDF."""

    path: str
    text: str
    page_starts: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Cited:
    """A cited place: path and 1-based lines, or (of a PDF) the 1-based page."""

    path: str
    start_line: int | None
    end_line: int | None
    page: int | None = None


@dataclass(frozen=True)
class Answered:
    """What came back for one question; text is "" when not found, score 0..1, citations best first."""

    text: str
    score: float
    citations: tuple[Cited, ...] = ()


def told(text: str, right: float, citations: Sequence[Cited], accepted: Sequence[str]) -> list[str]:
    """What was said to a question: the answer, a verdict, the first citation ("" for none), the first accepted answer."""
    place = ""
    if citations:
        first = citations[0]
        place = f"{first.path}:{first.start_line}" if first.page is None else f"{first.path} p. {first.page}"
    return [text, "silent" if not text else "right" if right else "wrong", place, accepted[0]]


class Answerer(Protocol):
    """Reads documents once and answers many questions about them."""

    def read(self, documents: Sequence[Document]) -> Any:
        """A memory of the documents, to be passed to `answer`."""

    def answer(self, memory: Any, questions: Sequence[str]) -> list[Answered]:
        """One answer a question, in order."""

    def find(self, memory: Any, question: str, count: int) -> list[Cited]:
        """The `count` best passages for a question, by its words."""

    def attended(self, memory: Any, question: str, count: int) -> list[str]:
        """Paths of the `count` best documents for a question, by attention alone."""

    def tokens(self, text: str) -> int:
        """How many tokens a text has."""


class AskAnswerer:
    """Answers exactly as `gfqa ask` does."""

    def __init__(self, reader: Reader, *, citations: int = 3, max_tokens: int = 48, reread: bool = True) -> None:
        if reader.config.layout != "independent":
            raise ModelError(f"The evaluation needs the independent layout; {reader.name} is {reader.config.layout}.")
        self.reader, self.citations, self.max_tokens, self.reread = reader, citations, max_tokens, reread

    def tokens(self, text: str) -> int:
        return len(self.reader.tokenizer.encode(text))

    @torch.inference_mode()
    def read(self, documents: Sequence[Document]) -> Memory:
        """The documents in padded batches of similar length, keys rounded as the store would."""
        return memory_of(self.reader, prefill_all(self.reader, documents))

    def answer(self, memory: Memory, questions: Sequence[str]) -> list[Answered]:
        found = []
        for question in questions:
            answer = ask(memory, question, citations=self.citations, max_tokens=self.max_tokens, reread=self.reread)
            cited = tuple(Cited(c.path, c.start_line, c.end_line, c.page) for c in answer.citations)
            found.append(Answered(answer.text, answer.score, cited))
        return found

    def find(self, memory: Memory, question: str, count: int) -> list[Cited]:
        return [Cited(p.path, p.start_line, p.end_line, p.page) for p in find(memory, question, count)]

    def attended(self, memory: Memory, question: str, count: int) -> list[str]:
        """The documents of the passages that GOLD attention finds without the question's words, best first."""
        ranking = rank(memory, question, look(memory, question))
        chains = ranking.index.windows.document[np.argsort(-ranking.attention, kind="stable")]
        paths = dict.fromkeys(memory.origins[chain].entry.path for chain in dict.fromkeys(chains.tolist()))
        return list(paths)[:count]


@dataclass(frozen=True)
class Chain:
    """One document read: ids [T], keys [T, key_width] float32 as the store would give them back."""

    entry: DocumentEntry
    ids: Tensor
    keys: Tensor


@torch.inference_mode()
def prefill(reader: Reader, document: Document) -> Chain:
    """Read one document, in slices if it is long."""
    tokens, header = prompt.document_ids(reader.tokenizer, document.path, document.text)
    ids = torch.tensor(tokens, device=reader.device)
    state, parts = None, []
    size = TOKENS_AT_ONCE[reader.device.partition(":")[0]]
    for start in range(0, len(ids), size):
        keys, state = reader.model.prefill(ids[None, start : start + size], state)
        parts.append(keys[0])
    return Chain(_entry(document, len(tokens), header), ids, rounded(torch.cat(parts), reader.config.key_dtype))


@torch.inference_mode()
def prefill_all(reader: Reader, documents: Sequence[Document]) -> list[Chain]:
    """Read documents in padded batches of similar length; the same chains as `prefill`, in the order given."""
    room = TOKENS_AT_ONCE[reader.device.partition(":")[0]]
    encoded = [prompt.document_ids(reader.tokenizer, document.path, document.text) for document in documents]
    order = sorted(range(len(documents)), key=lambda i: len(encoded[i][0]))
    chains: dict[int, Chain] = {}
    while order:
        batch = [order.pop()]
        longest = len(encoded[batch[0]][0])
        if longest > room:
            chains[batch[0]] = prefill(reader, documents[batch[0]])
            continue
        while order and (len(batch) + 1) * longest <= room:
            batch.append(order.pop())
        padded = torch.zeros(len(batch), longest, dtype=torch.long)
        for row, i in enumerate(batch):
            padded[row, : len(encoded[i][0])] = torch.tensor(encoded[i][0])
        keys, _ = reader.model.prefill(padded.to(reader.device))
        for row, i in enumerate(batch):
            tokens, header = encoded[i]
            kept = rounded(keys[row, : len(tokens)], reader.config.key_dtype)
            ids = torch.tensor(tokens, device=reader.device)
            chains[i] = Chain(_entry(documents[i], len(tokens), header), ids, kept)
    return [chains[i] for i in range(len(documents))]


def _entry(document: Document, tokens: int, header: int) -> DocumentEntry:
    return DocumentEntry(
        source="",
        path=document.path,
        content_hash="",
        size=len(document.text),
        mtime_ns=0,
        chain=document.path,
        n_tokens=tokens,
        header_tokens=header,
        page_starts=document.page_starts,
    )


def memory_of(reader: Reader, chains: Sequence[Chain]) -> Memory:
    """Chains already read as one memory to ask; nothing is stored."""
    ids = torch.cat([chain.ids for chain in chains])
    lengths = torch.tensor([0, *(len(chain.ids) for chain in chains[:-1])])
    starts = torch.cumsum(lengths, 0)
    cache = KeyCache(ids, torch.cat([chain.keys for chain in chains]), starts.to(reader.device))
    return Memory(
        reader=reader,
        caches=(),
        cache=cache,
        state=None,
        ids=id_array(ids.cpu().tolist(), reader.config.vocab_size),
        starts=tuple(starts.tolist()),
        origins=tuple(Origin(None, chain.entry) for chain in chains),
        reused=0,
        prefilled=len(ids),
        seconds=0.0,
    )


class BatchAnswerer(AskAnswerer):
    """The same greedy answers, questions of equal length decoded together. Does not read twice."""

    def __init__(self, reader: Reader, *, citations: int = 3, max_tokens: int = 48, batch: int = 64) -> None:
        super().__init__(reader, citations=citations, max_tokens=max_tokens, reread=False)
        self.batch = batch

    def answer(self, memory: Memory, questions: Sequence[str]) -> list[Answered]:
        by_length: dict[int, list[int]] = defaultdict(list)
        encoded = [prompt.question_ids(self.reader.tokenizer, question) for question in questions]
        for i, ids in enumerate(encoded):
            by_length[len(ids)].append(i)
        most = max(1, min(self.batch, MASS_NUMBERS // (self.reader.config.n_head * max(1, len(memory.ids)))))
        found: dict[int, Answered] = {}
        for members in by_length.values():
            for start in range(0, len(members), most):
                part = members[start : start + most]
                rows = torch.tensor([encoded[i] for i in part], device=self.reader.device)
                answers = self._decode(memory, [questions[i] for i in part], rows)
                found.update(zip(part, answers))
        return [found[i] for i in range(len(questions))]

    @torch.inference_mode()
    def _decode(self, memory: Memory, questions: Sequence[str], ids: Tensor) -> list[Answered]:
        """Greedy answers for questions and their ids [B, T]; rows that have ended go on unread until all have."""
        tokenizer, n = self.reader.tokenizer, len(ids)
        none = tokenizer.control.get("none")
        stops = prompt.stop_ids(tokenizer)
        banned = torch.tensor(prompt.forbidden_ids(tokenizer), dtype=torch.long, device=ids.device)
        first_banned = torch.tensor(sorted(stops), dtype=torch.long, device=ids.device)
        answers: list[list[int]] = [[] for _ in range(n)]
        scores, alive = [1.0] * n, [True] * n
        mass: list[Tensor | None] = [None] * n
        looked: list[Tensor] = []
        state = None
        for step in range(self.max_tokens):
            attention: list[Tensor] = []
            logits, state = self.reader.model.decode(ids, state, memory.cache, attention=attention, last_only=True)
            rows = torch.log_softmax(logits[:, -1].float(), dim=-1)
            allowed = rows.index_fill(1, banned, -math.inf)
            if step == 0:
                allowed = allowed.index_fill(1, first_banned, -math.inf)
            chosen = allowed.argmax(dim=-1)
            if step == 0:
                looked = [pool_attention([layer[row : row + 1] for layer in attention]) for row in range(n)]
            if step == 0 and none is not None:
                scores = (-torch.expm1(rows[:, none])).tolist()
                alive = (rows.argmax(dim=-1) != none).tolist()
            for row, token in enumerate(chosen.tolist()):
                if alive[row] and token in stops:
                    alive[row] = False
                elif alive[row]:
                    answers[row].append(token)
                    here = pool_attention([layer[row : row + 1] for layer in attention])
                    before = mass[row]
                    mass[row] = here if before is None else before + here
            if not any(alive):
                break
            ids = chosen[:, None]
        texts = [b"".join(map(tokenizer.piece_bytes, answer)).decode("utf-8", "replace").strip() for answer in answers]
        return [
            Answered(text, score, self._cite(memory, question, text, look, m))
            for question, text, score, look, m in zip(questions, texts, scores, looked, mass, strict=True)
        ]

    def _cite(
        self, memory: Memory, question: str, answer: str, looked: Tensor, mass: Tensor | None
    ) -> tuple[Cited, ...]:
        if mass is None or not self.citations:
            return ()
        ranking = rank(memory, question, looked.float().cpu())
        cited = []
        for span in cite(memory, ranking, mass.float().cpu(), answer, self.citations):
            entry, begin = memory.origins[span.chain].entry, memory.starts[span.chain]
            ids = np.asarray(memory.ids[begin : begin + entry.n_tokens])
            place = locate(span, ids, entry.header_tokens, entry.page_starts, self.reader.tokenizer)
            cited.append(Cited(entry.path, place.start_line, place.end_line, place.page))
        return tuple(cited)
