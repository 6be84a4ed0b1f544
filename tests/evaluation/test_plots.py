"""Each kind of result has a figure; without matplotlib it is said before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfqa.errors import UsageError
from gfqa.evaluation import plots
from gfqa.evaluation.measures import run
from gfqa.evaluation.options import parse


@pytest.mark.parametrize(
    "figures",
    [
        {"cells": {"100@0.00": 50.0, "100@1.00": 100.0}, "n": 2},
        {"curve": {"0": 4.0, "1024": 3.5}, "n": 2},
        {"accuracy": 50.0, "auroc": 0.7, "inner": {"f1": 20.0, "n": 3}, "by_kind": {"x": [1.0, 2]}, "n": 2},
    ],
)
def test_a_figure_of_each_kind(figures: dict[str, object], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots.draw(figures, "A title", tmp_path / "new" / "figure.png")
    assert (tmp_path / "new" / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_areas_are_shown_as_percent() -> None:
    assert plots._numbers({"auroc": 0.5, "f1": 40.0, "n": 3}) == [("auroc", 50.0), ("f1", 40.0)]


def test_matplotlib_is_asked_for_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="matplotlib"):
        run(parse(["squad", "--model", str(tmp_path / "none"), "--plots", str(tmp_path)]))
