"""Batched answers are those of `gfqa ask`, and the command gives JSON-able results; on a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gfqa.errors import ModelError, UsageError
from gfqa.evaluation.answerer import AskAnswerer, BatchAnswerer, Document, prefill, prefill_all
from gfqa.evaluation.measures import Result, measure, run
from gfqa.evaluation.options import parse
from gfqa.reader import open_model

DOCUMENTS = [
    Document(f"notes/{i}.txt", f"Line one of {i}.\nThe code for {name} is {i}{i}7.\n" * (i + 1))
    for i, name in enumerate(("Oslo", "Lima", "Cairo"))
]
QUESTIONS = [
    "What is the code for Oslo?",
    "What is the code for Lima?",
    "Which one is first?",
    "code?",
    "What is the code for Lima?",
]


def test_batches_answer_as_ask_does(tiny_model: Path) -> None:
    reader = open_model(tiny_model, "cpu")
    alone, together = AskAnswerer(reader, max_tokens=6), BatchAnswerer(reader, max_tokens=6, batch=2)
    memory = alone.read(DOCUMENTS)
    expected = alone.answer(memory, QUESTIONS)
    found = together.answer(together.read(DOCUMENTS), QUESTIONS)
    assert [answer.text for answer in found] == [answer.text for answer in expected]
    assert [answer.score for answer in found] == pytest.approx([answer.score for answer in expected], abs=1e-5)
    assert [answer.citations for answer in found] == [answer.citations for answer in expected]
    assert any(answer.citations for answer in found)


def test_padded_prefill_equals_one_by_one(other_model: Path) -> None:
    reader = open_model(other_model, "cpu")
    for document, chain in zip(DOCUMENTS, prefill_all(reader, DOCUMENTS), strict=True):
        single = prefill(reader, document)
        assert chain.entry == single.entry
        assert (chain.keys - single.keys).abs().max() < 0.05  # one step of int8
        assert chain.ids.tolist() == single.ids.tolist()


def test_command_and_program_agree(tiny_model: Path) -> None:
    [result] = measure(["squad"], tiny_model, "cpu", limit=2, batch=4)
    assert result["figures"]["n"] == 2
    assert result["command"] == f"gfqa eval squad --model {tiny_model} --device cpu --limit 2 --batch 4"
    shown: list[Result] = []
    run(parse(result["command"].split()[2:]), shown.append)
    assert json.loads(json.dumps(shown))[0]["figures"] == result["figures"]


def test_look_up_of_a_repository_gives_json(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("LIMIT = 5\n\n\ndef read(path, mode='fast'):\n    return path\n")
    [result] = measure(["lookup"], tiny_model, "cpu", repo=[tmp_path], tokens=[50], limit=2, batch=4)
    figures = json.loads(json.dumps(result))["figures"][f"{tmp_path.name}@50"]
    assert figures["n"] == 2
    assert figures["files"] == 1


def test_unknown_measure_and_missing_repository_are_told(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="nothing"):
        measure(["nothing"], tiny_model, "cpu")
    with pytest.raises(UsageError, match="needs a repository"):
        measure(["lookup"], tiny_model, "cpu")


def test_chained_models_are_refused(chained_model: Path) -> None:
    with pytest.raises(ModelError, match="independent"):
        AskAnswerer(open_model(chained_model, "cpu"))
