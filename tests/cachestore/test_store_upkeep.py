"""Renaming, pruning by age and size, kept tokenizers: what goes, what stays, and that a dry run only looks."""

from __future__ import annotations

import hashlib

import pytest
from store_kit import files, identity, ingest, total_bytes

from gfqa.cachestore import Store, catalog, fs, maintenance
from gfqa.errors import CacheError, UsageError

DAY = 86400.0


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path / "home", create=True)


def age(store: Store, name: str, seconds: float) -> None:
    """Makes a cache older, as if its last ingest had been that long ago."""
    manifest = store.manifest(name)
    older = catalog.replace(manifest, updated=manifest.updated - seconds)
    fs.write_file_atomically(store.manifest_path(name), [catalog.encode_manifest(older)])


def test_rename(store):
    documents = ingest(store, "old", range(5))
    ingest(store, "other", range(5, 9))
    store.rename("old", "new")
    assert store.names() == ["new", "other"]
    assert store.manifest("new").documents == tuple(documents)
    assert maintenance.verify(store).caches == 2
    before = files(store.root)
    with pytest.raises(UsageError, match="'other' already"):
        store.rename("new", "other")
    with pytest.raises(UsageError):
        store.rename("new", "../up")
    with pytest.raises(CacheError, match="'old'"):
        store.rename("old", "x")
    assert files(store.root) == before


def test_prune_by_age(store):
    for number, name in enumerate(("a", "b", "c")):
        ingest(store, name, range(number * 10, number * 10 + 8))
    age(store, "a", 40 * DAY)
    age(store, "b", 20 * DAY)
    pruned = store.prune_caches(older_than=30 * DAY)
    assert pruned.names == ("a",)
    assert pruned.freed_bytes > 0
    assert store.names() == ["b", "c"]
    assert maintenance.verify(store).caches == 2
    assert store.prune_caches(older_than=30 * DAY) == maintenance.Pruned((), 0)


def test_prune_by_size_takes_the_longest_unread_first(store):
    for number, name in enumerate(("a", "b", "c")):
        ingest(store, name, range(number * 10, number * 10 + 8))
        age(store, name, (3 - number) * DAY)
    one = store.info("c").bytes
    assert store.prune_caches(max_bytes=one + 100).names == ("a", "b")
    assert store.names() == ["c"]
    assert store.prune_caches(max_bytes=0).names == ("c",)
    assert not list(store.packs.iterdir())


def test_a_dry_run_says_what_a_prune_does_and_changes_nothing(store):
    for number, name in enumerate(("a", "b")):
        ingest(store, name, range(number * 100, number * 100 + 90))
    ingest(store, "b", range(130, 190))  # half of what it was: dead bytes
    age(store, "a", 10 * DAY)
    with store.writer("lost", identity()) as writer:
        from store_kit import add_chain

        add_chain(writer, 500)
    before = files(store.root)
    planned = store.prune_caches(older_than=5 * DAY, dry_run=True)
    assert files(store.root) == before
    size = total_bytes(store.packs)
    done = store.prune_caches(older_than=5 * DAY)
    assert planned.names == done.names == ("a",)
    assert done.freed_bytes == size - total_bytes(store.packs)
    assert planned.freed_bytes == pytest.approx(done.freed_bytes, rel=0.25)
    with store.writer("lost", identity()) as writer:
        from store_kit import chain

        from gfqa.cachestore import chain_keys

        assert writer.has(chain_keys(identity(), chain(500, identity())[0])[-1]), "an interrupted ingest resumes"


def test_pruning_what_is_not_there_creates_nothing(tmp_path):
    store = Store.open(tmp_path / "none")
    assert store.prune_caches(older_than=1).names == ()
    assert store.prune_caches(max_bytes=1, dry_run=True).names == ()
    assert not (tmp_path / "none").exists()


def test_a_damaged_manifest_stops_a_prune(store):
    ingest(store, "a", range(3))
    ingest(store, "b", range(5, 8))
    path = store.manifest_path("a")
    path.chmod(0o600)
    path.write_bytes(b"nonsense")
    for dry_run in (True, False):
        with pytest.raises(CacheError, match="'a' is damaged"):
            store.prune_caches(older_than=0, dry_run=dry_run)
    assert store.names() == ["a", "b"]


def test_tokenizers_are_kept_once_and_go_with_their_last_cache(store):
    who = identity(tokenizer=hashlib.sha256(b"t").hexdigest())
    assert store.tokenizer_file(who) is None
    store.keep_tokenizer(who, "tokenizer.model", b"pieces")
    kept = store.tokenizer_file(who)
    assert kept.read_bytes() == b"pieces"
    assert kept.name == f"tokenizer.{who.tokenizer}.model"
    store.keep_tokenizer(who, "tokenizer.model", b"other")
    assert kept.read_bytes() == b"pieces"
    store.keep_tokenizer(identity(tokenizer="../../x"), "tokenizer.model", b"pieces")
    assert len(list(store.tokenizers.iterdir())) == 1
    ingest(store, "c", range(3), who)
    store.prune()
    assert kept.exists()
    store.remove("c")
    assert store.prune_caches(dry_run=True).freed_bytes == 6
    assert store.prune() == 6
    assert not kept.exists()
