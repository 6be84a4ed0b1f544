"""Find: ranked passages for a question, and those that fit a budget of tokens; nothing is generated. Torch-free.

The words of question and documents rank the passages; where a memory is given, the model's attention has its say as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gfqa import passages
from gfqa.answer.result import Found, Passages
from gfqa.errors import UsageError
from gfqa.shelf import STDIN, Origin, Shelf, file_of, has_changed

if TYPE_CHECKING:
    from torch import Tensor

    from gfqa.memory import Memory
    from gfqa.passages import Passage


ALIKE = 0.5
"""Of passages with the same best line and at least this share of the same text, a list shows the first."""


def find(texts: Shelf | Memory, question: str, count: int, *, alike: float = ALIKE) -> list[Found]:
    """The `count` best passages, best first, those that repeat a better one only counted; fewer where no more share anything
    with the question. alike: as of `gfqa.passages.find`.

    A shelf is searched by words alone; a memory also by where the model looks, which loads it. UsageError for an empty
    question.
    """
    return _listed(texts, question, count, _look(texts, question), alike)


def search(texts: Shelf | Memory, question: str, count: int) -> Passages:
    """The `count` best passages, no line of a document quoted twice; errors as of `find`."""
    mass = _look(texts, question)
    found = _listed(texts, question, count, mass, ALIKE)
    results = once(found)
    if len(results) < len(found):
        # Others take their places.
        results = once(_listed(texts, question, 2 * count, mass, ALIKE))[:count]
    return Passages(question, tuple(results), texts.caches, len(texts.ids))


def once(results: Sequence[Found]) -> list[Found]:
    """The results without those that quote the same line of the same document, white space aside, as a better one; that one
    counts them. A list shows the line alone, so its reader could not tell them apart.
    """
    kept: dict[tuple[tuple[str | None, str | None, str], str], Found] = {}
    for result in results:
        key = _document(result), " ".join(result.quote.split())
        better = kept.get(key)
        kept[key] = result if better is None else replace(better, similar=better.similar + 1 + result.similar)
    return list(kept.values())


def context(texts: Shelf | Memory, question: str, budget: int) -> Passages:
    """The best passages within `budget` tokens; errors as of `find` and `within`."""
    # Short documents make short passages, so more than would fit at their full length are asked for. What another model
    # reads must not lose a line, so only passages that are wholly part of a better one are left out.
    candidates = find(texts, question, 10 + budget // 20, alike=1.0)
    results, spent = within(candidates, budget, lambda text: len(texts.tokenizer.encode(text)))
    return Passages(question, tuple(results), texts.caches, len(texts.ids), spent)


def within(results: Sequence[Found], budget: int, count_tokens: Callable[[str], int]) -> tuple[list[Found], int]:
    """The best results whose texts and headers fit `budget` tokens together, and how many tokens they take.

    Documents come in the order of their best passage, passages of one document in the order of the document. UsageError
    where not even the shortest fits.
    """
    kept: list[Found] = []
    spent = 0
    for result in results:
        cost = count_tokens(f"--- {result.span}\n{result.text}\n\n")
        if spent + cost <= budget:
            kept.append(result)
            spent += cost
    if results and not kept:
        raise UsageError(f"No passage fits {budget} tokens.", hint="A passage has up to about 200 tokens.")
    first = {key: number for number, key in reversed(list(enumerate(map(_document, kept))))}
    return sorted(kept, key=lambda result: (first[_document(result)], result.page or 0, result.start_line or 0)), spent


def _document(result: Found) -> tuple[str | None, str | None, str]:
    return result.cache, result.source, result.path


def _look(texts: Shelf | Memory, question: str) -> Tensor | None:
    """Where the model looks, if there is one."""
    if not question.strip():
        raise UsageError("The question is empty.")
    return None if isinstance(texts, Shelf) else passages.look(texts, question)


def _listed(texts: Shelf | Memory, question: str, count: int, mass: Tensor | None, alike: float) -> list[Found]:
    found = passages.find(texts, question, count, mass=mass, alike=alike)
    return [_found(texts.origins[passage.chain], passage) for passage in found]


def _found(origin: Origin, passage: Passage) -> Found:
    quote = passage.quote
    return Found(
        cache=passage.cache,
        source=passage.source,
        path=passage.path,
        start_line=passage.start_line,
        end_line=passage.end_line,
        page=passage.page,
        line=passage.line,
        column=len(quote[: len(quote) - len(quote.lstrip())].encode("utf-8", "replace")) + 1,
        quote=quote,
        text=passage.text,
        score=passage.score,
        file=STDIN if origin.cache is None else str(file_of(origin)),
        changed=has_changed(origin),
        similar=passage.similar,
    )
