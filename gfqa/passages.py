"""Passages of a memory that speak of a question: by the words they share with it, and by where the model looks.

The words come from the token ids that every cache holds, so nothing more is stored, and no model is needed for them. Where the
attention mass of the question's own pass is given, both are merged.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from gfqa.answer import prompt
from gfqa.answer.citations import WINDOW, Span, find_span, locate
from gfqa.answer.lexical import Evidence, LexicalIndex, Scores, best_line
from gfqa.answer.words import Numbers, Pieces
from gfqa.shelf import Texts

if TYPE_CHECKING:
    # Words alone rank without torch, so it is imported only where a model looks.
    from torch import Tensor

    from gfqa.memory import Memory

MASS_WEIGHT = 0.15
"""What attention counts, against 1 for the best score by words: so much times log(1 + share / THIN) of the passage's share. By
the logarithm it adds to the words as evidence does: a passage that both half know comes before one that only one knows. With
release 2 and 0.25 the place was among the first twelve for 31 of 40 handwritten questions, 142 of 150 of SQuAD and all of 100
look-ups, with four times the share itself for 30, 140 and 99; a reader that was taught where to look is best at 0.15."""
THIN = 0.003
"""Shares of the attention below this say little, however large the memory is: where it is large and attention spread thin, the
words decide. As multiples of an even share they outweighed them in 150 k tokens."""
AROUND = 80
"""The answer may stand so many tokens before or after the passage that led to it: about what is read again around it."""
CLOSE = 0.3
"""A passage with a smaller share of the question's words, weighed by how rare they are, is not named as close."""
NEARLY = 0.8
"""Passages with this share of the best one's words of the question are of its subject too."""
SCANNED = 20
"""Passages that say the same are looked for among so many times the number wanted."""
ALTERNATIVES = 5
"""So many passages more than are cited are searched for the answer's words."""


@dataclass(frozen=True)
class Passage:
    """A stretch of one document, verbatim.

    chain: the document's number in Memory.origins; start, end: its tokens there (path header counted, end exclusive). Lines are
    1-based; of a PDF they are None, and page is that of the quote. text: the whole passage; quote: its line that
    shares most with the question, number `line`. score: for ranking only, higher is better;
    the best by words alone has 1. similar: so many passages that say the same were left out.
    """

    chain: int
    start: int
    end: int
    cache: str | None
    source: str | None
    path: str
    start_line: int | None
    end_line: int | None
    page: int | None
    line: int | None
    quote: str
    text: str
    score: float
    similar: int = 0

    @property
    def place(self) -> str:
        """path:line of the quote, or path, page n: where a search tool would point."""
        return f"{self.path}, page {self.page}" if self.page is not None else f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Ranking:
    """Every passage's merged score, best first. order [P]: numbers of passages; in the order of the index score [P] and
    attention [P], log(1 + share / THIN) of the share of attention on the passage, 0 where no model looked.
    """

    index: LexicalIndex
    evidence: Evidence
    order: Numbers
    score: Scores
    attention: Scores

    def span(self, memory: Texts, number: int) -> Span:
        """Passage `number` as a span of its document."""
        windows = self.index.windows
        chain = int(windows.document[number])
        begin = memory.starts[chain]
        return Span(chain, int(windows.begins[number]) - begin, int(windows.ends[number]) - begin, 0.0)


def find(
    memory: Texts, question: str, count: int = 10, *, mass: Tensor | None = None, alike: float | None = None
) -> list[Passage]:
    """The `count` best passages for the question, best first; fewer where nothing else shares a word or any mass with it.

    mass [S]: attention mass of the question's pass (`look`); without it only words count, and no weights are loaded. alike: of
    passages that repeat a better one only the best is given, with their number; see `_Distinct`.
    """
    ranking = rank(memory, question, mass)
    order = [number for number in ranking.order.tolist() if ranking.score[number] > 0]
    if alike is None:
        return [_passage(memory, ranking, number, question) for number in order[:count]]
    distinct = _Distinct(question, count, alike)
    for number in order[: count * SCANNED]:
        distinct.add(number, _text(memory, ranking.span(memory, number)))
    return [replace(_passage(memory, ranking, kept, question), similar=more) for kept, more in distinct.kept.items()]


