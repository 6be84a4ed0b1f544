"""Lists and tables in drawn formats: the answer stands at its recorded place, no question has two answers, nothing kept for the
evaluation is trained on."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from gfqa.tokenizer import load_tokenizer
from gfqa.training.leaks import Held
from gfqa.training.passage_rows import answer_of
from gfqa.training.pool import unit_of
from gfqa.training.questions import (
    kept_out,
    list_asking,
    list_formats,
    list_sections,
    lists,
    naming,
    printed_tables,
    synthetic,
    table_asking,
    table_layouts,
    table_topics,
)
from gfqa.training.questions.marks import bare, marked, padded, settle
from gfqa.training.questions.places import answer_offset
from gfqa.training.questions.sets import write_sets
from gfqa.training.questions.units import Unit
from gfqa.training.questions.vocabulary import Words, split_templates
from tests.training.kit import TOKENIZER

MAKERS: dict[str, Callable[..., list[Unit]]] = {"lists": lists.list_units, "tables": printed_tables.printed_table_units}
HAYSTACK = "It was a dark night. The wind blew over the hills.\n\nNobody came. " * 20


def families(name: str, count: int) -> list[list[Unit]]:
    return [MAKERS[name](random.Random(seed), 3, lambda rng: HAYSTACK) for seed in range(count)]


@pytest.mark.parametrize("name", MAKERS)
def test_answers_stand_at_their_places(name: str) -> None:
    kinds = set()
    for seed, family in enumerate(families(name, 60)):
        assert family == MAKERS[name](random.Random(seed), 3, lambda rng: HAYSTACK)
        for unit in family:
            assert unit["qas"]
            assert bare(unit["text"]) == unit["text"]
            for qa in unit["qas"]:
                kinds.add(qa["kind"])
                [answer] = qa["a"]
                assert answer
                assert unit["text"].startswith(answer, qa["offset"])
                assert answer_offset(unit["text"], qa) == qa["offset"]
                assert not re.search(r"\{\w+\}", qa["q"])
                # A whole word: "34" is no answer inside of "1.345".
                before, after = unit["text"][: qa["offset"]][-1:], unit["text"][qa["offset"] + len(answer) :][:1]
                assert not (before + answer[0]).isalnum() or not before
                assert not (answer[-1] + after).isalnum() or not after or not answer[-1].isalnum() or after == "m"
    assert kinds == {"lists": {"kv", "kv_before", "kv_reverse"}, "tables": {"table", "table_row"}}[name]


@pytest.mark.parametrize("name", MAKERS)
def test_no_question_of_a_family_has_two_answers(name: str) -> None:
    for family in families(name, 80):
        answers: dict[str, tuple[str, int]] = {}
        for unit in family:
            for qa in unit["qas"]:
                place = (unit["path"], qa["offset"])
                assert answers.setdefault(qa["q"].casefold().rstrip("?. "), place) == place


def test_a_key_that_is_asked_for_stands_in_one_entry_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SECTIONED", 0.0)
    for family in families("lists", 60):
        whole = "\n\n".join(unit["text"] for unit in family).casefold()
        for unit in family:
            for qa in unit["qas"]:
                [clue] = qa["names"]
                found = [
                    match.start()
                    for match in re.finditer(rf"(?<!\w)(?<!\w[-./]){re.escape(clue.casefold())}(?![-./]?\w)", whole)
                ]
                assert len(found) <= 2
                # A key that stands twice does so in one entry: <key>value</key>.
                assert not found or found[-1] - found[0] < 200


def test_a_cell_is_asked_for_by_its_row_and_its_column() -> None:
    """Of plain rows: the row's name and the cell stand in one line."""
    asked = 0
    for family in families("tables", 60):
        for unit in family:
            for qa in unit["qas"]:
                start = unit["text"].rfind("\n", 0, qa["offset"]) + 1
                line = unit["text"][start : unit["text"].find("\n", qa["offset"])]
                if qa["kind"] == "table" and unit["path"].endswith((".csv", ".html", ".tex")) and "<tr>" in line:
                    asked += 1
                    assert qa["names"][0] in line
    assert asked


