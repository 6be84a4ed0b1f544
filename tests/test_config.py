"""Where the data lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfqa import config


def test_gfqa_home_moves_everything(monkeypatch, tmp_path):
    monkeypatch.setenv("GFQA_HOME", str(tmp_path / "here"))
    assert config.home() == tmp_path / "here"
    assert not config.home().exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFQA_HOME", "relative")
    assert config.home() == tmp_path / "relative"
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("GFQA_HOME", "~/caches")
    assert config.home() == Path("/home/someone/caches")


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_users_data_directory_is_used(monkeypatch, value):
    monkeypatch.delenv("GFQA_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("GFQA_HOME", value)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name, appauthor: f"/data/{name}")
    assert config.home() == Path("/data/gfqa")
