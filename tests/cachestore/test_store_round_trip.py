"""What goes in comes out, for every storage form; names, identities, summaries, composition and size."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from store_kit import SOURCE, add_chain, chain, document, files, identity, ingest, same_memory, total_bytes

from gfqa.cachestore import SEGMENT_TOKENS, Identity, Store, chain_keys, segment_key
from gfqa.cachestore.catalog import check_name
from gfqa.errors import CacheError, GfqaError, UsageError


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "home", create=True)


@pytest.mark.parametrize("key_width", [0, 1, 28])
@pytest.mark.parametrize("key_dtype", ["int8", "bfloat16", "float32"])
def test_every_storage_form_comes_back_bit_by_bit(store, key_dtype, key_width):
    who = identity(key_dtype, key_width)
    documents = ingest(store, "c", range(20), who)
    manifest = store.manifest("c")
    assert same_memory(store.load_memory(manifest), range(20), documents, who)
    for number, entry in enumerate(documents):
        ids, keys, scales = chain(number, who)
        data = store.load_chain(manifest, entry.chain)
        assert np.array_equal(data.ids, ids)
        assert np.array_equal(data.keys, keys)
        assert data.keys.dtype == keys.dtype
        assert (data.scales is None) == (scales is None)
        assert scales is None or np.array_equal(data.scales, scales)
        assert data.snapshot is None


def test_ids_are_as_narrow_as_they_can_be(store):
    with store.writer("c", identity()) as writer:
        narrow, wide = add_chain(writer, 1, vocab=65_536), add_chain(writer, 2, length=50, vocab=100_000)
        writer.commit([SOURCE], [narrow, wide])
    manifest = store.manifest("c")
    assert store.load_chain(manifest, narrow.chain).ids.dtype == np.uint16
    assert store.load_chain(manifest, wide.chain).ids.dtype == np.uint32
    assert np.array_equal(store.load_chain(manifest, wide.chain).ids, chain(2, identity(), 50, 100_000)[0])
    assert store.load_memory(manifest).ids.dtype == np.uint32


def test_a_long_chain_is_several_segments_and_one_run_of_tokens(store):
    who = identity(key_width=2)
    length = 2 * SEGMENT_TOKENS + 17
    with store.writer("c", who) as writer:
        entry = add_chain(writer, 7, length)
        short = add_chain(writer, 3)
        writer.commit([SOURCE], [entry, short])
    ids, keys, scales = chain(7, who, length)
    manifest = store.manifest("c")
    data = store.load_chain(manifest, entry.chain)
    assert [segment.n_tokens for segment in manifest.chains[entry.chain].segments] == [65_536, 65_536, 17]
    assert np.array_equal(data.ids, ids)
    assert np.array_equal(data.keys, keys)
    assert np.array_equal(data.scales, scales)
    assert entry.chain == chain_keys(who, ids)[-1]


def test_load_all_yields_each_chain_once_in_key_order(store):
    documents = ingest(store, "c", [5, 3, 9, 3])
    got = list(store.load_all(store.manifest("c")))
    assert [key for key, _ in got] == sorted({entry.chain for entry in documents})
    for key, data in got:
        [number] = {number for number, entry in zip([5, 3, 9, 3], documents) if entry.chain == key}
        assert np.array_equal(data.ids, chain(number, identity())[0])


def test_memory_is_a_set_of_chains_whatever_the_order(store, tmp_path):
    ingest(store, "a", [1, 2, 3, 4])
    ingest(store, "b", [3, 5])
    ingest(store, "reversed", [5, 4, 3, 2, 1])
    one = store.load_memory([store.manifest("a"), store.manifest("b")])
    for names in (["b", "a"], ["a", "b", "a"], ["reversed"], ["reversed", "b"]):
        other = store.load([*names])[1]
        assert other.chain_keys == one.chain_keys
        for field in ("ids", "keys", "scales", "chain_starts"):
            assert getattr(other, field).tobytes() == getattr(one, field).tobytes()


def test_caches_of_different_models_do_not_mix(store):
    ingest(store, "a", [1], identity(model="one", model_name="small"))
    ingest(store, "b", [1], identity(model="two", model_name="large"))
    with pytest.raises(CacheError, match="model large instead of small"):
        store.load(["a", "b"])


def test_the_manifest_keeps_everything_about_its_documents(store):
    with store.writer("c", identity(model_name="the reader")) as writer:
        plain = add_chain(writer, 1)
        odd = document(2, plain.chain, 1, page_starts=(0, 10, 20), start=0)
        odd = type(odd)(**{**odd.__dict__, "path": "caf\udce9/ü\n\u202e.pdf", "mtime_ns": 2**62})
        writer.commit([SOURCE, "/other"], [plain, odd])
    manifest = store.manifest("c")
    assert manifest.documents == (plain, odd)
    assert manifest.sources == (SOURCE, "/other")
    assert manifest.identity == identity(model_name="the reader")
    assert manifest.documents_by_chain[plain.chain] == (plain, odd)
    info = store.info("c")
    assert (info.name, info.documents, info.tokens) == ("c", 2, plain.n_tokens + 1)
    assert info.sources == (SOURCE, "/other")
    assert 0 < info.bytes < total_bytes(store.root)
    assert info.created == info.updated > 1.7e9


def test_commits_keep_the_date_of_creation(store):
    ingest(store, "c", [1])
    first = store.info("c")
    ingest(store, "c", [1, 2])
    assert store.info("c").created == first.created
    assert store.info("c").updated > first.updated


@pytest.mark.parametrize("key_width", [28, 32])
def test_a_million_tokens_stay_within_five_percent_of_their_size(store, key_width):
    who = identity(key_width=key_width)
    rng = np.random.default_rng(0)
    with store.writer("c", who) as writer:
        documents = []
        for number in range(500):
            ids = rng.integers(0, 65_536, 2000, dtype=np.uint16)
            keys = rng.integers(-127, 128, (2000, key_width), dtype=np.int8)
            key = writer.add_segment(None, ids, keys, np.ones(2000, np.float16), last=True)
            documents.append(document(number, key, 2000, page_starts=tuple(range(0, 8000, 800))))
        writer.commit([SOURCE], documents)
    assert total_bytes(store.root) / 1_000_000 <= 1.05 * (2 + key_width + 2)


def test_snapshots_of_the_chained_layout_come_back(store):
    who = identity("float32", 4, "chained")
    state = {
        "wkv": np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32),
        "x": np.zeros(0, np.float32),
    }
    scalar = {**state, "scalar": np.float32(1.5).reshape(())}
    with store.writer("c", who) as writer:
        entry = add_chain(writer, 1)
        writer.add_snapshot(entry.chain, scalar)
        writer.commit([SOURCE], [entry])
    snapshot = store.load_chain(store.manifest("c"), entry.chain).snapshot
    assert snapshot is not None
    assert snapshot.keys() == scalar.keys()
    for name, array in scalar.items():
        assert snapshot[name].shape == array.shape
        assert snapshot[name].tobytes() == array.tobytes()


def test_a_snapshot_without_keys_serves_models_without_gold(store):
    who = identity("float32", 0, "chained")
    with store.writer("c", who) as writer:
        key = writer.add_segment(None, [1, 2, 3], None, last=True)
        writer.add_snapshot(key, {"s": np.ones(3, np.float32)})
        writer.commit([SOURCE], [document(1, key, 3)])
    data = store.load_chain(store.manifest("c"), key)
    assert data.keys.shape == (3, 0)
    assert data.ids.tolist() == [1, 2, 3]
    assert data.snapshot is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(store, bad):
    with store.writer("f", identity("float32", 2)) as writer, pytest.raises(GfqaError, match="not finite"):
        writer.add_segment(None, [1], np.array([[1, bad]], np.float32), last=True)
    bits = (np.array([[1, bad]], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    with store.writer("b", identity("bfloat16", 2)) as writer, pytest.raises(GfqaError, match="not finite"):
        writer.add_segment(None, [1], bits, last=True)
    with store.writer("i", identity("int8", 2)) as writer:
        with pytest.raises(GfqaError, match="not finite"):
            writer.add_segment(None, [1], np.zeros((1, 2), np.int8), np.array([bad], np.float16), last=True)
        key = add_chain(writer, 1).chain
        with pytest.raises(GfqaError, match=r"'state'.*not finite"):
            writer.add_snapshot(key, {"state": np.array([bad], np.float32)})


@pytest.mark.parametrize(
    ("ids", "keys", "scales"),
    [
        ([], np.zeros((0, 4), np.int8), np.zeros(0, np.float16)),
        ([1, 2], np.zeros((1, 4), np.int8), np.zeros(2, np.float16)),
        ([1], np.zeros((1, 5), np.int8), np.zeros(1, np.float16)),
        ([1], np.zeros((1, 4), np.float32), np.zeros(1, np.float16)),
        ([1], np.zeros((1, 4), np.int8), np.zeros(1, np.float32)),
        ([1], np.zeros((1, 4), np.int8), None),
        ([1], None, None),
        ([-1], np.zeros((1, 4), np.int8), np.zeros(1, np.float16)),
        ([2**32], np.zeros((1, 4), np.int8), np.zeros(1, np.float16)),
        ([0.5], np.zeros((1, 4), np.int8), np.zeros(1, np.float16)),
        (np.zeros(65_537, int), np.zeros((65_537, 4), np.int8), np.zeros(65_537, np.float16)),
    ],
)
def test_arrays_of_a_wrong_form_are_refused(store, ids, keys, scales):
    with store.writer("c", identity()) as writer, pytest.raises(GfqaError):
        writer.add_segment(None, ids, keys, scales, last=True)


def test_the_key_of_a_segment_names_its_inputs_and_nothing_else():
    who = identity()
    ids = np.array([1, 2, 3])
    key = segment_key(who, None, ids)
    assert segment_key(who, None, ids.astype(np.uint16)) == key
    assert segment_key(identity(model_name="a nickname"), None, ids) == key
    others = [
        segment_key(who, key, ids),
        segment_key(who, None, ids[:2]),
        segment_key(who, None, ids + 1),
        *(segment_key(other, None, ids) for other in other_identities()),
    ]
    assert len({key, *others}) == len(others) + 1


def other_identities() -> list[Identity]:
    return [
        identity(model="n"),
        identity(tokenizer="u"),
        identity(layout="chained"),
        identity("bfloat16"),
        identity(key_width=5),
        identity(numerics_version=2),
        identity(model="mt", tokenizer=""),
    ]


def test_keys_are_the_same_in_every_process():
    code = (
        "from gfqa.cachestore import Identity, chain_keys;"
        "print(chain_keys(Identity('m', 't', 'independent', 'int8', 4), list(range(70000)))[-1])"
    )
    outputs = set()
    for seed, zone, locale in [("0", "UTC", "C"), ("1", "Asia/Tokyo", "C.UTF-8"), ("random", "America/Lima", "POSIX")]:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale}
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        outputs.add(result.stdout.strip())
    # The value itself: a change of it makes every existing cache unreadable and needs a new format version.
    assert outputs == {chain_keys(identity(), list(range(70_000)))[-1]} == {GOLDEN_KEY}


GOLDEN_KEY = "5a2cbf072c4490a464fc9fbaf781e5389f435c3fe09f5c94d80aa7560980f925"


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "_", "x" * 100, "9"])
def test_names_that_are_possible(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-a", "a/b", "../a", "a b", "a\n", "a\0", "ä", "x" * 101, "/etc"]
)
def test_names_that_are_not_possible(store, name):
    for use in (check_name, store.manifest, store.remove, lambda bad: store.writer(bad, identity())):
        with pytest.raises(UsageError):
            use(name)


def test_a_missing_cache_is_named_with_those_that_exist(store, tmp_path):
    with pytest.raises(CacheError, match="'nothing'") as caught:
        store.manifest("nothing")
    assert "no cache yet" in str(caught.value.hint)
    ingest(store, "one", [1])
    ingest(store, "two", [2])
    assert store.names() == ["one", "two"]
    with pytest.raises(CacheError) as caught:
        store.remove("nothing")
    assert str(caught.value.hint).endswith("one, two.")


def test_reading_a_store_that_does_not_exist_creates_nothing(tmp_path):
    store = Store.open(tmp_path / "home")
    assert store.names() == []
    with pytest.raises(CacheError):
        store.load(["c"])
    assert not (tmp_path / "home").exists()


def test_directories_and_files_are_for_their_owner_alone(store):
    old = os.umask(0)
    try:
        ingest(store, "c", [1])
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in store.root.rglob("*") if path.is_file()}
    assert modes == {0o600}
    directories = [store.root, store.caches, store.packs]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {0o700}
    assert (store.root / ".gitignore").read_text() == "*\n"
    assert not (store.root / "CACHEDIR.TAG").exists()


def test_reading_changes_nothing_and_needs_no_permission_to_write(store):
    ingest(store, "a", [1, 2, 3])
    ingest(store, "b", [3, 4])
    before = files(store.root)
    directories = [store.root, store.caches, store.packs]
    for directory in directories:
        directory.chmod(0o500)
    try:
        reader = Store.open(store.root.parent)
        manifests, memory = reader.load(["a", "b"])
        assert len(memory.chain_keys) == 4
        list(reader.load_all(manifests[0]))
        reader.info("a")
    finally:
        for directory in directories:
            directory.chmod(0o700)
    assert files(store.root) == before
