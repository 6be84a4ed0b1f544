"""The decode step in place against LanguageModel.decode: the same tokens, and the same mass.

On a GPU every step is a captured graph; on the CPU the same code runs as it is, Triton's kernels in the interpreter.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    # Read by Triton when it is first imported.
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")

from gfqa.kernels.decode_step import triton as decode_triton
from gfqa.kernels.gold_attention import latent_tokens, triton, triton_latent
from gfqa.kernels.gold_attention.triton_memory import unsorted
from gfqa.kernels.testing import relative_error
from gfqa.model import KeyCache, LanguageModel, load_model
from gfqa.model.decode_graph import DecodeStep
from gfqa.model.gpu_memory import latent_memory, sorted_memory
from gfqa.model.state import ModelState
from gfqa.model.step_attention import Attend, Memory
from tests.conftest import make_model
from tests.model.plain import chain_keys_values

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SETTINGS: dict[str, Any] = {
    "n_layer": 6,
    "n_embd": 64,
    "head_size": 32,
    "vocab_size": 61,
    "length_scale": 64.0,
    "decay_floor": -1.0,
}
EXACT = (torch.float32, torch.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_model(make_model(tmp_path_factory.mktemp("model"), **SETTINGS), DEVICE, torch.float32)


@torch.inference_mode()
def asked(model: LanguageModel, lengths: tuple[int, ...] = (40, 1, 23)) -> tuple[KeyCache, ModelState, int]:
    """A memory of a few chains, and the state and first token after a question of 5 tokens."""
    draw = torch.Generator().manual_seed(3)
    chains = [torch.randint(model.config.vocab_size, (n,), generator=draw).to(DEVICE) for n in lengths]
    keys = [model.prefill(ids[None])[0][0] for ids in chains]
    starts = torch.tensor([sum(lengths[:i]) for i in range(len(lengths))])
    cache = KeyCache(torch.cat(chains), torch.cat(keys), starts)
    question = torch.randint(model.config.vocab_size, (1, 5), generator=draw).to(DEVICE)
    logits, state = model.decode(question, None, cache)
    return cache, state, int(logits[0, -1].argmax())


@torch.inference_mode()
def follow(
    model: LanguageModel, step: DecodeStep, cache: KeyCache, state: ModelState, token: int, steps: int
) -> tuple[float, float]:
    """Take greedy steps both ways: the tokens are the same; largest errors of logits, and of the summed mass."""
    worst, mass = 0.0, torch.zeros(len(cache), device=DEVICE)
    for _ in range(steps):
        attention: list[torch.Tensor] = []
        expected, state = model.decode(torch.tensor([[token]], device=DEVICE), state, cache, attention)
        found = step(token)
        worst = max(worst, relative_error(found, expected[0, 0]))
        assert int(found.argmax()) == int(expected[0, 0].argmax())
        token = int(found.argmax())
        mass += torch.stack([layer[0].mean(0) for layer in attention]).mean(0)
    return worst, relative_error(step.mass(), mass)


def fewer_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter's time is that of its programs."""
    if DEVICE == "cpu":
        monkeypatch.setattr(decode_triton, "LAUNCH", decode_triton.LAUNCH.reshaped(spread=1))


def test_same_tokens_over_64_steps(model: LanguageModel) -> None:
    cache, state, token = asked(model)
    step = DecodeStep(model, state, sorted_memory(model, cache, *EXACT), 64)
    assert max(follow(model, step, cache, state, token, 64)) < 1e-4


