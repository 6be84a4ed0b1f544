"""The second look of a model with a pointer: the best passages read with the question at once, and the likeliest span of them.

The answer stands in the document word for word, so where it stands is known, and nothing is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from gfqa.answer import prompt
from gfqa.answer.citations import Span
from gfqa.answer.confidence import HOPE
from gfqa.answer.generate import Generated
from gfqa.answer.words import find_words
from gfqa.memory import Memory
from gfqa.model.pointer import Pointed, point
from gfqa.passages import Ranking
from gfqa.shelf import STDIN

PASSAGES = 12
"""At most so many passages are read again. Of forty handwritten questions about psf/requests and pallets/flask the place that
answers is in the first passage of 19, among the first four of 26, among the first twelve of 34."""
FIRST = 4
"""So many of them are read together first; the others only where none of these is sure."""
PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("‘", "’"), ("«", "»"))
_NUMBER = re.compile(rb"\d+(?:\.\d+|,\d{3}(?!\d)|:\d\d(?!\d))*")
"""Numbers, amounts with their thousands apart, times of day, versions. A range of years is two numbers."""
_DASHES = re.compile(rb"(?:^|[\s`'\"(\[])(--?)$")
_REACH = 16
"""A number is looked for in so many tokens before and after a span."""
_CONSTANT = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_AMOUNT = re.compile(
    r"\bhow (?:many|much|long|big|large|often|wide|high|far)\b|\b(?:default|limit|at most|at least)\b", re.I
)
_NAME = re.compile(r"\b(?:constant|variable|setting|name|named|called)\b", re.I)
"""Who asks for a name does not want its value."""
_CHOICE = re.compile(r"\bor\b", re.I)
_NO_PLACE = re.compile(
    r"\W*(?:what(?:'s| is| are| was| were| does| do)|when|why|how|who|after how|is|are|does|do|can)\b", re.I
)
_PLACE = re.compile(
    r"\b(?:where|path|locat\w+|lives?|import(?:s|ed)?|us(?:es|ed)|depends?|needs?|pulls|implement\w*|defin\w*|declar\w*"
    r"|(?:what|which|whose) (?:\w+ )?(?:file|module|document|page|folder|place|part|script)s?)\b",
    re.I,
)
"""Words of questions that a path may answer, generously: a path that is hidden wrongly is an answer lost."""


@dataclass(frozen=True)
class Second:
    """The second look.

    generated: the answer, None where no passage gave one; passage: the number of the one that did; score: how likely it is
    that this passage (or the best one, if none did) answers the question; tokens: read for it; span: where the answer stands,
    None in the path.
    """

    generated: Generated | None
    passage: int | None
    score: float
    tokens: int
    span: Span | None = None


@dataclass(frozen=True)
class Look:
    """What the pointer says of one passage.

    passage: its number in the ranking; text, ids: the likeliest span; at: where that stands in the document, None in the path;
    answerable: probability that the passage answers; coverage: the share of the question's words that it holds; attention: what
    the first look's says of it; tokens: read.
    """

    passage: int
    text: str
    ids: tuple[int, ...]
    at: Span | None
    answerable: float
    coverage: float
    attention: float
    tokens: int


def can_point(memory: Memory) -> bool:
    """Whether the model has a pointer. None of the chained layout has one: its questions go on from the corpus's own state,
    where a passage has no place.
    """
    return memory.reader.config.pointer_width > 0


def point_out(memory: Memory, question: str, first: float, ranking: Ranking, *, max_tokens: int) -> Second:
    """The likeliest span of the best passages, if it is likely enough. first: the first look's score.

    Passages that share too little with the question are not read at all.
    """
    score, unknown = memory.reader.score, bool(ranking.index.unknown_names(question))
    hopes = {
        n: score.of(first, HOPE, float(ranking.evidence.coverage[n]), unknown, float(ranking.attention[n]))
        for n in ranking.order[:PASSAGES].tolist()
    }
    numbers = [number for number, hope in hopes.items() if hope >= score.found]
    likely, best, read = 0.0, None, 0
    for batch in (numbers[:FIRST], numbers[FIRST:]):
        for look in looks_at(memory, question, ranking, batch, max_tokens):
            read += look.tokens
            repeated = repeats(question, look.text)
            here = score.of(first, look.answerable, look.coverage, unknown, look.attention, repeated)
            if here > likely and any(map(str.isalnum, look.text)):
                likely, best = here, look
        if likely >= score.sure:
            break
    if best is None or likely < score.found:
        return Second(None, None, likely if numbers else max(hopes.values(), default=0.0), read)
    return Second(Generated(best.text, best.ids, True, likely, None), best.passage, likely, read, best.at)


def value_question(question: str, answer: str) -> str | None:
    """What to ask next where a question for an amount was answered by the name of a constant: `DEFAULT_TIMEOUT`; else None."""
    amount = _AMOUNT.search(question) and not _NAME.search(question) and answer not in question
    return f"What is the value of {answer}?" if amount and _CONSTANT.fullmatch(answer) else None


def repeats(question: str, answer: str) -> bool:
    """Whether an answer to a question for an amount or a default has no word that is not the question's (`followRedirects` to
    "how many redirects are followed?"). Words are compared by their stems, identifiers by their parts.

    Who asks for a name often knows half of it, and a question that offers a choice may be answered in its own words. The name
    of a constant leads to its value (`value_question`).
    """
    if (
        not _AMOUNT.search(question)
        or _NAME.search(question)
        or _CHOICE.search(question)
        or _CONSTANT.fullmatch(answer)
    ):
        return False
    asked, said = (
        found.hashes[: found.n_plain]
        for found in (find_words(np.frombuffer(text.encode(), np.uint8)) for text in (question, answer))
    )
    return len(said) > 0 and bool(np.isin(said, asked).all())


def asks_for_a_path(question: str) -> bool:
    """Whether a path may be the answer: not to a question that begins as one for something else and names no place."""
    return not _NO_PLACE.match(question) or _PLACE.search(question) is not None


def looks_at(
    memory: Memory, question: str, ranking: Ranking, numbers: Sequence[int], max_tokens: int = 64
) -> list[Look]:
    """What the pointer says of these passages of a ranking, in their order; spans are cut at `max_tokens`."""
    if not numbers:
        return []
    spans = [ranking.span(memory, number) for number in numbers]
    asked = prompt.asking_ids(memory.reader.tokenizer, question)
    chains = [[*asked, *passage(memory, span)] for span in spans]
    named, by_path = [memory.origins[span.chain].entry for span in spans], asks_for_a_path(question)
    hidden = [0 if by_path and entry.path != STDIN else entry.header_tokens for entry in named]
    found = _pointed(memory, len(asked), chains, [len(asked) + tokens for tokens in hidden])
    answerable = found.answerable.sigmoid()
    looks = []
    for row, (number, span, chain) in enumerate(zip(numbers, spans, chains, strict=True)):
        pieces = [memory.reader.tokenizer.piece_bytes(id) for id in chain]
        first, end = whole_numbers(pieces, int(found.first[row]), int(found.last[row]) + 1, len(asked) + hidden[row])
        first = whole_flag(pieces, first, len(asked) + hidden[row])
        end = min(end, first + max_tokens)
        ids, text = tuple(chain[first:end]), b"".join(pieces[first:end]).decode("utf-8", "ignore")
        looks.append(
            Look(
                number,
                trimmed(text),
                ids,
                _place(memory, span, first - len(asked), len(ids)),
                float(answerable[row]),
                float(ranking.evidence.coverage[number]),
                float(ranking.attention[number]),
                len(chain),
            )
        )
    return looks


def whole_numbers(pieces: Sequence[bytes], first: int, end: int, begins: int) -> tuple[int, int]:
    """The tokens [first, end) and as many before and after them as it takes to cut no number ("18" of "18:07").

    pieces: the bytes of every token of the chain; begins: the first that may be answered with.
    """
    low, high = max(begins, first - _REACH), min(len(pieces), end + _REACH)
    if not low <= first < end <= high:
        return first, end
    ends = [0, *accumulate(len(piece) for piece in pieces[low:high])]
    for number in _NUMBER.finditer(b"".join(pieces[low:high])):
        while number.start() < ends[first - low] < number.end():
            first -= 1
        while number.start() < ends[end - low] < number.end():
            end += 1
    return first, end


def whole_flag(pieces: Sequence[bytes], first: int, begins: int) -> int:
    """The token `first`, or the one before it that has the dashes of the option that begins there ("sort" of "--sort")."""
    before, at = b"", first
    while at > begins and len(before) < 4:
        at -= 1
        before = pieces[at] + before
    dashes = _DASHES.search(before)
    if first >= len(pieces) or not dashes or not pieces[first][:1].isalpha():
        return first
    wanted = len(dashes[1])
    while wanted > 0:
        first -= 1
        wanted -= len(pieces[first])
    return first


def _pointed(memory: Memory, asked: int, chains: list[list[int]], begins: list[int]) -> Pointed:
    """What the pointer says of chains that begin with `asked` tokens of a question, read in one padded batch; on the CPU.

    begins: the first token of each that may be answered with.
    """
    device = memory.reader.device
    ids = torch.zeros(len(chains), max(map(len, chains)), dtype=torch.long)
    for row, chain in enumerate(chains):
        ids[row, : len(chain)] = torch.tensor(chain)
    lengths = torch.tensor([len(chain) for chain in chains], device=device)
    with torch.inference_mode():
        after = torch.tensor(begins, device=device)
        found = point(memory.reader.model, ids.to(device), torch.full_like(lengths, asked), lengths, begins=after)
    return Pointed(*(part.cpu() for part in (found.first, found.last, found.log_p, found.answerable)))


def passage(memory: Memory, span: Span) -> list[int]:
    """Ids of the document's header and of its window around the span."""
    begin, (low, high) = memory.starts[span.chain], window(memory, span)
    header = memory.ids[begin : begin + memory.origins[span.chain].entry.header_tokens]
    return [*header.tolist(), *memory.ids[begin + low : begin + high].tolist()]


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


def trimmed(text: str) -> str:
    """An answer without what its tokens drag in at its ends: white space, commas, the sign before a value, brackets and
    quotes of which the other one is missing, the asterisks of bold print.
    """
    while True:
        before, text = text, text.strip().lstrip(",").rstrip(",;:")
        if len(text) > 4 and text.startswith("**") and text.endswith("**"):
            text = text[2:-2]
        if text.startswith("=") and not text.startswith(("==", "=>")):
            text = text[1:]
        for opening, closing in PAIRS:
            if opening == closing:
                opened = closed = text.count(opening) < 2
            else:
                text = text.removeprefix(closing).removesuffix(opening)
                more = text.count(opening) - text.count(closing)
                opened, closed = more > 0, more < 0
            if opened and text.startswith(opening):
                text = text[1:]
            if closed and text.endswith(closing):
                text = text[:-1]
        if text == before:
            return text


def _place(memory: Memory, span: Span, first: int, n: int) -> Span | None:
    """`n` tokens from token `first` of a passage's chain on, as a span of its document; None where they are of its header."""
    header, (low, _) = memory.origins[span.chain].entry.header_tokens, window(memory, span)
    return Span(span.chain, low + first - header, low + first - header + n, 1.0) if first >= header else None
