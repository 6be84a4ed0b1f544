"""A phase that was interrupted and taken up again ends in the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from gfqa.errors import ModelError
from gfqa.model.checkpoint import build, dequantised, quantised
from gfqa.model.config import ModelConfig
from gfqa.training.config import TrainConfig, load_config
from gfqa.training.loop import train
from gfqa.training.optimizer import OptimizerConfig, shipped_form
from gfqa.training.rows import RowShape
from gfqa.training.schedule import rate_factor
from gfqa.training.trainer import Trainer
from gfqa.training.weights import load_shards, load_weights

from .kit import MODEL, add_word_pieces, opened, tiny_teacher


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return opened(tmp_path_factory.mktemp("data"))


def phase(data: dict[str, str], out: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "model": MODEL, "steps": 4, "language_rows": 1, "language_length": 64, "question_rows": 1,
        "language_share": 0.34, "row_shape": RowShape(documents=192, questions=256, smallest_context=64), "workers": 0,
        "round_keys": True, "warmup_steps": 2, "out": str(out), "log_every": 2, "accumulate": 2,
        "optimizer": OptimizerConfig(muon_lr=0.01),
    }  # fmt: skip
    return TrainConfig(**(settings | data | changes))


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


@pytest.mark.parametrize("taught", [False, True])
def test_resumed_is_uninterrupted(data: dict[str, str], tmp_path: Path, taught: bool) -> None:
    teacher = str(add_word_pieces(tiny_teacher(tmp_path))) if taught else ""
    shape = RowShape(documents=192, questions=256, smallest_context=64)
    config = phase(
        data,
        tmp_path / "out",
        round_weights_from=0.5,
        teacher=teacher,
        language_length=192,
        row_shape=shape,
        dropout=0.1,
        language_share_end=0.6,
    )
    whole = Trainer(config)
    assert whole.run()
    first = Trainer(config)
    assert not first.run(until=2)
    first.save_state(tmp_path / "state")
    again = Trainer(config, resume=tmp_path / "state")
    assert (again.step, again.tokens) == (2, first.tokens)
    assert again.run()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    moments = dict(again.optimizer.tensors())
    assert all(torch.equal(value, moments[name]) for name, value in whole.optimizer.tensors())
    assert not torch.equal(weights(whole)["emb.weight"], weights(first)["emb.weight"])
    assert ("teacher.projection.master" in moments) == taught
    assert all(("teacher_loss" in line) == taught for line in whole._log)


def test_a_state_of_other_settings_is_refused(data: dict[str, str], tmp_path: Path) -> None:
    trainer = Trainer(phase(data, tmp_path / "out", steps=1))
    trainer.run()
    trainer.save_state(tmp_path / "state")
    with pytest.raises(ModelError, match="another seed"):
        Trainer(phase(data, tmp_path / "out", seed=5), resume=tmp_path / "state")


def test_told_to_stop_it_leaves_its_weights_and_its_state(data: dict[str, str], tmp_path: Path) -> None:
    config = phase(data, tmp_path / "out")
    lines: list[dict[str, Any]] = []

    def emit(line: dict[str, Any]) -> None:
        lines.append(line)
        if line.get("step") == 2 and "state" not in line:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not train(config, emit)
    assert load_shards(tmp_path / "out-state")[1]["step"] in (2, 3)
    assert load_shards(tmp_path / "out")[1]["steps"] in (2, 3)
    assert train(config, emit, tmp_path / "out-state")
    assert load_shards(tmp_path / "out")[1]["steps"] == 4
    progress = next(line for line in lines if "tokens_per_s" in line)
    assert {"step", "minutes", "lr", "norm"} < progress.keys()


def test_weights_leave_in_the_form_they_were_trained_in(data: dict[str, str], tmp_path: Path) -> None:
    config = phase(data, tmp_path / "out", round_weights_from=0.0, steps=2)
    trainer = Trainer(config)
    trainer.run()
    trainer.save_weights()
    shipped = load_weights(tmp_path / "out")
    for name, p in trainer.model.named_parameters():
        assert torch.equal(shipped[name], p.detach()), name
    # Made again from the shipped form, nothing moves.
    twice = dequantised(quantised(shipped))
    assert all(torch.equal(shipped[name], twice[name]) for name in shipped)
    model = build(ModelConfig.from_dict(MODEL), shipped)
    begun = Trainer(dataclasses.replace(config, start=str(tmp_path / "out")))
    assert torch.equal(begun.model.emb.weight, model.emb.weight)


def test_shipped_form_is_what_the_file_gives_back() -> None:
    value = torch.randn(96, 64, generator=torch.Generator().manual_seed(0))
    small = value[:3, :5]
    stored = dequantised(quantised({"a": value, "b": small}))
    assert torch.equal(shipped_form(value), stored["a"])
    assert torch.equal(shipped_form(small), stored["b"])
    assert not torch.equal(stored["a"], value)


def test_a_shard_holds_what_it_may(data: dict[str, str], tmp_path: Path) -> None:
    trainer = Trainer(phase(data, tmp_path / "out", steps=1, shard_size=0.25))
    trainer.run()
    trainer.save_weights()
    sizes = [path.stat().st_size for path in (tmp_path / "out").glob("weights-*.safetensors")]
    largest = max(p.numel() * 2 for p in trainer.model.parameters())
    assert len(sizes) > 1
    assert max(sizes) <= max(largest, 0.25 * 2**20) + 20_000


def kinds_of(trainer: Trainer, steps: int) -> list[str]:
    kinds = []
    for step in range(steps):
        trainer.progress = step / steps
        kinds.append(trainer._next_kind())
    return kinds


def test_the_mixture_is_what_was_asked_for_and_moves(data: dict[str, str], tmp_path: Path) -> None:
    assert kinds_of(Trainer(phase(data, tmp_path / "a", language_share=0.25)), 1000).count("language") == 250
    moving = kinds_of(Trainer(phase(data, tmp_path / "b", language_share=0.9, language_share_end=0.1)), 1000)
    assert abs(moving.count("language") - 500) <= 1
    assert moving[:100].count("language") > 80
    assert moving[-100:].count("language") < 20
    assert set(kinds_of(Trainer(phase(data, tmp_path / "c", question_rows=0)), 10)) == {"language"}
    assert set(kinds_of(Trainer(phase(data, tmp_path / "d", language_rows=0)), 10)) == {"questions"}


def test_attention_is_drawn_to_the_place_of_the_answer(data: dict[str, str], tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    steps = {"steps": 30, "language_share": 0.0, "language_rows": 0, "log_every": 5, "accumulate": 1, "dropout": 0.0}
    assert Trainer(phase(data, tmp_path / "out", place_weight=1.0, **steps), lines.append).run()
    shown = [line["place_loss"] for line in lines if "place_loss" in line]
    assert shown[-1] < 0.9 * shown[0], shown
    lines.clear()
    Trainer(phase(data, tmp_path / "none", **steps | {"steps": 10}), lines.append).run()
    assert all("place_loss" not in line for line in lines)


def test_the_rate_falls_at_the_end() -> None:
    config = load_config(["reader", "questions"])
    factors = [rate_factor(config, 500, progress) for progress in (0.0, 1 - config.cooldown, 1.0)]
    assert factors[0] == factors[1] == config.peak_factor
    assert factors[2] == pytest.approx(config.peak_factor * config.final_factor)


def test_what_ranks_do_together_goes_by_the_first_ones_clock(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank whose own clock is ahead measures and saves when rank 0 does, else they would wait for each other for ever."""
    config = phase(data, tmp_path / "out", steps=12, held_minutes=1.0, checkpoint_minutes=1.0, accumulate=1)
    trainer = Trainer(config)
    measured: list[int] = []
    monkeypatch.setattr(trainer, "_minutes", lambda: 100.0 + trainer.step)
    monkeypatch.setattr(trainer, "_measure_held", lambda: measured.append(trainer.step))
    monkeypatch.setattr("gfqa.training.trainer.average_gradients", lambda parameters, world: None)

    def rank_0_says(said: torch.Tensor, source: int) -> None:
        said[0] = 1.5 if trainer.step >= 10 else 0.5

    monkeypatch.setattr("gfqa.training.trainer.dist.broadcast", rank_0_says)
    trainer.world, trainer.rank = 2, 1
    assert trainer.run()
    assert measured == [10, 12]
