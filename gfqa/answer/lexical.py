"""Which passages share words with a question: BM25 over windows of the cached tokens, from the ids that every cache holds.

Torch-free; S cached tokens in n documents, P passages, Q distinct words of a question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gfqa.answer.names import names
from gfqa.answer.thesaurus import ABBREVIATIONS, GROUPS
from gfqa.answer.words import Bytes, Hashes, Numbers, Pieces, find_words, spell

LENGTH = 160
"""A passage has about so many tokens: a paragraph, or the body of a short function."""
SATURATION, LENGTH_WEIGHT = 0.9, 0.75
"""BM25's k1 and b."""
PATH_WEIGHT = 1.0
"""What a word of the document's path counts, as if it stood so many times in each of its passages."""
SYNONYM_WEIGHT = 0.5
"""How often a word counts where another one for the same stands. The question's coverage takes only its own words."""
PAIR_WEIGHT = 0.4
"""What two neighbouring words of the question count where they are neighbours in the text too, against one word."""

DEFINED_WEIGHT = 3.0
"""How many more times a name counts where it stands right after a word that defines it."""
IDENTIFIER_WEIGHT = 2.0
"""What a whole identifier of several parts (`read_file`, `readFile`) in the question counts against a word."""

Scores = npt.NDArray[np.float64]

STOP_WORDS = (
    "a an the of to in on at by for from with as is are was were be been being do does did has have had it its this that these "
    "those and or not no what which who whom whose when where why how s t i you he she we they his her their there than then "
    "into about can could would should will shall may might must many much also such if so but"
)
PRIOR = 100
"""Passages of an imagined library beside the memory's own: in a memory of few passages a word that is not there would else
weigh several times one that is."""
MANY = 100
"""Of so many passages on, a name of the question that none of them holds says that they do not answer: over 24 articles of
SQuAD 33 % of the questions about other articles have one, 1 % of those about these. One paragraph is not told by its names."""
DEFINERS = "def class fn func function struct enum interface trait"


@dataclass(frozen=True)
class Windows:
    """Passages of a memory, in order: tokens begins..ends (exclusive) of document number `document`, each [P].

    Together they are all tokens but the path headers.
    """

    begins: Numbers
    ends: Numbers
    document: Numbers

    def __len__(self) -> int:
        return len(self.begins)


@dataclass(frozen=True)
class Asked:
    """What a question looks for: hashes of its words [Q], each once, ascending, with their weights; of its pairs; and of words
    for the same [A], ascending, synonym_of [Q, A] 1 where one stands for a word.
    """

    words: Hashes
    weights: Scores
    pairs: Hashes
    synonyms: Hashes
    synonym_of: Scores


@dataclass(frozen=True)
class Evidence:
    """A question's words in the passages.

    score [P]: BM25 with pairs; coverage [P]: the share, by weight, of the question's words that the passage or its path holds.
    """

    score: Scores
    coverage: Scores


