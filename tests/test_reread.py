"""Reading twice: which passage is read, what counts, and when it is not done at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfqa.answer import prompt
from gfqa.answer.citations import Span
from gfqa.answer.confidence import Confidence
from gfqa.answer.generate import Generated
from gfqa.ask import ask
from gfqa.cachestore import Store
from gfqa.ingest import run
from gfqa.memory import Memory, open_memory
from gfqa.passages import look, rank
from gfqa.reader import open_model
from gfqa.reread import can_reread, passage, read_again
from tests.conftest import make_model


@pytest.fixture(scope="module")
def rereader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "rereader", reread_tokens=40)


def memory_of(model: Path, home: Path, folder: Path, names: Sequence[str] = ("one", "two")) -> Memory:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.txt").write_text("".join(f"{name} line {i}\n" for i in range(30)))
    reader = open_model(model, "cpu")
    run([folder], name="c", reader=reader, home=home)
    store = Store.open(home)
    return open_memory(reader, store, ["c"])


@pytest.fixture
def memory(rereader: Path, home: Path, tmp_path: Path) -> Memory:
    return memory_of(rereader, home, tmp_path / "documents")


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


def test_reading_again_counts_and_streams_only_the_final_answer(memory: Memory) -> None:
    chunks: list[str] = []
    twice = ask(memory, "one line?", max_tokens=6, on_text=chunks.append)
    once = ask(memory, "which line?", max_tokens=6, reread=False)
    assert can_reread(memory)
    assert twice.found
    assert once.tokens["reread"] == 0
    assert twice.tokens["reread"] > 40
    assert "".join(chunks).strip() == twice.text
    assert twice.timing["reread"] > 0


ENOUGH = 0.25
"""The least likely answer that is given here, whatever the reader that ships asks for."""


def limited(memory: Memory, **limits: float) -> Memory:
    """The memory with a reader that asks for so much."""
    return replace(memory, reader=replace(memory.reader, score=Confidence(**limits)))


class Scripted:
    """Stands for the decode loop: passage after passage the given scores, and an answer where one is accepted."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.tried = list(scores), []

    def __call__(self, *arguments: Any, accept: Callable[[float], bool], **named: Any) -> Generated:
        score = self.scores[len(self.tried)]
        self.tried.append(len(arguments[2]))
        if not accept(score):
            return Generated("", (), False, score, None)
        return Generated("two line 7", (1,), True, score, None)


def test_the_first_passage_that_is_likely_to_answer_is_taken(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    question = "two line 7"
    ranking = rank(memory, question, look(memory, question))
    script = Scripted(1e-6, 0.99)
    memory = limited(memory, found=ENOUGH)
    monkeypatch.setattr("gfqa.reread.generate", script)
    chunks: list[str] = []
    second = read_again(memory, question, 0.01, ranking, max_tokens=4, on_text=chunks.append)
    assert second.generated is not None
    assert (second.passage, second.tokens, chunks) == (int(ranking.order[1]), sum(script.tried), ["two line 7"])
    coverage = float(ranking.evidence.coverage[ranking.order[1]])
    assert second.score == Confidence().of(0.01, 0.99, coverage) >= ENOUGH
    monkeypatch.setattr("gfqa.reread.generate", Scripted(0.999))
    answer = ask(memory, question, max_tokens=4)
    assert answer.text == question
    assert answer.citations[0].quote == question


def test_the_likeliest_answer_is_given_where_none_is_sure(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    question = "two line 7"
    ranking = rank(memory, question, look(memory, question))
    memory = limited(memory, found=0.0, sure=1.0)
    script = Scripted(1e-4, 0.9, 1e-3)
    monkeypatch.setattr("gfqa.reread.generate", script)
    chunks: list[str] = []
    second = read_again(memory, question, 0.01, ranking, max_tokens=4, on_text=chunks.append)
    coverage = ranking.evidence.coverage[ranking.order[:3]].tolist()
    scores = [Confidence().of(0.01, again, share) for again, share in zip((1e-4, 0.9, 1e-3), coverage, strict=True)]
    likeliest = scores.index(max(scores))
    assert (second.passage, second.score) == (int(ranking.order[likeliest]), scores[likeliest])
    # What was less likely was never told, and all three passages were read.
    assert (chunks, second.tokens, len(script.tried)) == (["two line 7"], sum(script.tried), 3)


def test_an_unlikely_answer_is_not_given(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = limited(memory, found=ENOUGH)
    monkeypatch.setattr("gfqa.reread.generate", Scripted(1e-6, 1e-4, 1e-5))
    chunks: list[str] = []
    for question in ("one zebra or two?", "zebra or giraffe?"):
        answer = ask(memory, question, max_tokens=6, on_text=chunks.append)
        assert (answer.text, answer.found, answer.citations, chunks) == ("", False, (), [])
        assert 0 < answer.score < ENOUGH
        # What shares no word with the question is not worth reading.
        assert (answer.tokens["reread"] > 40) == ("one" in question)


def test_confidence_grows_with_each_sign_and_stays_a_probability() -> None:
    confidence = Confidence().of
    for first in (0.0, 0.5, 1.0):
        for again in (0.0, 0.5, 1.0):
            assert 0 < confidence(first, again, 0.0) < confidence(first, again, 0.9) < 1
    assert confidence(0.2, 0.5, 0.5) < confidence(0.9, 0.5, 0.5)
    assert confidence(0.5, 0.2, 0.5) < confidence(0.5, 0.9, 0.5)


def test_models_that_were_not_trained_for_it_do_not(tiny_model: Path, home: Path, tmp_path: Path) -> None:
    memory = memory_of(tiny_model, home, tmp_path / "documents")
    assert not can_reread(memory)
    assert ask(memory, "which line?", max_tokens=4).tokens["reread"] == 0


def test_answers_of_punctuation_and_answers_that_go_round_are_none(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = iter(["* *", "src////", "* xy"])

    def scripted(*arguments: Any, **options: Any) -> Generated:
        assert options["accept"](0.9)
        return Generated(next(says), (1,), True, 0.9, None)

    monkeypatch.setattr("gfqa.reread.generate", scripted)
    memory = limited(memory, found=0.0, sure=0.0)
    shown: list[str] = []
    ranking = rank(memory, "one line 3", look(memory, "one line 3"))
    second = read_again(memory, "one line 3", 0.9, ranking, max_tokens=8, on_text=shown.append)
    assert second.generated is not None
    assert second.generated.text == "* xy"
    assert shown == ["* xy"]
    assert second.passage == ranking.order[2]