def closest(memory: Texts, question: str, ranking: Ranking, count: int) -> list[Passage]:
    """The `count` best passages of a ranking that hold at least CLOSE of the question's words, their share as score."""
    covered = ranking.evidence.coverage
    distinct = _Distinct(question, count, 1.0)
    for number in ranking.order[: count * SCANNED].tolist():
        if covered[number] >= CLOSE:
            distinct.add(number, _text(memory, ranking.span(memory, number)))
    return [replace(_passage(memory, ranking, kept, question), score=float(covered[kept])) for kept in distinct.kept]


def page_of(memory: Texts, question: str, count: int = 40) -> tuple[Passage, float] | None:
    """The passage that stands for the page that says most about the question, by words, and the share of them that it has.

    A page that speaks of it all along is meant, not one that mentions it: what the best `count` passages say is summed by
    page. None where the page is of no PDF, or where nothing shares a word with the question.
    """
    ranking = rank(memory, question)
    covered, best = ranking.evidence.coverage, [n for n in ranking.order[:count].tolist() if ranking.score[n] > 0]
    said: dict[tuple[int, int | None], float] = defaultdict(float)
    first: dict[tuple[int, int | None], tuple[Passage, float]] = {}
    for number in best:
        if covered[number] >= NEARLY * covered[best[0]]:
            passage = _passage(memory, ranking, number, question)
            said[passage.chain, passage.page] += float(ranking.evidence.score[number])
            first.setdefault((passage.chain, passage.page), (passage, float(covered[number])))
    if not said:
        return None
    where = max(said, key=said.__getitem__)
    return None if where[1] is None else first[where]


class _Distinct:
    """Passages of which none says again what a better one says, and how often each was said again.

    A passage repeats another if at least the share `alike` of its runs of three words stands there too, and with them all
    of the line that shares most with the question, which is what a list would show. Marks and white space do not count, so
    a licence is the same in any comment; where all of it has to be there (1.0), marks do.
    """

    def __init__(self, question: str, count: int, alike: float) -> None:
        self.kept: dict[int, int] = {}
        self._question, self._count, self._alike = question, count, alike
        self._words = re.compile(r"\w+|[^\w\s]" if alike >= 1 else r"\w+")
        self._said: dict[int, tuple[set[tuple[str, ...]], str]] = {}

    def add(self, number: int, text: str) -> None:
        """The next best passage: kept, counted with one of those kept, or (where there are enough) neither."""
        words = self._words.findall(text)
        runs = set(zip(*(words[first:] for first in range(min(3, len(words))))))
        if not runs:
            return
        likely = [kept for kept, (theirs, _) in self._said.items() if len(runs & theirs) >= self._alike * len(runs)]
        if likely:
            shown = _spaced(self._words.findall(best_line(text, self._question)[1]))
            for kept in likely:
                if shown in self._said[kept][1]:
                    self.kept[kept] += 1
                    return
        if len(self.kept) < self._count:
            self.kept[number], self._said[number] = 0, (runs, _spaced(words))


def _spaced(words: list[str]) -> str:
    return f" {' '.join(words)} "


def rank(memory: Texts, question: str, mass: Tensor | None = None) -> Ranking:
    """All passages of the memory by their merged score; see `find`."""
    index = lexical_index(memory)
    evidence = index.search(question)
    attention = np.zeros_like(evidence.score) if mass is None else np.log1p(_shares(index, mass) / THIN)
    score = evidence.score / max(float(evidence.score.max(initial=0.0)), 1e-9) + MASS_WEIGHT * attention
    return Ranking(index, evidence, np.argsort(-score, kind="stable"), score, attention)


def look(memory: Memory, question: str) -> Tensor | None:
    """Attention mass [S] of the question's pass over the memory, float32 on the CPU; None for a model without GOLD layers."""
    import torch

    from gfqa.answer.generate import pool_attention

    ids = prompt.question_ids(memory.tokenizer, question)
    attention: list[Tensor] = []
    with torch.inference_mode():
        memory.decode(torch.tensor([ids], device=memory.reader.device), memory.state, attention)
    return pool_attention(attention).float().cpu() if attention else None


