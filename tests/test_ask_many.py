"""Questions that share passes get the answers they would get alone, each from a state of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gfqa import ask as use_case
from gfqa import batch
from gfqa.answer.generate import generate, generate_many
from gfqa.answer.prompt import question_ids
from gfqa.cachestore import Store
from gfqa.errors import UsageError
from gfqa.ingest import run
from gfqa.kernels.gold_attention.reference import LayerMemory, gold_attention
from gfqa.memory import Memory
from gfqa.model.state import BlockState, ModelState

QUESTIONS = ["Which port?", "q", "How many retries are there in all?", "Which port?", "Who?"]


def memory_of(model: Path, project: Path, home: Path) -> Memory:
    reader = use_case.open_model(model, "cpu")
    run([project], reader=reader, home=home)
    return use_case.open_memory(reader, Store.open(home), ["proj"])


@pytest.mark.parametrize("kind", ["tiny_model", "other_model", "chained_model", "recurrent_model"])
def test_together_as_alone(kind: str, request: pytest.FixtureRequest, project: Path, home: Path) -> None:
    memory = memory_of(request.getfixturevalue(kind), project, home)
    ids = [question_ids(memory.tokenizer, question) for question in QUESTIONS]
    calls: list[tuple[int, ...]] = []

    def decode(step, state, attention):  # type: ignore[no-untyped-def]
        calls.append(tuple(step.shape))
        return memory.decode(step, state, attention)

    together = generate_many(decode, memory.tokenizer, ids, memory.state, max_tokens=6)
    assert calls[0] == (len(QUESTIONS), min(map(len, ids)))
    assert sum(rows * width for rows, width in calls) < sum(map(len, ids)) + 6 * len(ids)  # nothing is padding
    for one, tokens in zip(together, ids, strict=True):
        alone = generate(memory.decode, memory.tokenizer, tokens, memory.state, max_tokens=6)
        assert (one.ids, one.text, one.found) == (alone.ids, alone.text, alone.found)
        assert one.score == pytest.approx(alone.score, abs=1e-5)
        if alone.mass is None:
            assert one.mass is None
        else:
            torch.testing.assert_close(one.mass, alone.mass, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_answers_come_in_order(
    rows: int, tiny_model: Path, project: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_case, "ROWS", rows)
    memory = memory_of(tiny_model, project, home)
    many = use_case.ask_many(memory, QUESTIONS, max_tokens=4)
    assert [answer.question for answer in many] == QUESTIONS
    for answer, question in zip(many, QUESTIONS, strict=True):
        alone = use_case.ask(memory, question, max_tokens=4)
        assert (answer.text, answer.tokens) == (alone.text, alone.tokens)
        assert [c.place for c in answer.citations] == [c.place for c in alone.citations]
    assert use_case.ask_many(memory, []) == []
    with pytest.raises(UsageError):
        use_case.ask_many(memory, ["q", " "])


def test_a_seed_draws_the_same_in_company(tiny_model: Path, project: Path, home: Path) -> None:
    memory = memory_of(tiny_model, project, home)
    how = {"max_tokens": 8, "temperature": 1.0, "seed": 3}
    alone = [use_case.ask(memory, question, **how).text for question in QUESTIONS]
    assert [answer.text for answer in use_case.ask_many(memory, QUESTIONS, **how)] == alone


def test_over_a_large_memory_fewer_questions_share(
    tiny_model: Path, project: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = memory_of(tiny_model, project, home)
    monkeypatch.setattr(use_case, "MASSES", 2 * len(memory.ids))
    seen = []
    plain = use_case.generate_many
    monkeypatch.setattr(
        use_case,
        "generate_many",
        lambda decode, tok, ids, *a, **k: seen.append(len(ids)) or plain(decode, tok, ids, *a, **k),
    )
    use_case.ask_many(memory, QUESTIONS, max_tokens=1)
    assert seen == [2, 2, 1]


def test_rows_of_a_state() -> None:
    block = BlockState(wkv=torch.arange(3.0).view(3, 1, 1, 1), att_shift=torch.arange(3.0).view(3, 1))
    state = ModelState((block, BlockState()), ids=torch.arange(3).view(3, 1), position=7)
    chosen = state.rows(torch.tensor([2, 0, 2]))
    assert chosen.ids is not None
    assert chosen.ids.flatten().tolist() == [2, 0, 2]
    assert chosen.blocks[0].wkv.flatten().tolist() == [2, 0, 2]  # type: ignore[union-attr]
    assert chosen.blocks[0].ffn_shift is None
    assert chosen.position == 7


@pytest.mark.parametrize("tile", [4, 64])
def test_attention_of_a_batch_is_that_of_its_rows(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfqa.kernels.gold_attention.reference.TILE", tile)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 8), torch.randn(3, 2, 5, 8), torch.randn(3, 2, 5, 8)
    memory = LayerMemory(torch.randn(2, 11, 8), torch.randn(2, 4, 8), torch.arange(11) % 4)
    out, mass = gold_attention(q, k, v, memory, want_mass=True)
    assert mass is not None
    for row in range(3):
        part = slice(row, row + 1)
        alone, alone_mass = gold_attention(q[part], k[part], v[part], memory, want_mass=True)
        torch.testing.assert_close(out[part], alone)
        torch.testing.assert_close(mass[part], alone_mass)


def test_a_batch_says_how_far_it_is(tiny_model: Path, project: Path, home: Path) -> None:
    said: list[tuple[int, int]] = []
    results: list[int] = []
    lines = "Which port?\n\nq\n" + "Who?\n" * 3

    def progress(done: int, total: int) -> None:
        said.append((done, total))
        assert not results  # all of them are in one window

    batch.run(
        memory_of(tiny_model, project, home),
        lines,
        lambda r: results.append(r.line),
        on_progress=progress,
        max_tokens=2,
    )
    assert said == [(n, 5) for n in range(1, 6)]
    assert results == [1, 3, 4, 5, 6]