@pytest.mark.parametrize("settings", [{}, {"tmix": "x060", "decay_floor": None, "length_scale": None}])
def test_fused_launches_give_the_same(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finch-C2 and Finch; in plain PyTorch over many steps, then in Triton over a few; the state goes on as without them."""
    model = load_model(make_model(tmp_path, **{**SETTINGS, **settings}), DEVICE, torch.float32)
    cache, state, token = asked(model)
    layers = sorted_memory(model, cache, *EXACT)
    fewer_programs(monkeypatch)
    for environment, steps in (("0", 32), ("1", 1)):
        monkeypatch.setenv("TRITON_INTERPRET", environment)
        step = DecodeStep(model, state, layers, steps, fused=True)
        assert max(follow(model, step, cache, state, token, steps)) < 1e-4
        expected = state
        for id in step.state().ids[0, state.length :].tolist():  # type: ignore[index]
            _, expected = model.decode(torch.tensor([[id]], device=DEVICE), expected, cache)
        for ours, theirs in zip(step.state().blocks, expected.blocks, strict=True):
            for name in ("wkv", "att_shift", "ffn_shift", "keys", "values"):
                if getattr(theirs, name) is not None:
                    assert relative_error(getattr(ours, name), getattr(theirs, name)) < 1e-4


@pytest.mark.parametrize("kind", ["sorted", "latent"])
def test_same_tokens_through_triton(model: LanguageModel, kind: str) -> None:
    cache, state, token = asked(model)
    layers: list[Memory]
    attend: Attend
    if kind == "sorted":
        layers, attend = [*sorted_memory(model, cache, *EXACT)], triton.attend
    else:
        layers, attend = [*latent_memory(model, cache, *EXACT)], triton_latent.attend
    step = DecodeStep(model, state, layers, 3, attend=attend)
    assert max(follow(model, step, cache, state, token, 3)) < 1e-4


def test_int8_memories_are_near(model: LanguageModel) -> None:
    cache, state, token = asked(model)
    for layers, attend in (
        (sorted_memory(model, cache), triton.attend),
        (latent_memory(model, cache), triton_latent.attend),
    ):
        step = DecodeStep(model, state, layers, 1, attend=attend)
        expected, _ = model.decode(torch.tensor([[token]], device=DEVICE), state, cache)
        assert relative_error(step(token), expected[0, 0]) < 2e-2


def test_memories_hold_the_layers_keys_and_values(model: LanguageModel) -> None:
    """Against each chain's keys and values, made chain by chain."""
    cache, _, _ = asked(model)
    cuts = [*cache.chain_starts.tolist(), len(cache)]
    chains = [slice(*cut) for cut in pairwise(cuts)]
    forms = (
        (sorted_memory(model, cache, *EXACT), unsorted),
        (latent_memory(model, cache, *EXACT), latent_tokens.widened),
    )
    for memories, as_plain in forms:
        for layer, memory in zip(model.gold_layers(), memories, strict=True):
            pairs = [chain_keys_values(model, layer, cache.ids[part], cache.keys[part]) for part in chains]
            keys, values = (torch.cat(parts).unflatten(-1, (model.config.n_head, -1)) for parts in zip(*pairs))
            found = as_plain(memory)  # type: ignore[operator]
            assert relative_error(found.keys, keys.transpose(0, 1)) < 1e-5
            assert relative_error(found.values[:, found.bigram], values.transpose(0, 1)) < 1e-5


def test_the_given_state_is_left_alone_and_room_ends(model: LanguageModel) -> None:
    cache, state, token = asked(model)
    layers = sorted_memory(model, cache, *EXACT)
    kept = state.blocks[0].wkv.clone()  # type: ignore[union-attr]
    step = DecodeStep(model, state, layers, 1, want_mass=False)
    first = step(token).clone()
    assert torch.equal(state.blocks[0].wkv, kept)  # type: ignore[arg-type]
    assert not step.mass().any()
    assert relative_error(DecodeStep(model, state, layers, 1)(torch.tensor([token], device=DEVICE)), first) == 0
    with pytest.raises(ValueError, match="no room"):
        step(token)


def test_unfit_states_are_refused(model: LanguageModel, tmp_path: Path) -> None:
    cache, state, _ = asked(model)
    layers = sorted_memory(model, cache, *EXACT)
    with pytest.raises(ValueError, match="2 GOLD layers"):
        DecodeStep(model, state, layers[:1], 1)
    with pytest.raises(ValueError, match="one chain"):
        DecodeStep(model, ModelState(blocks=state.blocks), layers, 1)
    rotary = load_model(make_model(tmp_path, **{**SETTINGS, "layout": "chained", "rope": {"base": 10000.0}}))
    with pytest.raises(ValueError, match="RoPE"):
        sorted_memory(rotary, cache)


@pytest.mark.slow
def test_parts_can_be_compiled_whole(model: LanguageModel) -> None:
    """torch.compile takes each part without a break, and one graph serves all blocks of a kind."""
    from torch._dynamo.utils import counters

    from gfqa.model import decode_graph

    cache, state, token = asked(model)
    layers = sorted_memory(model, cache, *EXACT)
    expected = DecodeStep(model, state, layers, 1, capture=False, fused=False)(token)
    step = DecodeStep(model, state, layers, 1, capture=False, fused=False)
    counters.clear()
    for name in ("_finch_block", "_before_attention", "_after_attention"):
        part = getattr(decode_graph, name)
        setattr(step, name, torch.compile(part, backend="aot_eager", fullgraph=True, dynamic=False))
    assert relative_error(step(token), expected) < 1e-6
    assert counters["stats"]["unique_graphs"] == 3


@pytest.mark.gpu
def test_graph_equals_the_step_itself(model: LanguageModel) -> None:
    cache, state, token = asked(model)
    for layers in (sorted_memory(model, cache), latent_memory(model, cache)):
        graph, eager = (DecodeStep(model, state, layers, 4, capture=capture) for capture in (True, False))
        for _ in range(4):
            assert relative_error(graph(token), eager(token)) < 1e-6
        assert relative_error(graph.mass(), eager.mass()) < 1e-6


@pytest.mark.gpu
def test_launches_that_start_early_give_the_same(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, state, token = asked(model)
    layers = sorted_memory(model, cache)
    late = DecodeStep(model, state, layers, 16)
    monkeypatch.setattr(decode_triton.LAUNCH, "early", True)
    early = DecodeStep(model, state, layers, 16)
    for _ in range(16):
        assert relative_error(early(token), late(token)) < 1e-6
    assert relative_error(early.mass(), late.mass()) < 1e-6