def cite(
    memory: Memory,
    ranking: Ranking,
    mass: Tensor,
    answer: str,
    count: int,
    *,
    first: int | None = None,
    at: Span | None = None,
) -> list[Span]:
    """The `count` best places of an answer, best first: those where it stands word for word before others.

    mass [S]: attention mass of the answer's tokens; first: the number of the passage that gave it, if one did; at: where in
    that passage it stands, if that is known.
    """
    # Of a chained corpus the last tokens are the question's own chain, not memory: they carry no mass.
    padded = np.zeros(len(memory.ids), np.float32)
    padded[: len(mass)] = mass.numpy()
    windows, found = ranking.index.windows, []
    for number in ranking.order[: count + ALTERNATIVES].tolist():
        if ranking.score[number] > 0:
            chain = int(windows.document[number])
            begin, entry = memory.starts[chain], memory.origins[chain].entry
            low = max(begin + entry.header_tokens, int(windows.begins[number]) - AROUND)
            high = min(begin + entry.n_tokens, int(windows.ends[number]) + AROUND)
            stretch = (low, high)
            span, verbatim = find_span(padded, memory.ids, chain, begin, stretch, answer.encode(), memory.tokenizer)
            found.append((number != first, not verbatim, span))
    found.sort(key=lambda scored: scored[:2])
    if at is not None:
        begin = memory.starts[at.chain]
        around = padded[max(begin + at.start - WINDOW // 2, begin) : begin + at.end + WINDOW // 2]
        share = float(around.sum()) / max(float(padded.sum(dtype=np.float64)), 1e-30)
        apart = [
            other
            for other in found
            if other[2].chain != at.chain or other[2].end <= at.start or at.end <= other[2].start
        ]
        found = [(False, False, replace(at, share=min(share, 1.0))), *apart]
    # Neighbouring passages may give the same place.
    return list(dict.fromkeys(span for _, _, span in found))[:count]


_indexes: WeakKeyDictionary[Texts, LexicalIndex] = WeakKeyDictionary()


def lexical_index(memory: Texts) -> LexicalIndex:
    """The memory's words, found at the first question and kept as long as the memory is."""
    if memory not in _indexes:
        headers = [origin.entry.header_tokens for origin in memory.origins]
        _indexes[memory] = LexicalIndex(memory.ids, memory.starts, headers, memory.tokenizer)
    return _indexes[memory]


def _shares(index: LexicalIndex, mass: Tensor) -> Scores:
    """Each passage's share [P] of the mass on all passages."""
    # Of a chained corpus the last tokens are the question's own chain, not memory: they carry no mass.
    sums = np.concatenate([[0.0], np.cumsum(mass.numpy(), dtype=np.float64)])
    last, windows = len(mass), index.windows
    inside: Scores = sums[np.minimum(windows.ends, last)] - sums[np.minimum(windows.begins, last)]
    return inside / max(float(inside.sum()), 1e-30)


def _text(memory: Texts, span: Span) -> str:
    """The passage's text from its first line's beginning, without the empty lines in front and the white space behind."""
    begin, header = memory.starts[span.chain], memory.origins[span.chain].entry.header_tokens
    ids = memory.ids[begin + span.start : begin + span.end]
    raw = memory.tokenizer.decode_bytes(ids.tolist()).decode("utf-8", "ignore")
    raw = _indentation(memory.ids[begin + header : begin + span.start], memory.tokenizer) + raw
    return raw[raw.rfind("\n", 0, len(raw) - len(raw.lstrip())) + 1 :].rstrip()


def _indentation(before: npt.NDArray[Any], pieces: Pieces) -> str:
    """The white space between a line's beginning and a passage that begins behind it: one token may hold both, a newline and
    the indentation that follows. before: ids of the document in front of the passage.
    """
    space = b""
    for at in range(len(before) - 1, -1, -1):
        space = pieces.piece_bytes(int(before[at])) + space
        if not space.isspace() or b"\n" in space:
            break
    own = space[max(space.rfind(b"\n"), space.rfind(b"\f")) + 1 :]
    return "" if own.strip(b" \t") else own.decode("ascii")


def _passage(memory: Texts, ranking: Ranking, number: int, question: str) -> Passage:
    span = ranking.span(memory, number)
    origin, begin = memory.origins[span.chain], memory.starts[span.chain]
    entry, tokenizer = origin.entry, memory.tokenizer
    ids = memory.ids[begin : begin + entry.n_tokens]
    place = locate(span, ids, entry.header_tokens, entry.page_starts, tokenizer)
    text = _text(memory, span)
    at, quote = best_line(text, question)
    return Passage(
        chain=span.chain,
        start=span.start,
        end=span.end,
        cache=origin.cache,
        source=entry.source or None,
        path=entry.path,
        start_line=place.start_line,
        end_line=place.end_line,
        page=None if place.page is None else place.page + text.count("\f", 0, at),
        line=None if place.start_line is None else place.start_line + text.count("\n", 0, at),
        quote=quote,
        text=text,
        score=float(ranking.score[number]),
    )
