"""Which form of the memory is chosen, and what is said where none fits."""

from __future__ import annotations

import pytest
import torch

from gfqa.errors import ModelError
from gfqa.model import KeyCache, ModelConfig, gold_plan
from gfqa.model.config import Rope
from gfqa.model.gold_plan import choose_form, form_bytes
from tests.kernels.test_gold_forms import memory, random_model

CONFIG = ModelConfig(n_embd=448, n_layer=9, head_size=64, vocab_size=16384, tmix2="gold", layout="independent")
CPU, MB = torch.device("cpu"), 10**6


def chosen(n, budget=None, config=CONFIG, dtype=torch.float32):
    return choose_form(config, n, n // 4, dtype, CPU, budget)


def test_the_quickest_form_that_fits(monkeypatch):
    monkeypatch.setattr(gold_plan, "integer_products_are_fast", lambda: True)
    assert chosen(5000) == "float32"
    assert chosen(100_000) == "int8"
    assert chosen(1_000_000, 4096 * MB) == "int8"
    assert chosen(1_000_000, 1900 * MB) == "latent16"
    monkeypatch.setattr(gold_plan, "integer_products_are_fast", lambda: False)
    assert chosen(100_000) == "float32"
    assert chosen(100_000, 260 * MB) == "latent"
    assert chosen(100_000, 200 * MB) == "latent16"
    assert (
        chosen(100_000, config=ModelConfig(**(vars(CONFIG) | {"rope": Rope(), "layout": "chained"}))) == "materialised"
    )
    assert chosen(100_000, dtype=torch.bfloat16) == "materialised"


def test_without_a_budget_the_smallest_form_is_tried_anyway(monkeypatch):
    monkeypatch.setattr(gold_plan, "_half_of_memory", lambda device: MB)
    monkeypatch.setattr(gold_plan, "integer_products_are_fast", lambda: True)
    assert chosen(100_000) == "latent16"


def test_a_budget_nothing_fits_is_an_error():
    model = random_model()
    cache = memory(model, memory_budget=1000)
    with pytest.raises(
        ModelError, match=r"The memory of 203 tokens takes at least 1 MB, more than the budget of 1 MB"
    ) as e:
        cache.layers(model)
    assert e.value.exit_code == 6
    assert "--memory-budget" in e.value.hint


@pytest.mark.parametrize("form", ["float32", "int8", "latent", "latent16"])
def test_the_estimate_is_what_is_held(form):
    model = random_model()
    cache = memory(model, form=form)
    layers = cache.layers(model)
    n_bigrams = len(layers[0].bigrams.offsets)
    estimate = form_bytes(form, model.config, 203, n_bigrams, torch.float32)
    own = form_bytes(form, model.config, 203, n_bigrams, torch.float32) - cache.prepared_bytes()
    assert 0 <= own <= 203 * (16 + 8 * (model.config.key_width + 1) + 8)
    assert estimate > cache.prepared_bytes()


def test_an_empty_memory_needs_nothing():
    model = random_model()
    cache = KeyCache.empty(model.config.key_width)
    assert cache.layers(model) == []
    assert cache.prepared_bytes() == 0


def test_keys_after_rope_keep_to_the_budget():
    model = random_model(layout="chained", rope=Rope())
    whole = memory(model, memory_budget=10**6)
    assert whole.layers(model)[0].keys.dtype == torch.float32
    tight = memory(model, memory_budget=whole.prepared_bytes())
    assert tight.layers(model)[0].keys.dtype == torch.bfloat16
    with pytest.raises(ModelError, match="more than the budget"):
        memory(model, memory_budget=1000).layers(model)
