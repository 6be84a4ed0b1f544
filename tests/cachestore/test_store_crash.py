"""Death and disk errors at every step: nothing acknowledged is lost, no cache is ever half old and half new.

Three ways to fail: SIGKILL of a writing process at random times; death at the n-th call that changes the disk, for every
n; an error of the operating system at the n-th call, once or from then on, for every n.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from store_kit import SOURCE, add_chain, identity, ingest, same_memory

from gfqa.cachestore import Store, fs, maintenance, writer
from gfqa.errors import CacheError, GfqaError

OTHER = [2, 5, 11, 17, 30, 33]
FIXED = {1: [2, 5, 11, 40, 41, 42, 43, 44, 45, 50, 53], 2: [5, 41, 45, 60, 61, 62]}


class Died(BaseException):
    """Stands for the death of the process: nothing after it reaches the disk."""


class Quick(fs.System):
    """Does not wait for the disk: what these tests ask does not depend on it."""

    def fsync(self, descriptor):
        pass

    def fsync_directory(self, path):
        pass


class Faulty(Quick):
    """Counts calls; at call number `at` it writes half of the data or nothing and fails, once or from then on."""

    def __init__(self, at: int, failure: Callable[[], BaseException], persistent: bool) -> None:
        self.at, self.failure, self.persistent = at, failure, persistent
        self.calls = 0

    def _step(self) -> bool:
        self.calls += 1
        return self.calls == self.at or (self.persistent and self.calls > self.at > 0)

    def create(self, path, mode):
        if self._step():
            raise self.failure()
        return super().create(path, mode)

    def write(self, descriptor, data):
        if self._step():
            if self.calls == self.at:
                super().write(descriptor, data[: len(data) // 2])
            raise self.failure()
        return super().write(descriptor, data)

    def fsync(self, descriptor):
        if self._step():
            raise self.failure()
        super().fsync(descriptor)

    def close(self, descriptor):
        super().close(descriptor)
        if self._step():
            raise self.failure()

    def replace(self, source, target):
        if self._step():
            raise self.failure()
        super().replace(source, target)

    def fsync_directory(self, path):
        if self._step():
            raise self.failure()
        super().fsync_directory(path)

    def unlink(self, path):
        if self._step():
            raise self.failure()
        super().unlink(path)

    def mkdir(self, path):
        if self._step():
            raise self.failure()
        super().mkdir(path)


def contents(generation: int) -> list[int]:
    """The chains of cache "c" in a generation: some stay, some change, so packs are added, emptied and rewritten."""
    if generation in FIXED:
        return FIXED[generation]
    rng = random.Random(generation)
    return sorted(rng.sample(range(40), rng.randint(1, 12)))


def holds(store: Store, name: str, numbers: list[int]) -> bool:
    manifests, memory = store.load([name])
    by_path = {entry.path: entry for entry in manifests[0].documents}
    documents = [by_path.get(f"file_{number}.txt") for number in numbers]
    return None not in documents and same_memory(memory, numbers, documents, identity())


def generation_of(store: Store) -> int:
    """Which generation cache "c" is, by its manifest's source; -1 if there is none."""
    return int(store.manifest("c").sources[1]) if "c" in store.names() else -1


def write_generation(store: Store, generation: int) -> None:
    with store.writer("c", identity(), timeout=5) as open_writer:
        documents = [add_chain(open_writer, number) for number in contents(generation)]
        open_writer.commit([SOURCE, str(generation)], documents)


@pytest.fixture
def small_packs(monkeypatch):
    """Packs of a few segments, so that the smallest caches have several."""
    monkeypatch.setattr(fs, "system", Quick())
    for module in (writer, maintenance):
        monkeypatch.setattr(module, "PACK_BYTES", 1500)
    monkeypatch.setattr(maintenance, "_SMALL_BYTES", 400)


def prepared(home: Path) -> None:
    """Caches that share packs with each other and with an ingest that was interrupted."""
    store = Store.open(home, create=True)
    ingest(store, "other", OTHER)
    with store.writer("unfinished", identity()) as open_writer:
        for number in range(50, 56):
            add_chain(open_writer, number)
    write_generation(store, 1)


