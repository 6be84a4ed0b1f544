"""The progress line: work is counted from the matrices, and a loss that is not finite ends the phase."""

from __future__ import annotations

import pytest
import torch

from gfqa.errors import GfqaError
from gfqa.model.config import ModelConfig
from gfqa.model.language_model import LanguageModel
from gfqa.training.meter import Meter, Work

from .kit import MODEL


def test_work_is_six_operations_a_weight_and_position() -> None:
    model = LanguageModel(ModelConfig.from_dict(MODEL))
    split = model.config.split_layer
    matrices = {n: p.numel() for n, p in model.named_parameters() if p.dim() == 2 and n != "emb.weight"}
    upper = sum(n for name, n in matrices.items() if name.startswith(tuple(f"blocks.{i}." for i in range(split, 9))))
    lower, head = sum(matrices.values()) - upper, model.emb.weight.numel()
    work = Work(model)
    assert work.of(2, 100, 100, 0.0) == 6 * 200 * (lower + upper + head)
    # Positions of documents pass through the lower half alone.
    assert work.of(1, 100, 10, 0.0) == 6 * (100 * lower + 10 * (upper + head))
    attention = work.of(1, 100, 10, 50.0) - work.of(1, 100, 10, 0.0)
    assert attention == 6 * 2 * 10 * 50 * model.config.n_gold * model.config.n_embd


def test_a_line_says_what_happened_since_the_last() -> None:
    meter = Meter(world=2, peak=1e6)
    meter.add("norm", torch.tensor(3.0))
    meter.add("language_loss", torch.tensor(8.0))
    meter.add("language_count", torch.tensor(4))
    meter.count(1000, 1e3)
    line = meter.line()
    assert (line["norm"], line["language_loss"]) == (3.0, 2.0)
    assert line["tokens_per_s"] > 0
    assert {"mfu"} <= line.keys()
    assert "exact" not in line
    meter.add("norm", torch.tensor(1.0))
    meter.add("questions_loss", torch.tensor(float("nan")))
    meter.add("questions_count", torch.tensor(1))
    meter.count(1, 0.0)
    with pytest.raises(GfqaError, match="not finite"):
        meter.line()
