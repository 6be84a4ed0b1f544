"""E4b: the file of questions is what it says, and answers and places are judged as the page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gfqa.errors import UsageError
from gfqa.evaluation import handwritten
from gfqa.evaluation.answerer import Answered, Cited
from gfqa.training.sources import EVALUATION_ONLY
from tests.evaluation.test_measures import Oracle


def test_questions_on_repositories_never_trained_on() -> None:
    asked = handwritten.questions()
    assert len(asked) == 100
    assert sum(not record["a"] for record in asked) == 20
    assert len({record["q"] for record in asked}) == 100
    repositories = {"encode/httpx", "pallets/click", "pallets/flask", "psf/requests"}
    assert {record["repo"] for record in asked} == repositories <= set(EVALUATION_ONLY)
    assert len({record["kind"] for record in asked if record["a"]}) >= 5
    for record in asked:
        assert len(record["commit"]) == 40
        assert bool(record["a"]) == bool(record["places"])


@pytest.mark.parametrize(
    ("text", "accepted", "right"),
    [("5.0", ["5.0"], True), ("5 seconds", ["5 seconds"], True), ("The MD5", ["MD5"], True), ("50", ["5"], False)],
)
def test_what_counts_as_right(text: str, accepted: list[str], right: bool) -> None:
    assert handwritten.is_right(text, accepted) is right


def test_silence_is_never_right() -> None:
    assert not handwritten.is_right("", ["the"])


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "owner__tool"
    root.mkdir()
    (root / "limits.py").write_text("# Limits.\n\nMAX_RETRIES = 7\n")
    (root / "other.py").write_text("def read(path):\n    return path\n")
    base = {"repo": "owner/tool", "commit": "c" * 40}
    records = [
        {**base, "kind": "how many", "q": "how often is it retried?", "a": ["7"], "places": ["limits.py:3"]},
        {**base, "kind": "absent", "q": "which port?", "a": [], "places": []},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    monkeypatch.setattr(handwritten, "QUESTIONS", path)
    return root


def test_an_oracle_scores_full(checkout: Path) -> None:
    figures = handwritten.handwritten(Oracle({"how often is it retried?": "7"}), checkout, tokens=1000)
    assert figures["files"] == 2
    assert (figures["n"], figures["n_absent"]) == (1, 1)
    wanted = ("accuracy", "contains", "cited_file", "cited_line", "find_line@5", "absent_silent")
    assert [figures[name] for name in wanted] == [100] * len(wanted)
    assert figures["auroc"] == 1.0
    assert figures["answers"] == {
        "how often is it retried?": ["7", "right", "limits.py:1"],
        "which port?": ["", "rightly silent"],
    }


def test_a_sample_keeps_questions_without_an_answer() -> None:
    asked = handwritten.questions("pallets/click")
    drawn = handwritten._sample(asked, 10)
    assert len({record["q"] for record in drawn}) == 10
    assert sum(not record["a"] for record in drawn) == 2
    assert handwritten._sample(asked, None) == asked


def test_a_wrong_place_is_told_from_a_right_file(checkout: Path) -> None:
    class Astray(Oracle):
        def answer(self, memory, questions):  # type: ignore[no-untyped-def]
            return [Answered("about 7 times", 0.9, (Cited("limits.py", 90, 91),)) for _ in questions]

    figures = handwritten.handwritten(Astray({}), checkout, tokens=1000)
    assert (figures["accuracy"], figures["contains"]) == (0, 100)
    assert (figures["cited_file"], figures["cited_line"], figures["absent_silent"]) == (100, 0, 0)


def test_few_tokens_keep_the_file_that_answers_and_a_haystack_fills_up(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "hay"
    other.mkdir()
    for number in range(4):
        (other / f"m{number}.py").write_text(f"VALUE_{number} = {number}\n" * 5)
    oracle = Oracle({"how often is it retried?": "7"})
    assert handwritten.handwritten(oracle, checkout, tokens=1)["files"] == 1
    assert handwritten.handwritten(oracle, checkout, tokens=40, haystack=[other])["files"] > 2


def test_another_commit_and_another_repository_are_refused(checkout: Path, tmp_path: Path) -> None:
    (checkout / "limits.py").write_text("MAX_RETRIES = 7\n")
    with pytest.raises(UsageError, match=r"line 3 of limits\.py"):
        handwritten.handwritten(Oracle({}), checkout)
    with pytest.raises(UsageError, match="no handwritten questions"):
        handwritten.handwritten(Oracle({}), tmp_path)