class LexicalIndex:
    """The words of a memory's ids, found once; each question then takes a few milliseconds a million tokens."""

    def __init__(self, ids: npt.NDArray[Any], starts: Sequence[int], headers: Sequence[int], pieces: Pieces) -> None:
        """ids [S]; starts, headers [n]: the first token of each document and how many of its tokens are its path header."""
        text, borders = spell(ids, pieces)
        begins = np.asarray(starts, np.int64)
        bodies = begins + np.asarray(headers, np.int64)
        self.windows = cut(text, borders, bodies, np.append(begins[1:], len(ids)))
        words = find_words(text)
        self._hashes, self._n_plain = words.hashes, words.n_plain
        # In bytes, so that no word needs its token.
        opens = borders[self.windows.begins]
        self._passage = np.searchsorted(opens, words.at, side="right") - 1
        self._document = np.searchsorted(borders[begins], words.at, side="right") - 1
        self._in_header = words.at < borders[bodies][self._document] if len(begins) else np.zeros(0, bool)
        body = self._passage[: words.n_plain][~self._in_header[: words.n_plain]]
        self._lengths = np.bincount(body, minlength=len(self.windows)).astype(np.float64)
        self._n_documents = len(begins)
        # A name after `def` or the like; of an identifier of several parts, its first part and the whole.
        defined = np.append(False, np.isin(words.hashes[: words.n_plain], _hashes_of(DEFINERS)))[: words.n_plain]
        whole = defined[np.searchsorted(words.at[: words.n_plain], words.at[words.n_plain :])]
        self._defined = np.concatenate([defined, whole])

    def search(self, question: str) -> Evidence:
        """The evidence of every passage for the question."""
        asked = asked_words(question)
        words = np.union1d(asked.words, asked.synonyms)
        frequency, path = self._count(self._hashes, words, 1.0 + DEFINED_WEIGHT * self._defined)
        held = frequency + PATH_WEIGHT * path
        counted, alike = (held[:, np.searchsorted(words, some)] for some in (asked.words, asked.synonyms))
        said = counted + SYNONYM_WEIGHT * alike @ asked.synonym_of.T
        gain = self._gain(said) @ (asked.weights * self._idf(said))
        if len(asked.pairs):
            plain = self._hashes[: self._n_plain]
            neighbours, path = self._count(_joined(plain[:-1], plain[1:]), asked.pairs, np.ones(len(plain)))
            counted_pairs = neighbours + PATH_WEIGHT * path
            gain = gain + PAIR_WEIGHT * (self._gain(counted_pairs) @ self._idf(counted_pairs))
        steady = asked.weights * self._idf(counted, PRIOR)
        return Evidence(gain, (counted > 0) @ steady / (float(steady.sum()) or 1.0))

    def unknown_names(self, question: str) -> tuple[str, ...]:
        """The names of a question that stand in no document and no path; none where the memory has few passages."""
        if len(self.windows) < MANY:
            return ()
        return tuple(name for name in dict.fromkeys(names(question)) if not self._knows(name))

    def _knows(self, name: str) -> bool:
        """Whether a name stands somewhere, in any case; of an identifier, whether each of its parts does."""
        whole, parts = (
            find_words(np.frombuffer(text.encode("utf-8", "replace"), np.uint8)) for text in (name.lower(), name)
        )
        alike, each = np.unique(whole.hashes[:1]), np.unique(parts.hashes[: parts.n_plain])
        return any(len(np.unique(_hits(self._hashes, asked)[1])) == len(asked) for asked in (alike, each))

    def _count(self, hashes: Hashes, asked: Hashes, counts: Scores) -> tuple[Scores, Scores]:
        """How often each passage, and its document's path, holds each of `asked` [Q], ascending: two [P, Q].

        hashes [W]: those of the index's first words or pairs of words; counts [W]: what each counts.
        """
        n, q = len(self.windows), len(asked)
        if not n or not q or not len(hashes):
            return np.zeros((n, q)), np.zeros((n, q))
        hits, column = _hits(hashes, asked)
        header = self._in_header[hits]
        body, named = hits[~header], hits[header]
        cells = self._passage[body] * q + column[~header]
        frequency = np.bincount(cells, weights=counts[body], minlength=n * q).astype(np.float64).reshape(n, q)
        cells = self._document[named] * q + column[header]
        path = np.bincount(cells, minlength=self._n_documents * q).reshape(-1, q) > 0
        return frequency, path[self.windows.document].astype(np.float64)

    def _idf(self, counted: Scores, prior: int = 0) -> Scores:
        """How telling each word is, [Q], as if `prior` more passages were known and one of them held it."""
        holding = (counted > 0).sum(axis=0) + min(prior, 1)
        weights: Scores = np.log1p((len(counted) + prior - holding + 0.5) / (holding + 0.5))
        return weights

    def _gain(self, counted: Scores) -> Scores:
        mean = max(float(self._lengths.mean()), 1.0) if len(self._lengths) else 1.0
        room = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * self._lengths / mean)
        gained: Scores = counted * (SATURATION + 1) / (counted + room[:, None])
        return gained


def asked_words(question: str) -> Asked:
    """The words of a question; those that say nothing are left out unless there are no others."""
    words = find_words(np.frombuffer(question.encode("utf-8", "replace"), np.uint8))
    plain, n_plain = words.hashes[: words.n_plain], words.n_plain
    common = np.isin(words.hashes, _hashes_of(STOP_WORDS))
    weights = np.ones(len(words.hashes))
    weights[n_plain:] = IDENTIFIER_WEIGHT
    kept = ~common if not common.all() else np.ones(len(common), bool)
    each, place = np.unique(words.hashes[kept], return_inverse=True)
    strongest = np.zeros(len(each))
    np.maximum.at(strongest, place, weights[kept])
    pairs = _joined(plain[:-1], plain[1:])[~common[: n_plain - 1] & ~common[1:n_plain]] if n_plain > 1 else plain[:0]
    synonyms, synonym_of = _synonyms(each)
    return Asked(each, strongest, np.unique(pairs), synonyms, synonym_of)


