"""`gfqa train`: the steps of the data pipeline and a phase through one function, refusals by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gfqa.errors import GfqaError, UsageError
from gfqa.model.checkpoint import load_model
from gfqa.model.config import ModelConfig
from gfqa.model.init import init_weights
from gfqa.model.language_model import LanguageModel
from gfqa.models import verify
from gfqa.training.questions.units import write_jsonl
from gfqa.training.release import release
from gfqa.training.run import run
from gfqa.training.weights import save_shards

from .kit import MODEL, TOKENIZER, articles, prose


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """ready/ with a training and an evaluation set, code/ and held/ with a repository each, corpus/ with one shard."""

    def records(titles: range) -> list[dict[str, Any]]:
        asked = [{"question": f"Who built tower {i} and then left?", "answers": [f"Anna{i}"]} for i in titles]
        return [
            {"title": f"T{i}", "paragraphs": [{"context": f"{prose(i)} Anna{i} built it.", "qas": [qa]}]}
            for i, qa in zip(titles, asked)
        ]

    write_jsonl(tmp_path / "ready" / "squad-1.1-train.jsonl.xz", records(range(4)))
    write_jsonl(tmp_path / "ready" / "squad-1.1-dev.jsonl.xz", records(range(3, 5)))
    for folder in ("code/own__er", "held/other__one"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text(f'"""{prose(len(folder), 200)}"""\nLIMIT = 4\n')
    texts = [{"source": "s", "path": f"{i}.txt", "kind": "prose", "text": prose(i + 300, 500)} for i in range(4)]
    write_jsonl(tmp_path / "corpus" / "shard-000.jsonl.xz", texts)
    return tmp_path


def test_from_sources_to_weights(sources: Path) -> None:
    lines: list[dict[str, Any]] = []
    kept_out = ["--ready", f"{sources}/ready", "--held-out", f"{sources}/held"]
    asked = ["data", "questions", "--code", f"{sources}/code", "--only", "squad", "code-0", *kept_out]
    assert run([*asked, "--out", f"{sources}/questions"], lines.append) == 0
    assert [(line["set"], line["units"], len(line["dropped"])) for line in lines] == [("squad", 3, 1), ("code-0", 1, 0)]
    packing = ["data", "pack", "--corpus", f"{sources}/corpus", "--questions", f"{sources}/questions", *kept_out]
    assert run([*packing, "--tokenizer", str(TOKENIZER), "--out", f"{sources}/packs"], lines.append) == 0
    again: list[dict[str, Any]] = []
    run([*packing, "--tokenizer", str(TOKENIZER), "--out", f"{sources}/packs"], again.append)
    assert again == []
    assert run(["data", "open", "--packs", f"{sources}/packs", "--out", f"{sources}/open"], lines.append) == 0
    assert lines[-1] == {"units": 4, "packs": 2}
    phase = {"model": MODEL, "steps": 1, "language_rows": 1, "language_length": 64, "workers": 0, "log_every": 1}
    (sources / "phase.json").write_text(json.dumps(phase | {"tokens": f"{sources}/open/tokens"}))
    flags = ["run", "-c", f"{sources}/phase.json", "--out", f"{sources}/weights", "--shard-size", "1", "seed=3"]
    assert run(flags, lines.append) == 0
    assert lines[-1]["steps"] == 1
    assert json.loads((sources / "weights" / "about.json").read_text())["config"]["seed"] == 3
    ending = ["--tokenizer", str(TOKENIZER), "--out", f"{sources}/model"]
    assert (
        run(["release", "--weights", f"{sources}/weights", "-c", f"{sources}/phase.json", *ending], lines.append) == 0
    )
    assert lines[-1]["total"] == sum(path.stat().st_size for path in (sources / "model").iterdir())


def test_nothing_is_made_without_what_must_stay_out(sources: Path) -> None:
    (sources / "nothing").mkdir()
    flags = ["data", "pack", "--corpus", f"{sources}/corpus", "--tokenizer", str(TOKENIZER), "--out", f"{sources}/p"]
    with pytest.raises(UsageError, match="do not hold the evaluation"):
        run([*flags, "--ready", f"{sources}/ready", "--held-out", f"{sources}/nothing"])
    with pytest.raises(UsageError, match="nothing"):
        run(["data", "open", "--packs", f"{sources}/nothing", "--out", f"{sources}/o"])
    kept_out = ["--ready", f"{sources}/ready", "--held-out", f"{sources}/held"]
    with pytest.raises(UsageError, match="'cod'"):
        run(["data", "questions", "--only", "cod", *kept_out, "--out", f"{sources}/q"])


def test_a_phase_without_data_says_so(sources: Path) -> None:
    (sources / "phase.json").write_text(json.dumps({"model": MODEL, "steps": 1, "workers": 0}))
    with pytest.raises(UsageError, match="no text stream"):
        run(["run", "-c", f"{sources}/phase.json", "--out", f"{sources}/w"])


def test_articles_are_not_what_is_asked_here() -> None:
    # The kit's articles differ from each other, or the checks for near-copies would mean nothing.
    texts = [unit["text"] for unit in articles()]
    assert len({text[:200] for text in texts}) == len(texts)


def test_a_pointer_that_no_phase_has_trained_is_not_released(tmp_path: Path) -> None:
    shape = MODEL | {"pointer_width": 8, "reread_tokens": 64}
    model = init_weights(LanguageModel(ModelConfig.from_dict(shape)))
    for trained in (False, True):
        if trained:
            torch.nn.init.normal_(model.pointer.key.weight)
        save_shards(model.named_parameters(), tmp_path / "weights", {}, 1 << 24)
        if trained:
            assert release(tmp_path / "weights", shape, TOKENIZER, tmp_path / "out")["total"] > 0
        else:
            with pytest.raises(GfqaError, match="was never trained"):
                release(tmp_path / "weights", shape, TOKENIZER, tmp_path / "out")
            assert not (tmp_path / "out").exists()


def test_a_release_may_be_the_mean_of_two_weights(tmp_path: Path) -> None:
    models = [init_weights(LanguageModel(ModelConfig.from_dict(MODEL)), seed) for seed in (1, 2)]
    for name, model in zip("ab", models, strict=True):
        save_shards(model.named_parameters(), tmp_path / name, {}, 1 << 24)
    release(tmp_path / "a", MODEL, TOKENIZER, tmp_path / "out", tmp_path / "b")
    assert verify(tmp_path / "out")["checksums"] == 3
    made = dict(load_model(tmp_path / "out").named_parameters())
    for (name, one), (_, other) in zip(*(model.named_parameters() for model in models), strict=True):
        expected = (one + other).detach() / 2
        torch.testing.assert_close(made[name], expected, rtol=0, atol=float(expected.abs().max()) / 120 + 1e-4)
    small = init_weights(LanguageModel(ModelConfig.from_dict(MODEL | {"n_embd": 64})))
    save_shards(small.named_parameters(), tmp_path / "c", {}, 1 << 24)
    with pytest.raises(GfqaError, match="holds other weights"):
        release(tmp_path / "a", MODEL, TOKENIZER, tmp_path / "other", tmp_path / "c")
