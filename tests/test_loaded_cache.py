"""What a store gives as what a model attends over: widened before it is sent to the device, or there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gfqa.cachestore import DocumentEntry, HostRows, Identity, MemoryArrays, Store
from gfqa.cachestore.pack import PackReader
from gfqa.errors import CacheError
from gfqa.loaded import SentKeys, loaded_cache, rows_on, sent_cache

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SENT = partial(SentKeys, device=DEVICE)


@pytest.mark.parametrize("ids", [np.uint16, np.uint32])
@pytest.mark.parametrize(("key_dtype", "stored"), [("int8", np.int8), ("bfloat16", np.uint16), ("float32", np.float32)])
def test_numbers_are_the_same_wherever_they_are_widened(ids: type, key_dtype: str, stored: type) -> None:
    draw = np.random.default_rng(0)
    most = int(np.iinfo(ids).max)
    keys = draw.standard_normal((50, 6)).astype(np.float32)
    if key_dtype == "int8":
        keys = draw.integers(-127, 128, (50, 6), dtype=np.int8)
    elif key_dtype == "bfloat16":
        keys = (keys.view(np.uint32) >> 16).astype(np.uint16)
    arrays = MemoryArrays(
        ids=np.concatenate([[0, most], draw.integers(0, most, 48)]).astype(ids),
        keys=keys,
        scales=draw.random(50).astype(np.float16) if key_dtype == "int8" else None,
        chain_starts=np.array([0, 20]),
        chain_keys=("a", "b"),
    )
    plain, sent = loaded_cache(arrays, key_dtype, "cpu"), sent_cache(arrays, key_dtype, "cpu")
    assert plain.keys.dtype == sent.keys.dtype == torch.float32
    assert sent.codes.dtype == (torch.int8 if key_dtype == "int8" else torch.float32)
    for name in ("ids", "keys", "chain_starts"):
        assert torch.equal(getattr(plain, name), getattr(sent, name))
    half, rows = sent.part(slice(20, 50), torch.tensor([0])), torch.tensor([3, 4, 41])
    assert torch.equal(half.keys, plain.keys[20:])
    assert torch.equal(sent.part(rows, torch.tensor([0, 2])).keys, plain.keys[rows])


@pytest.mark.parametrize(("key_dtype", "stored"), [("int8", np.int8), ("bfloat16", np.uint16), ("float32", np.float32)])
def test_keys_sent_while_others_are_read_are_those_of_the_store(tmp_path: Path, key_dtype: str, stored: type) -> None:
    store = make_store(tmp_path, key_dtype, stored, documents=12, tokens=9000)
    arrays = store.load(["c"])[1]
    with torch.inference_mode():  # Readers are threads, where no such mode is on.
        sending = store.load(["c"], SENT)[1]
    assert isinstance(sending.keys, SentKeys)
    assert arrays.chain_keys == sending.chain_keys
    plain, sent = loaded_cache(arrays, key_dtype, "cpu"), sent_cache(sending, key_dtype, DEVICE)
    assert sent.codes.device.type == DEVICE
    assert torch.equal(sent.keys.cpu(), plain.keys)
    assert torch.equal(sent.ids.cpu(), plain.ids)
    again = sent_cache(replace(sending, keys=arrays.keys), key_dtype, DEVICE)
    assert torch.equal(again.keys, sent.keys)


def test_damage_is_an_error_though_other_keys_were_sent(tmp_path: Path) -> None:
    store = make_store(tmp_path, "int8", np.int8, documents=12, tokens=9000)
    pack = max(store.packs.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    with pytest.raises(CacheError, match="checksum"):
        store.load(["c"], SENT)


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("tokens", [50, 9000, 30_000])
def test_keys_come_in_order_whatever_is_read_at_once(tmp_path: Path, tokens: int, pinned: bool) -> None:
    """Small segments are read and sent many at a time, large ones one by one."""
    store = make_store(tmp_path, "int8", np.int8, documents=40 if tokens == 50 else 6, tokens=tokens)
    sending = store.load(["c"], partial(SENT, pinned=pinned))[1]
    assert torch.equal(sent_cache(sending, "int8", DEVICE).codes.cpu(), torch.from_numpy(store.load(["c"])[1].keys))


def test_what_cannot_be_read_at_once_is_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where reading a stretch fails, each segment says for itself whether it is there."""
    store = make_store(tmp_path, "int8", np.int8, documents=12, tokens=900)
    plain = store.load(["c"])[1]
    monkeypatch.setattr(PackReader, "read_into", lambda self, buffer, offset: 0)
    sending = store.load(["c"], SENT)[1]
    assert torch.equal(sent_cache(sending, "int8", DEVICE).codes.cpu(), torch.from_numpy(plain.keys))
    assert np.array_equal(store.load(["c"])[1].ids, plain.ids)


def test_wide_and_narrow_ids_lie_side_by_side(tmp_path: Path) -> None:
    """A segment is of 4 bytes an id only where it must be."""
    store, written = Store.open(tmp_path, create=True), {}
    with store.writer("c", Identity("0" * 64, "none", "independent", "int8", 0)) as writer:
        entries = []
        for number, most in enumerate((10, 70_000, 65_535, 2**32 - 1)):
            ids = np.array([number, most], np.uint32)
            key = writer.add_segment(None, ids, None, None, last=True)
            written[key] = ids
            entries.append(DocumentEntry("/", str(number), "0" * 64, 1, 0, key, 2, 0))
        writer.commit(["/"], entries)
    arrays = store.load(["c"])[1]
    assert arrays.ids.dtype == np.uint32
    for number, key in enumerate(arrays.chain_keys):
        assert np.array_equal(arrays.ids[arrays.span(number)], written[key])


def test_the_cpu_keeps_keys_where_they_are_read() -> None:
    assert rows_on("cpu") is HostRows


def make_store(folder: Path, key_dtype: str, stored: type, documents: int, tokens: int) -> Store:
    """A cache `c` of random keys of width 48 in several pieces for a thread each."""
    draw = np.random.default_rng(0)
    store = Store.open(folder, create=True)
    entries = []
    with store.writer("c", Identity("0" * 64, "none", "independent", key_dtype, 48)) as writer:
        for number in range(documents):
            keys = draw.integers(0, 100, (tokens, 48)).astype(stored)
            scales = draw.random(tokens).astype(np.float16) if key_dtype == "int8" else None
            key = writer.add_segment(None, draw.integers(0, 70_000, tokens), keys, scales, last=True)
            entries.append(DocumentEntry("/", str(number), "0" * 64, 1, 0, key, tokens, 0))
        writer.commit(["/"], entries)
    return store
