"""What a question gives: an answer, its score and the places it came from, or passages. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOW_SCORE = 0.5
"""Below this score an answer is more likely wrong to be given than right: it is shown with a warning."""


@dataclass(frozen=True)
class Citation:
    """A place an answer came from. Lines for texts, a page for PDFs, both 1-based; score: share of the attention mass.

    file: absolute path, None for standard input; column: 1-based, in bytes, in the first line; verified: the cache holds
    the quote at that place, word for word; changed: the file is gone or no longer what was ingested.
    """

    cache: str | None
    source: str | None
    path: str
    start_line: int | None
    end_line: int | None
    page: int | None
    quote: str
    score: float
    file: str | None = None
    column: int = 1
    verified: bool = False
    changed: bool = False

    @property
    def place(self) -> str:
        """path:line-line, path:line, or path, page n."""
        if self.page is not None:
            return f"{self.path}, page {self.page}"
        lines = f"{self.start_line}" if self.start_line == self.end_line else f"{self.start_line}-{self.end_line}"
        return f"{self.path}:{lines}"

    def to_json(self) -> dict[str, Any]:
        """One of `citations` in `ask --json`."""
        return {
            "cache": self.cache,
            "source": self.source,
            "path": self.path,
            "start_line": self.start_line,
            "end_line": self.end_line,
            "page": self.page,
            "quote": self.quote,
            "score": round(self.score, 6),
            "verified": self.verified,
            "changed": self.changed,
        }


@dataclass(frozen=True)
class Answer:
    """text is "" when not found; score in 0..1 is the probability that the documents answer the question; unknown_paths: what
    looks like a path in the text and is no document of the caches; closest: where nothing was found, places that share words
    with the question.
    """

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
    unknown_paths: tuple[str, ...] = ()
    closest: tuple[Citation, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether an answer was found with a low score."""
        return self.found and self.score < LOW_SCORE

    def to_json(self) -> dict[str, Any]:
        """The documented object of `ask --json`."""
        answer = {
            "schema": 1,
            "question": self.question,
            "answer": self.text,
            "found": self.found,
            "score": round(self.score, 6),
            "low_confidence": self.doubtful,
            "stale": bool(self.changed),
            "citations": [citation.to_json() for citation in self.citations],
            "cache": {"names": list(self.caches), "model": self.model, "layout": self.layout},
            "tokens": dict(self.tokens),
            "timing": {name: round(seconds, 4) for name, seconds in self.timing.items()},
        }
        # The others are there only where there is something to say.
        if self.unknown_paths:
            answer["unknown_paths"] = list(self.unknown_paths)
        if self.closest:
            answer["closest"] = [citation.to_json() for citation in self.closest]
        return answer if self.located else {**answer, "located": False}


@dataclass(frozen=True)
class Found:
    """A passage and its place. Lines for texts, a page for PDFs, 1-based; line, column (in bytes): of the quote, its line
    that shares most with the question; file: absolute path; changed: it is gone or no longer what was ingested; similar: so
    many passages were left out because they say the same.
    """

    cache: str | None
    source: str | None
    path: str
    start_line: int | None
    end_line: int | None
    page: int | None
    line: int | None
    column: int
    quote: str
    text: str
    score: float
    file: str
    changed: bool
    similar: int = 0

    @property
    def place(self) -> str:
        """path:line of the quote, or path, page n."""
        return f"{self.path}, page {self.page}" if self.page is not None else f"{self.path}:{self.line}"

    @property
    def span(self) -> str:
        """path:first-last line of the whole passage, or path, page n."""
        if self.page is not None:
            return f"{self.path}, page {self.page}"
        return f"{self.path}:{self.start_line}-{self.end_line}"

    def to_json(self) -> dict[str, Any]:
        """One of the documented `passages` of `find --json`."""
        names = ("cache", "source", "path", "start_line", "end_line", "page", "line", "quote", "text")
        return {
            **{name: getattr(self, name) for name in names},
            "score": round(self.score, 4),
            "changed": self.changed,
            "similar": self.similar,
        }


@dataclass(frozen=True)
class Passages:
    """What a search gave: results, best first, from `searched` tokens of the caches; spent: the tokens that the results take
    together, None where no budget was set.
    """

    question: str
    results: tuple[Found, ...]
    caches: tuple[str, ...]
    searched: int
    spent: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The documented object of `find --json`; with a budget that of `ask --context --json`."""
        found = {"schema": 1, "question": self.question, "passages": [result.to_json() for result in self.results]}
        return (
            {**found, "cache": {"names": list(self.caches)}} if self.spent is None else {**found, "tokens": self.spent}
        )
