"""What a configuration writes is what identities of caches are made of."""

from __future__ import annotations

import dataclasses

import pytest

from gfqa.errors import ModelError
from gfqa.model.config import LATER, ModelConfig

SMALL = {"n_embd": 64, "n_layer": 3, "vocab_size": 300, "tmix2": "gold"}


def test_fields_of_later_releases_are_written_only_where_they_say_something() -> None:
    """A cache's identity holds these names: a new field must not make every cache another model's."""
    plain = ModelConfig(**SMALL)
    assert set(plain.to_dict()) == {f.name for f in dataclasses.fields(plain)} - set(LATER)
    assert len(plain.to_dict()) == 27
    twice = ModelConfig(**SMALL, reread_copies=2)
    assert twice.to_dict() == plain.to_dict() | {"reread_copies": 2}
    for config in (plain, twice):
        assert ModelConfig.from_dict(config.to_dict()) == config


def test_copies_out_of_range_are_refused() -> None:
    with pytest.raises(ModelError, match="reread_copies"):
        ModelConfig(**SMALL, reread_copies=0)
