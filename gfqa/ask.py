"""Ask: caches -> memory -> question through the model -> answer with the places it came from.

Reads the store (or standard input) and nothing else; writes nothing, takes no lock, and needs no source tree. Ids are used as
they were stored, never tokenised again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gfqa.answer import checks, pages, prompt
from gfqa.answer.citations import Span, locate
from gfqa.answer.generate import Generated, generate, generate_many
from gfqa.answer.paths import unknown_paths
from gfqa.answer.result import Answer, Citation
from gfqa.answer.sampling import Sampling
from gfqa.errors import UsageError
from gfqa.memory import Memory, changed_documents, choose_caches, file_of, has_changed, open_memory, restricted
from gfqa.passages import Passage, Ranking, cite, closest, page_of, rank
from gfqa.pointing import Second, can_point, point_out, value_question
from gfqa.reader import open_model

__all__ = [
    "Answer",
    "Citation",
    "Memory",
    "ask",
    "ask_many",
    "changed_documents",
    "choose_caches",
    "open_memory",
    "open_model",
    "restricted",
]

NOTHING = Generated("", (), False, 0.0, None)
"""What is said where no passage answers."""
ROWS = 8
"""Questions that share a pass."""
CLOSEST = 2
"""Places named where nothing was found."""
PAGE = 0.77
"""The least share of a question's words, by weight, that a page of a PDF must hold to be the answer; the share is its score."""
MASSES = 1 << 24
"""At most this many attention masses [B, S] of one head are held at once: over a large memory fewer questions share."""


def ask(
    memory: Memory,
    question: str,
    *,
    on_text: Callable[[str], None] = lambda chunk: None,
    **options: Any,
) -> Answer:
    """Answer one question; on_text receives the answer as it comes. Greedy and deterministic unless told otherwise.

    options: citations (at most so many, 3), max_tokens (64), reread (True: read the best passages again with the question,
    where the model has a pointer), temperature (0), top_p (1), top_k (0), seed (None).

    UsageError for an empty question and for sampling options that make no sense.
    """
    return ask_on(memory, question, on_text=on_text, **options)[0]


def ask_on(
    memory: Memory,
    question: str,
    *,
    unread: Sequence[int] = (),
    on_text: Callable[[str], None] = lambda chunk: None,
    **options: Any,
) -> tuple[Answer, Generated]:
    """As `ask`, with what the chain is afterwards: a chained memory goes on from there. unread: ids before the question."""
    how = _Options.of(**options)
    began = time.monotonic()
    reader = memory.reader
    ids = [*unread, *_question_ids(memory, question)]
    twice = how.reread and can_point(memory)
    first = generate(
        memory.decode,
        reader.tokenizer,
        ids,
        memory.state,
        device=reader.device,
        max_tokens=how.first_tokens(memory),
        sampling=how.sampling,
        # What is streamed stays: a page, or the second look, may take its place.
        on_text=(lambda chunk: None) if twice or pages.beside_the_page(question) is not None else on_text,
        begin=memory.begin,
    )
    looked = time.monotonic() - began
    return _answer(memory, question, len(ids), first, how, looked, changed_documents(memory), on_text), first


