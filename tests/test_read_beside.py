"""A question whose lower half is read while files are: the same answer, and errors as where files are read before it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gfqa import memory as memories
from gfqa.ask import ask, open_memory, open_model, question_ids, restricted
from gfqa.cachestore import HostRows, Pieces, Store
from gfqa.errors import CacheError, ModelError
from gfqa.ingest import run
from gfqa.model import LanguageModel
from gfqa.reader import Reader
from tests.conftest import Result, make_model

Run = Callable[..., Result]
WAIT = 30.0
QUESTION = "Which port?"


@pytest.fixture
def reader(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """An opened model, with a cache `texts` that it has read; files are read beside it on the CPU too."""
    monkeypatch.setattr(memories, "reads_beside", lambda device: True)
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.txt").write_text(f"The port of number {number} is {8000 + number}.\n")
    reader = open_model(make_model(tmp_path / "model"), "cpu")
    run([folder], reader=reader, home=home)
    return reader


@pytest.fixture
def lower(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], list[int]]:
    """lower(call): `call` is made before each lower half; the list has the tokens of each."""

    def patch(call: Callable[[], None]) -> list[int]:
        plain, seen = LanguageModel.decode_lower, []

        def decode_lower(self: LanguageModel, ids: torch.Tensor, state: Any) -> Any:
            call()
            seen.append(ids.shape[1])
            return plain(self, ids, state)

        monkeypatch.setattr(LanguageModel, "decode_lower", decode_lower)
        return seen

    return patch


def test_the_question_is_read_before_the_memory_is_there(
    reader: Reader, home: Path, lower: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are put only once the lower half has begun, and it runs once."""
    done = threading.Event()
    plain = HostRows.put

    def put(self: HostRows, place: int, pieces: Pieces) -> None:
        assert done.wait(WAIT), "the lower half waits for the memory"
        plain(self, place, pieces)

    monkeypatch.setattr(HostRows, "put", put)
    seen = lower(done.set)
    ids = question_ids(reader, QUESTION)
    memory = open_memory(reader, Store.open(home), ["texts"], question=ids)
    assert seen == [len(ids)]
    ask(memory, QUESTION, max_tokens=1)
    assert seen == [len(ids)]
    ask(memory, "What else?", max_tokens=1)
    assert len(seen) == 2


def test_answers_are_the_same_to_the_last_bit(reader: Reader, home: Path) -> None:
    store, ids = Store.open(home), question_ids(reader, QUESTION)
    beside, before = open_memory(reader, store, ["texts"], question=ids), open_memory(reader, store, ["texts"])
    assert beside.begun is not None
    assert before.begun is None
    masses: tuple[list[torch.Tensor], list[torch.Tensor]] = [], []
    for question in (ids, question_ids(reader, "Something else?")):
        with torch.inference_mode():
            [one, two] = [
                memory.decode(torch.tensor([question]), None, mass)
                for memory, mass in zip((beside, before), masses, strict=True)
            ]
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1].compressed_keys, two[1].compressed_keys)  # type: ignore[arg-type]
    assert all(map(torch.equal, *masses))
    one, two = (ask(memory, QUESTION, max_tokens=5).to_json() for memory in (beside, before))
    assert {**one, "timing": 0} == {**two, "timing": 0}
    parts = [ask(restricted(memory, ["2.txt"]), QUESTION, max_tokens=5) for memory in (beside, before)]
    assert parts[0].text == parts[1].text
    assert parts[0].score == parts[1].score


def test_damage_is_what_it_is_where_files_are_read_before(reader: Reader, home: Path, lower: Any) -> None:
    store, ids = Store.open(home), question_ids(reader, QUESTION)
    [pack] = store.packs.iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.write_bytes(data)
    with pytest.raises(CacheError) as before:
        open_memory(reader, store, ["texts"])
    lower(lambda: None)
    with pytest.raises(CacheError, match="checksum") as beside:
        open_memory(reader, store, ["texts"], question=ids)
    assert str(beside.value) == str(before.value)
    assert beside.value.hint == before.value.hint


def test_what_is_wrong_with_the_files_is_said_first(reader: Reader, home: Path, lower: Any) -> None:
    def fail() -> None:
        raise ModelError("No weights.")

    lower(fail)
    store, ids = Store.open(home), question_ids(reader, QUESTION)
    with pytest.raises(CacheError, match="There is no cache named 'other'"):
        open_memory(reader, store, ["other"], question=ids)
    with pytest.raises(ModelError, match="No weights"):
        open_memory(reader, store, ["texts"], question=ids)


def test_an_interrupt_ends_the_reading(reader: Reader, home: Path, lower: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What puts the keys is told that nobody waits for them any more."""
    stops: list[threading.Event] = []

    def rows_on(device: str, stopped: threading.Event | None = None) -> type[HostRows]:
        if stopped is not None:
            stops.append(stopped)
        return HostRows

    def put(self: HostRows, place: int, pieces: Pieces) -> None:
        assert stops[0].wait(WAIT)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(memories, "rows_on", rows_on)
    monkeypatch.setattr(HostRows, "put", put)
    lower(interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_memory(reader, Store.open(home), ["texts"], question=question_ids(reader, QUESTION))
    assert stops[0].is_set()


def test_a_processor_reads_files_first(reader: Reader, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    memory = open_memory(reader, Store.open(home), ["texts"], question=question_ids(reader, QUESTION))
    assert memory.begun is None


def test_the_command_says_what_it_says_where_files_are_read_before(
    gfqa: Run, project: Path, home: Path, lower: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gfqa("ingest", project)
    before = gfqa("ask", QUESTION, "--json").json
    seen = lower(lambda: None)
    monkeypatch.setattr(memories, "reads_beside", lambda device: True)
    beside = gfqa("ask", QUESTION, "--json")
    assert beside.code == 0
    assert seen[0] > 1
    assert {**beside.json, "timing": 0} == {**before, "timing": 0}
    [pack] = home.rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0x40
    pack.chmod(0o600)
    pack.write_bytes(data)
    failed = gfqa("ask", QUESTION)
    monkeypatch.setattr(memories, "reads_beside", lambda device: False)
    assert failed.code == 3
    assert "checksum" in failed.err
    assert gfqa("ask", QUESTION).err == failed.err


INTERRUPTED = """
import sys, time
from gfqa import memory
from gfqa.loaded import HostRows, Stopped

def rows_on(device, stopped=None):
    class Rows(HostRows):
        def put(self, place, pieces):
            print("reading", flush=True)
            if not stopped.wait(30):
                print("nobody said stop", flush=True)
            raise Stopped
    return Rows

memory.reads_beside = lambda device: True
memory.rows_on = rows_on
from gfqa.cli import main
sys.argv = ["gfqa", "ask", "Which port?"]
main()
"""


def test_control_c_ends_a_command_that_reads_beside(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        time.sleep(0.5)  # Until the lower half has run, and the memory is waited for.
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT / 2)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
