"""A checkpoint with the names and shapes of the published ones, from .pth to an answer; and the hub, played by a folder."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gfqa.answer.confidence import Confidence
from gfqa.model import LanguageModel, ModelConfig
from gfqa.model.checkpoint import write_checksums
from gfqa.model.init import init_weights
from tests.cli.test_bad_input import check
from tests.conftest import Result, make_model

Run = Callable[..., Result]
VOCABULARY = "rwkv_vocab_v20230424.txt"
KINDS = {"goldfinch": {"tmix": "x060c2", "tmix2": "gold", "n_layer": 6}, "rwkv6": {"tmix": "x060", "n_layer": 4}}


def published(folder: Path, kind: str) -> Path:
    """A .pth file of bfloat16 tensors under the reference's names, and a World vocabulary beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    shape: dict[str, Any] = {"n_embd": 64, "vocab_size": 400, "head_size": 16, **KINDS[kind]}
    model = init_weights(LanguageModel(ModelConfig(**shape)), seed=3)
    generator = torch.Generator().manual_seed(4)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data.normal_(0, 0.1, generator=generator)
    torch.save({name: p.detach().to(torch.bfloat16) for name, p in model.named_parameters()}, folder / f"{kind}.pth")
    pieces = [bytes([value]) for value in range(256)] + [b"retry", b" count", b" is", b"\n\n", b"def ", b"User: "]
    lines = [f"{number} {piece!r} {len(piece)}" for number, piece in enumerate(pieces, 1)]
    (folder / VOCABULARY).write_text("\n".join(lines) + "\n")
    return folder / f"{kind}.pth"


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_published_file_to_an_answer(gfqa: Run, project: Path, tmp_path: Path, kind: str) -> None:
    checkpoint, model = published(tmp_path / "download", kind), tmp_path / "model"
    names = set(torch.load(checkpoint, weights_only=True))
    assert {"emb.weight", "blocks.0.ln0.weight", "blocks.0.att.time_maa_x", "ln_out.weight", "head.weight"} <= names
    assert ("blocks.4.att.time_maa_q" in names) == (kind == "goldfinch")
    converted = gfqa(
        "models", "convert", checkpoint, model, "--tokenizer", checkpoint.parent / VOCABULARY, "--json"
    ).json
    assert (converted["layout"], converted["config"]["tokenizer"]) == ("chained", VOCABULARY)
    assert gfqa("models", "verify", model, "--json").json["parameters"] > 50_000

    report = gfqa("ingest", project, "--model", model, "--json").json
    assert report["cache"]["layout"] == "chained"
    characters = sum(
        len((project / path).read_text()) for path in (".gitignore", "app.py", "notes.txt", "docs/guide.md")
    )
    assert report["tokens"]["total"] < characters + 60, "words of the vocabulary are single tokens"
    again = gfqa("ingest", project, "--model", model, "--json").json
    assert again["tokens"]["prefilled"] == 0
    assert gfqa("caches", "text", "proj", "docs/guide.md").out == (project / "docs" / "guide.md").read_text()

    answer = gfqa("ask", "What is the retry count?", "--model", model, "--max-tokens", "4", "--json").json
    assert answer["cache"] == {"names": ["proj"], "model": "model", "layout": "chained"}
    assert answer["tokens"]["reused"] == report["tokens"]["total"]
    assert answer["tokens"]["prefilled"] == 0
    if kind == "goldfinch":
        assert answer["citations"]
        for citation in answer["citations"]:
            lines = (project / citation["path"]).read_text().split("\n")
            assert citation["quote"] == "\n".join(lines[citation["start_line"] - 1 : citation["end_line"]][:3])
    else:
        assert (answer["citations"], answer["located"]) == ([], False)
    assert (
        gfqa("ask", "What is the retry count?", "--model", model, "--max-tokens", "4", "--json").json["answer"]
        == answer["answer"]
    )
    check(gfqa("ask", "q"), 3, "another model", "caches rebuild proj")


# The hub


class RepositoryNotFoundError(Exception):
    """As the library calls it."""


class RevisionNotFoundError(Exception):
    """As the library calls it."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library whose hub is a folder: OWNER/NAME/files."""
    folder = tmp_path / "hub"
    folder.mkdir()

    class HfApi:
        def model_info(self, repo_id: str, revision: str | None, files_metadata: bool) -> Any:
            if not (folder / repo_id).is_dir():
                raise RepositoryNotFoundError("a long message with a link")
            if revision not in (None, "main", "c0ffee"):
                raise RevisionNotFoundError("another one")
            files = [path for path in sorted((folder / repo_id).rglob("*")) if path.is_file()]
            siblings = [
                types.SimpleNamespace(rfilename=path.relative_to(folder / repo_id).as_posix(), size=path.stat().st_size)
                for path in files
            ]
            return types.SimpleNamespace(sha="c0ffee", siblings=siblings)

    def hf_hub_download(repo_id: str, filename: str, *, revision: str) -> str:
        assert revision == "c0ffee", "every file is of the commit that was listed"
        return str(folder / repo_id / filename)

    module = types.SimpleNamespace(HfApi=HfApi, hf_hub_download=hf_hub_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)  # type: ignore[arg-type]
    monkeypatch.setattr("gfqa.hub.find_spec", lambda name: None)
    return folder


