"""Small caches for the store's tests: random chains whose contents follow from their number alone."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from gfqa.cachestore import SEGMENT_TOKENS, DocumentEntry, Identity, MemoryArrays, Store, StoreWriter

SOURCE = "/home/someone/project"


def identity(key_dtype="int8", key_width=4, layout="independent", model="m", tokenizer="t", **more) -> Identity:
    return Identity(model, tokenizer, layout, key_dtype, key_width, **more)


@functools.cache
def chain(number: int, who: Identity, length: int | None = None, vocab: int = 65_536):
    """ids, keys, scales of chain `number`; equal numbers give equal bytes."""
    rng = np.random.default_rng(number)
    count = int(rng.integers(1, 60)) if length is None else length
    ids = rng.integers(0, vocab, count).astype(np.uint32)
    shape = (count, who.key_width)
    if who.key_dtype == "int8":
        scales = rng.random(count).astype(np.float16) if who.key_width else None
        return ids, rng.integers(-127, 128, shape, dtype=np.int8), scales
    if who.key_dtype == "bfloat16":
        return ids, rng.integers(0, 0x7F80, shape, dtype=np.uint16), None
    return ids, rng.standard_normal(shape, dtype=np.float32), None


def add_chain(writer: StoreWriter, number: int, length: int | None = None, vocab: int = 65_536) -> DocumentEntry:
    """Adds chain `number` in as many segments as it takes and returns its document, `file_<number>.txt`."""
    ids, keys, scales = chain(number, writer.identity, length, vocab)
    parent = None
    for start in range(0, len(ids), SEGMENT_TOKENS):
        part = slice(start, start + SEGMENT_TOKENS)
        last = start + SEGMENT_TOKENS >= len(ids)
        factors = None if scales is None else scales[part]
        parent = writer.add_segment(parent, ids[part], keys[part], factors, last=last)
    assert parent is not None
    return document(number, parent, len(ids))


def document(number: int, key: str, n_tokens: int, **more) -> DocumentEntry:
    path = f"file_{number}.txt"
    return DocumentEntry(SOURCE, path, hashlib.sha256(path.encode()).hexdigest(), 10, 1, key, n_tokens, 1, **more)


def ingest(store: Store, name: str, numbers: Iterable[int], who: Identity | None = None, **more) -> list[DocumentEntry]:
    """A cache of these chains, by one writer and one commit."""
    with store.writer(name, who or identity(), timeout=5, **more) as writer:
        documents = [add_chain(writer, number) for number in numbers]
        writer.commit([SOURCE], documents)
    return documents


def same_memory(
    memory: MemoryArrays, numbers: Sequence[int], documents: Sequence[DocumentEntry], who: Identity
) -> bool:
    """Whether the memory holds exactly these chains, bit by bit."""
    by_key = {document.chain: number for number, document in zip(numbers, documents)}
    if list(memory.chain_keys) != sorted(by_key):
        return False
    for number, key in enumerate(memory.chain_keys):
        ids, keys, scales = chain(by_key[key], who)
        span = memory.span(number)
        if not (np.array_equal(memory.ids[span], ids) and np.array_equal(memory.keys[span], keys)):
            return False
        if scales is not None and (memory.scales is None or not np.array_equal(memory.scales[span], scales)):
            return False
    return True


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    """Contents and modification time of every file under root."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def total_bytes(root: Path) -> int:
    return sum(len(data) for data, _ in files(root).values())
