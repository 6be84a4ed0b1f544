"""The official SQuAD normalisation, code equality and the ROC area against values worked out by hand."""

from __future__ import annotations

import pytest

from gfqa.evaluation.scoring import auroc, best_threshold, exact_match, f1, normalise, same_code


@pytest.mark.parametrize(
    ("text", "expected"),
    [("The  Cat's hat!", "cats hat"), ("an-apple", "anapple"), ("A b\nc.", "b c"), ("theory", "theory"), ("", "")],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_exact_match_takes_the_best_answer() -> None:
    assert exact_match("the Norse", ["Vikings", "Norse."]) == 1.0
    assert exact_match("Norsemen", ["Norse"]) == 0.0


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("in October 1973", ["October 1973"], 0.8),
        ("", ["x"], 0.0),
        ("the", ["a"], 1.0),
        ("b b c", ["b c"], 0.8),
        ("c", ["x y", "c d"], 2 / 3),
    ],
)
def test_f1(prediction: str, answers: list[str], expected: float) -> None:
    assert f1(prediction, answers) == pytest.approx(expected)


def test_same_code_forgives_quotes_and_spaces_only() -> None:
    assert same_code("'utf-8'", ['"utf-8"'])
    assert same_code("def f(a, b):", ["def f(a,b)"])
    assert not same_code("None", ["none"])
    assert not same_code("5", ["5.0"])
    assert same_code("''", ['""'])
    assert not same_code("", ['""'])


def test_auroc_with_ties_and_one_class() -> None:
    assert auroc([0.9, 0.8, 0.2, 0.1], [True, True, False, False]) == 1.0
    assert auroc([0.1, 0.9], [True, False]) == 0.0
    assert auroc([0.5, 0.5, 0.5], [True, False, True]) == 0.5
    assert auroc([0.3, 0.3, 0.7], [True, False, False]) == 0.25
    assert auroc([0.1, 0.2], [True, True]) is None


def test_best_threshold_holds_back_what_costs() -> None:
    # Two right answers, a wrong one of an answerable question, and one where there is none.
    scores, answerable, values = [0.9, 0.8, 0.4, 0.3], [True, True, False, True], [1.0, 1.0, 0.0, 0.0]
    assert best_threshold(scores, answerable, values) == (0.75, 0.4)
    assert best_threshold([0.9, 0.2], [True, True], [1.0, 0.5]) == (0.75, -1.0)
    assert best_threshold([0.5, 0.5], [True, False], [1.0, 0.0]) == (0.5, -1.0)
