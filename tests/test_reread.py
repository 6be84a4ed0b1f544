"""Reading twice: which passage is read, what counts, and when it is not done at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfqa.answer import prompt
from gfqa.answer.citations import Span
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


def memory_of(model: Path, home: Path, folder: Path) -> Memory:
    folder.mkdir()
    for name in ("one", "two"):
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
    twice = ask(memory, "which line?", max_tokens=6, on_text=chunks.append)
    once = ask(memory, "which line?", max_tokens=6, reread=False)
    assert can_reread(memory)
    assert once.tokens["reread"] == 0
    assert twice.tokens["reread"] > 40
    assert "".join(chunks).strip() == twice.text
    assert twice.timing["reread"] > 0


def test_the_passages_of_both_searches_are_read(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best by words and attention together are tried in order, and the one that answers is cited first."""
    tried: list[int] = []

    def only_the_second(decode: object, tokenizer: object, ids: list[int], **named: object) -> Generated:
        tried.append(len(ids))
        return (
            Generated("two line 7", (1,), True, 0.9, None) if len(tried) == 2 else Generated("", (), False, 0.1, None)
        )

    monkeypatch.setattr("gfqa.reread.generate", only_the_second)
    ranking = rank(memory, "two line 7", look(memory, "two line 7"))
    second = read_again(memory, "two line 7", ranking, max_tokens=4, on_text=lambda chunk: None)
    assert second.passage == int(ranking.order[1])
    assert second.tokens == sum(tried)
    tried.clear()
    assert ask(memory, "two line 7", max_tokens=4).text == "two line 7"


def test_the_first_look_answers_when_no_passage_does(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    once = ask(memory, "which line?", max_tokens=6, reread=False)
    nothing = Generated("", (), False, 0.1, None)
    monkeypatch.setattr("gfqa.reread.generate", lambda *_args, **_named: nothing)
    chunks: list[str] = []
    twice = ask(memory, "which line?", max_tokens=6, on_text=chunks.append)
    assert (twice.text, twice.found) == (once.text, once.found)
    assert twice.tokens["generated"] == once.tokens["generated"]
    assert twice.tokens["reread"] > 40
    assert "".join(chunks).strip() == twice.text


def test_models_that_were_not_trained_for_it_do_not(tiny_model: Path, home: Path, tmp_path: Path) -> None:
    memory = memory_of(tiny_model, home, tmp_path / "documents")
    assert not can_reread(memory)
    assert ask(memory, "which line?", max_tokens=4).tokens["reread"] == 0
