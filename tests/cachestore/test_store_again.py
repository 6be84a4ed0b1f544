"""Ingesting again: what is stored is found, what is given up leaves the disk, what was interrupted goes on."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from store_kit import SOURCE, add_chain, chain, document, files, identity, ingest, same_memory, total_bytes

from gfqa.cachestore import SEGMENT_TOKENS, Store, chain_keys
from gfqa.cachestore.maintenance import GRACE_SECONDS, stats, verify
from gfqa.errors import CacheError, GfqaError


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "home", create=True)


def stored(store: Store, number: int) -> bool:
    """Whether the bytes of a chain's ids are anywhere on the disk."""
    needle = chain(number, identity())[0].astype("<u2").tobytes()
    return any(needle in data for data, _ in files(store.root).values())


def pack_names(store: Store) -> set[str]:
    return {name for name, _, _ in store.pack_files()}


def test_an_unchanged_source_writes_no_pack(store):
    documents = ingest(store, "c", range(10))
    before = pack_names(store)
    with store.writer("c", identity()) as writer:
        assert all(writer.has(entry.chain) for entry in documents)
        assert writer.previous == store.manifest("c")
        writer.commit([SOURCE], documents)
    assert pack_names(store) == before


def test_adding_what_is_there_stores_nothing_twice(store):
    ingest(store, "c", [1, 2, 3])
    before = pack_names(store)
    ingest(store, "c", [3, 2, 1])
    ingest(store, "other", [2, 2])
    assert pack_names(store) == before


def test_a_changed_document_is_the_only_new_segment(store):
    documents = ingest(store, "c", range(100, 110))
    with store.writer("c", identity()) as writer:
        changed = [*documents[:4], add_chain(writer, 999), *documents[5:]]
        writer.commit([SOURCE], changed)
    assert same_memory(store.load(["c"])[1], [*range(100, 104), 999, *range(105, 110)], changed, identity())
    assert len(pack_names(store)) == 2


def test_deleting_most_documents_removes_their_bytes_at_once(store):
    ingest(store, "c", [101, 102, 103, 104])
    documents = ingest(store, "c", [103])
    assert [stored(store, number) for number in (101, 102, 103, 104)] == [False, False, True, False]
    assert same_memory(store.load(["c"])[1], [103], documents, identity())


def test_a_small_loss_stays_until_prune(store):
    numbers = list(range(200, 240))
    ingest(store, "c", numbers)
    documents = ingest(store, "c", numbers[1:])
    assert stored(store, 200)
    assert store.prune() > 0
    assert not stored(store, 200)
    assert same_memory(store.load(["c"])[1], numbers[1:], documents, identity())


def test_removing_a_cache_removes_its_bytes_but_not_those_of_others(store):
    ingest(store, "a", range(300, 340))
    documents = ingest(store, "b", [305, 306, 400])
    assert store.remove("a") > 0
    assert store.names() == ["b"]
    assert [number for number in [*range(300, 340), 400] if stored(store, number)] == [305, 306, 400]
    assert same_memory(store.load(["b"])[1], [305, 306, 400], documents, identity())
    store.remove("b")
    assert pack_names(store) == set()


def test_the_same_text_in_two_caches_is_stored_once(store):
    ingest(store, "a", range(30))
    before = total_bytes(store.packs)
    ingest(store, "b", range(30))
    assert total_bytes(store.packs) == before


def test_removal_moves_the_shared_segments_of_another_cache_and_both_read_well_meanwhile(store):
    ingest(store, "a", range(20))
    documents = ingest(store, "b", [3])
    old = store.manifest("b")
    store.remove("a")
    assert store.manifest("b").chains != old.chains
    # A reader that holds the manifest from before the move finds the segment at its new place.
    assert same_memory(store.load_memory(old), [3], documents, identity())
    assert np.array_equal(store.load_chain(old, documents[0].chain).ids, chain(3, identity())[0])


def test_many_small_packs_are_merged(store):
    documents = []
    for number in range(40):
        documents = ingest(store, "c", range(number + 1))
    assert len(pack_names(store)) <= 17
    assert same_memory(store.load(["c"])[1], range(40), documents, identity())


