"""Groups kept out of training are measured, and nothing else is; dropout and noise leave measurements alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from gfqa.errors import UsageError
from gfqa.tokenizer import load_tokenizer
from gfqa.training import held
from gfqa.training.config import load_config
from gfqa.training.data import Rows
from gfqa.training.forward import Forward
from gfqa.training.packs import UnitFiles
from gfqa.training.pool import Pool
from gfqa.training.rows import _noisy
from gfqa.training.trainer import Trainer
from tests.training.kit import MODEL, TOKENIZER, opened


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(held, "HELD_ONE_IN", 1)
    config = load_config([])
    for name, value in opened(tmp_path).items():
        setattr(config, name, value)
    config.model, config.held, config.held_rows, config.workers = dict(MODEL), ("squad",), 3, 0
    config.row_shape.documents = config.row_shape.questions = 2048
    config.language_rows, config.question_rows, config.steps, config.out = 0, 2, 2, str(tmp_path / "out")
    config.set_weights = {"synthetic": 0.0}
    return config


def test_held_groups_are_measured_and_never_trained_on(config):
    names = {"squad": set(), "code": set()}
    pool_of = {}
    for kind in ("questions", "held:squad"):
        rows = Rows(config, kind, 0)
        assert rows[0]["ids"].shape == (4096,)
        pool_of[kind] = rows._questions[0]
        names[kind] = set(pool_of[kind].sets)
    assert names["questions"] == {"code"}
    assert names["held:squad"] == {"squad"}


def test_held_questions_are_the_same_rows_whatever_the_seed(config):
    first = Rows(config, "held:squad", 0)[1]
    config.seed = 5
    assert all(np.array_equal(first[name], value) for name, value in Rows(config, "held:squad", 1)[1].items())


def test_a_measurement_counts_what_is_asked_and_what_is_right(config):
    lines = []
    trainer = Trainer(config, lines.append)
    trainer.run()
    [line] = [line for line in lines if "held" in line]
    rows = Rows(config, "held:squad", 0)
    chains = sum(len(set(rows[i]["chain"][rows[i]["targets"] >= 0])) for i in range(3))
    assert line["questions"] == chains > 0
    assert line["exact"] == 0.0
    assert line["loss"] > 5

    def right(batch):
        places = torch.ones_like(batch["at"], dtype=torch.bool)
        return torch.zeros(batch["targets"].shape), torch.zeros_like(batch["targets"], dtype=torch.bool), places

    def one_token_wrong(batch):
        wrong = batch["targets"] >= 0
        return wrong.float(), wrong & (torch.cumsum(wrong, 1) == 1), torch.zeros_like(batch["at"], dtype=torch.bool)

    measured = trainer._held["squad"].measure(right, torch.device("cpu"))
    assert measured == {"questions": chains, "exact": 1.0, "loss": 0.0, "placed": 1.0}
    measured = trainer._held["squad"].measure(one_token_wrong, torch.device("cpu"))
    assert round(measured["questions"] * measured["exact"]) == chains - 3
    assert measured["loss"] > 1
    assert measured["placed"] == 0


def test_a_measurement_sees_what_training_sees(config):
    trainer = Trainer(config)
    batch = next(iter(trainer._batches.values())).next()
    plain = Forward(trainer.model, compiled=False, flex=False)
    from gfqa.training.trainer import spans_of

    arguments = (batch["ids"], batch["starts"], batch["targets"], spans_of(batch), False)
    expected = plain.questions(*arguments)[0]
    each, wrong = plain.each(*arguments)
    assert torch.allclose(each.sum(), expected, rtol=1e-4)
    hits = plain.questions(*arguments)[1].view_as(wrong)
    counted = batch["targets"] >= 0
    assert torch.equal(wrong[counted], ~hits[counted])


def test_noise_leaves_the_header_and_the_answers_alone(config, tmp_path):
    tokenizer = load_tokenizer(TOKENIZER)
    pool = Pool(UnitFiles(tmp_path / "units"), tokenizer, {}, 4096)
    rng = random.Random(3)
    units = [pool.unit(i) for i in range(len(pool.files))]
    for unit in units:
        noisy = _noisy(unit, 0.3, rng)
        changed = (noisy.ids != unit.ids).mean()
        if unit.set != "squad":
            assert changed == 0
            continue
        assert 0.2 < changed < 0.4
        assert np.array_equal(noisy.ids[: unit.header], unit.ids[: unit.header])
        assert all(answer in noisy.text for qa in unit.qas for answer in qa["a"])


def test_a_set_of_which_no_group_is_kept_out_is_refused(config, monkeypatch):
    monkeypatch.setattr(held, "HELD_ONE_IN", 1 << 60)
    with pytest.raises(UsageError, match="no units of the groups of squad"):
        Rows(config, "held:squad", 0)[0]
