"""Several processes at once: readers beside a writer see one commit whole, and only one process writes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest
from filelock import FileLock
from store_kit import SOURCE, add_chain, document, identity, ingest, same_memory

from gfqa.cachestore import CacheChanged, Store
from gfqa.errors import Busy, CacheError, GfqaError


def in_child(work) -> int:
    """Runs work in a forked process, whose exit status is 0 if work returned."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)


def wait_for(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_readers_beside_a_writer_never_see_an_error_or_a_mixture(scratch):
    seconds = 4.0
    home = scratch / "home"
    store = Store.open(home, create=True)
    generations = [[1, 2, 3], [2, 40, 41, 42, 43], [1, 2, 44], [2], [2, *range(50, 62)], []]

    def write(generation: int) -> None:
        numbers = generations[generation % len(generations)]
        with store.writer("c", identity(), timeout=5) as writer:
            documents = [add_chain(writer, number) for number in numbers]
            writer.commit([SOURCE, str(generation)], documents)

    end = time.monotonic() + seconds

    def read() -> None:
        reader, seen = Store.open(home), set()
        while time.monotonic() < end or len(seen) < 2:
            (manifest, still), memory = reader.load(["c", "still"])
            generation = int(manifest.sources[1])
            numbers = generations[generation % len(generations)]
            assert [entry.path for entry in manifest.documents] == [f"file_{number}.txt" for number in numbers]
            together = dict(zip([*numbers, 2, 90], [*manifest.documents, *still.documents]))
            assert same_memory(memory, [*together], [*together.values()], identity())
            seen.add(generation)

    write(0)
    ingest(store, "still", [2, 90])
    readers = [in_child(read) for _ in range(4)]
    generation = 0
    while time.monotonic() < end:
        generation += 1
        write(generation)
    assert [wait_for(child) for child in readers] == [0, 0, 0, 0]
    assert generation > 20


def test_two_writers_wait_for_each_other_and_both_commit(scratch):
    home = scratch / "home"
    Store.open(home, create=True)
    everything = {"a": range(0, 12), "b": range(6, 18), "c": range(30)}
    children = [in_child(lambda name=name: ingest(Store.open(home), name, everything[name])) for name in everything]
    assert [wait_for(child) for child in children] == [0, 0, 0]
    store = Store.open(home)
    assert store.names() == ["a", "b", "c"]
    assert len(store.load(["a", "b", "c"])[1].chain_keys) == 30
    stored = [entry.location.key for pack in store.read_packs().values() for entry in pack.entries]
    assert len(stored) == len(set(stored)), "what two caches share is stored once"


def test_a_held_store_is_busy_for_writers_and_open_for_readers(tmp_path):
    store = Store.open(tmp_path, create=True)
    documents = ingest(store, "c", [1])
    reading, writing = os.pipe()

    def hold() -> None:
        with Store.open(tmp_path).writer("other", identity()):
            os.write(writing, b"x")
            time.sleep(60)

    child = in_child(hold)
    try:
        assert os.read(reading, 1) == b"x"
        for use in (
            lambda: store.writer("c", identity(), timeout=0.2).__enter__(),
            lambda: store.remove("c", timeout=0.2),
            lambda: store.prune(timeout=0.2),
        ):
            started = time.monotonic()
            with pytest.raises(Busy, match="Another gfqa process is writing"):
                use()
            assert time.monotonic() - started < 30
        assert same_memory(store.load(["c"])[1], [1], documents, identity())
    finally:
        os.kill(child, signal.SIGKILL)
        wait_for(child)
    # The kernel frees the lock of a dead process: no file has to be removed by hand.
    ingest(store, "c", [1, 2])


def test_a_wait_is_announced_once_and_only_if_it_is_long(tmp_path, monkeypatch):
    monkeypatch.setattr("gfqa.cachestore.store.NOTICE_SECONDS", 0.05)
    told: list[float] = []
    store = Store.open(tmp_path, create=True, on_wait=told.append)
    with store.locked(5):
        pass
    assert told == []
    other = FileLock(store.root / "LOCK", thread_local=False)
    with other, pytest.raises(Busy, match=r"still after 0\.2 s"), store.locked(0.2):
        pass
    assert told == [0.2]
    # Who does not want to wait at all is told by the error alone.
    with other, pytest.raises(Busy), store.locked(0):
        pass
    assert told == [0.2]
    other.acquire()
    released = threading.Timer(0.3, other.release)
    released.start()
    with store.locked(30):
        assert told == [0.2, 30]
    released.join()


def test_a_lock_that_holds_nobody_back_gives_errors_at_worst(scratch, monkeypatch):
    """Some network file systems grant every lock. Then a pack can be lost, but nothing wrong is ever read."""
    home = scratch / "home"
    store = Store.open(home, create=True)

    def work(name: str, first: int) -> None:
        monkeypatch.setattr(Store, "locked", lambda self, timeout: contextlib.nullcontext())
        for turn in range(20):
            with contextlib.suppress(GfqaError):
                ingest(Store.open(home), name, [first, 500, first + 1 + turn])

    caches = {"a": 0, "b": 100}
    children = [in_child(lambda name=name: work(name, caches[name])) for name in caches]
    assert [wait_for(child) for child in children] == [0, 0]
    for name, first in caches.items():
        with contextlib.suppress(CacheError):
            (manifest,), memory = store.load([name])
            numbers = [int(entry.path[5:-4]) for entry in manifest.documents]
            assert same_memory(memory, numbers, manifest.documents, identity())
        ingest(store, name, [first, 500], replace=True)
    assert len(store.load([*caches])[1].chain_keys) == 3


def test_a_reader_with_an_old_manifest_is_told_when_its_documents_are_gone(tmp_path):
    store = Store.open(tmp_path, create=True)
    ingest(store, "c", [1, 2, 3])
    old = store.manifest("c")
    documents = ingest(store, "c", [7])
    with pytest.raises(CacheChanged, match="'c' was changed by another process"):
        store.load_memory(old)
    assert same_memory(store.load(["c"])[1], [7], documents, identity())
    with pytest.raises(CacheError, match="has no chain"):
        store.load_chain(old, document(1, "f" * 64, 1).chain)
