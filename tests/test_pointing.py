"""The second look of a model with a pointer: verbatim answers, their places, and what is not given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gfqa import ask as use_case
from gfqa import pointing
from gfqa.answer import prompt
from gfqa.answer.citations import Span
from gfqa.answer.confidence import Confidence
from gfqa.answer.generate import Generated
from gfqa.ask import ask
from gfqa.cachestore import Store
from gfqa.ingest import run
from gfqa.memory import Memory, open_memory
from gfqa.model.pointer import Pointed
from gfqa.passages import Ranking, look, rank
from gfqa.pointing import (
    FIRST,
    PASSAGES,
    Second,
    asks_for_a_path,
    can_point,
    passage,
    point_out,
    repeats,
    trimmed,
    value_question,
    whole_flag,
    whole_numbers,
)
from gfqa.reader import open_model
from tests.conftest import make_model


def memory_of(model: Path, home: Path, folder: Path, names: Sequence[str] = ("one", "two")) -> Memory:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.txt").write_text("".join(f"{name} line {i}\n" for i in range(30)))
    reader = open_model(model, "cpu")
    run([folder], name="c", reader=reader, home=home)
    return open_memory(reader, Store.open(home), ["c"])


def limited(memory: Memory, **limits: float) -> Memory:
    """The memory with a reader that asks for so much."""
    return replace(memory, reader=replace(memory.reader, score=Confidence(**limits)))


@pytest.fixture(scope="module")
def pointing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "pointing", reread_tokens=40, pointer_width=8)


@pytest.fixture
def memory(pointing_model: Path, home: Path, tmp_path: Path) -> Memory:
    return memory_of(pointing_model, home, tmp_path / "documents")


def scripted(
    monkeypatch: pytest.MonkeyPatch, answerable: float | Sequence[float], first: int, last: int
) -> list[list[int]]:
    """The pointer says the same of every chain, but for the log odds where several are given; returns the chains it was
    asked about.
    """
    seen: list[list[int]] = []

    def found(memory: Memory, asked: int, chains: list[list[int]], begins: list[int]) -> Pointed:
        odds = [answerable] * len(chains) if isinstance(answerable, float) else answerable[len(seen) :][: len(chains)]
        seen.extend(chains)
        each = [torch.full((len(chains),), value) for value in (asked + first, asked + last)]
        return Pointed(*each, torch.zeros(len(chains)), torch.tensor(odds))

    monkeypatch.setattr("gfqa.pointing._pointed", found)
    return seen


def test_a_passage_is_the_header_and_whole_text_around_the_span(memory: Memory) -> None:
    decode = memory.reader.tokenizer.decode
    for chain in (0, 1):
        entry, begin = memory.origins[chain].entry, memory.starts[chain]
        text = decode(memory.ids[begin : begin + entry.n_tokens].tolist())
        for start in (0, entry.header_tokens, 100, entry.n_tokens - 1):
            ids = passage(memory, Span(chain, start, start + 1, 0.5))
            header, window = ids[: entry.header_tokens], ids[entry.header_tokens :]
            assert decode(header) == prompt.document_header(entry.path)
            assert 0 < len(window) <= 40
            assert decode(window) in text
            if start >= entry.header_tokens:
                assert text[start - 1] in decode(window)


def test_a_second_look_counts_and_streams_its_answer_alone(memory: Memory) -> None:
    chunks: list[str] = []
    twice = ask(memory, "one line?", on_text=chunks.append)
    assert can_point(memory)
    assert twice.found
    assert twice.tokens["reread"] > 40
    assert twice.timing["reread"] > 0
    assert chunks == [twice.text]


@pytest.mark.parametrize("settings", [{"reread_tokens": 40}, {"layout": "chained"}])
def test_without_a_pointer_the_first_look_answers(settings: dict[str, object], home: Path, tmp_path: Path) -> None:
    memory = memory_of(make_model(tmp_path / "model", **settings), home, tmp_path / "documents")
    assert not can_point(memory)
    for switch in (True, False):
        chunks: list[str] = []
        answer = ask(memory, "which line?", max_tokens=4, reread=switch, on_text=chunks.append)
        assert (answer.tokens["reread"], answer.tokens["generated"]) == (0, 4)
        assert "".join(chunks) == answer.text


def test_the_first_look_answers_where_the_second_is_switched_off(memory: Memory) -> None:
    chunks: list[str] = []
    once = ask(memory, "which line?", max_tokens=6, reread=False, on_text=chunks.append)
    assert (once.tokens["reread"], once.tokens["generated"]) == (0, 6)
    assert "".join(chunks) == once.text


def test_an_answer_stands_in_the_document_where_it_is_cited(memory: Memory) -> None:
    answer = ask(memory, "two line 7")
    tokenizer = memory.reader.tokenizer
    texts = [
        tokenizer.decode(memory.ids[start : start + origin.entry.n_tokens].tolist())
        for start, origin in zip(memory.starts, memory.origins, strict=True)
    ]
    assert answer.found
    assert any(answer.text in text for text in texts)
    assert answer.tokens["reread"] > 40
    first = answer.citations[0]
    assert answer.text.split("\n")[0].strip() in (first.quote if answer.text not in first.path else first.path)
    assert answer.citations[0].verified


def test_the_span_is_the_first_citation(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    question = "two line 7"
    ranking = rank(memory, question, look(memory, question))
    header = memory.origins[ranking.span(memory, int(ranking.order[0])).chain].entry.header_tokens
    chains = scripted(monkeypatch, 9.0, header + 4, header + 6)
    second = point_out(memory, question, 0.9, ranking, max_tokens=64)
    assert 1 < len(chains) <= FIRST  # Sure after the first few.
    assert second.generated is not None
    assert second.span is not None
    chain, begin = second.span.chain, memory.starts[second.span.chain]
    ids = memory.ids[begin + second.span.start : begin + second.span.end]
    assert tuple(ids.tolist()) == second.generated.ids
    answer = ask(memory, question)
    assert answer.text == second.generated.text
    assert answer.citations[0].path == memory.origins[chain].entry.path
    shorter = point_out(memory, question, 0.9, ranking, max_tokens=1)
    assert shorter.generated is not None
    assert len(shorter.generated.ids) == 1


def test_more_passages_are_read_where_none_of_the_first_is_sure(
    pointing_model: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = memory_of(pointing_model, home, tmp_path / "many", ("one", "two", "three", "four", "five", "six"))
    question = "line 7"
    ranking = rank(memory, question, look(memory, question))
    hopeful = [n for n in ranking.order[:PASSAGES].tolist() if ranking.evidence.coverage[n] > 0.2]
    read = {}
    for sure in (0.0, 1.0):
        chains = scripted(monkeypatch, 2.0, 12, 13)
        asked = limited(memory, found=0.1, sure=sure)
        second = point_out(asked, question, 0.9, ranking, max_tokens=8)
        assert second.generated is not None
        assert second.tokens == sum(map(len, chains))
        read[sure] = len(chains)
    assert FIRST == read[0.0] < read[1.0] <= PASSAGES
    assert read[1.0] >= len(hopeful) > FIRST


def test_the_likeliest_span_is_given_where_none_is_sure(
    pointing_model: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = memory_of(pointing_model, home, tmp_path / "many", ("one", "two", "three", "four"))
    question, odds = "line 7", [-2.0, 0.5, -1.0, 0.0, -3.0, 4.0] + [-3.0] * (PASSAGES - 6)
    ranking = rank(memory, question, look(memory, question))
    numbers = ranking.order[:PASSAGES].tolist()
    chains = scripted(monkeypatch, odds, 12, 13)
    second = point_out(limited(memory, found=0.0, sure=1.0), question, 0.3, ranking, max_tokens=8)
    probabilities = torch.tensor(odds).sigmoid().tolist()
    scores = [
        Confidence().of(0.3, probability, float(ranking.evidence.coverage[number]))
        for number, probability in zip(numbers, probabilities, strict=False)
    ]
    likeliest = scores.index(max(scores))
    assert likeliest > 0
    assert second.generated is not None
    assert (second.passage, second.score) == (numbers[likeliest], pytest.approx(scores[likeliest]))
    # Every passage was read.
    assert second.tokens == sum(map(len, chains))
    assert len(chains) == len(numbers) > FIRST


def test_an_unlikely_span_is_not_given(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, -30.0, 5, 6)
    told: list[str] = []
    for question in ("one zebra or two?", "zebra or giraffe?"):
        answer = ask(limited(memory, found=0.25), question, on_text=told.append)
        assert (answer.text, answer.found, answer.citations, told) == ("", False, (), [])
        assert 0 < answer.score < 0.25
        # What shares no word with the question is not worth reading.
        assert (answer.tokens["reread"] > 40) == ("one" in question)


def test_a_span_of_no_letter_or_digit_is_no_answer(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    header = len(prompt.document_header("one.txt"))
    told: list[str] = []
    dot = header - len("txt\n")
    # The end of the header's line, the dot in the path, and that with a letter behind it.
    for first, last, found in ((header, header, False), (dot, dot, False), (dot, dot + 1, True)):
        scripted(monkeypatch, 9.0, first, last)
        answer = ask(limited(memory, found=0.0, sure=0.0), "line 7", on_text=told.append)
        assert (answer.found, told) == (found, [answer.text] if found else [])


def test_an_answer_in_the_path_has_the_passage_as_its_place(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, 9.0, 1, 3)
    answer = ask(memory, "two line 7")
    assert answer.citations[0].path.startswith(("one", "two"))
    assert answer.citations[0].verified


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("at 18:07.", "18", "18:07"),
        ("at 18:07.", "07", "18:07"),
        ("at 18:07.", "7", "18:07"),
        ("version 3.11.4 of", "3", "3.11.4"),
        ("some 1,250,000 people", "250", "1,250,000"),
        ("in 1998.", "98", "1998"),
        ("1914-1918", "1914", "1914"),
        ("from 3, 4 and 5", "3", "3"),
        ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1"),
        ("12:345", "12", "12"),
        ("five of 7", "five", "five"),
        ("7", "7", "7"),
        ("a 18:07", "a 1", "a 18:07"),
    ],
)
def test_no_number_is_cut(text: str, span: str, expected: str) -> None:
    """Tokens of one character and of two; the question's last one is a number that is none of the passage's."""
    for size in (1, 2):
        parts = [b"<q>", b"9", *(text[at : at + size].encode() for at in range(0, len(text), size))]
        at = text.index(span)
        first, end = 2 + at // size, 2 + -(-(at + len(span)) // size)
        found = b"".join(parts[slice(*whole_numbers(parts, first, end, 2))]).decode()
        assert found.strip() == expected if size == 1 else expected in found


@pytest.mark.parametrize(
    ("parts", "first", "expected"),
    [
        (["use", " `", "--", "sort", " path", "`"], 3, "--sort"),
        (["use", " --", "sort", " path"], 2, " --sort"),
        (["-", "v", " for"], 1, "-v"),
        (["well", "-", "known"], 2, "known"),
        (["a", " -- ", "note"], 2, "note"),
        (["---", "rule"], 1, "rule"),
        (["x", " -", "5"], 2, "5"),
    ],
)
def test_a_flag_keeps_its_dashes(parts: list[str], first: int, expected: str) -> None:
    pieces = [b"<q>", *(part.encode() for part in parts)]
    found = whole_flag(pieces, first + 1, 1)
    assert b"".join(pieces[found : first + 2]).decode() == expected


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("How many redirects are followed?", "followRedirects", True),
        ("How many redirects are followed?", "boolean followRedirects", False),
        ("What user agent is sent by default?", '"User-Agent"', True),
        ("Which variable says where my netrc is?", "NETRC", False),
        ("What is the default timeout?", "DEFAULT_TIMEOUT", False),
        ("Is the default red or blue?", "blue", False),
        ("Which port?", "8471", False),
        ("Which port?", "=>", False),
    ],
)
def test_an_answer_that_repeats_the_question_is_known(question: str, answer: str, expected: bool) -> None:
    assert repeats(question, answer) is expected
    limits = Confidence()
    assert limits.of(0.5, 0.9, 0.8, repeated=True) < limits.of(0.5, 0.9, 0.8)


def test_a_span_outside_of_what_may_be_answered_is_left_alone() -> None:
    assert whole_numbers([b"1", b"2", b"3"], 0, 1, 1) == (0, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' ("Paris', "Paris"), ("Paris),", "Paris"), ('"a b"', '"a b"'), ("f(x)", "f(x)"), ("(x) y", "(x) y"), ("it's", "it's"),
        ("1.5;", "1.5"), ("“so”", "“so”"), ("`code", "code"), ("[1, 2]", "[1, 2]"), ("", ""), ('"', ""), ("C++", "C++"),
        ("__enter__(", "__enter__"), ('="localhost"', '"localhost"'), (") -> int", "-> int"),
        ("==1.2", "==1.2"), ("dGE=", "dGE="), ("=> x", "=> x"), ("body())", "body()"), ("((a, b)", "(a, b)"),
        ("f(a[0]]", "f(a[0]"), ("1) one", "1) one"), ("**1.96.0**", "1.96.0"), ("**kwargs", "**kwargs"), ("****", "****"),
    ],
)  # fmt: skip
def test_ends_are_trimmed(text: str, expected: str) -> None:
    assert trimmed(text) == expected


@pytest.mark.parametrize(
    ("question", "answer", "next_question"),
    [
        ("how many jobs at most?", "MAX_JOBS", "What is the value of MAX_JOBS?"),
        ("what is the default port", "DEFAULT_PORT_", None),
        ("What's the default port?", "DEFAULT_PORT", "What is the value of DEFAULT_PORT?"),
        ("which constant limits the jobs? what limit?", "MAX_JOBS", None),
        ("how large is MAX_JOBS?", "MAX_JOBS", None),
        ("how many jobs?", "12", None),
        ("how long is the header?", "HTTP", None),
        ("who sets the port?", "SET_PORT", None),
    ],
)
def test_a_constant_that_stands_for_an_amount_is_asked_for(
    question: str, answer: str, next_question: str | None
) -> None:
    assert value_question(question, answer) == next_question


@pytest.mark.parametrize("value", ["12", ""])
def test_the_amount_takes_the_place_of_its_name(memory: Memory, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    asked: list[str] = []

    def pointed(memory: Memory, question: str, first: float, ranking: Ranking, *, max_tokens: int) -> Second:
        asked.append(question)
        text = value if len(asked) > 1 else "MAX_JOBS"
        generated = Generated(text, (5, 6), True, 0.9, None) if text else None
        return Second(generated, 0 if text else None, 0.5 if len(asked) > 1 else 0.7, 100, Span(0, 4, 6, 1.0))

    monkeypatch.setattr(use_case, "point_out", pointed)
    told: list[str] = []
    answer = ask(memory, "how many lines at most?", on_text=told.append)
    assert asked == ["how many lines at most?", "What is the value of MAX_JOBS?"]
    assert told == [answer.text] == [value or "MAX_JOBS"]
    assert answer.score == (0.5 if value else 0.7)
    assert answer.tokens["reread"] == 200
    assert answer.citations


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("Where is the port set?", True),
        ("which file sets the port", True),
        ("locate Server", True),
        ("who imports json?", True),
        ("How do I find the module that is used?", True),
        ("what is the path of the log?", True),
        ("What are the permissions of the history file?", False),
        ("how large is the file?", False),
        ("who wrote the report?", False),
        ("Does it read the document twice?", False),
    ],
)
def test_what_may_be_answered_with_a_path(question: str, asks: bool) -> None:
    assert asks_for_a_path(question) == asks


def test_no_span_begins_before_the_text_where_no_path_is_asked_for(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[int]] = []
    plain = pointing.point

    def spied(*arguments: Any, begins: torch.Tensor) -> Pointed:
        begun.append(begins.tolist())
        found = plain(*arguments, begins=begins)
        assert (found.first >= begins).all()
        return found

    monkeypatch.setattr(pointing, "point", spied)
    for question in ("Where is line 7 of one?", "How many lines has one?"):
        ask(limited(memory, found=0.0), question)
    tokens = {memory.origins[chain].entry.header_tokens for chain in (0, 1)}
    assert len(set(begun[0])) == 1  # after the question
    asked = len(prompt.asking_ids(memory.reader.tokenizer, "How many lines has one?"))
    assert set(begun[-1]) <= {asked + header for header in tokens}