def test_an_answer_is_found_in_tokens_where_it_was_recorded() -> None:
    tokenizer = load_tokenizer(TOKENIZER)
    for name in MAKERS:
        for record in families(name, 6)[5]:
            unit = unit_of(record, tokenizer)
            for qa, of in zip(unit.qas, record["qas"], strict=True):
                found = answer_of(unit, qa, random.Random(0))
                assert found is not None
                assert found.first == unit.places.token(of["offset"])


def test_formats_are_many() -> None:
    rng = random.Random(0)
    drawn = {list_formats.draw_format(["size_limit", "start_host"], rng) for _ in range(4000)}
    assert len(drawn) > 3000
    assert len({line for made in drawn for line in made.lines}) > 1500
    assert len(list_sections.LAYOUTS) > 50
    assert len(table_topics.topics()) > 10
    assert all(measure.words for topic in table_topics.topics() for measure in topic.measures)


def test_keys_that_look_alike_are_not_the_same() -> None:
    for seed, kind in enumerate(naming.KEYS):
        found = naming.keys([kind], 40, 0.6, random.Random(seed))
        assert len({naming.folded(key) for key in found}) == len(found) > 5


def test_nothing_kept_for_the_evaluation_is_trained_on() -> None:
    held = Words(held_out=True)
    words = {
        word.lower()
        for name in ("cities", "nouns", "things", "adjectives", "first", "last")
        for word in getattr(held, name)
    }
    own = {*naming._PARTS, *naming._OBJECTS, *naming._SORTS, *table_topics._ANIMALS, *table_topics._SPECIES}
    assert not {word.lower() for word in own} & words
    forms = set(split_templates(synthetic._PAIR_FORMS, True))
    rng = random.Random(1)
    assert not any(line.strip() in forms for _ in range(3000) for line in list_formats.draw_format(["a b"], rng).lines)
    for module, names in (
        (list_asking, ("_FORWARD", "_NAMED", "_BACK", "_BACK_NAMED", "_SECTION", "_SECTION_BACK")),
        (
            table_asking,
            ("_CELL", "_ONE", "_MANY", "_TIMED", "_BARE", "_ROW", "_ROW_ONE", "_ROW_MANY", "_ROW_ANY", "_COLUMN"),
        ),
    ):
        for name in names:
            block = getattr(module, name)
            lines = module._lines(block)
            slots = list_asking._SECTION_MEANINGS if module is list_asking and "{s}" in block else module._MEANINGS
            assert len(lines) >= 4
            assert not {kept_out.plain(line, slots) for line in lines} & kept_out.kept_out()
    assert len(kept_out.kept_out()) > 15


def test_marks_leave_the_text_and_its_widths_alone() -> None:
    text = "a " + marked(3, "bc") + marked(4, "") + " d"
    assert settle(text) == ("a bc d", {3: 2, 4: 4})
    assert bare(padded(marked(1, "x"), 3) + "|") == "x  |"
    assert bare(padded(marked(1, "x"), 3, right=True)) == "  x"


@pytest.mark.parametrize("name", [*table_layouts.MARKUP, *table_layouts.WAYS])
def test_every_layout_holds_every_cell(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = [[marked(2 * i, f"row {i}"), marked(2 * i + 1, str(100 + i))] for i in range(8)]
    grid = table_layouts.Grid("A title", ["Station", "Mean flow"], ["", "m3/s"], body)
    monkeypatch.setattr(table_layouts, "WAYS", {name: 1.0})
    for seed in range(8):
        lay = table_layouts.MARKUP.get(name, (0, lambda g, rng: table_layouts.printed(g, lambda r: "12", rng)))[1]
        text, places = settle(lay(grid, random.Random(seed)))
        assert sorted(places) == list(range(16))
        assert [text[places[2 * i + 1] :][:3] for i in range(8)] == [str(100 + i) for i in range(8)]
        assert "m3/s" in text


def test_the_sets_need_no_sources(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfqa.training.questions.sets.FAMILIES", 4)
    reports = write_sets(tmp_path, Held(), only=["lists", "tables"])
    assert [report["set"] for report in reports] == ["lists", "tables"]
    assert all(report["units"] > 4 and not report["not_verbatim"] for report in reports)
