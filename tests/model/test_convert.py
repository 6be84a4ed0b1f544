"""Converting .pth files: what published names and shapes imply, and that nothing in them is ever run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from gfqa.errors import ModelError, UsageError
from gfqa.model import LanguageModel, ModelConfig, load_model
from gfqa.model.convert import WORLD_TOKENIZER, convert, infer_config, read_checkpoint
from gfqa.model.init import init_weights
from gfqa.models import convert as convert_in_child

SHAPE: dict[str, Any] = {"n_embd": 64, "n_layer": 6, "vocab_size": 100, "head_size": 16}
KINDS = {
    "goldfinch": {"tmix": "x060c2", "tmix2": "gold"},
    "goldfinch half": {"tmix": "x060c2", "tmix2": "gold", "inv_other_layer_ratio": 2.0},
    "finch": {"tmix": "x060"},
    "finch-c2": {"tmix": "x060c2"},
    "gptalpha": {"tmix": "gptalpha", "head_size": 64},
    "wide": {"tmix": "x060c2", "tmix2": "gold", "dim_ffn": 128, "kv_cache_compression_ratio": 8.0},
}


def checkpoint(path: Path, prefix: str = "", **settings: Any) -> LanguageModel:
    model = init_weights(LanguageModel(ModelConfig(**{**SHAPE, **settings})), seed=3)
    tensors = {prefix + name: p.detach().to(torch.bfloat16) for name, p in model.named_parameters()}
    torch.save(tensors, path)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_configuration_is_read_off_names_and_shapes(tmp_path: Path, kind: str, prefix: str) -> None:
    model = checkpoint(tmp_path / "m.pth", prefix, **KINDS[kind])
    config = infer_config(read_checkpoint(tmp_path / "m.pth"), "t.model")
    want = model.config
    for name in (
        "n_embd",
        "n_layer",
        "vocab_size",
        "head_size",
        "tmix",
        "tmix2",
        "key_width",
        "split_layer",
        "ffn_width",
    ):
        assert getattr(config, name) == getattr(want, name), name
    assert config.layout == "chained"
    assert config.tokenizer == "t.model"


def test_a_converted_model_computes_the_same(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "m.pth", **KINDS["goldfinch"])
    convert(tmp_path / "m.pth", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "weights.safetensors"]
    converted = load_model(tmp_path / "out")
    assert converted.config.tokenizer == WORLD_TOKENIZER
    rounded = LanguageModel(model.config)
    rounded.load_state_dict({name: p.to(torch.bfloat16).float() for name, p in model.state_dict().items()})
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(converted(ids)[0], rounded(ids)[0])


class Evil:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.canary), "w"))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, form: str) -> None:
    canary, source = tmp_path / "canary", tmp_path / "m.pth"
    if form == "torch":
        torch.save({"emb.weight": torch.zeros(2, 2), "evil": Evil(canary)}, source)
    else:
        source.write_bytes(pickle.dumps({"evil": Evil(canary)}))
    with pytest.raises(ModelError):
        convert_in_child(source, tmp_path / "out")
    assert not canary.exists()
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.pth"):
        read_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize("value", [[1], {"a": 1}, {"a": torch.zeros(2, dtype=torch.int64)}, {"a": torch.zeros(2)}, {}])
def test_checkpoints_of_nothing_known(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "m.pth")
    with pytest.raises(ModelError):
        convert(tmp_path / "m.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m.pth", **KINDS["goldfinch"])
    tensors = torch.load(tmp_path / "m.pth", weights_only=True)
    for name, value in (
        ("ln_out.weight", torch.zeros(3)),
        ("ln_out.weight", torch.full((64,), float("nan"))),
        ("blocks.7.ln1.weight", torch.zeros(64)),
        ("surprise", torch.zeros(1)),
    ):
        torch.save({**tensors, name: value}, tmp_path / "bad.pth")
        with pytest.raises(ModelError):
            convert(tmp_path / "bad.pth", tmp_path / "out")


def test_the_command(gfqa: Any, tmp_path: Path) -> None:
    checkpoint(tmp_path / "m.pth", **KINDS["finch"])
    (tmp_path / "rwkv_vocab_test.txt").write_text("1 'a' 1\n")
    result = gfqa(
        "models",
        "convert",
        tmp_path / "m.pth",
        tmp_path / "out",
        "--tokenizer",
        tmp_path / "rwkv_vocab_test.txt",
        "--json",
    )
    assert result.code == 0, result.err
    assert result.json["config"]["tmix"] == "x060"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tokenizer"] == "rwkv_vocab_test.txt"
    assert (tmp_path / "out" / "rwkv_vocab_test.txt").read_text() == "1 'a' 1\n"
    again = gfqa("models", "convert", tmp_path / "m.pth", tmp_path / "out")
    assert again.code == 2
    assert "exists already" in again.err
    with pytest.raises(UsageError):
        convert_in_child(tmp_path / "missing.pth", tmp_path / "x")
