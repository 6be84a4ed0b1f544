"""A GOLD memory made by kernels from what a store holds, against the layers' own keys and values of each chain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Read by Triton when it is first imported.
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")

from gfqa.kernels.gold_attention.triton_memory import unsorted
from gfqa.kernels.testing import relative_error
from gfqa.model import KeyCache, LanguageModel, load_model
from gfqa.model.checkpoint import place
from gfqa.model.gpu_memory import distinct_tokens, latent_memory, sorted_memory
from gfqa.model.key_cache import quantise_keys
from gfqa.model.layers import rms
from tests.conftest import make_model

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STARTS = (0, 1, 40)


def make(tmp_path: Path, dtype: torch.dtype, **settings: int) -> tuple[LanguageModel, KeyCache]:
    model = place(load_model(make_model(tmp_path, **settings), "cpu"), DEVICE, dtype)
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(5, (150,), generator=draw)
    codes, scales = quantise_keys(torch.randn(150, model.config.key_width, generator=draw))
    return model, KeyCache(ids.to(DEVICE), codes.to(DEVICE), torch.tensor(STARTS), scales=scales.to(DEVICE))


def by_layers(model: LanguageModel, cache: KeyCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values [S, C] of each GOLD layer, chain by chain."""
    found = []
    with torch.no_grad():
        for layer in model.gold_layers():
            chains = []
            for start, end in zip(STARTS, (*STARTS[1:], len(cache))):
                e = model.embed(cache.ids[start:end])
                o, kappa = rms(e), model.decompress(e, cache.keys[start:end])
                before = [torch.cat((torch.zeros_like(x[:1]), x[:-1])) for x in (o, kappa)]
                chains.append((layer.keys(o, before[0], kappa, before[1])[0], layer.values(o, before[0])[0]))
            keys, values = (torch.cat(side) for side in zip(*chains))
            found.append((keys, values))
    return found


def held(rows: torch.Tensor) -> torch.Tensor:
    """[H, S, N] as [S, C]."""
    return rows.transpose(0, 1).flatten(1).float()


@pytest.mark.parametrize("settings", [{"head_size": 32}, {"n_embd": 448, "head_size": 64, "n_layer": 6}])
def test_keys_and_values_are_the_layers_own(tmp_path: Path, settings: dict[str, int]) -> None:
    model, cache = make(tmp_path, torch.float32, **settings)
    for memory, (keys, values) in zip(
        sorted_memory(model, cache, torch.float32, torch.float32), by_layers(model, cache), strict=True
    ):
        plain = unsorted(memory)
        torch.testing.assert_close(held(plain.keys), keys.float(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(held(plain.values[:, plain.bigram]), values.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("maker", [sorted_memory, latent_memory])
def test_int8_codes_and_their_numbers_give_the_same(tmp_path: Path, maker: object) -> None:
    model, cache = make(tmp_path, torch.float32, head_size=32)
    wide = KeyCache(cache.ids, cache.keys, cache.chain_starts)
    for one, other in zip(maker(model, cache), maker(model, wide)):  # type: ignore[operator]
        assert torch.equal(one.order, other.order)
        assert torch.equal(one.offsets, other.offsets)
        assert relative_error(one.values, other.values) < 1e-3
        if maker is sorted_memory:
            assert (one.keys.int() - other.keys.int()).abs().max() <= 1


def test_bfloat16_is_as_near_as_its_rounding(tmp_path: Path) -> None:
    model, cache = make(tmp_path, torch.float32, head_size=32)
    expected = by_layers(model, cache)
    made = sorted_memory(place(model, DEVICE, torch.bfloat16), cache)
    for memory, (keys, values) in zip(made, expected, strict=True):
        plain = unsorted(memory)
        assert relative_error(held(plain.keys), keys) < 2e-2
        assert relative_error(held(plain.values[:, plain.bigram]), values) < 2e-2


def test_tokens_are_sorted_by_bigram_and_then_by_place(tmp_path: Path) -> None:
    model, cache = make(tmp_path, torch.float32)
    found = distinct_tokens(model, cache)
    order, ids = found.tokens.order, cache.ids
    used = torch.unique(ids)
    previous = torch.where(torch.isin(order, torch.tensor(STARTS, device=DEVICE)), len(used), ids[order - 1])
    assert torch.equal(used[found.pairs.second.long()][found.tokens.bigram.long()], ids[order])
    assert torch.equal(found.pairs.first.long()[found.tokens.bigram.long()], previous)
    same = found.tokens.bigram[1:] == found.tokens.bigram[:-1]
    assert (order[1:] > order[:-1])[same].all()
    assert found.offsets.tolist() == [0, *torch.bincount(found.tokens.bigram).cumsum(0).tolist()]
