"""The zoo against golden fixtures recorded from the reference implementation in float32.

tests/data/parity holds the small set that ships with the project; GFQA_PARITY names a folder with all eleven.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from gfqa.model import KeyCache, load_reference

LOGITS, STATES = 3e-5, 1e-4
FOLDER = Path(os.environ.get("GFQA_PARITY") or Path(__file__).parent.parent / "data" / "parity")
FIXTURES = sorted(p for p in FOLDER.glob("*.safetensors") if not p.name.startswith("init_"))


def read(path):
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no dict)
        config = json.loads(file.metadata()["config"])
    parameters = {name[6:]: tensor for name, tensor in tensors.items() if name.startswith("param.")}
    return config, parameters, tensors


@pytest.fixture(params=FIXTURES, ids=lambda p: p.stem)
def golden(request):
    config, parameters, tensors = read(request.param)
    return load_reference(config, parameters), tensors


def close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    error = (actual.float() - expected.float()).abs().max().item()
    assert error <= tolerance, f"{error:.2e} > {tolerance:.0e}"


def check_state(state, tensors, prefix=""):
    for name, expected in tensors.items():
        if name.startswith(prefix + "wkv_state."):
            close(state.blocks[int(name.rsplit(".", 1)[1])].wkv, expected, STATES)
        elif name.startswith(prefix + "att_shift."):
            close(state.blocks[int(name.rsplit(".", 1)[1])].att_shift, expected, STATES)
        elif name.startswith(prefix + "ffn_shift."):
            close(state.blocks[int(name.rsplit(".", 1)[1])].ffn_shift, expected, STATES)
        elif name.startswith(prefix + "kv_state."):
            block = state.blocks[int(name.rsplit(".", 1)[1])]
            close(torch.stack((block.keys, block.values)), expected, STATES)


def test_there_are_fixtures():
    assert len(FIXTURES) >= 4


def test_forward(golden):
    model, tensors = golden
    hidden = []
    for block in model.blocks:
        block.register_forward_hook(lambda _m, _i, out: hidden.append(out[0]))
    logits, state = model(tensors["input_ids"])
    close(logits, tensors["logits"], LOGITS)
    for i, x in enumerate(hidden):
        close(x, tensors[f"hidden.{i}"], STATES)
    check_state(state, {k: v for k, v in tensors.items() if not k.startswith("step.")})
    if "compressed_k_cache" in tensors:
        close(state.compressed_keys, tensors["compressed_k_cache"], STATES)
        kappa = model.decompress(model.embed(tensors["input_ids"].long()), tensors["compressed_k_cache"])
        close(kappa, tensors["k_cache"], STATES)


def test_steps(golden):
    model, tensors = golden
    _, state = model(tensors["input_ids"])
    rows = []
    for t in range(tensors["step.ids"].shape[1]):
        logits, state = model(tensors["step.ids"][:, t : t + 1], state)
        rows.append(logits)
    close(torch.cat(rows, dim=1), tensors["step.logits"], LOGITS)
    check_state(state, tensors, "step.")
    if "step.k_cache_tail" in tensors:
        ids, keys = state.ids[:, -5:], state.compressed_keys[:, -5:]
        close(model.decompress(model.embed(ids), keys), tensors["step.k_cache_tail"], STATES)


def test_several_tokens_in_one_continuation(golden):
    model, tensors = golden
    _, state = model(tensors["input_ids"])
    before = [block.wkv.clone() for block in state.blocks if block.wkv is not None]
    logits, _ = model(tensors["step.ids"], state)
    close(logits, tensors["full.tail_logits"], LOGITS)
    after = [block.wkv for block in state.blocks if block.wkv is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "the given state was changed"


def test_no_tokens(golden):
    model, tensors = golden
    _, state = model(tensors["input_ids"])
    logits, same = model(tensors["input_ids"][:, :0], state)
    assert logits.shape == (2, 0, model.config.vocab_size)
    close(model(tensors["step.ids"], same)[0], tensors["full.tail_logits"], LOGITS)
    assert model(tensors["input_ids"][:, :0])[0].shape == (2, 0, model.config.vocab_size)


def test_decode_with_an_empty_memory_is_the_forward_pass(golden):
    model, tensors = golden
    if not model.config.n_gold:
        pytest.skip("no GOLD layers")
    logits, _ = model.decode(tensors["input_ids"], None, KeyCache.empty(model.config.key_width))
    close(logits, tensors["logits"], LOGITS)
