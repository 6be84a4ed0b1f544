"""Rows hold what they say: answers where the documents have them, questions as the application asks them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from gfqa.answer.prompt import document_ids, question_ids
from gfqa.tokenizer import load_tokenizer
from gfqa.training.asking import AskingShape, asked_of
from gfqa.training.leaks import Held
from gfqa.training.packs import UnitFiles, open_units, read_pack
from gfqa.training.pool import Context, ContextShape, Pool, compose, unit_of
from gfqa.training.questions.places import answer_offset
from gfqa.training.questions.units import BACKWARD_KINDS, question, unit, write_jsonl
from gfqa.training.rows import RowShape, question_row
from gfqa.training.synthetic_units import SyntheticUnits
from gfqa.training.text_packs import pack_texts
from gfqa.training.unit_packs import pack_units

from .kit import TOKENIZER, articles, opened, prose, repository

TOKENS = load_tokenizer(TOKENIZER)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    settings = opened(tmp_path_factory.mktemp("rows"))
    return Pool(UnitFiles(Path(settings["questions"])), TOKENS, {"synthetic": 0.2}, 2048)


def test_packs_give_units_back(pool: Pool) -> None:
    units = [pool.unit(i) for i in range(len(pool.files))]
    assert [unit.path for unit in units][:3] == ["shop/pricing.py", "tests/test_shop.py", "shop/other.py"]
    assert units[0].text == repository()[0]["text"]
    assert units[3].text == articles()[0]["text"]
    whole, header = document_ids(TOKENS, "shop/pricing.py", repository()[0]["text"])
    assert units[0].ids.tolist() == whole
    assert units[0].header == header


def test_the_place_is_the_questions_own() -> None:
    text = "size = 5\n\ndef make(size=1):\n    pass\n\ndef other(size=5):\n    pass\n"
    at = answer_offset(text, question("default of size in other?", "5", "param_default", line=6, names=["other"]))
    assert text[:at].count("\n") == 5
    story = "In 1962 it rained. " + "Nothing happened then. " * 30 + "The field station was opened in 1962 by the sea."
    at = answer_offset(story, question("When was the field station opened?", "1962", "span"))
    assert at == story.rindex("1962")
    made = unit_of(unit("code", "g", "a.py", text, [question("x", "5", "param_default", line=6)]), TOKENS)
    assert TOKENS.decode(made.ids[made.qas[0]["at"] :].tolist()).startswith("5):\n    pass\n")


def test_users_of_a_name_stand_beside_its_definition(pool: Pool) -> None:
    asked = pool.unit(0).qas
    assert [pool.unit(i).path for i in asked[0]["users"]] == ["tests/test_shop.py"]
    shape, found = ContextShape(alone=0.0, users=1.0, near=1.0), 0
    for seed in range(40):
        context = compose(pool, shape, 400, 2048, random.Random(seed), None)
        if context.asked_first is not None:
            found += 1
            assert {"shop/pricing.py", "tests/test_shop.py"} <= {unit.path for unit in context.units}
            # The question that the documents were chosen for comes first, and has its answer there.
            asked = next(asked_of(pool, context, 6, AskingShape(unanswerable=1.0, backward=1.0), random.Random(seed)))
            assert (asked.question, asked.answer in context.asked_first[0]["a"]) == (context.asked_first[0]["q"], True)
    assert found > 3


def test_a_name_that_two_repositories_have_is_not_asked(pool: Pool) -> None:
    mine = pool.unit(0)
    stranger = unit_of(unit("code", "b/else", "x.py", "def compute(percent): pass\n", []), TOKENS)
    shape = AskingShape(unanswerable=0.0, backward=1.0)
    assert list(asked_of(pool, Context([mine]), 5, shape, random.Random(0)))
    assert not list(asked_of(pool, Context([mine, stranger]), 5, shape, random.Random(0)))


def test_questions_without_an_answer_have_none(pool: Pool) -> None:
    shape = AskingShape(unanswerable=1.0, absent_near=1.0)
    for seed in range(60):
        units = [pool.unit(3 + seed % 6)]
        for ask in asked_of(pool, Context(units), 4, shape, random.Random(seed)):
            if ask.answer is None:
                assert ask.question not in [qa["q"] for qa in units[0].qas]


def test_questions_whose_answer_comes_too_early_are_asked_less(pool: Pool) -> None:
    [early] = {qa["kind"] for i in range(3) for qa in pool.unit(i).qas} & BACKWARD_KINDS
    asked = {}
    for backward in (0.0, 1.0):
        shape = AskingShape(unanswerable=0.0, backward=backward)
        asked[backward] = {
            ask.question
            for i in range(3)
            for ask in asked_of(pool, Context([pool.unit(i)]), 9, shape, random.Random(i))
        }
    gone = [qa["kind"] for i in range(3) for qa in pool.unit(i).qas if qa["q"] in asked[1.0] - asked[0.0]]
    assert set(gone) == {early}
    assert asked[0.0] < asked[1.0]


def chains(row: dict[str, np.ndarray], n_documents: int) -> list[tuple[list[int], list[int], int, int]]:
    """(ids, targets, first, last) of every question chain of a row."""
    found = []
    ids, targets = row["ids"][n_documents:], row["targets"]
    for number in np.unique(row["chain"]):
        at = np.flatnonzero((row["chain"] == number) & (row["last"] > 0))
        if len(at):
            found.append((ids[at].tolist(), targets[at].tolist(), int(row["first"][at[0]]), int(row["last"][at[0]])))
    return found


def test_rows_decode_to_what_the_application_would_build(pool: Pool) -> None:
    shape = RowShape(documents=2048, questions=2048, smallest_context=128, vary=0.0)
    forms = {"answered": 0, "none": 0}
    control = TOKENS.control
    for seed in range(12):
        row = question_row(pool, shape, TOKENS, random.Random(seed), lambda q, rng: q, SyntheticUnits(pool))
        seen = row["document"]
        for ids, targets, first, last in chains(row, shape.documents):
            answer = [t for t in targets if t >= 0]
            assert answer[-1] == control["eos"]
            assert ids[0] == control["q"]
            assert 0 <= first < last <= shape.documents
            documents = row["ids"][:2048][first:last][seen[first:last]].tolist()
            prompt = ids[: len(ids) - len(answer) + 1]
            assert prompt == question_ids(TOKENS, TOKENS.decode(ids[1 : ids.index(control["a"])]))
            if answer[0] == control["none"]:
                forms["none"] += 1
            else:
                forms["answered"] += 1
                assert TOKENS.decode(answer).strip() in TOKENS.decode(documents)
        for at, begin, end in zip(row["at"], row["place_first"], row["place_last"], strict=True):
            if at >= 0:
                forms["placed"] = forms.get("placed", 0) + 1
                assert row["targets"][at] not in (-1, control["none"])
                slot = row["chain"][at]
                assert row["targets"][slot:at].max(initial=-1) == -1
                said = row["targets"][at : slot + 64]
                said = TOKENS.decode(said[(said >= 0) & (said != control["eos"])].tolist()).strip()
                assert said[:12] in TOKENS.decode(row["ids"][begin:end].tolist()) or "/" in said, said
        visible = row["visible"][row["last"] > 0]
        assert (visible >= 1).all()
    assert min(forms.values()) > 5, forms
    assert forms["placed"] == forms["answered"]


def test_the_pipeline_keeps_the_evaluation_out(tmp_path: Path) -> None:
    held = Held()
    held.add_document("dev:Towers:1", articles()[1]["text"])
    held.add_question("After whom was the river number 2 named?")
    texts = [{"source": "s", "path": f"{i}.txt", "kind": "prose", "text": prose(i + 100, 500)} for i in range(3)]
    texts.append({"source": "s", "path": "copy.txt", "kind": "prose", "text": articles()[1]["text"] + prose(9)})
    write_jsonl(tmp_path / "shard-000.jsonl.xz", texts)
    report = pack_texts(tmp_path, TOKENIZER, held, tmp_path / "packs")
    assert (report[0]["documents"], report[0]["dropped"]) == (3, ["s/copy.txt has dev:Towers:1"])
    write_jsonl(tmp_path / "q" / "squad.jsonl.xz", articles())
    report = pack_units(tmp_path / "q", TOKENIZER, held, tmp_path / "packs")
    # The whole article goes, not only the paragraph; of the other one question.
    assert (report[0]["units"], report[0]["questions"], report[0]["dropped_questions"]) == (2, 2, 1)
    _, about = read_pack(tmp_path / "packs" / "units-squad.pack")
    assert set(about["groups"]) == {"Rivers"}
    assert open_units([tmp_path / "packs" / "units-squad.pack"], tmp_path / "open") == 2