def ask_many(
    memory: Memory, questions: Sequence[str], *, on_answered: Callable[[], None] = lambda: None, **options: Any
) -> list[Answer]:
    """The answers of `ask` in order, sooner: questions of similar length share the passes over the whole memory.

    The second look is each question's own, and on_answered is called after it. `timing.decode` of an answer is its share of
    the passes.
    """
    how = _Options.of(**options)
    reader = memory.reader
    asked = [_question_ids(memory, question) for question in questions]
    changed = changed_documents(memory)
    order = sorted(range(len(asked)), key=lambda number: len(asked[number]))
    rows = max(1, min(ROWS, MASSES // max(1, len(memory.ids))))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), rows):
        group = order[start : start + rows]
        began = time.monotonic()
        firsts = generate_many(
            memory.decode,
            reader.tokenizer,
            [asked[number] for number in group],
            memory.state,
            device=reader.device,
            max_tokens=how.first_tokens(memory),
            sampling=how.sampling,
        )
        share = (time.monotonic() - began) / len(group)
        for number, first in zip(group, firsts, strict=True):
            answers[number] = _answer(memory, questions[number], len(asked[number]), first, how, share, changed)
            on_answered()
    return [answers[number] for number in range(len(asked))]


@dataclass(frozen=True)
class _Options:
    citations: int
    max_tokens: int
    reread: bool
    sampling: Sampling

    @classmethod
    def of(
        cls,
        *,
        citations: int = 3,
        max_tokens: int = 64,
        reread: bool = True,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
    ) -> _Options:
        return cls(citations, max_tokens, reread, Sampling(temperature, top_p, top_k, seed))

    def first_tokens(self, memory: Memory) -> int:
        """How long the first look goes on: a token is enough where passages are read again, to tell where the model looks
        and how likely there is an answer.
        """
        return 1 if self.reread and can_point(memory) else self.max_tokens


def _question_ids(memory: Memory, question: str) -> list[int]:
    if not question.strip():
        raise UsageError("The question is empty.")
    return prompt.question_ids(memory.reader.tokenizer, question)


def _answer(
    memory: Memory,
    question: str,
    question_tokens: int,
    first: Generated,
    how: _Options,
    looked: float,
    changed: tuple[str, ...],
    on_text: Callable[[str], None] = lambda chunk: None,
) -> Answer:
    """The answer after the first look, which took `looked` seconds: the second look, and the places."""
    began = time.monotonic()
    reader = memory.reader
    ranking = rank(memory, question, first.looked) if first.looked is not None else None
    about = pages.beside_the_page(question)
    paged = _page(memory, about) if about is not None else None
    searched = time.monotonic()
    generated, score, read, passage, at = first, first.score, 0, None, None
    if paged is not None:
        generated, score = paged[0], paged[0].score
        on_text(generated.text)
    elif how.reread and can_point(memory) and ranking is not None:
        second, ranking = _second(memory, question, first, ranking, how.max_tokens)
        score, read, passage, at = second.score, second.tokens, second.passage, second.span
        generated = second.generated or NOTHING
        if generated.text:
            on_text(generated.text)
    elif about is not None:
        on_text(first.text)
    decoded = time.monotonic()
    cited: tuple[Citation, ...] = ()
    if paged is not None:
        cited = (paged[1],)[: how.citations]
    elif generated.found and ranking is not None and first.mass is not None:
        spans = cite(memory, ranking, first.mass, generated.text, how.citations, first=passage, at=at)
        cited = tuple(_citation(memory, span, generated.text) for span in spans)
    done = time.monotonic()
    return Answer(
        question=question,
        text=generated.text,
        found=generated.found,
        score=score,
        located=reader.config.n_gold > 0,
        citations=cited,
        changed=changed,
        closest=()
        if generated.found or ranking is None
        else tuple(_place(memory, passage) for passage in closest(memory, question, ranking, CLOSEST)),
        unknown_paths=unknown_paths(generated.text, memory.documents) if memory.caches else (),
        caches=memory.caches,
        model=reader.name,
        layout=reader.config.layout,
        tokens={
            "reused": memory.reused,
            "prefilled": memory.prefilled,
            "question": question_tokens,
            "reread": read,
            "generated": len(generated.ids),
        },
        timing={
            "load": memory.seconds,
            "decode": looked,
            "search": searched - began,
            "reread": decoded - searched,
            "cite": done - decoded,
            "total": memory.seconds + looked + done - began,
        },
    )


def _second(
    memory: Memory, question: str, first: Generated, ranking: Ranking, max_tokens: int
) -> tuple[Second, Ranking]:
    """The second look, and the ranking that its passage is of: another one where a constant stood for the amount asked for."""
    second = point_out(memory, question, first.score, ranking, max_tokens=max_tokens)
    then = value_question(question, second.generated.text) if second.generated is not None else None
    if then is None:
        return second, ranking
    values = rank(memory, then)
    value = point_out(memory, then, first.score, values, max_tokens=max_tokens)
    if value.generated is None:
        return replace(second, tokens=second.tokens + value.tokens), ranking
    # An amount is no surer than the name that led to it.
    return replace(value, score=min(second.score, value.score), tokens=second.tokens + value.tokens), values


def _page(memory: Memory, about: str) -> tuple[Generated, Citation] | None:
    """The page of a PDF that says most about something; None where none says enough."""
    best = page_of(memory, about)
    if best is None or best[1] < PAGE:
        return None
    passage, said = best
    return Generated(f"page {passage.page}", (), True, said, None), _place(memory, passage)


def _place(memory: Memory, passage: Passage) -> Citation:
    """A passage of the search as a citation: its line that shares most with the question."""
    origin = memory.origins[passage.chain]
    return Citation(
        cache=passage.cache,
        source=passage.source,
        path=passage.path,
        start_line=passage.line,
        end_line=passage.line,
        page=passage.page,
        quote=passage.quote,
        score=passage.score,
        file=None if origin.cache is None else str(file_of(origin)),
        verified=True,
        changed=has_changed(origin),
    )


def _citation(memory: Memory, span: Span, answer: str) -> Citation:
    origin, begin = memory.origins[span.chain], memory.starts[span.chain]
    entry, tokenizer = origin.entry, memory.tokenizer
    ids = memory.ids[begin : begin + entry.n_tokens]
    place = locate(span, ids, entry.header_tokens, entry.page_starts, tokenizer, one_page=True)
    text = checks.document_text(ids, entry.header_tokens, tokenizer)
    return Citation(
        cache=origin.cache,
        source=entry.source or None,
        path=entry.path,
        start_line=place.start_line,
        end_line=place.end_line,
        page=place.page,
        quote=place.quote,
        score=span.share,
        file=None if origin.cache is None else str(file_of(origin)),
        column=checks.column(place, text, answer),
        verified=checks.verified(place, text, entry.page_starts),
        changed=has_changed(origin),
    )
