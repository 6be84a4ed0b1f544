"""Caches that travel: export and import, what is refused, that nothing half-written or falsely trusted stays behind."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from store_kit import SOURCE, add_chain, chain, files, identity, ingest, same_memory

from gfqa.cachestore import Reading, Store, fs, maintenance
from gfqa.cachestore.transfer import export_chunks, import_segments, read_head
from gfqa.errors import CacheError, GfqaError

WHO = identity()


def exported(store: Store, name: str) -> bytes:
    return b"".join(export_chunks(store, name))


def imported(store: Store, data: bytes, name: str = "copy", trust: bool = False):
    file = io.BytesIO(data)
    head = read_head(file, "x.gfqa")
    with store.writer(name, head.manifest.identity, imported=not trust) as writer:
        return import_segments(file, head, writer, "x.gfqa", trust=trust)


def rewritten(data: bytes, change) -> bytes:
    """The export with its JSON changed by somebody who can compute checksums, too."""
    line, rest = data.split(b"\n", 1)
    size = int(line.split()[3])
    head = json.loads(rest[:size])
    body = json.loads(head["manifest"])
    change(head, body)
    text = json.dumps({**head, "manifest": json.dumps(body, separators=(",", ":"))}).encode()
    return f"gfqa-export 1 {hashlib.sha256(text).hexdigest()} {len(text)}\n".encode() + text + rest[size:]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "a", create=True)


@pytest.fixture
def other(tmp_path) -> Store:
    return Store.open(tmp_path / "b", create=True)


@pytest.mark.parametrize("who", [identity(), identity("bfloat16"), identity("float32"), identity("int8", 0)])
def test_a_cache_arrives_as_it_left(store, other, who):
    documents = ingest(store, "c", range(30), who)
    ingest(store, "unrelated", range(100, 110), who)
    data = exported(store, "c")
    manifest = imported(other, data)
    assert manifest.documents == store.manifest("c").documents
    assert same_memory(other.load_memory(manifest), range(30), documents, who)
    assert manifest.imported
    assert manifest.reading(SOURCE).kind == "import"
    assert other.names() == ["copy"]
    held = sum(len(pack.entries) for pack in other.read_packs().values())
    assert held == 30, "an export holds no document of another cache"
    assert maintenance.verify(other).tokens == sum(len(chain(n, who)[0]) for n in range(30))


def test_long_chains_and_snapshots_arrive(store, other):
    who = identity("bfloat16", 2, "chained")
    with store.writer("c", who) as writer:
        entry = add_chain(writer, 1, 150_000)
        writer.add_snapshot(entry.chain, {"state": np.arange(6, dtype=np.float32)})
        writer.commit([SOURCE], [entry])
    manifest = imported(other, exported(store, "c"))
    data = other.load_chain(manifest, entry.chain)
    assert np.array_equal(data.ids, chain(1, who, 150_000)[0])
    assert np.array_equal(data.snapshot["state"], np.arange(6))


def test_exports_of_the_same_cache_are_the_same_bytes(store, other):
    ingest(store, "c", range(5))
    data = exported(store, "c")
    assert data == exported(store, "c")
    imported(other, data, "c", trust=True)
    times = {"created": other.info("c").created, "updated": other.info("c").updated}
    assert exported(other, "c") == rewritten(data, lambda head, body: body.update(times))


def test_every_truncation_and_every_flipped_byte_is_found(store, other):
    ingest(store, "c", range(3))
    data = exported(store, "c")
    line = data.index(b"\n")
    for end in (0, 1, line, line + 1, line + 50, len(data) // 2, len(data) - 17, len(data) - 1):
        with pytest.raises(CacheError, match=r"x\.gfqa"):
            imported(other, data[:end])
    with pytest.raises(CacheError, match="behind its end"):
        imported(other, data + b"\0")
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x21
        with pytest.raises(CacheError, match=r"x\.gfqa"):
            imported(other, bytes(damaged))
    assert other.names() == []


def test_an_import_that_fails_changes_no_cache(store, other):
    ingest(store, "c", range(20))
    ingest(other, "copy", range(3))
    before = (other.caches / "copy.manifest").read_bytes()
    with pytest.raises(CacheError):
        imported(other, exported(store, "c")[:-5])
    assert (other.caches / "copy.manifest").read_bytes() == before
    assert not [name for name in files(other.root) if name.endswith(".tmp")]


@pytest.mark.parametrize("trust", [False, True])
def test_an_import_that_fails_leaves_no_byte(store, other, monkeypatch, trust):
    """Every segment is made durable as it comes; what other caches and an interrupted ingest need stays."""
    monkeypatch.setattr("gfqa.cachestore.writer.FLUSH_SECONDS", 0.0)
    ingest(store, "c", range(20))
    ingest(other, "mine", range(10, 15))
    with other.writer("interrupted", WHO) as writer:
        add_chain(writer, 100)
    before = files(other.root)
    data = exported(store, "c")
    for cut in (len(data) // 2, len(data) - 5):
        with pytest.raises(CacheError, match="cut short"):
            imported(other, data[:cut], trust=trust)
        assert files(other.root) == before

    class Impatient(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() > len(data) // 2:
                raise KeyboardInterrupt
            return super().read(size)

    file = Impatient(data)
    head = read_head(file, "x")
    with pytest.raises(KeyboardInterrupt), other.writer("copy", WHO, imported=True) as writer:
        import_segments(file, head, writer, "x", trust=trust)
    assert files(other.root) == before


def test_a_commit_that_fails_at_its_very_end_loses_nothing(store, other, monkeypatch):
    """The manifest is in place and only its durability is in doubt: its bytes must not be taken away."""
    documents = ingest(store, "c", range(5))
    plain = fs.sync_dir

    def failing(path):
        plain(path)
        if path == other.caches:
            raise GfqaError("no")

    monkeypatch.setattr(fs, "sync_dir", failing)
    with pytest.raises(GfqaError, match="no"):
        imported(other, exported(store, "c"))
    assert same_memory(other.load(["copy"])[1], range(5), documents, WHO)


HOSTILE = {
    "climbing path": lambda head, body: body["documents"][0].__setitem__(1, "../../etc/passwd"),
    "absolute path": lambda head, body: body["documents"][0].__setitem__(1, "/etc/passwd"),
    "NUL": lambda head, body: body["documents"][0].__setitem__(1, "a\0b"),
    "path is a number": lambda head, body: body["documents"][0].__setitem__(1, 5),
    "long path": lambda head, body: body["documents"][0].__setitem__(1, "a" * 5000),
    "negative size": lambda head, body: body["documents"][0].__setitem__(3, -1),
    "huge header": lambda head, body: body["documents"][0].__setitem__(7, 10**6),
    "hash": lambda head, body: body["documents"][0].__setitem__(2, "../x"),
    "pages": lambda head, body: body["documents"][0].__setitem__(8, [5, 3]),
    "unknown source": lambda head, body: body["documents"][0].__setitem__(0, 9),
    "cache name": lambda head, body: head.__setitem__("name", "../evil"),
    "pack name": lambda head, body: body.__setitem__("packs", ["../" + "0" * 61]),
    "other pack": lambda head, body: body.__setitem__("packs", ["1" * 64]),
    "huge segment": lambda head, body: body["chains"][0][1][0].__setitem__(2, 2**40),
    "overlap": lambda head, body: body["chains"][-1][1][0].__setitem__(1, 0),
    "other key": lambda head, body: body["chains"][0].__setitem__(0, "f" * 64),
    "layout": lambda head, body: body["identity"].__setitem__("layout", "sideways"),
    "width": lambda head, body: body["identity"].__setitem__("key_width", 2**40),
    "model": lambda head, body: body["identity"].__setitem__("model", 5),
    "no documents": lambda head, body: body.pop("documents"),
    "reading": lambda head, body: body.__setitem__("readings", {SOURCE: 5}),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_lists_are_refused(store, other, attack):
    ingest(store, "c", range(3))
    with pytest.raises(CacheError, match=r"x\.gfqa"):
        imported(other, rewritten(exported(store, "c"), HOSTILE[attack]))
    assert other.names() == []


def test_a_first_line_that_promises_too_much(other):
    for line in (
        b"gfqa-export 1 " + b"0" * 64 + b" 99999999999\n",
        b"gfqa-export 2 " + b"0" * 64 + b" 5\n",
        b"x" * 10**6,
    ):
        with pytest.raises(CacheError):
            read_head(io.BytesIO(line), "x.gfqa")


def test_numbers_that_are_not_finite_are_refused(store, other):
    who = identity("float32")
    ingest(store, "c", [1], who)
    data = exported(store, "c")
    position = len(data) - 16
    poisoned = data[:position] + np.array([np.nan], np.float32).tobytes() + data[position + 4 :]
    segment = poisoned[-(store.manifest("c").chains[store.manifest("c").documents[0].chain].segments[0].length) :]
    poisoned = rewritten(
        poisoned, lambda head, body: body["chains"][0][1][0].__setitem__(3, hashlib.sha256(segment).hexdigest())
    )
    with pytest.raises(GfqaError, match="not finite"):
        imported(other, poisoned)


def test_no_ingest_takes_imported_numbers_for_its_own(store, other):
    """Keys are named by text, not by their numbers: a forged import must not become part of an honest cache."""
    documents = ingest(store, "c", range(3))
    imported(other, exported(store, "c"))
    with other.writer("mine", WHO) as writer:
        assert not any(writer.has(entry.chain) for entry in documents)
        mine = [add_chain(writer, number) for number in range(3)]
        assert all(writer.has(entry.chain) for entry in mine)
        manifest = writer.commit([SOURCE], mine)
    assert not manifest.imported
    assert other.manifest("copy").imported
    theirs = {place.place for place in other.manifest("copy").locations()}
    assert not theirs & {place.place for place in manifest.locations()}
    other.prune(grace_seconds=0)
    assert maintenance.verify(other).caches == 2
    with other.writer("later", WHO) as writer:
        assert all(writer.has(entry.chain) for entry in documents), "what was computed here is reused"


def test_a_killed_import_leaves_nothing_an_ingest_would_trust(store, other):
    documents = ingest(store, "c", range(3))
    with other.writer("copy", WHO, imported=True) as writer:
        for number in range(3):
            add_chain(writer, number)
        writer.checkpoint()  # the last thing it does
    assert list(other.pack_files())
    with other.writer("mine", WHO) as writer:
        assert not any(writer.has(entry.chain) for entry in documents)


def test_a_trusted_import_is_as_good_as_an_ingest(store, other):
    documents = ingest(store, "c", range(3))
    manifest = imported(other, exported(store, "c"), trust=True)
    assert not manifest.imported
    assert manifest.reading(SOURCE) == Reading()
    with other.writer("mine", WHO) as writer:
        assert all(writer.has(entry.chain) for entry in documents)


def test_how_sources_were_read_is_kept(store, other):
    reading = Reading("list", include=("*.py",), include_secrets=True)
    with store.writer("c", WHO) as writer:
        writer.commit([SOURCE], [add_chain(writer, 1)], {SOURCE: reading})
    assert store.manifest("c").reading(SOURCE) == reading
    assert store.manifest("c").reading("/elsewhere") == Reading()
    with store.writer("d", WHO) as writer:
        writer.commit([SOURCE], [add_chain(writer, 2)])
    store.prune(grace_seconds=0)
    assert store.manifest("c").reading(SOURCE) == reading, "moving segments keeps it"
    assert replace(store.manifest("c"), name="d").readings == {SOURCE: reading}


def test_an_export_of_a_damaged_cache_is_an_error(store):
    ingest(store, "c", range(3))
    [pack] = store.packs.iterdir()
    data = bytearray(pack.read_bytes())
    data[200] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    with pytest.raises(CacheError, match="'c' is damaged"):
        exported(store, "c")
    pack.unlink()
    with pytest.raises(CacheError, match="'c'"):
        exported(store, "c")
    with pytest.raises(CacheError, match="no cache named"):
        exported(store, "none")
