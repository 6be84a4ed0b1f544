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
    older = ModelConfig(**SMALL, layout="independent", reread_tokens=64)
    pointing = dataclasses.replace(older, pointer_width=8)
    assert pointing.to_dict() == older.to_dict() | {"pointer_width": 8}
    for config in (plain, older, pointing):
        assert ModelConfig.from_dict(config.to_dict()) == config


def test_a_pointer_out_of_range_is_refused() -> None:
    with pytest.raises(ModelError, match="pointer_width"):
        ModelConfig(**SMALL, layout="independent", reread_tokens=64, pointer_width=-1)
