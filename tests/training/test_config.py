"""Configurations: files and overrides merge, everything is typed, what is not known is refused by name."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from gfqa.errors import UsageError
from gfqa.model.config import ModelConfig
from gfqa.training.config import PRESETS, load_config


def test_files_and_overrides_merge(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps({"minutes": 2, "row_shape": {"documents": 128, "asking": {"backward": 0.5}}}))
    second.write_text(json.dumps({"row_shape": {"questions": 256}, "set_weights": {"squad": 3}}))
    config = load_config([str(first), str(second)], ["row_shape.asking.unanswerable=0.3", "out=x/y", "compiled=false"])
    assert (config.minutes, config.row_shape.documents, config.row_shape.questions) == (2.0, 128, 256)
    assert (config.row_shape.asking.backward, config.row_shape.asking.unanswerable) == (0.5, 0.3)
    assert config.set_weights == {"squad": 3.0}
    assert config.out == "x/y"
    assert config.compiled is False


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("minuts=3", "'minuts'"),
        ("row_shape.asking.bakward=1", "'row_shape.asking.bakward'"),
        ("minutes=soon", "minutes"),
        ("workers=2.5", "workers"),
        ("compiled=1", "compiled"),
        ("row_shape=7", "row_shape"),
        ("set_weights.squad=many", "set_weights.squad"),
        ("optimizer.betas=[0.9]", "optimizer.betas"),
        ("minutes", "'minutes'"),
    ],
)
def test_what_cannot_be_used_is_named(override: str, named: str) -> None:
    with pytest.raises(UsageError, match=named.replace(".", r"\.")):
        load_config([], [override])


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        load_config(["nowhere"])
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UsageError, match=r"a\.json is not JSON"):
        load_config([str(tmp_path / "a.json")])


def test_yaml_is_read_or_its_absence_is_said(tmp_path: Path) -> None:
    path = tmp_path / "phase.yaml"
    path.write_text("minutes: 3\nrow_shape:\n  asking: {backward: 0.6}\n")
    if importlib.util.find_spec("yaml") is None:
        with pytest.raises(UsageError, match="PyYAML"):
            load_config([str(path)])
    else:
        config = load_config([str(path)])
        assert (config.minutes, config.row_shape.asking.backward) == (3.0, 0.6)


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.json")))
def test_every_preset_loads(preset: str) -> None:
    config = load_config(["reader", preset])
    assert ModelConfig.from_dict(config.model).key_width == 28
    assert config.row_shape.documents % 64 == config.row_shape.questions % 64 == config.language_length % 64 == 0


def test_a_list_of_any_length_is_typed_throughout():
    assert load_config([], ['held=["squad", "code"]']).held == ("squad", "code")
    assert load_config([], ["held=[]"]).held == ()
    with pytest.raises(UsageError, match="held takes a value of type str"):
        load_config([], ["held=[1]"])


def test_a_setting_that_may_be_none():
    assert load_config([], ["language_share_end=0.2"]).language_share_end == 0.2
    assert load_config([], ["language_share_end=null"]).language_share_end is None
    with pytest.raises(UsageError, match="language_share_end takes a value of type float"):
        load_config([], ['language_share_end="half"'])