# Each scenario: what is there before, what is done, and what cache "c" and the others hold after it.
def first_ingest(home: Path) -> None:
    write_generation(Store.open(home, create=True), 1)


def next_ingest(home: Path) -> None:
    write_generation(Store.open(home), 2)


def removal(home: Path) -> None:
    store = Store.open(home)
    if "other" in store.names():
        store.remove("other")
    else:
        store.prune(grace_seconds=0)


def pruning(home: Path) -> None:
    Store.open(home).prune(grace_seconds=0)


SCENARIOS = {
    # name: (generations of "c" allowed after an interruption, generation at the end, others, preparation, action)
    "first": ((-1, 1), 1, (), lambda home: None, first_ingest),
    "next": ((1, 2), 2, ("other",), prepared, next_ingest),
    "removal": ((1,), 1, (), prepared, removal),
    "prune": ((1,), 1, ("other",), prepared, pruning),
}


def counted(monkeypatch, base: Path, work: Path, action: Callable[[Path], None]) -> int:
    """How many calls the action makes when nothing fails."""
    shutil.copytree(base, work)
    system = Faulty(0, Died, False)
    monkeypatch.setattr(fs, "system", system)
    action(work)
    monkeypatch.setattr(fs, "system", Quick())
    shutil.rmtree(work)
    return system.calls


def check(home: Path, allowed: tuple[int, ...], others: tuple[str, ...]) -> int:
    store = Store.open(home)
    generation = generation_of(store)
    assert generation in allowed
    if generation >= 0:
        assert holds(store, "c", contents(generation))
    for name in others:
        assert holds(store, name, OTHER)
    maintenance.verify(store)
    return generation


@pytest.mark.parametrize("name", SCENARIOS)
def test_death_at_every_step(name, scratch, monkeypatch, small_packs):
    allowed, final, others, prepare, action = SCENARIOS[name]
    base = scratch / "base"
    base.mkdir()
    prepare(base)
    calls = counted(monkeypatch, base, scratch / "count", action)
    assert calls >= 17, "the scenario no longer rewrites packs"
    seen = set()
    for at in range(1, calls + 1):
        home = scratch / str(at)
        shutil.copytree(base, home)
        monkeypatch.setattr(fs, "system", Faulty(at, Died, True))
        with pytest.raises(Died):
            action(home)
        monkeypatch.setattr(fs, "system", Quick())
        seen.add(check(home, allowed, others))
        action(home)
        check(home, (final,), others)
        assert list(home.rglob("*.tmp")) == []
    assert seen == set(allowed)


ONCE, FOR_GOOD = False, True


@pytest.mark.parametrize(
    ("code", "persistent"),
    [
        (errno.ENOSPC, ONCE),
        (errno.ENOSPC, FOR_GOOD),
        (errno.EIO, ONCE),
        (errno.EACCES, FOR_GOOD),
        (errno.EROFS, FOR_GOOD),
    ],
)
@pytest.mark.parametrize("name", ["first", "next"])
def test_an_error_of_the_disk_at_every_step(name, code, persistent, scratch, monkeypatch, small_packs):
    allowed, final, others, prepare, action = SCENARIOS[name]
    base = scratch / "base"
    base.mkdir()
    prepare(base)
    calls = counted(monkeypatch, base, scratch / "count", action)
    for at in range(1, calls + 1):
        home = scratch / str(at)
        shutil.copytree(base, home)
        monkeypatch.setattr(fs, "system", Faulty(at, lambda: OSError(code, os.strerror(code)), persistent))
        with pytest.raises(GfqaError) as caught:
            action(home)
        assert caught.value.exit_code == 1
        assert str(home) in caught.value.message
        assert "\n" not in caught.value.message
        monkeypatch.setattr(fs, "system", Quick())
        check(home, allowed, others)
        action(home)
        check(home, (final,), others)


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    class Short(Quick):
        def write(self, descriptor, data):
            return super().write(descriptor, data[:7])

    monkeypatch.setattr(fs, "system", Short())
    store = Store.open(tmp_path, create=True)
    documents = ingest(store, "c", [1, 2])
    assert same_memory(store.load(["c"])[1], [1, 2], documents, identity())


