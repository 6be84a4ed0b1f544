"""Shared fixtures: an isolated home for every test, tiny random models with the byte tokenizer, a runner of the command line.

torch is imported only by the fixtures that need it, so the torch-free parts are tested without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gfqa's data directory for this test alone; no GFQA_ variable or configuration of the user is seen."""
    for name in [name for name in os.environ if name.startswith("GFQA_")]:
        monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("GFQA_HOME", str(folder))
    monkeypatch.setenv("GFQA_CONFIG", os.devnull)
    return folder


@pytest.fixture
def poisoned_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.empty and empty_like give NaN (floats): a kernel that leaves output unwritten shows it."""
    import torch

    for name in ("empty", "empty_like"):
        plain = getattr(torch, name)

        def poisoned(*args: Any, plain: Callable[..., Any] = plain, **kwargs: Any) -> Any:
            tensor = plain(*args, **kwargs)
            with torch.no_grad():
                return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

        monkeypatch.setattr(torch, name, poisoned)


def make_model(folder: Path, **settings: Any) -> Path:
    """A tiny random model folder with the byte tokenizer: GoldFinch of 2 + 1 layers unless `settings` say otherwise.

    Parameters that start at zero are filled, so that attention and outputs depend on the input.
    """
    import torch

    from gfqa.model import LanguageModel, ModelConfig, save_model
    from gfqa.model.init import init_weights

    shape: dict[str, Any] = {"n_embd": 64, "n_layer": 3, "head_size": 16, "vocab_size": 261}
    shape |= {"tmix": "x060c2", "tmix2": "gold", "layout": "independent", "tokenizer": "bytes", "key_dtype": "float32"}
    model = init_weights(LanguageModel(ModelConfig(**{**shape, **settings})), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        model.emb.weight.normal_(0, 1, generator=generator)
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1, generator=generator)
    save_model(model, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the independent layout, float32 keys."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As tiny_model with int8 keys: another identity."""
    return make_model(tmp_path_factory.mktemp("models") / "other", key_dtype="int8")


@pytest.fixture(scope="session")
def chained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the chained layout with two GOLD layers."""
    return make_model(tmp_path_factory.mktemp("models") / "chained", n_layer=6, layout="chained")


@pytest.fixture(scope="session")
def recurrent_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RWKV-6: no GOLD layers, so no citations."""
    return make_model(tmp_path_factory.mktemp("models") / "recurrent", tmix="x060", tmix2="", layout="chained")


@pytest.fixture(scope="session")
def attention_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPTAlpha: not for ingest."""
    return make_model(tmp_path_factory.mktemp("models") / "attention", tmix="gptalpha", tmix2="", layout="chained")


@dataclass
class Result:
    """What a command did. `json` is stdout parsed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def gfqa(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """gfqa("ask", "q", stdin="...") runs a command in this process, with the tiny model as the default."""
    from typer.testing import CliRunner

    from gfqa.cli import app

    monkeypatch.setenv("GFQA_MODEL", str(tiny_model))
    monkeypatch.setenv("GFQA_DEVICE", "cpu")

    def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return Result(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def start(tiny_model: Path, home: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """start("ask", "q", **Popen arguments) runs a command as a process of its own; what still runs at the end is killed."""
    running: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str | Path, env: dict[str, str] | None = None, **settings: Any) -> subprocess.Popen[bytes]:
        variables = {**os.environ, "GFQA_MODEL": str(tiny_model), "GFQA_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
        variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **settings}
        command = [sys.executable, "-m", "gfqa.cli", *map(str, arguments)]
        running.append(subprocess.Popen(command, env={**variables, **(env or {})}, **settings))
        return running[-1]

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def drained(main: int) -> bytes:
    """What a process wrote to its pseudo-terminal until it ended; `main` is closed."""
    shown = b""
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(main)
    return shown


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small tree: text, code, an ignored file, a binary, a secret."""
    folder = tmp_path / "proj"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "guide.md").write_text("# Guide\n\nThe retry count is 7.\nThe port is 8080.\n")
    (folder / "app.py").write_text("def connect():\n    return open_port(8080)\n")
    (folder / "notes.txt").write_text("alpha\nbeta\ngamma\n")
    (folder / ".gitignore").write_text("build/\n*.log\n")
    (folder / "run.log").write_text("ignored\n")
    (folder / "image.bin").write_bytes(b"\x00\x01\x02" * 50)
    (folder / ".env").write_text("PASSWORD=hunter2\n")
    return folder