def _synonyms(asked: Hashes) -> tuple[Hashes, Scores]:
    """(other words for `asked` [Q], ascending [A]; which stand for which, [Q, A])."""
    known = _thesaurus()
    pairs = [(row, other) for row, word in enumerate(asked.tolist()) for other in known.get(word, ())]
    synonyms = np.unique(np.array([other for _, other in pairs], np.uint64))
    synonym_of = np.zeros((len(asked), len(synonyms)))
    for row, other in pairs:
        synonym_of[row, np.searchsorted(synonyms, np.uint64(other))] = 1
    return synonyms, synonym_of


@cache
def _thesaurus() -> dict[int, set[int]]:
    """The hash of each word of the thesaurus, and those of the words that share a group with it."""
    known: dict[int, set[int]] = {}
    for line in (ABBREVIATIONS + GROUPS).split("\n"):
        group = set(_hashes_of(line).tolist())
        for word in group:
            known.setdefault(word, set()).update(group - {word})
    return known


def best_line(text: str, question: str) -> tuple[int, str]:
    """(offset, stripped line) of the line that shares most words with the question; the first with text where none does."""
    asked = asked_words(question)
    best, chosen = -1.0, (0, "")
    for match in re.finditer(r"[^\n\f]*[^\s][^\n\f]*", text):
        here = asked_words(match.group())
        shared = 2 * asked.weights[np.isin(asked.words, here.words)].sum() + np.isin(asked.pairs, here.pairs).sum()
        if shared > best:
            best, chosen = float(shared), (match.start(), match.group().strip())
    return chosen


def cut(text: Bytes, borders: Numbers, begins: Numbers, ends: Numbers) -> Windows:
    """Documents of tokens begins..ends [n] cut in equal windows of about LENGTH tokens, at line ends where one is near.

    text, borders: the bytes of all tokens and where each token's begin.
    """
    counts = np.maximum(1, np.round((ends - begins) / LENGTH).astype(np.int64))
    counts[ends <= begins] = 0
    document = np.repeat(np.arange(len(begins)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    opens = begins[document] + number * (ends - begins)[document] // np.maximum(counts, 1)[document]
    # The tokens that a line or page begins with.
    newlines = np.flatnonzero((text == ord("\n")) | (text == ord("\f")))
    lines = np.unique(np.searchsorted(borders, newlines, side="right"))
    if len(lines):
        nearest = lines[np.maximum(np.searchsorted(lines, opens, side="right") - 1, 0)]
        near = (number > 0) & (nearest <= opens) & (opens - nearest < LENGTH // 2)
        opens = np.where(near, nearest, opens)
    fresh = np.append(True, opens[1:] > opens[:-1])[: len(opens)]
    opens, document = opens[fresh], document[fresh]
    closes = np.where(np.append(document[1:] == document[:-1], False), np.append(opens[1:], 0), ends[document])
    return Windows(opens, closes[: len(opens)], document)


def _hits(hashes: Hashes, asked: Hashes) -> tuple[Numbers, Numbers]:
    """(where among `hashes` one of `asked` [Q > 0], ascending, stands; which one)."""
    # Nearly all words are not asked for; sixteen bits of the hash tell most of them apart at once.
    likely = np.zeros(1 << 16, bool)
    likely[asked.astype(np.uint16)] = True
    hits = np.flatnonzero(likely[hashes.astype(np.uint16)])
    column = np.minimum(np.searchsorted(asked, hashes[hits]), len(asked) - 1)
    same = asked[column] == hashes[hits]
    return hits[same], column[same]


def _joined(first: Hashes, second: Hashes) -> Hashes:
    return first * np.uint64(0xD1B54A32D192ED03) + second


@cache
def _hashes_of(words: str) -> Hashes:
    return np.unique(find_words(np.frombuffer(words.encode(), np.uint8)).hashes)
