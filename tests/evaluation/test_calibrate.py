"""The score's weights: fitted to answers known to be right, written into the model's folder, refused without a pointer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gfqa.answer.confidence import SCORE, Confidence
from gfqa.evaluation import calibrate
from gfqa.model.checkpoint import save_model
from gfqa.model.config import ModelConfig
from gfqa.model.init import init_weights
from gfqa.model.language_model import LanguageModel
from gfqa.training.packs import UnitFiles
from tests.training.kit import MODEL, TOKENIZER, opened


def test_a_fit_finds_the_weights_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate((rng.normal(size=(20_000, 3)), np.ones((20_000, 1))), axis=1)
    wanted = np.array([1.5, -0.5, 0.0, -1.0])
    y = (rng.random(20_000) < 1 / (1 + np.exp(-x @ wanted))).astype(float)
    np.testing.assert_allclose(calibrate.fit(x, y), wanted, atol=0.08)
    # What separates perfectly does not run away.
    assert np.abs(calibrate.fit(np.array([[1.0, 1.0], [-1.0, 1.0]]), np.array([1.0, 0.0]))).max() < 5


def test_the_table_counts_what_a_limit_gives() -> None:
    weights = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    examples = [[(3.0, 0.0, 0.0, 0.0, True), (-3.0, 0.0, 0.0, 0.0, False)], [(-1.0, 0.0, 0.0, 0.0, False)]]
    rows = {row["found"]: row for row in calibrate.table(weights, examples)}
    assert (rows[0.02]["answered"], rows[0.02]["right"], rows[0.02]["could_be_right"]) == (2, 1, 1)
    assert (rows[0.5]["answered"], rows[0.5]["right"], rows[0.5]["questions"]) == (1, 1, 2)


def model_in(folder: Path, **changes: object) -> Path:
    config = ModelConfig.from_dict(MODEL | {"reread_tokens": 48, "pointer_width": 8} | changes)
    save_model(init_weights(LanguageModel(config)), folder)
    shutil.copyfile(TOKENIZER, folder / "tokenizer.model")
    return folder


def test_a_model_is_asked_and_gets_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    units = opened(tmp_path / "data")["questions"]
    groups = sorted(set(UnitFiles(Path(units)).groups))
    monkeypatch.setattr(calibrate, "is_held", lambda group: group != groups[0])
    sizes = []
    memory_of = calibrate.memory_of
    monkeypatch.setattr(
        calibrate, "memory_of", lambda reader, chains: sizes.append(len(chains)) or memory_of(reader, chains)
    )
    monkeypatch.setattr(calibrate, "ASKED", 4)
    folder = model_in(tmp_path / "model")
    asked = ["--model", str(folder), "--questions", units, "--device", "cpu"]
    assert calibrate.main([*asked, "--memories", "2", "--around", "1000000"]) == 0
    assert max(sizes) > 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == {"memories": 2, "questions": 8}
    assert lines[2]["passages"] >= 8
    made, limits = Confidence.load(folder), Confidence()
    assert made != limits
    assert (made.found, made.sure) == (limits.found, limits.sure)
    assert "  score.json\n" in (folder / "SHA256SUMS").read_text()
    assert calibrate.main([*asked, "--held", "nothing"]) == 2
    assert "no held groups of nothing" in capsys.readouterr().err


def test_a_model_without_a_pointer_keeps_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model_in(tmp_path / "model", pointer_width=0)
    assert calibrate.main(["--model", str(folder), "--questions", str(tmp_path), "--device", "cpu"]) == 2
    assert "has no pointer" in capsys.readouterr().err
    assert not (folder / SCORE).exists()
