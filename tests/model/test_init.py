"""Initial weights: the deterministic vectors exactly as the reference's, the statistics of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gfqa.model import LanguageModel, ModelConfig
from gfqa.model.init import init_weights

GOLDEN = load_file(Path(__file__).parent.parent / "data" / "parity" / "init_golden.safetensors")
VARIANTS = {
    "finch": {"tmix": "x060"},
    "finchc2": {"tmix": "x060c2"},
    "goldfinch": {"tmix": "x060c2", "tmix2": "gold"},
    "gptalpha": {"tmix": "gptalpha"},
    "llama": {"tmix": "llama", "cmix": "llama"},
}


def build(variant):
    return init_weights(
        LanguageModel(ModelConfig(n_embd=64, n_layer=6, head_size=16, vocab_size=97, **VARIANTS[variant]))
    )


def test_every_golden_vector_is_reproduced():
    checked = 0
    models = {variant: dict(build(variant).named_parameters()) for variant in VARIANTS}
    for name, expected in GOLDEN.items():
        variant, _, parameter = name.partition(".")
        if variant in models:
            torch.testing.assert_close(models[variant][parameter].detach(), expected, rtol=1e-5, atol=1e-6)
            checked += 1
    assert checked == len(GOLDEN) > 50


@pytest.mark.parametrize("variant", VARIANTS)
def test_matrices(variant):
    for name, p in build(variant).named_parameters():
        if name.endswith("att.value.weight"):
            torch.testing.assert_close(p @ p.T, torch.eye(64), rtol=1e-4, atol=1e-4)
        if name.endswith(("att.output.weight", "ffn.value.weight")):
            assert not p.any()


def test_the_seed_decides():
    a, b = build("goldfinch"), build("goldfinch")
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
