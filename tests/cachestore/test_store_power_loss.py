"""Power loss on a simulated disk: what was not waited for is kept, lost or garbage, each on its own.

A journal records every call that changes the disk. For a random moment the disk is then built again: synced bytes and
names are there, every other name change has happened or not, every other byte is written, missing, zero or noise. The
store must be a whole commit, at least the last acknowledged one. Leaving out either kind of fsync must be found.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from store_kit import SOURCE, add_chain, identity, ingest, same_memory

from gfqa.cachestore import Store, fs, maintenance, writer
from gfqa.errors import CacheError

CONTENTS = {0: [2, 40, 41], 1: [2, 5, 42, 43, 44, 45, 50], 2: [5, 43, 60, 61], 3: [5, 70, 71, 72, 73], 4: [70]}
OTHER = [2, 5, 17, 30]


@dataclass
class Inode:
    """A new file: its writes, and how many of them are known to be on the disk."""

    writes: list[bytes]
    synced: int = 0


@dataclass
class Change:
    """A change of names in one directory: this name now means the inode, or nothing."""

    directory: str
    names: dict[str, Inode | None]
    synced: bool = False


class Journal(fs.System):
    """Does and records everything; a kind of fsync in `missing` is not done."""

    def __init__(self, missing: str = "") -> None:
        self.missing = missing
        self.events: list[tuple] = []
        self.open: dict[int, Inode] = {}
        self.paths: dict[str, Inode] = {}

    def create(self, path, mode):
        descriptor = super().create(path, mode)
        inode = self.open[descriptor] = self.paths[path] = Inode([])
        self.events.append(("names", os.path.dirname(path), {path: inode}))
        return descriptor

    def write(self, descriptor, data):
        self.events.append(("write", self.open[descriptor], bytes(data)))
        return super().write(descriptor, data)

    def fsync(self, descriptor):
        if self.missing != "fsync":
            self.events.append(("fsync", self.open[descriptor]))

    def replace(self, source, target):
        super().replace(source, target)
        inode = self.paths[target] = self.paths.pop(source)
        self.events.append(("names", os.path.dirname(target), {source: None, target: inode}))

    def fsync_directory(self, path):
        if self.missing != "fsync_directory":
            self.events.append(("fsync_directory", path))

    def unlink(self, path):
        super().unlink(path)
        self.events.append(("names", os.path.dirname(path), {path: None}))


def disk_after(events: list[tuple], base: Path, home: Path, work: Path, rng: random.Random) -> None:
    """Builds in `work` one of the disks that a power loss after these events on `base` can leave."""
    changes: list[Change] = []
    inodes: dict[int, Inode] = {}
    copies: dict[int, Inode] = {}
    for kind, subject, *rest in events:
        if kind == "names":
            named = {}
            for path, inode in rest[0].items():
                named[path] = None if inode is None else copies.setdefault(id(inode), Inode([]))
            changes.append(Change(subject, named))
        elif kind == "write":
            copies[id(subject)].writes.append(rest[0])
        elif kind == "fsync":
            copies[id(subject)].synced = len(copies[id(subject)].writes)
        else:
            for change in changes:
                change.synced = change.synced or change.directory == subject
    shutil.copytree(base, work)
    for change in changes:
        if change.synced or rng.random() < 0.5:
            for path, inode in change.names.items():
                target = work / Path(path).relative_to(home)
                if inode is None:
                    target.unlink(missing_ok=True)
                else:
                    inodes.setdefault(id(inode), inode)
                    target.write_bytes(f"inode {id(inode)}".encode())
    for path in work.rglob("*"):
        if path.is_file() and path.read_bytes().startswith(b"inode "):
            path.write_bytes(left_of(inodes[int(path.read_bytes()[6:])], rng))


def left_of(inode: Inode, rng: random.Random) -> bytes:
    data = b"".join(inode.writes[: inode.synced])
    for written in inode.writes[inode.synced :]:
        fate = rng.choice(["kept", "lost", "zero", "noise"])
        if fate == "lost":
            break
        data += {"kept": written, "zero": bytes(len(written)), "noise": rng.randbytes(len(written))}[fate]
    return data


def commit(store: Store, generation: int) -> None:
    with store.writer("c", identity(), timeout=5) as open_writer:
        documents = [add_chain(open_writer, number) for number in CONTENTS[generation]]
        open_writer.commit([SOURCE, str(generation)], documents)


def lossy_run(scratch: Path, monkeypatch, missing: str) -> tuple[Path, Path, list[tuple], list[int]]:
    """Runs generations 1 to 4 under a journal; returns base, home, the events, and how many there were at each commit."""
    for module in (writer, maintenance):
        monkeypatch.setattr(module, "PACK_BYTES", 1500)
    base, home = scratch / "base", scratch / "home"
    store = Store.open(base, create=True)
    ingest(store, "other", OTHER)
    commit(store, 0)
    shutil.copytree(base, home)
    journal = Journal(missing)
    monkeypatch.setattr(fs, "system", journal)
    acknowledged = [0]
    for generation in range(1, 5):
        commit(Store.open(home), generation)
        acknowledged.append(len(journal.events))
    monkeypatch.setattr(fs, "system", fs.System())
    return base, home, journal.events, acknowledged


def failures(scratch: Path, monkeypatch, missing: str, schedules: int) -> int:
    """How many of the simulated power losses left a store that breaks a promise."""
    base, home, events, acknowledged = lossy_run(scratch, monkeypatch, missing)
    broken = 0
    for seed in range(schedules):
        rng = random.Random(seed)
        moment = rng.randrange(len(events) + 1)
        work = scratch / f"after{seed}"
        disk_after(events[:moment], base, home, work, rng)
        sure = max(number for number, done in enumerate(acknowledged) if done <= moment)
        try:
            (manifest, other), _ = Store.open(work).load(["c", "other"])
            generation = int(manifest.sources[1])
            assert generation in (sure, sure + 1)
            for cache, numbers in ((manifest, CONTENTS[generation]), (other, OTHER)):
                assert same_memory(Store.open(work).load_memory(cache), numbers, cache.documents, identity())
            commit(Store.open(work), 4)
            maintenance.verify(Store.open(work))
        except (AssertionError, CacheError):
            broken += 1
        shutil.rmtree(work)
    return broken


def test_power_loss_at_any_moment_keeps_every_promise(scratch, monkeypatch):
    assert failures(scratch, monkeypatch, "", 250) == 0


@pytest.mark.slow
def test_power_loss_at_any_moment_keeps_every_promise_often(scratch, monkeypatch):
    assert failures(scratch, monkeypatch, "", 5000) == 0


@pytest.mark.parametrize("missing", ["fsync", "fsync_directory"])
def test_leaving_out_an_fsync_is_found(missing, scratch, monkeypatch):
    assert failures(scratch, monkeypatch, missing, 100) > 0
