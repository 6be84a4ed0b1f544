"""The weights of a score: written and read back, refused by name where they are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfqa.answer.confidence import SCORE, Confidence
from gfqa.errors import ModelError
from gfqa.model_folders import SHIPPED


def test_weights_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert Confidence.load(tmp_path) == Confidence()
    made = Confidence(first=0.5, coverage=0.25, found=0.3)
    (tmp_path / SCORE).write_text(made.to_json())
    assert Confidence.load(tmp_path) == made
    assert 0.0 <= made.of(0.0, 0.0, -1e9) <= made.of(1.0, 1.0, 1e9) <= 1.0


def test_the_shipped_reader_has_its_own() -> None:
    assert (SHIPPED / SCORE).is_file()
    assert 0 < Confidence.load(SHIPPED).found < Confidence.load(SHIPPED).sure < 1


def test_confidence_grows_with_each_sign_and_stays_a_probability() -> None:
    confidence = Confidence().of
    for first in (0.0, 0.5, 1.0):
        for again in (0.0, 0.5, 1.0):
            assert 0 < confidence(first, again, 0.0) < confidence(first, again, 0.9) < 1
    assert confidence(0.2, 0.5, 0.5) < confidence(0.9, 0.5, 0.5)
    assert confidence(0.5, 0.2, 0.5) < confidence(0.5, 0.9, 0.5)
    assert confidence(0.5, 0.5, 0.5, True) < confidence(0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"first": "a"}', '{"first": true}', '{"other": 1}', '{"first": NaN}', '{"first": 1e999}', "[" * 9999,
     '{"first": 1' + " " * 5000 + "}"],
)  # fmt: skip
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / SCORE).write_text(text)
    with pytest.raises(ModelError, match=r"score\.json does not hold the weights"):
        Confidence.load(tmp_path)


def test_attention_counts_where_it_has_a_weight() -> None:
    assert Confidence().of(0.5, 0.5, 0.5, attention=3.0) == Confidence().of(0.5, 0.5, 0.5)
    weighed = Confidence(attention=0.4)
    assert (
        weighed.of(0.5, 0.5, 0.5, attention=3.0) > weighed.of(0.5, 0.5, 0.5, attention=1.0) > weighed.of(0.5, 0.5, 0.5)
    )
