"""E7: what is before the target lies in the memory, as long as asked for; the loss is the model's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gfqa.errors import UsageError
from gfqa.evaluation import loss
from gfqa.evaluation.answerer import Document, prefill_all
from gfqa.reader import Reader, open_model


@pytest.fixture(scope="module")
def reader(request: pytest.FixtureRequest) -> Reader:
    return open_model(request.getfixturevalue("tiny_model"), "cpu")


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> list[Document]:
    documents = [Document(f"{i:02}.txt", f"Paragraph {i} says that {i * 37} is a number. " * 8) for i in range(12)]
    monkeypatch.setattr(loss, "all_paragraphs", lambda: documents)
    return documents


def test_every_length_has_its_loss_on_the_same_targets(reader: Reader, stream: list[Document]) -> None:
    figures = loss.by_context(reader, (200, 400), targets=3)
    assert set(figures["curve"]) == {"0", "200", "400"}
    assert figures["n"] == 3
    # An untrained model is about as surprised as chance.
    for value in figures["curve"].values():
        assert value == pytest.approx(math.log(reader.config.vocab_size), rel=0.2)
    assert len({figures["loss_0"], figures["loss_200"], figures["loss_400"], figures["loss_unrelated_200"]}) == 4
    assert figures == loss.by_context(reader, (400, 200), targets=3)


def test_context_is_the_last_tokens_before_the_target(reader: Reader, stream: list[Document]) -> None:
    chains = prefill_all(reader, stream[:4])
    sizes = [len(chain.ids) for chain in chains]
    context = loss._context(chains, sizes[3] + 5)
    assert [len(chain.ids) for chain in context] == [5, sizes[3]]
    assert context[0].ids.tolist() == chains[2].ids[-5:].tolist()
    assert torch.equal(context[0].keys, chains[2].keys[-5:])
    assert loss._context(chains, 0) == []
    assert len(loss._context(chains, 10**6)) == 4


def test_no_context_is_the_plain_model(reader: Reader) -> None:
    ids = reader.tokenizer.encode("A line of text to be surprised at.")
    logits, _ = reader.model(torch.tensor([ids]))
    by_hand = -torch.log_softmax(logits[0, :-1], -1).gather(1, torch.tensor(ids[1:])[:, None]).sum()
    assert loss._loss(reader, [], ids) == pytest.approx(float(by_hand), rel=1e-5)


def test_too_little_text_is_told(reader: Reader, stream: list[Document], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too few for a context of 1,000,000"):
        loss.by_context(reader, (1_000_000,))
    with pytest.raises(UsageError, match="not a folder"):
        loss.by_context(reader, (10,), repositories=[tmp_path / "none"])