def test_an_interrupted_ingest_finds_its_segments_again(store):
    documents = []

    def interrupted():
        with store.writer("c", identity()) as writer:
            documents.extend(add_chain(writer, number) for number in range(10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.names() == []
    ingest(store, "another", [50])
    ingest(store, "another", [51])
    store.prune()
    with store.writer("c", identity()) as writer:
        assert all(writer.has(entry.chain) for entry in documents)
        writer.commit([SOURCE], documents)
    assert same_memory(store.load(["c"])[1], range(10), documents, identity())


def test_segments_of_an_interrupted_ingest_survive_the_rewriting_of_their_pack(store):
    with store.writer("c", identity()) as writer:
        documents = [add_chain(writer, number) for number in range(10)]
    ingest(store, "another", [0, 20])
    store.remove("another")
    with store.writer("c", identity()) as writer:
        assert all(writer.has(entry.chain) for entry in documents[1:])


def test_what_an_interrupted_ingest_left_goes_after_the_grace_age(store):
    with store.writer("c", identity()) as writer:
        add_chain(writer, 1)
    assert stored(store, 1)
    for name in pack_names(store):
        old = time.time() - GRACE_SECONDS - 10
        os.utime(store.packs / f"{name}.pack", (old, old))
    store.prune()
    assert not stored(store, 1)
    with store.writer("c", identity()) as writer:
        add_chain(writer, 2)
    store.prune(grace_seconds=0)
    assert pack_names(store) == set()


@pytest.mark.parametrize("years", [-10, 10])
def test_a_wrong_clock_removes_nothing_that_is_needed(store, monkeypatch, years):
    documents = ingest(store, "c", range(5))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + years * 365 * 86400)
    store.prune()
    assert same_memory(store.load(["c"])[1], range(5), documents, identity())


def test_files_of_a_killed_writer_are_removed_by_the_next(store):
    ingest(store, "c", [1])
    for directory in (store.root, store.packs, store.caches):
        (directory / "x.0123.tmp").write_bytes(b"half")
    ingest(store, "c", [1])
    assert list(store.root.rglob("*.tmp")) == []


def test_a_long_document_goes_on_from_its_last_snapshot(store, tmp_path):
    who = identity(key_width=0)
    ids = np.arange(2 * SEGMENT_TOKENS + 5) % 1000
    first, second, third = chain_keys(who, ids)
    parts = [ids[start : start + SEGMENT_TOKENS] for start in range(0, len(ids), SEGMENT_TOKENS)]
    with store.writer("c", who) as writer:
        writer.add_segment(None, parts[0], None, last=False)
        writer.add_snapshot(first, {"s": np.full(3, 1, np.float32)})
        writer.checkpoint()
        writer.add_segment(first, parts[1], None, last=False)
        writer.add_snapshot(second, {"s": np.full(3, 2, np.float32)})
        assert writer.snapshot(second)["s"].tolist() == [2, 2, 2]
    with store.writer("c", who) as writer:
        assert [writer.has(key) for key in (first, second, third)] == [True, True, False]
        assert writer.snapshot(first) is None, "a later snapshot replaces the earlier ones of its chain"
        assert writer.snapshot(second)["s"].tolist() == [2, 2, 2]
        assert writer.add_segment(second, parts[2], None, last=True) == third
        writer.checkpoint()
        assert writer.snapshot(second) is None, "the last segment needs no temporary snapshot any more"
        writer.commit([SOURCE], [document(1, third, len(ids))])
    assert verify(store).tokens == len(ids)
    kinds = [header.kind for pack in store.read_packs().values() for header, _ in pack.entries]
    assert kinds == [1, 1, 1]


def test_a_chain_that_grows_keeps_its_snapshot_until_the_new_one_is_committed(store):
    who = identity("float32", 1, "chained")
    with store.writer("c", who) as writer:
        first = add_chain(writer, 1)
        writer.add_snapshot(first.chain, {"s": np.ones(2, np.float32)})
        writer.commit([SOURCE], [first])
    ids, keys, _ = chain(2, who)
    with store.writer("c", who) as writer:
        assert writer.snapshot(first.chain)["s"].tolist() == [1, 1]
        key = writer.add_segment(first.chain, ids, keys, last=True)
        writer.add_snapshot(key, {"s": np.zeros(2, np.float32)})
        writer.checkpoint()
        assert store.load_chain(store.manifest("c"), first.chain).snapshot["s"].tolist() == [1, 1]
        writer.commit([SOURCE], [first.__class__(**{**first.__dict__, "chain": key})])
    manifest = store.manifest("c")
    assert list(manifest.chains) == [key]
    assert store.load_chain(manifest, key).snapshot["s"].tolist() == [0, 0]
    assert len(store.load_chain(manifest, key).ids) == first.n_tokens + len(ids)


def test_a_cache_of_another_identity_is_refused_unless_replaced(store):
    ingest(store, "c", [1], identity(model="one", model_name="small"))
    before = files(store.root)
    with pytest.raises(CacheError, match="model small instead of large") as caught:
        ingest(store, "c", [1], identity(model="two", model_name="large"))
    assert "--replace" in str(caught.value.hint)
    assert files(store.root).keys() == before.keys()
    with store.writer("c", identity(model="two"), replace=True) as writer:
        assert writer.previous.identity.model == "one"
        documents = [add_chain(writer, 2)]
        writer.commit([SOURCE], documents)
    assert same_memory(store.load(["c"])[1], [2], documents, identity(model="two"))
    assert not stored(store, 1)


def test_commit_refuses_documents_whose_chain_is_not_there(store):
    documents = ingest(store, "c", [1])
    before = store.manifest("c")
    for bad in [
        document(9, "f" * 64, 3),
        document(9, "../../etc/passwd", 3),
        document(9, documents[0].chain, 10_000),
        document(9, documents[0].chain, 1, start=-1),
        document(9, documents[0].chain, 1).__class__("/elsewhere", "x", "", 0, 0, documents[0].chain, 1, 1),
    ]:
        with store.writer("c", identity()) as writer, pytest.raises(GfqaError):
            writer.commit([SOURCE], [*documents, bad])
    assert store.manifest("c") == before


def test_a_writer_ends_with_its_commit(store):
    with store.writer("c", identity()) as writer:
        writer.commit([], [])
        for use in (lambda: add_chain(writer, 1), writer.checkpoint, lambda: writer.commit([], [])):
            with pytest.raises(GfqaError, match="closed or has committed"):
                use()
    with pytest.raises(GfqaError, match="is not in the store"), store.writer("c", identity()) as writer:
        writer.add_segment("a" * 64, [1], np.zeros((1, 4), np.int8), np.ones(1, np.float16), last=True)
    assert len(store.load(["c"])[1].ids) == 0


def test_stats_count_live_and_dead_bytes(store):
    ingest(store, "c", range(200, 240))
    full = stats(store)
    ingest(store, "c", range(201, 240))
    now = stats(store)
    assert (now.caches, now.packs) == (1, 1)
    assert full.live_bytes > now.live_bytes
    assert now.dead_bytes > full.dead_bytes
    assert verify(store, "c").chains == 39
