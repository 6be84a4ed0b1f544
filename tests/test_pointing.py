"""The second look of a model with a pointer: verbatim answers, their places, and what is not given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gfqa.ask import ask
from gfqa.memory import Memory
from gfqa.model.pointer import Pointed
from gfqa.passages import look, rank
from gfqa.pointing import FIRST, PASSAGES, point_out, trimmed
from tests.conftest import make_model
from tests.test_reread import limited, memory_of


@pytest.fixture(scope="module")
def pointing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "pointing", reread_tokens=40, pointer_width=8)


@pytest.fixture
def memory(pointing_model: Path, home: Path, tmp_path: Path) -> Memory:
    return memory_of(pointing_model, home, tmp_path / "documents")


def scripted(monkeypatch: pytest.MonkeyPatch, answerable: float, first: int, last: int) -> list[list[int]]:
    """The pointer says the same of every chain; returns the chains it was asked about."""
    seen: list[list[int]] = []

    def found(memory: Memory, asked: int, chains: list[list[int]]) -> Pointed:
        seen.extend(chains)
        each = [torch.full((len(chains),), value) for value in (asked + first, asked + last)]
        return Pointed(*each, torch.zeros(len(chains)), torch.full((len(chains),), answerable))

    monkeypatch.setattr("gfqa.pointing._pointed", found)
    return seen


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
    told: list[str] = []
    second = point_out(memory, question, 0.9, ranking, max_tokens=64, on_text=told.append)
    assert 1 < len(chains) <= FIRST  # Sure after the first few.
    assert second.generated is not None
    assert second.span is not None
    assert told == [second.generated.text]
    chain, begin = second.span.chain, memory.starts[second.span.chain]
    ids = memory.ids[begin + second.span.start : begin + second.span.end]
    assert tuple(ids.tolist()) == second.generated.ids
    answer = ask(memory, question)
    assert answer.text == second.generated.text
    assert answer.citations[0].path == memory.origins[chain].entry.path
    shorter = point_out(memory, question, 0.9, ranking, max_tokens=1, on_text=told.append)
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
        second = point_out(asked, question, 0.9, ranking, max_tokens=8, on_text=lambda chunk: None)
        assert second.generated is not None
        assert second.tokens == sum(map(len, chains))
        read[sure] = len(chains)
    assert FIRST == read[0.0] < read[1.0] <= PASSAGES
    assert read[1.0] >= len(hopeful) > FIRST


def test_an_unlikely_span_is_not_given(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, -30.0, 5, 6)
    told: list[str] = []
    answer = ask(memory, "line zebra", on_text=told.append)
    assert (answer.text, answer.found, told) == ("", False, [])
    assert 0 < answer.score < 0.25


def test_an_answer_in_the_path_has_the_passage_as_its_place(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, 9.0, 1, 3)
    answer = ask(memory, "two line 7")
    assert answer.citations[0].path.startswith(("one", "two"))
    assert answer.citations[0].verified


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' ("Paris', "Paris"), ("Paris),", "Paris"), ('"a b"', '"a b"'), ("f(x)", "f(x)"), ("(x) y", "(x) y"), ("it's", "it's"),
        ("1.5;", "1.5"), ("“so”", "“so”"), ("`code", "code"), ("[1, 2]", "[1, 2]"), ("", ""), ('"', ""), ("C++", "C++"),
    ],
)  # fmt: skip
def test_ends_are_trimmed(text: str, expected: str) -> None:
    assert trimmed(text) == expected
