"""Damaged, mixed up and hostile stores: every change of a byte is noticed, nothing outside the store is touched."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
from store_kit import SOURCE, add_chain, document, files, identity, ingest, same_memory

from gfqa.cachestore import Manifest, Store
from gfqa.cachestore.catalog import StoredChain, decode_manifest, encode_manifest
from gfqa.cachestore.maintenance import verify
from gfqa.cachestore.segment import (
    HEADER_BYTES,
    SNAPSHOT,
    Damaged,
    Header,
    checked_tokens,
    decode_snapshot,
    decode_tokens,
    encode_snapshot,
    encode_tokens,
    pack_header,
)
from gfqa.errors import CacheError

WHO = identity("int8", 3, "chained")


@pytest.fixture
def store(scratch) -> Store:
    """One cache of three chains in one pack, one of them of two segments, one with a snapshot in a pack of its own."""
    store = Store.open(scratch / "home", create=True)
    with store.writer("c", WHO) as writer:
        first, second = add_chain(writer, 1, 5), add_chain(writer, 2, 9)
        ids = np.arange(4)
        more = writer.add_segment(first.chain, ids, np.ones((4, 3), np.int8), np.ones(4, np.float16), last=True)
        writer.add_snapshot(second.chain, {"s": np.arange(3, dtype=np.float32)})
        writer.commit([SOURCE], [first, second, document(3, more, 9)])
    return store


def read_all(store: Store) -> None:
    manifest = store.manifest("c")
    store.load_memory(manifest)
    for key in manifest.chains:
        store.load_chain(manifest, key)


def data_files(store: Store) -> list[Path]:
    return sorted([*store.packs.iterdir(), *store.caches.iterdir()])


def rewrite(store: Store, manifest: Manifest, **changes) -> None:
    """Replaces the manifest by a changed one whose checksum is right."""
    store.manifest_path("c").write_bytes(encode_manifest(dataclasses.replace(manifest, **changes)))


def rewrite_body(store: Store, change) -> None:
    """Replaces the manifest by one whose JSON was changed, with a right checksum."""
    body = json.loads(store.manifest_path("c").read_bytes().split(b"\n", 1)[1])
    changed = change(body)
    body = body if changed is None else changed
    data = json.dumps(body).encode()
    store.manifest_path("c").write_bytes(
        f"gfqa-cache 1 {hashlib.sha256(data).hexdigest()} {len(data)}\n".encode() + data
    )


def test_every_flipped_byte_is_noticed_by_reading_and_by_verify(store):
    read_all(store)
    verify(store)
    flipped = 0
    for path in data_files(store):
        original = path.read_bytes()
        for position in range(len(original)):
            damaged = bytearray(original)
            damaged[position] ^= 0xFF if position % 2 else 1 << position % 8
            path.write_bytes(damaged)
            with pytest.raises(CacheError):
                read_all(store)
            if position % 7 == 0:
                with pytest.raises(CacheError):
                    verify(store)
            flipped += 1
        path.write_bytes(original)
    read_all(store)
    assert flipped > 3000


def test_every_truncation_and_every_zeroed_tail_is_noticed(store):
    for path in data_files(store):
        original = path.read_bytes()
        for length in range(len(original)):
            tails = [b""] if length % 5 else [b"", bytes(len(original) - length)]
            for tail in tails:
                if original[:length] + tail != original:
                    path.write_bytes(original[:length] + tail)
                    with pytest.raises(CacheError):
                        read_all(store)
        for longer in (original + b"\0", original * 2, b"\0" + original):
            path.write_bytes(longer)
            with pytest.raises(CacheError):
                read_all(store)
        path.write_bytes(original)


def test_a_damaged_dead_segment_harms_nobody_and_is_not_taken_up_again(tmp_path):
    store = Store.open(tmp_path, create=True)
    numbers = range(200, 240)
    first, *_ = ingest(store, "c", numbers)
    ingest(store, "c", numbers[1:])
    [path] = store.packs.iterdir()
    live = {location.offset for location in store.manifest("c").locations()}
    [dead] = [place for _, place in store.read_packs()[path.stem].entries if place.offset not in live]
    data = bytearray(path.read_bytes())
    data[dead.offset + HEADER_BYTES] ^= 1
    path.write_bytes(data)
    verify(store)
    with store.writer("c", identity()) as writer:
        assert not writer.has(first.chain)


def test_the_message_names_cache_file_and_documents(store):
    pack = store.manifest("c").chains[store.manifest("c").documents[1].chain].segments[0]
    path = store.packs / f"{pack.pack}.pack"
    data = bytearray(path.read_bytes())
    data[pack.offset + HEADER_BYTES] ^= 1
    path.write_bytes(data)
    with pytest.raises(CacheError, match=r"'c' is damaged: .*\.pack: .*checksum \(needed by file_2.txt\)") as caught:
        read_all(store)
    assert "Ingest its sources again" in str(caught.value.hint)


def test_ingest_replaces_exactly_what_is_damaged(tmp_path):
    store = Store.open(tmp_path, create=True)
    documents = ingest(store, "c", range(10))
    broken = store.manifest("c").chains[documents[4].chain].segments[0]
    path = store.packs / f"{broken.pack}.pack"
    data = bytearray(path.read_bytes())
    data[broken.offset + broken.length - 20] ^= 4
    path.write_bytes(data)
    with store.writer("c", identity()) as writer:
        assert [writer.has(entry.chain) for entry in documents] == [number != 4 for number in range(10)]
        with pytest.raises(CacheError, match=r"file_4\.txt"):
            writer.commit([SOURCE], documents)
    assert same_memory_after_ingest(store, documents)


def test_ingest_replaces_what_was_in_a_lost_pack(store):
    lost = store.manifest("c").chains[store.manifest("c").documents[1].chain].segments[0].pack
    (store.packs / f"{lost}.pack").unlink()
    with pytest.raises(CacheError, match=r"'c' is damaged: .*\.pack is missing"):
        read_all(store)
    with store.writer("c", WHO) as writer:
        entry = add_chain(writer, 2, 9)
        writer.add_snapshot(entry.chain, {"s": np.arange(3, dtype=np.float32)})
        writer.commit([SOURCE], [entry])
    read_all(store)


def same_memory_after_ingest(store: Store, documents) -> bool:
    ingest(store, "c", range(10))
    verify(store)
    return same_memory(store.load(["c"])[1], range(10), documents, identity())


def test_segments_of_another_model_are_refused(store):
    manifest = store.manifest("c")
    for other in (identity("int8", 3, "chained", model="x"), identity("int8", 3, "chained", numerics_version=2)):
        rewrite(store, manifest, identity=other)
        with pytest.raises(CacheError, match="another model"):
            read_all(store)


@pytest.mark.parametrize(("key_dtype", "key_width"), [("bfloat16", 3), ("float32", 3), ("int8", 4), ("int8", 0)])
def test_another_storage_form_is_refused(store, key_dtype, key_width):
    rewrite(store, store.manifest("c"), identity=identity(key_dtype, key_width, "chained"))
    with pytest.raises(CacheError):
        read_all(store)


def test_chains_that_are_put_together_wrongly_are_refused(store):
    manifest = store.manifest("c")
    one, two, long = (manifest.chains[entry.chain] for entry in manifest.documents)
    keys = [entry.chain for entry in manifest.documents]
    renamed = one.segments[0]._replace(key=keys[1])
    for key, segments in [
        (keys[1], (renamed,)),
        (keys[2], long.segments[::-1][:1]),
        (keys[2], (two.segments[0], long.segments[1])),
        (keys[2], (*long.segments[:1], *long.segments)),
        (keys[0], (one.segments[0]._replace(n_tokens=one.segments[0].n_tokens + 1),)),
        (keys[0], (one.segments[0]._replace(offset=one.segments[0].offset + 16),)),
        (keys[0], (one.segments[0]._replace(length=2**62),)),
        (keys[1], (two.snapshot,)),
    ]:
        changed = {key: StoredChain(segments, None)}
        rewrite(store, manifest, chains={**manifest.chains, **changed})
        with pytest.raises(CacheError):
            read_all(store)
    rewrite(store, manifest, chains={**manifest.chains, keys[1]: two._replace(snapshot=two.segments[0])})
    with pytest.raises(CacheError, match="another snapshot"):
        read_all(store)


def test_a_pack_under_the_name_of_another_is_refused(store):
    one, two = sorted(store.packs.iterdir())
    two.write_bytes(one.read_bytes())
    with pytest.raises(CacheError):
        read_all(store)


def assign(*path_and_value):
    *path, last, value = path_and_value

    def change(body):
        place = body
        for step in path:
            place = place[step]
        place[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda body: [],
        lambda body: "text",
        *(assign("packs", 0, bad) for bad in ("../x", "/etc/passwd", "a\0", "x" * 4096, 7, None, "A" * 64)),
        *(assign("chains", 0, 0, bad) for bad in ("../x", "f" * 64, 3, None)),
        *(assign("chains", 0, 1, 0, index, bad) for index in range(6) for bad in (-1, "x", None, 2**70)),
        assign("chains", 0, 1, []),
        assign("chains", 0, []),
        assign("documents", 0, []),
        assign("documents", 0, 0, 99),
        assign("documents", 0, 6, 10**9),
        assign("documents", 0, 5, "f" * 64),
        assign("documents", 0, 8, 5),
        assign("identity", {}),
        assign("identity", "layout", "other"),
        assign("identity", "key_dtype", "float64"),
        assign("identity", "key_width", -1),
        assign("identity", "unknown", 1),
        assign("created", "yesterday"),
        lambda body: {key: value for key, value in body.items() if key != "sources"},
    ],
)
def test_manifests_that_make_no_sense_are_refused(store, scratch, change):
    rewrite_body(store, change)
    before = files(scratch)
    with pytest.raises(CacheError):
        read_all(store)
    assert files(scratch) == before


def test_a_deeply_nested_manifest_is_refused(store):
    data = b"[" * 200_000
    store.manifest_path("c").write_bytes(
        f"gfqa-cache 1 {hashlib.sha256(data).hexdigest()} {len(data)}\n".encode() + data
    )
    with pytest.raises(CacheError):
        store.manifest("c")


def test_newer_formats_are_refused_by_version_and_left_alone(store, scratch):
    manifest = store.manifest_path("c").read_bytes()
    [pack, *_] = sorted(store.packs.iterdir())
    original = pack.read_bytes()
    for path, changed in [
        (store.manifest_path("c"), manifest.replace(b"gfqa-cache 1 ", b"gfqa-cache 2 ", 1)),
        (pack, original[:8] + (7).to_bytes(4, "little") + original[12:]),
    ]:
        before = path.read_bytes()
        path.write_bytes(changed)
        after = files(scratch)
        for use in (lambda: read_all(store), lambda: verify(store)):
            with pytest.raises(CacheError, match=r"version [27], and this gfqa reads version 1"):
                use()
        with pytest.raises(CacheError, match="this gfqa reads version 1"), store.writer("c", WHO):
            pass
        assert {name: data for name, data in files(scratch).items() if "LOCK" not in name}.items() <= after.items()
        path.write_bytes(before)


def test_snapshots_that_are_not_finite_are_refused_on_reading_too(store):
    key = store.manifest("c").documents[0].chain
    data = bytearray(encode_snapshot(WHO, key, {"s": np.zeros(4, np.float32)}))
    data[-16:-12] = np.float32(np.nan).tobytes()
    with pytest.raises(Damaged, match="not finite"):
        decode_snapshot(bytes(data), WHO, key)


def test_a_damaged_cache_can_be_replaced_or_removed(store):
    store.manifest_path("c").write_bytes(b"")
    assert store.names() == ["c"]
    with pytest.raises(CacheError, match="'c' is damaged"), store.writer("c", WHO):
        pass
    with store.writer("c", WHO, replace=True) as writer:
        assert writer.previous is None
        writer.commit([SOURCE], [add_chain(writer, 1, 5)])
    read_all(store)
    store.manifest_path("c").write_bytes(b"\0" * 500)
    store.remove("c")
    assert data_files(store) == []


def test_mutated_segments_and_manifests_raise_nothing_but_damaged(store):
    tokens = checked_tokens(WHO, [1, 2, 3], np.ones((3, 3), np.int8), np.ones(3, np.float16))
    key = "a" * 64
    segment = encode_tokens(WHO, key, None, tokens, last=True)
    tensors = {"a": np.ones((2, 3), np.float32), "b": np.ones(5, np.float32)}
    snapshot = encode_snapshot(WHO, key, tensors)
    manifest = store.manifest_path("c").read_bytes()
    rng = random.Random(0)
    accepted = 0
    for _ in range(3000):
        for data, decode in [
            (segment, lambda data: decode_tokens(data, WHO, key, None)),
            (snapshot, lambda data: decode_snapshot(data, WHO, key)),
            (manifest, lambda data: decode_manifest(store.manifest_path("c"), resealed(data))),
        ]:
            mutated = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                kind, position = rng.randrange(3), rng.randrange(len(mutated))
                if kind == 0:
                    mutated[position] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
                elif kind == 1:
                    del mutated[position : position + rng.randint(1, 40)]
                else:
                    mutated[position:position] = mutated[: rng.randint(0, 40)]
                if not mutated:
                    break
            try:
                decode(bytes(mutated))
                accepted += 1
            except (Damaged, CacheError):
                pass
    assert accepted < 3000, "without checksums some changes of plain values are accepted, most are not"


def resealed(data: bytes) -> bytes:
    """The manifest with the checksum of its changed body, so that the parser itself is tried."""
    body = data.split(b"\n", 1)[-1]
    return f"gfqa-cache 1 {hashlib.sha256(body).hexdigest()} {len(body)}\n".encode() + body


def test_a_snapshot_whose_table_lies_is_refused():
    key = "b" * 64
    header = pack_header(Header(SNAPSHOT, False, 0, "int8", 0, 3, key, None, WHO.digest))
    for table in (
        '[["a",[-1]]]',
        '[["a",[1000000000000]]]',
        '[["a",["x"]]]',
        "[[[],[1]]]",
        "{}x",
        '[["a"]]',
        "7",
        "[[1]]",
    ):
        head = len(table).to_bytes(4, "little") + table.encode()
        data = header + head + bytes(-len(head) % 16) + bytes(16)
        with pytest.raises(Damaged):
            decode_snapshot(data, WHO, key)