def test_a_failed_flush_keeps_what_was_added_and_can_be_repeated(tmp_path, monkeypatch):
    store = Store.open(tmp_path, create=True)
    with store.writer("c", identity()) as open_writer:
        entry = add_chain(open_writer, 1)
        monkeypatch.setattr(fs, "system", Faulty(1, lambda: OSError(errno.ENOSPC, "no space"), True))
        with pytest.raises(GfqaError, match="no space"):
            open_writer.checkpoint()
        assert open_writer.has(entry.chain)
        monkeypatch.setattr(fs, "system", Quick())
        open_writer.commit([SOURCE], [entry])
    assert same_memory(store.load(["c"])[1], [1], [entry], identity())


def write_for_ever(home: Path, start: int, report: int) -> None:
    """The child: commits one generation after another, reporting each acknowledgement."""
    store = Store.open(home, create=True)
    generation = start
    while True:
        generation += 1
        with store.writer("c", identity(), timeout=5) as open_writer:
            documents = []
            for number in contents(generation):
                documents.append(add_chain(open_writer, number))
                if number % 3 == 0:
                    open_writer.checkpoint()
                    os.write(report, f"k {generation} {documents[-1].chain}\n".encode())
            open_writer.commit([SOURCE, str(generation)], documents)
        os.write(report, f"c {generation}\n".encode())


def killed_after(home: Path, start: int, seconds: float) -> list[list[str]]:
    """Forks a writer, kills it, and returns what it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write_for_ever(home, start, writing)
        finally:
            os._exit(1)
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as lines:
        return [line.split() for line in lines.read().splitlines()]


def kill_often(home: Path, kills: int) -> int:
    """Kills a writer again and again, checking after each; returns how many generations were acknowledged."""
    rng = random.Random(0)
    acknowledged = 0
    for _ in range(kills):
        lines = killed_after(home, acknowledged, rng.uniform(0, 0.06))
        store = Store.open(home)
        generation = max(generation_of(store), 0)
        acknowledged = max([acknowledged, *(int(line[1]) for line in lines if line[0] == "c")])
        assert generation in (acknowledged, acknowledged + 1)
        if generation:
            assert holds(store, "c", contents(generation))
            maintenance.verify(store)
        # Checkpoints of a generation that was not committed must be found again by the next writer.
        flushed = [line[2] for line in lines if line[0] == "k" and int(line[1]) > generation]
        with store.writer("probe", identity(), timeout=5) as probe:
            assert all(probe.has(key) for key in flushed)
        acknowledged = generation
    return acknowledged


def test_forty_kills(scratch, small_packs):
    assert kill_often(scratch / "home", 40) > 10


@pytest.mark.slow
def test_three_hundred_kills(scratch, small_packs):
    assert kill_often(scratch / "home", 300) > 75


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(GfqaError, match=r"Cannot create .*/file/home"):
        Store.open(tmp_path / "file" / "home", create=True)
    with pytest.raises(CacheError):
        Store.open(tmp_path / "file" / "home").manifest("c")


def test_nothing_is_removed_while_a_manifest_cannot_be_read(tmp_path):
    store = Store.open(tmp_path, create=True)
    documents = ingest(store, "good", range(5))
    ingest(store, "bad", range(3, 8))
    saved = store.manifest_path("bad").read_bytes()
    store.manifest_path("bad").write_bytes(saved[:-1])
    kept = {name for name, _, _ in store.pack_files()}
    ingest(store, "good", [0])
    with pytest.raises(CacheError, match="'good' is removed, but its bytes are still there"):
        store.remove("good")
    assert kept <= {name for name, _, _ in store.pack_files()}
    store.manifest_path("bad").write_bytes(saved)
    assert len(np.unique(store.load(["bad"])[1].chain_starts)) == 5
    assert documents
