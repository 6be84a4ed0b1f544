"""Ask: caches -> memory -> question through the model -> answer with the places it came from.

Reads the store (or standard input) and nothing else; writes nothing, takes no lock, and needs no source tree. Ids are used as
they were stored, never tokenised again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gfqa.answer import prompt
from gfqa.answer.citations import Span, locate
from gfqa.answer.generate import Generated, generate
from gfqa.errors import UsageError
from gfqa.memory import Memory, changed_documents, choose_caches, open_memory
from gfqa.passages import cite, rank
from gfqa.reader import open_model
from gfqa.reread import can_reread, read_again

__all__ = ["Answer", "Citation", "Memory", "ask", "changed_documents", "choose_caches", "open_memory", "open_model"]


NOTHING = Generated("", (), False, 0.0, None)
"""What is said where no passage answers."""


@dataclass(frozen=True)
class Citation:
    """A place an answer came from. Lines for texts, a page for PDFs, both 1-based; score: share of the attention mass."""

    cache: str | None
    source: str | None
    path: str
    start_line: int | None
    end_line: int | None
    page: int | None
    quote: str
    score: float

    @property
    def place(self) -> str:
        """path:line-line, path:line, or path, page n."""
        if self.page is not None:
            return f"{self.path}, page {self.page}"
        lines = f"{self.start_line}" if self.start_line == self.end_line else f"{self.start_line}-{self.end_line}"
        return f"{self.path}:{lines}"


@dataclass(frozen=True)
class Answer:
    """text is "" when not found; score in 0..1 is the probability that the documents answer the question."""

    question: str
    text: str
    found: bool
    score: float
    located: bool
    citations: tuple[Citation, ...]
    changed: tuple[str, ...]
    caches: tuple[str, ...]
    model: str
    layout: str
    tokens: Mapping[str, int]
    timing: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The documented object of `ask --json`."""
        citations = [
            {
                "cache": citation.cache,
                "source": citation.source,
                "path": citation.path,
                "start_line": citation.start_line,
                "end_line": citation.end_line,
                "page": citation.page,
                "quote": citation.quote,
                "score": round(citation.score, 6),
            }
            for citation in self.citations
        ]
        answer = {
            "schema": 1,
            "question": self.question,
            "answer": self.text,
            "found": self.found,
            "score": round(self.score, 6),
            "stale": bool(self.changed),
            "citations": citations,
            "cache": {"names": list(self.caches), "model": self.model, "layout": self.layout},
            "tokens": dict(self.tokens),
            "timing": {name: round(seconds, 4) for name, seconds in self.timing.items()},
        }
        return answer if self.located else {**answer, "located": False}


def ask(
    memory: Memory,
    question: str,
    *,
    citations: int = 3,
    max_tokens: int = 64,
    reread: bool = True,
    on_text: Callable[[str], None] = lambda chunk: None,
) -> Answer:
    """Answer one question, greedily and deterministically; on_text receives the answer as it comes.

    reread: read the best passages again with the question, where the model was trained for it.

    UsageError for an empty question.
    """
    if not question.strip():
        raise UsageError("The question is empty.")
    began = time.monotonic()
    reader = memory.reader
    ids = prompt.question_ids(reader.tokenizer, question)
    twice = reread and can_reread(memory)

    # A token is enough where passages are read again: it tells where the model looks, and how likely there is an answer.
    generated = first = generate(
        memory.decode,
        reader.tokenizer,
        ids,
        memory.state,
        device=reader.device,
        max_tokens=1 if twice else max_tokens,
        on_text=(lambda chunk: None) if twice else on_text,
    )
    looked = time.monotonic()
    ranking = rank(memory, question, first.looked) if first.looked is not None else None
    searched = time.monotonic()
    score, read, passage = first.score, 0, None
    if twice and ranking is not None:
        second = read_again(memory, question, first.score, ranking, max_tokens=max_tokens, on_text=on_text)
        score, read, passage = second.score, second.tokens, second.passage
        generated = second.generated or NOTHING
    decoded = time.monotonic()
    cited: tuple[Citation, ...] = ()
    if generated.found and ranking is not None and first.mass is not None:
        spans = cite(memory, ranking, first.mass, generated.text, citations, first=passage)
        cited = tuple(_citation(memory, span) for span in spans)
    done = time.monotonic()
    return Answer(
        question=question,
        text=generated.text,
        found=generated.found,
        score=score,
        located=reader.config.n_gold > 0,
        citations=cited,
        changed=changed_documents(memory),
        caches=memory.caches,
        model=reader.name,
        layout=reader.config.layout,
        tokens={
            "reused": memory.reused,
            "prefilled": memory.prefilled,
            "question": len(ids),
            "reread": read,
            "generated": len(generated.ids),
        },
        timing={
            "load": memory.seconds,
            "decode": looked - began,
            "search": searched - looked,
            "reread": decoded - searched,
            "cite": done - decoded,
            "total": memory.seconds + time.monotonic() - began,
        },
    )


def _citation(memory: Memory, span: Span) -> Citation:
    origin, begin = memory.origins[span.chain], memory.starts[span.chain]
    entry = origin.entry
    ids = memory.ids[begin : begin + entry.n_tokens]
    place = locate(span, ids, entry.header_tokens, entry.page_starts, memory.reader.tokenizer)
    return Citation(
        cache=origin.cache,
        source=entry.source or None,
        path=entry.path,
        start_line=place.start_line,
        end_line=place.end_line,
        page=place.page,
        quote=place.quote,
        score=span.share,
    )