def test_pulling_a_checkpoint_converts_it(gfqa: Run, hub: Path, project: Path, home: Path) -> None:
    published(hub / "someone" / "goldfinch", "goldfinch")
    pulled = gfqa("models", "pull", "someone/goldfinch", "--json").json
    assert (pulled["name"], pulled["revision"], pulled["files"]) == (
        "goldfinch",
        "c0ffee",
        ["goldfinch.pth", VOCABULARY],
    )
    assert gfqa("ingest", project, "--model", "goldfinch").code == 0
    assert gfqa("ask", "q", "--model", "goldfinch", "--max-tokens", "2").code == 0
    check(gfqa("models", "pull", "someone/goldfinch"), 2, "already")
    human = gfqa("models", "pull", "someone/goldfinch", "--name", "second", "--revision", "main")
    assert human.code == 0
    assert "fetching goldfinch.pth" in human.err
    assert sorted(path.name for path in (home / "models").iterdir()) == ["goldfinch", "second"]


def test_pulling_safetensors_and_choosing(gfqa: Run, hub: Path, tmp_path: Path) -> None:
    repository = hub / "someone" / "several"
    tensors = torch.load(published(repository, "rwkv6"), weights_only=True)
    save_file(tensors, repository / "rwkv6.safetensors")
    check(gfqa("models", "pull", "someone/several"), 2, "2 checkpoints", "rwkv6.safetensors")
    check(gfqa("models", "pull", "someone/several", "--file", "none.pth"), 2, "none.pth")
    pulled = gfqa("models", "pull", "someone/several", "--file", "rwkv6.safetensors", "--json").json
    assert pulled["config"]["tmix"] == "x060"
    (repository / VOCABULARY).unlink()
    check(gfqa("models", "pull", "someone/several", "--file", "rwkv6.pth", "--name", "x"), 6, "--tokenizer")
    check(gfqa("models", "pull", "someone/several", "--tokenizer", tmp_path / "none", "--name", "x"), 2, "none")


def test_pulling_a_model_folder(gfqa: Run, hub: Path, home: Path) -> None:
    """With its score, which its checksums name too."""
    folder = make_model(hub / "someone" / "tiny")
    (folder / "README.md").write_text("not needed\n")
    (folder / "score.json").write_text(Confidence(found=0.3).to_json())
    write_checksums(folder)
    pulled = gfqa("models", "pull", "someone/tiny", "--json").json
    assert pulled["files"] == ["config.json", "weights.safetensors", "SHA256SUMS", "score.json"]
    assert gfqa("models", "verify", "tiny", "--json").json["checksums"] == 3
    assert [path.name for path in (home / "models").iterdir()] == ["tiny"]


def test_pulls_that_fail(gfqa: Run, hub: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(gfqa("models", "pull", "nobody/nothing"), 6, "no repository nobody/nothing")
    published(hub / "someone" / "goldfinch", "goldfinch")
    check(gfqa("models", "pull", "someone/goldfinch", "--revision", "v9"), 6, "'v9'")
    for name in ("plain", "../../etc", "a/b/c", "https://x/y", ""):
        check(gfqa("models", "pull", name), 2, "no repository of the hub")
    check(gfqa("models", "pull", "someone/goldfinch", "--name", "../x"), 2, "../x")
    (hub / "someone" / "empty").mkdir()
    check(gfqa("models", "pull", "someone/empty"), 6, "no model that gfqa reads")
    (hub / "someone" / "goldfinch" / "goldfinch.pth").write_bytes(b"nonsense")
    check(gfqa("models", "pull", "someone/goldfinch", "-q"), 6, "goldfinch.pth")
    assert not list((home / "models").iterdir())

    class Offline:
        def model_info(self, *_: object, **__: object) -> None:
            raise ConnectionError("a page of text about a proxy")

    monkeypatch.setattr(sys.modules["huggingface_hub"], "HfApi", Offline)
    check(gfqa("models", "pull", "someone/goldfinch"), 6, "could not be reached")
    assert gfqa("models", "pull", "someone/goldfinch", "--json").json["error"]["code"] == 6
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # type: ignore[arg-type]
    check(gfqa("models", "pull", "someone/goldfinch"), 6, "the extra hub", "gfqa[hub]")
