"""Stores of released formats open for ever: golden_v1 was written by `write` with format version 1 and is never renewed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from store_kit import SOURCE, document, files, identity

from gfqa.cachestore import DocumentEntry, Identity, Store, maintenance

GOLDEN = Path(__file__).parent / "golden_v1"
PLAIN = identity("int8", 4, model="a" * 64, model_name="golden")
CHAINED = identity("bfloat16", 2, "chained", model="b" * 64)
IDS = np.array([256, 1, 65_535, 0, 70_000])
STATE = {"wkv": np.arange(6, dtype=np.float32).reshape(1, 2, 3)}


def numbers_of(number: int, who: Identity) -> tuple[np.ndarray, np.ndarray | None]:
    """Keys and scales without a random generator, so that they never change."""
    keys = (np.arange(len(IDS) * who.key_width) * (number + 7) % 120).reshape(len(IDS), who.key_width)
    if who.key_dtype == "int8":
        return keys.astype(np.int8), np.linspace(0.5, number + 1, len(IDS)).astype(np.float16)
    return keys.astype(np.uint16), None


def write(home: Path) -> None:
    store = Store.open(home, create=True)
    with store.writer("plain", PLAIN) as writer:
        keys = [writer.add_segment(None, IDS + number, *numbers_of(number, PLAIN), last=True) for number in range(3)]
        documents = [document(number, key, len(IDS), page_starts=(0, 3)) for number, key in enumerate(keys)]
        writer.commit([SOURCE], documents)
    with store.writer("chained", CHAINED) as writer:
        first = writer.add_segment(None, IDS, *numbers_of(0, CHAINED), last=False)
        second = writer.add_segment(first, IDS[:4], numbers_of(1, CHAINED)[0][:4], last=True)
        writer.add_snapshot(second, STATE)
        writer.commit([SOURCE], [document(0, second, 5), document(1, second, 4, start=5)])


@pytest.fixture
def store(tmp_path) -> Store:
    shutil.copytree(GOLDEN, tmp_path / "home")
    return Store.open(tmp_path / "home")


def test_a_store_of_version_1_reads_as_it_was_written(store):
    before = files(store.root)
    manifest = store.manifest("plain")
    assert manifest.identity == PLAIN
    assert [entry.path for entry in manifest.documents] == ["file_0.txt", "file_1.txt", "file_2.txt"]
    assert isinstance(manifest.documents[0], DocumentEntry)
    assert manifest.documents[0].page_starts == (0, 3)
    for number, entry in enumerate(manifest.documents):
        data = store.load_chain(manifest, entry.chain)
        keys, scales = numbers_of(number, PLAIN)
        assert data.ids.tolist() == (IDS + number).tolist()
        assert np.array_equal(data.keys, keys)
        assert np.array_equal(data.scales, scales)
    chained = store.manifest("chained")
    data = store.load_chain(chained, chained.documents[0].chain)
    assert data.ids.tolist() == [*IDS, *IDS[:4]]
    assert np.array_equal(data.snapshot["wkv"], STATE["wkv"])
    assert maintenance.verify(store).caches == 2
    assert files(store.root) == before


def test_a_store_of_version_1_can_be_written_on(store):
    with store.writer("plain", PLAIN) as writer:
        documents = writer.previous.documents
        assert all(writer.has(entry.chain) for entry in documents)
        writer.commit([SOURCE], documents[:1])
    assert len(store.load(["plain"])[1].ids) == len(IDS)
    assert maintenance.verify(store).tokens == len(IDS) + 9
