"""Windows cover the documents, BM25 ranks them, paths and pairs count; against a plain computation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gfqa.answer import lexical
from gfqa.answer.lexical import LENGTH, LexicalIndex, best_line
from gfqa.answer.prompt import document_ids
from gfqa.tokenizer import load_tokenizer

BYTES = load_tokenizer("bytes")


def index(**texts: str) -> tuple[LexicalIndex, np.ndarray, list[int], list[int]]:
    parts = [document_ids(BYTES, path, text) for path, text in texts.items()]
    starts = np.cumsum([0, *(len(ids) for ids, _ in parts)])[:-1].tolist()
    ids = np.array([id for part, _ in parts for id in part], np.uint16)
    headers = [header for _, header in parts]
    return LexicalIndex(ids, starts, headers, BYTES), ids, starts, headers


def test_windows_hold_every_token_once_and_open_at_lines() -> None:
    lines = "".join(f"line {i} of it\n" for i in range(90))
    made, ids, starts, headers = index(long=lines, empty="", short="one\n", flat="x" * 1000)
    windows = made.windows
    held = [list(range(b, e)) for b, e in zip(windows.begins, windows.ends, strict=True)]
    bodies = [set(range(s + h, e)) for s, h, e in zip(starts, headers, [*starts[1:], len(ids)], strict=True)]
    assert sorted(token for window in held for token in window) == sorted(set().union(*bodies))
    for window, number in zip(held, windows.document, strict=True):
        assert set(window) <= bodies[number]
        assert 0 < len(window) < 2 * LENGTH
    opens = [b for b, number in zip(windows.begins, windows.document, strict=True) if number == 0][1:]
    assert len(opens) >= 5
    assert all(ids[b - 1] == ord("\n") for b in opens)


def test_scores_are_bm25(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "PAIR_WEIGHT", 0.0)
    texts = {"p": "red fish blue fish", "q": "blue bird", "r": "green tree in the garden over there"}
    made, *_ = index(**texts)
    lengths = [4, 2, 7]
    mean, k, b = sum(lengths) / 3, lexical.SATURATION, lexical.LENGTH_WEIGHT

    def weight(holding: int) -> float:
        return math.log1p((3 - holding + 0.5) / (holding + 0.5))

    def gain(count: int, length: int) -> float:
        return count * (k + 1) / (count + k * (1 - b + b * length / mean))

    fish, blue, stone = weight(1), weight(2), weight(0)
    found = made.search("Which fishes are the blue stones?")
    expected = [gain(2, 4) * fish + gain(1, 4) * blue, gain(1, 2) * blue, 0.0]
    assert found.score == pytest.approx(expected)
    fish, blue, stone = (math.log1p((3 + lexical.PRIOR - h + 0.5) / (h + 0.5)) for h in (2, 3, 1))
    total = fish + blue + stone
    assert found.coverage == pytest.approx([(fish + blue) / total, blue / total, 0.0])


def test_neighbours_and_paths_decide_between_equal_words() -> None:
    made, *_ = index(one="the port number of the host", two="a number for the harbour port of it")
    scores = made.search("port number").score
    assert scores[0] > scores[1]
    made, *_ = index(server="the limit is ten", client="the limit is six")
    scores = made.search("What is the limit of the client?").score
    assert scores[1] > scores[0]


def test_nothing_in_common_scores_nothing() -> None:
    made, *_ = index(one="alpha beta", two="gamma delta")
    for question in ("omega?", "", "what is it"):
        found = made.search(question)
        assert found.score.tolist() == [0.0, 0.0]
        assert found.coverage.tolist() == [0.0, 0.0]
    empty = LexicalIndex(np.zeros(0, np.uint16), [], [], BYTES)
    assert len(empty.search("alpha").score) == 0


def test_other_words_for_the_same_count_less_and_cover_nothing() -> None:
    made, *_ = index(one="the max of it is ten", two="the maximum of it is ten", three="the size of it is ten")
    found = made.search("maximum of it")
    assert found.score[1] > found.score[0] > found.score[2] == 0.0
    assert found.coverage.tolist() == [0.0, 1.0, 0.0]
    assert made.search("max of it").score[1] > 0


def test_names_that_stand_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    made, *_ = index(guide="the retry_limit of a postgresql server\n", Prague="not here\n")
    asked = "is the retryLimit of PostgreSQL in Prague or of MySQL in Rome, Rome and MaxLimit?"
    assert made.unknown_names(asked) == ()
    monkeypatch.setattr(lexical, "MANY", 2)
    assert made.unknown_names(asked) == ("MySQL", "Rome", "MaxLimit")
    assert made.unknown_names("what is the limit?") == ()


def test_the_best_line_of_a_passage() -> None:
    text = "\nfirst line\n  the retry limit is 7\nlast of all\fnext page\n"
    assert best_line(text, "What is the retry limit?") == (12, "the retry limit is 7")
    assert best_line(text, "nothing like that") == (1, "first line")
    assert best_line(text, "a page") == (text.index("next"), "next page")
    assert best_line("", "x") == (0, "")
