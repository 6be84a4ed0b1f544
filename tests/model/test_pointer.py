"""The pointer against plain enumeration: every span's probability, who sees whom, what may be pointed at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gfqa.errors import ModelError
from gfqa.model.checkpoint import load_model, save_model
from gfqa.model.config import ModelConfig
from gfqa.model.init import init_weights
from gfqa.model.language_model import LanguageModel
from gfqa.model.layers import rms
from gfqa.model.pointer import (
    LONGEST,
    NEARNESS,
    Pointer,
    likeliest,
    nearness_bias,
    passage_tokens,
    point,
    pointer_block,
    pointer_inputs,
)
from gfqa.model.state import empty_state

SHAPE: dict[str, Any] = {
    "n_embd": 32, "n_layer": 3, "head_size": 16, "vocab_size": 300, "tmix2": "gold", "layout": "independent",
    "reread_tokens": 64, "pointer_width": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    made = init_weights(LanguageModel(ModelConfig.from_dict(SHAPE)), 1).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    # What begins at zero must say something, or half of the pointer would not be looked at.
    for weight in made.parameters():
        if weight.dim() == 2 and not weight.any():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    made.pointer.edges.weight.mul_(40)
    return made


def chains(rows: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 300, (rows, size), generator=generator)
    return ids, torch.arange(3, 3 + rows), torch.linspace(size - 20, size, rows).long()


def test_the_likeliest_span_is_that_of_all_spans() -> None:
    generator = torch.Generator().manual_seed(0)
    pointer = Pointer(16, 4)
    for weight in pointer.parameters():
        torch.nn.init.normal_(weight, std=0.7, generator=generator)
    x = torch.randn(3, 90, 16, generator=generator)
    seen = passage_tokens(torch.tensor([4, 7, 2]), torch.tensor([90, 60, 30]), 90)
    logits, h = pointer.edge_logits(x, seen)
    found = likeliest(pointer, logits, h, seen, 90)
    firsts = logits.double().clone()
    firsts[:, 0] = -torch.inf
    first_log_p = firsts.log_softmax(dim=1)
    every = torch.arange(90).expand(3, 90)
    joint = first_log_p[:, :, None] + pointer.last_logits(h, every, seen).double().log_softmax(dim=2).nan_to_num(
        -torch.inf
    )
    for row in range(3):
        best = joint[row].argmax()
        assert (found.first[row], found.last[row]) == (best // 90, best % 90)
        torch.testing.assert_close(found.log_p[row].double(), joint[row].max(), atol=1e-4, rtol=1e-4)
        assert seen[row, found.first[row]]
        assert 0 <= found.last[row] - found.first[row] < LONGEST
        # All spans together are certain.
        torch.testing.assert_close(joint[row].flatten().logsumexp(0).exp().item(), 1.0, atol=1e-4, rtol=0)
        odds = firsts[row].logsumexp(0) - logits[row, 0].double()
        torch.testing.assert_close(found.answerable[row].double(), odds, atol=1e-4, rtol=1e-4)


def test_padding_and_other_rows_change_nothing(model: LanguageModel) -> None:
    ids, asked, length = chains(4, 80)
    together = point(model, ids, asked, length)
    changed = torch.where(torch.arange(80) < length[:, None], ids, 7)
    again = point(model, changed, asked, length)
    for row in range(4):
        n = int(length[row])
        alone = point(model, ids[row : row + 1, :n], asked[row : row + 1], length[row : row + 1])
        for name in ("first", "last", "log_p", "answerable"):
            value = getattr(together, name)[row]
            torch.testing.assert_close(getattr(alone, name)[0], value, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(getattr(again, name)[row], value, rtol=1e-4, atol=1e-4)


def test_what_comes_later_counts(model: LanguageModel) -> None:
    ids, asked, length = chains(1, 60)
    at = int(length[0]) - 1
    seen_first = []
    for last in (5, 6):
        ids[0, at] = last
        e = model.embed(ids)
        x, _ = model.lower_half(e, empty_state(model.config.n_layer))
        kappa = model.decompress(e, model.w_kv_cache_a(x))
        bias = nearness_bias(asked, length, 60, model.config.n_head, x.dtype)
        inputs = pointer_inputs(model.pointer, x, rms(e), kappa, None, bias)
        seen_first.append((x[0, at - 1], pointer_block(model.blocks[2], x, None, inputs)[0, : at - 1]))
    (causal, view), (same, other) = seen_first
    assert torch.equal(causal, same)
    assert (view != other).any(dim=-1).all()


def test_heads_look_near_and_the_question_is_near_to_all() -> None:
    asked, length = torch.tensor([3, 0]), torch.tensor([10, 6])
    bias = nearness_bias(asked, length, 10, 8, torch.float32)
    assert bias.shape == (2, 8, 10, 10)
    for head in range(8):
        back, ahead = NEARNESS[head % len(NEARNESS)]
        assert bias[0, head, 7, 5] == -2 * back
        assert bias[0, head, 5, 9] == -4 * ahead
        assert bias[0, head, 7, 7] == 0
        assert (bias[0, head, :, :3] == 0).all()
        assert (bias[0, head, :3] == 0).all()
        assert (bias[1, head, :, 6:] == -torch.inf).all()


def test_a_passage_of_nothing_is_no_answer(model: LanguageModel) -> None:
    ids, asked, _ = chains(2, 40)
    found = point(model, ids, asked, asked)
    assert (found.answerable == -torch.inf).all()
    assert (found.log_p == -torch.inf).all()


def test_the_projections_are_used_and_begin_at_nothing(model: LanguageModel) -> None:
    fresh = init_weights(LanguageModel(ModelConfig.from_dict(SHAPE)))
    x, o, kappa = torch.randn(3, 1, 5, 32).unbind(0)
    bias = torch.zeros(1, 2, 5, 5)
    inputs = pointer_inputs(fresh.pointer, x, o, kappa, None, bias)
    root = o.square().mean(-1, keepdim=True).sqrt()
    torch.testing.assert_close(inputs.o, o / root)
    other = pointer_inputs(model.pointer, x, o, kappa, None, bias)
    assert not torch.allclose(other.o, inputs.o)
    assert not torch.allclose(other.kappa, inputs.kappa)


def test_a_model_folder_keeps_it(model: LanguageModel, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.config.pointer_width == 8
    ids, asked, length = chains(2, 40)
    assert torch.equal(point(again, ids, asked, length).answerable, point(model, ids, asked, length).answerable)


def test_only_models_that_read_twice_have_one() -> None:
    for changes in ({"tmix2": ""}, {"reread_tokens": 0}, {"layout": "chained"}):
        with pytest.raises(ModelError, match="a pointer needs GOLD layers"):
            ModelConfig.from_dict(SHAPE | changes)
    without = ModelConfig.from_dict(SHAPE | {"pointer_width": 0})
    # Caches carry an identity made of the configuration: that of models before there was a pointer stays.
    assert "pointer_width" not in without.to_dict()
