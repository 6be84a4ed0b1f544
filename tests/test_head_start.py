"""What is set going while torch is imported: it may save time, and changes nothing where it cannot."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from gfqa import digest, head_start, model_folders


@pytest.fixture
def no_digests(monkeypatch: pytest.MonkeyPatch) -> dict[Any, bytes]:
    known: dict[Any, bytes] = {}
    monkeypatch.setattr(digest, "_known", known)
    return known


def joined(threads: list[threading.Thread]) -> int:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return len(threads)


class Driver:
    """CUDA's driver with one GPU, or none."""

    def __init__(self, gpus: int) -> None:
        self.gpus, self.opened = gpus, list[int]()

    def cuInit(self, flags: int) -> int:
        return 0 if self.gpus else 100

    def cuDeviceGet(self, where: Any, number: int) -> int:
        where._obj.value = 70 + number
        return 0 if number < self.gpus else 101

    def cuDevicePrimaryCtxRetain(self, where: Any, place: Any) -> int:
        self.opened.append(place.value)
        return 0


@pytest.mark.parametrize(
    ("device", "gpus", "opened"),
    [("auto", 1, [70]), ("cuda", 1, [70]), ("cuda:1", 2, [71]), ("cuda:1", 1, []), ("auto", 0, []), ("cpu", 1, [])],
)
def test_the_context_of_the_device_is_opened(
    device: str, gpus: int, opened: list[int], monkeypatch: pytest.MonkeyPatch, no_digests: dict[Any, bytes]
) -> None:
    driver = Driver(gpus)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    joined(head_start.begin(None, device))
    assert driver.opened == opened
    weights = model_folders.SHIPPED / model_folders.WEIGHTS
    assert list(no_digests.values()) == [hashlib.sha256(weights.read_bytes()).digest()]


def test_without_a_driver_only_weights_are_read(monkeypatch: pytest.MonkeyPatch, no_digests: dict[Any, bytes]) -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert joined(head_start.begin(None, "auto")) == 1
    assert no_digests


def test_what_is_wrong_is_left_to_the_command(
    monkeypatch: pytest.MonkeyPatch, no_digests: dict[Any, bytes], tmp_path: Path
) -> None:
    """A model that is none, one without weights, a device that is none, a library without the driver's functions."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    joined(head_start.begin("no-such-model", "nonsense"))
    (tmp_path / "config.json").write_text("{}")
    joined(head_start.begin(tmp_path, "cuda"))
    assert not no_digests


def test_a_digest_is_of_the_file_as_it_is(no_digests: dict[Any, bytes], tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"one", b"three", b""):
        path.write_bytes(content)
        assert digest.of_file(path) == digest.of_file(path) == hashlib.sha256(content).digest()
    path.unlink()
    with pytest.raises(OSError, match="file"):
        digest.of_file(path)
