"""Synthetic units: the answer stands in the text, keys are unique, and the evaluation's halves stay apart."""

from __future__ import annotations

import random

import pytest

from gfqa.training.questions import synthetic, tables
from gfqa.training.questions.vocabulary import Words, distinct, split_templates

HAYSTACK = "It was a dark night. The wind blew over the hills.\n\nNobody came. " * 20
KINDS = ("needle", "kv", "variable", "facts", "table")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("held_out", [False, True])
def test_answers_stand_in_the_text(kind: str, held_out: bool) -> None:
    for seed in range(30):
        units = synthetic.make(kind, random.Random(seed), lambda rng: HAYSTACK, held_out=held_out)
        assert units
        assert all(unit["qas"] for unit in units)
        assert all(qa["a"][0] in unit["text"] for unit in units for qa in unit["qas"])
        assert units == synthetic.make(kind, random.Random(seed), lambda rng: HAYSTACK, held_out=held_out)


@pytest.mark.parametrize("layout", tables.LAYOUTS)
def test_a_cell_stands_in_its_row_and_under_its_column(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LAYOUTS", {layout: tables.LAYOUTS[layout]})
    kinds = set()
    for seed in range(20):
        [unit] = tables.table_units(random.Random(seed), 1, lambda rng: HAYSTACK)
        lines = unit["text"].split("\n")
        for qa in unit["qas"]:
            kinds.add(qa["kind"])
            [clue], [answer] = qa["names"], qa["a"]
            if layout == "lines":
                assert clue in lines
                assert answer in lines
            else:
                assert any(clue in line and answer in line for line in lines)
            if qa["kind"] == "table_row" and layout != "lines":
                assert all(line.index(answer) < line.rindex(clue) for line in lines if clue in line and answer in line)
    assert kinds == {"table", "table_row"}


def test_keys_are_unique_over_a_context() -> None:
    for seed in range(20):
        units = synthetic.kv_units(random.Random(seed), 3)
        names = [qa["names"][0] for unit in units for qa in unit["qas"]]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("depth", [0.0, 0.25, 0.5, 1.0])
def test_needle_lands_at_its_depth_and_only_adds(depth: float) -> None:
    text = synthetic.insert_at_depth(HAYSTACK, "NEEDLE HERE.", depth)
    assert abs(text.index("NEEDLE") / len(HAYSTACK) - depth) < 0.06
    assert text.replace("NEEDLE HERE.", "").replace(" ", "").replace("\n", "") == HAYSTACK.replace(" ", "").replace(
        "\n", ""
    )


def test_traced_variables_follow_the_assignments() -> None:
    unit = synthetic.variable_units(random.Random(5), 1)[0]
    values: dict[str, str] = {}
    for line in filter(None, unit["text"].split("\n")):
        words = [
            w
            for w in line.replace("=", " ").replace(":", " ").replace(";", "").replace("<-", " ").split()
            if w not in ("let", "VAR", "set", "const", "export")
        ]
        values[words[0]] = values.get(words[1], words[1])
    for qa in unit["qas"]:
        if qa["kind"] != "variable_source":
            assert qa["a"] == [values[qa["names"][0]]]


def test_vocabularies_of_training_and_evaluation_are_disjoint() -> None:
    train, held = Words(), Words(held_out=True)
    for name in ("cities", "first", "last", "adjectives", "nouns", "things"):
        assert getattr(held, name)
        assert not set(getattr(train, name)) & set(getattr(held, name))
    lines = [str(i) for i in range(10)]
    assert sorted([*split_templates(lines, True), *split_templates(lines, False)], key=int) == lines
    assert len(distinct(train.key, random.Random(0), 200)) == 200


def test_values_before_their_keys_are_marked_and_only_trained_on() -> None:
    kinds = {False: set(), True: set()}  # type: ignore[var-annotated]
    for seed in range(40):
        for held_out in kinds:
            for unit in synthetic.make("needle", random.Random(seed), lambda rng: HAYSTACK, held_out=held_out):
                for qa in unit["qas"]:
                    kinds[held_out].add(qa["kind"])
                    line = next((line for line in unit["text"].split("\n") if qa["names"][0] in line), "")
                    if qa["kind"] == "needle_before" and line.count(qa["a"][0]) == 1:
                        assert line.index(qa["a"][0]) < line.index(qa["names"][0])
    assert "needle_before" in kinds[False]
    for form in (*synthetic._NEEDLES_BEFORE, *synthetic._PAIRS_BEFORE):
        assert form not in split_templates(synthetic._NEEDLES, True) + split_templates(synthetic._PAIR_FORMS, True)
        assert form.index("{v}") < form.index("{k}")
