"""`gfqa doctor`: what is well is said in few lines, what is broken is one failed check and exit code 6."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gfqa import doctor
from tests.conftest import ROOT, Result

Run = Callable[..., Result]
NAMES = [
    "gfqa", "packages", "configuration", "memory", "processor", "gpu", "data", "caches", "model", "server", "self-test",
]  # fmt: skip


def examined(gfqa: Run, code: int = 0) -> dict[str, Any]:
    result = gfqa("doctor", "--json")
    assert (result.code, result.err) == (code, "")
    assert result.json["ok"] == (code == 0)
    return {check["name"]: check for check in result.json["checks"]}


def test_json_is_as_documented(gfqa: Run, home: Path) -> None:
    result = gfqa("doctor", "--json")
    assert result.code == 0
    assert list(result.json) == ["schema", "ok", "checks"]
    assert [check["name"] for check in result.json["checks"]] == NAMES
    for check in result.json["checks"]:
        assert list(check) == ["name", "status", "detail", "hint", "values"]
        assert check["status"] in ("ok", "warning")
        assert check["detail"]
    checks = {check["name"]: check["values"] for check in result.json["checks"]}
    assert checks["model"]["device"] == "cpu"
    assert checks["self-test"]["tokens"] > 0
    assert checks["data"]["writable"]
    assert checks["data"]["path"] == str(home)
    assert list(home.iterdir()) == []


def test_the_table_fits_80_columns(gfqa: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = gfqa("doctor")
    assert result.code == 0
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == NAMES
    # Longer than the terminal only where one word is, and that word is a path.
    assert all(len(line) <= 80 or (len(line.split()) == 1 and "/" in line) for line in lines), lines
    assert all(line.split()[1] in ("ok", "warning") for line in lines if not line.startswith(" "))


@pytest.mark.slow
def test_the_shipped_reader_answers(home: Path) -> None:
    """The real reader, in a process of its own without any setting of ours."""
    environment = {name: value for name, value in os.environ.items() if name != "GFQA_MODEL"}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "gfqa.cli", "doctor"], env=environment, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, ""), run
    assert "gfqa-reader, 30.7 million parameters" in " ".join(run.stdout.split())


def test_a_model_that_is_missing_or_damaged(
    gfqa: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setenv("GFQA_MODEL", "nothing")
    checks = examined(gfqa, 6)
    assert checks["model"]["status"] == "failed"
    assert "nothing" in checks["model"]["detail"]
    assert "self-test" not in checks
    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    weights = broken / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    monkeypatch.setenv("GFQA_MODEL", str(broken))
    assert examined(gfqa, 6)["model"]["status"] == "failed"
    monkeypatch.setenv("GFQA_MODEL", str(tiny_model))
    monkeypatch.setenv("GFQA_DEVICE", "cuda:99")
    assert "cuda:99" in examined(gfqa, 6)["model"]["detail"]
    assert gfqa("doctor").code == 6
    assert gfqa("doctor", "--device", "cpu").code == 0


def test_the_self_test_can_fail(gfqa: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gfqa.model import LanguageModel

    with monkeypatch.context() as patch:
        plain = LanguageModel.lower_half
        patch.setattr(LanguageModel, "lower_half", lambda *a: (plain(*a)[0] * float("nan"), plain(*a)[1]))
        check = examined(gfqa, 6)["self-test"]
        assert check["status"] == "failed"
        assert "not finite" in check["detail"]
    with monkeypatch.context() as patch:
        patch.setattr("gfqa.reader.SHIPPED", tiny_model)
        check = examined(gfqa, 6)["self-test"]
        assert "wrongly" in check["detail"]
    with monkeypatch.context() as patch:
        patch.setattr(
            "gfqa.ask.locate",
            lambda *_, **__: __import__("gfqa.answer.citations").answer.citations.Place(1, 1, None, "forged"),
        )
        check = examined(gfqa, 6)["self-test"]
        assert "cited wrongly" in check["detail"]


def test_a_data_directory_that_cannot_be_written(gfqa: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(30, os.strerror(30))

    plain = doctor.fs.write_file_atomically

    def write(path: Path, chunks: Any) -> None:
        if path.is_relative_to(home):
            with doctor.fs.explained("write", path):
                fail()
        plain(path, chunks)

    monkeypatch.setattr("gfqa.doctor.fs.write_file_atomically", write)
    check = examined(gfqa, 6)["data"]
    assert (check["status"], check["values"]["writable"]) == ("failed", False)
    assert str(home) in check["detail"]


def test_a_home_that_does_not_exist_yet_is_not_made(gfqa: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GFQA_HOME", str(home / "not" / "yet"))
    assert examined(gfqa)["data"]["values"]["writable"]
    assert not (home / "not").exists()


def test_a_damaged_cache_is_a_warning(gfqa: Run, project: Path, home: Path) -> None:
    gfqa("ingest", project, "-q")
    assert examined(gfqa)["caches"]["values"]["caches"] == 1
    [manifest] = home.rglob("*.manifest")
    manifest.chmod(0o600)
    manifest.write_bytes(b"")
    check = examined(gfqa)["caches"]
    assert check["status"] == "warning"
    assert check["values"]["damaged"] == ["proj"]


def test_a_bad_configuration_is_a_failed_check(gfqa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    monkeypatch.setenv("GFQA_CONFIG", str(file))
    file.write_text("nonsense = 1\n")
    check = examined(gfqa, 6)["configuration"]
    assert str(file) in check["detail"]
    file.write_text("device = 'cuda:98'\n")
    monkeypatch.delenv("GFQA_DEVICE")
    assert "cuda:98" in examined(gfqa, 6)["model"]["detail"]
    monkeypatch.setenv("GFQA_DEVICE", "cpu")
    assert examined(gfqa)["configuration"]["values"]["settings"] == {"device": "cuda:98"}


def test_what_a_check_raises_is_its_failure(gfqa: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Check:
        raise ImportError("libcudart.so.99")

    monkeypatch.setattr("gfqa.doctor._gpu", broken)
    check = examined(gfqa, 6)["gpu"]
    assert check["status"] == "failed"
    assert "libcudart.so.99" in check["detail"]


def test_missing_packages_and_little_room(gfqa: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfqa.doctor.PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr("gfqa.doctor.LITTLE_MEMORY", 1 << 60)
    monkeypatch.setattr("gfqa.doctor.LITTLE_DISK", 1 << 60)
    checks = examined(gfqa, 6)
    assert "no-such-package" in checks["packages"]["detail"]
    assert checks["data"]["status"] == "warning"
    if checks["memory"]["values"]["available"] is not None:
        assert checks["memory"]["status"] == "warning"


def test_the_memory_of_this_machine() -> None:
    total, available = doctor.memory_bytes()
    assert total is None or total > 100_000_000
    assert available is None or 0 < available <= (total or 0)
