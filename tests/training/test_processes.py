"""Phases of several processes: they do the same at the same step, and where one dies all end, to be started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gfqa.training.held import is_held
from gfqa.training.weights import is_state, load_shards, load_weights

from .kit import MODEL, opened


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept_out = next(f"Bridges {i}" for i in range(1000) if is_held(f"Bridges {i}"))
    return opened(tmp_path_factory.mktemp("data"), ("Towers", kept_out))


def start(folder: Path, data: dict[str, str], *flags: str, **settings: Any) -> subprocess.Popen[str]:
    """A phase of two processes on the CPU."""
    config = {
        "model": MODEL | {"pointer_width": 8, "reread_tokens": 64}, "language_rows": 1, "language_length": 64,
        "question_rows": 1, "passage_rows": 1, "language_share": 0.3, "passage_share": 0.4, "workers": 0,
        "row_shape": {"documents": 2048, "questions": 512}, "held": ["squad"], "held_rows": 2,
        "passage_shape": {"length": 192, "per_context": 2, "passage": 96}, "log_every": 1, "warmup_steps": 2,
    }  # fmt: skip
    path = folder / "phase.json"
    path.write_text(json.dumps(config | data | settings))
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    run = ["-m", "gfqa.training.loop", "-c", str(path), "--out", str(folder / "out"), *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [sys.executable, *command, *run], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def test_two_processes_measure_and_save_together(data: dict[str, str], tmp_path: Path) -> None:
    process = start(tmp_path, data, steps=9, held_minutes=0.001, checkpoint_minutes=0.001)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    measured = [line["step"] for line in lines if line.get("held") == "squad passages"]
    # The clock is told every fifth step, and at each of the first.
    assert measured[-1] == 9
    assert len(measured) > 3
    assert len({line["step"] for line in lines if "tokens_per_s" in line}) == 9
    assert load_shards(tmp_path / "out")[1]["steps"] == 9
    assert load_shards(tmp_path / "out-state")[1]["world"] == 2
    assert load_weights(tmp_path / "out")["pointer.edges.weight"].isfinite().all()


@pytest.mark.slow
def test_a_phase_of_which_a_process_died_goes_on_where_it_was(data: dict[str, str], tmp_path: Path) -> None:
    process = start(tmp_path, data, "--restart", steps=60, checkpoint_minutes=0.02)
    deadline = time.monotonic() + 120
    while not is_state(tmp_path / "out-state"):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    os.kill(child_of(process.pid, str(tmp_path)), signal.SIGKILL)
    said = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    process = start(tmp_path, data, "--restart", steps=60)
    said += process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    steps = [json.loads(line)["step"] for line in said.splitlines() if line.startswith("{") and "tokens_per_s" in line]
    # It went on from the state, not from the beginning.
    assert steps.count(1) == 1
    assert steps[-1] == 60
    assert load_shards(tmp_path / "out")[1]["steps"] == 60


def child_of(parent: int, word: str) -> int:
    """A child process with this word in its command."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and word in (folder / "cmdline").read_text():
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError("no such process")
