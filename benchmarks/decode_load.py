"""The way from files to the first token: a store in the project's own form is read, sent, made a memory of, and asked.

A section of `decode.py`; with `--only load,build` other launch settings of the kernel that makes keys are tried too. `whole` is
the application's own way, `open_memory` and the question: the lower half reads it while keys are sent and others are read, and
nothing is waited for before the token. The items below are the same with a wait after each, so they add up to more.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from gfqa.cachestore import SEGMENT_TOKENS, DocumentEntry, HostRows, Identity, MakeRows, MemoryArrays, Store
from gfqa.cachestore.memory import READERS, RUN_BYTES
from gfqa.loaded import SentKeys, loaded_cache, rows_on, sent_cache
from gfqa.memory import open_memory
from gfqa.model import KeyCache, LanguageModel
from gfqa.model.gpu_memory import KEYS, VALUES, bigram_mixes, distinct_tokens, form_for, mixer_of, sorted_memory
from gfqa.model.key_cache import quantise_keys
from gfqa.model.state import ModelState
from gfqa.reader import Reader
from gfqa.tokenizer.bytes import ByteTokenizer

NAME = "load"
DOCUMENT, TINY_DOCUMENT = 16_384, 100
"""Tokens of one document, a chain of its own."""
REPEATS = 7
SETTINGS = ((64, 4, 2, 32), (64, 4, 3, 32), (64, 4, 1, 32), (64, 4, 2, 16), (128, 8, 2, 32), (128, 8, 1, 32))
"""Tokens of a tile, warps, stages and columns of the kernel that makes keys."""

T = TypeVar("T")


def load(bench: Any, size: str, model: LanguageModel, ids: Tensor) -> None:
    """The section, for a cache of `ids` [S] on the CPU with random int8 keys."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder), create=True)
        write(store, model, ids, TINY_DOCUMENT if bench.tiny else DOCUMENT)
        question = (torch.arange(20, device=bench.device)[None] * 37 + 1) % bench.vocab
        clock = Clock(bench, size, len(ids))
        reader = reader_of(model, bench.device)
        for name, fresh in (("whole, device memory held already", False), ("whole, device memory to allocate", True)):
            times = [whole(clock, store, reader, question, fresh) for _ in range(1 if bench.tiny else REPEATS)]
            bench.report(
                NAME, size, len(ids), name, statistics.median(times[1:] or times), worst=max(times[1:] or times)
            )
        items(clock, store, model, question)
        if "build" in bench.sections and bench.device == "cuda":
            settings(clock, model, sent(read(store), bench.device))


def reader_of(model: LanguageModel, device: str) -> Reader:
    """The model as an opened one, without files or a tokenizer."""
    reader = Reader(Path(), model.config, ByteTokenizer(), identity_of(model), device)
    reader.__dict__["model"] = model  # What the property keeps once the weights are loaded.
    return reader


def identity_of(model: LanguageModel) -> Identity:
    return Identity("0" * 64, "none", model.config.layout, "int8", model.config.key_width)


def write(store: Store, model: LanguageModel, ids: Tensor, length: int) -> None:
    """Commit a cache of documents of `length` tokens."""
    draw = torch.Generator().manual_seed(1)
    config = model.config
    documents = []
    with store.writer(NAME, identity_of(model)) as writer:
        for start in range(0, len(ids), length):
            stop, parent = min(start + length, len(ids)), None
            for first in range(start, stop, SEGMENT_TOKENS):
                part = ids[first : min(first + SEGMENT_TOKENS, stop)]
                codes, scales = quantise_keys(torch.randn(len(part), config.key_width, generator=draw))
                last = first + len(part) == stop
                arrays = (part.numpy().astype(np.uint32), codes.numpy(), scales.numpy())
                parent = writer.add_segment(parent, *arrays, last=last)
            if parent is not None:
                documents.append(DocumentEntry("/", str(start), "0" * 64, 1, 0, parent, stop - start, 0))
        writer.commit(["/"], documents)


def read(store: Store, make_rows: MakeRows = HostRows) -> MemoryArrays:
    """The cache from its files."""
    return store.load([NAME], make_rows)[1]


def bare(store: Store) -> None:
    """What the checksums of a memory's files take at the least: pieces of them read into a buffer, and hashed."""
    pieces = [(path, start) for path in store.packs.iterdir() for start in range(0, path.stat().st_size, RUN_BYTES)]
    threads = min(READERS, len(pieces), os.cpu_count() or 1)
    buffers = [bytearray(RUN_BYTES) for _ in range(threads)]

    def one(piece: tuple[Path, int]) -> None:
        buffer = buffers.pop()
        with piece[0].open("rb", buffering=0) as file:
            file.seek(piece[1])
            hashlib.sha256(memoryview(buffer)[: file.readinto(buffer)])
        buffers.append(buffer)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, pieces))


def sent(arrays: MemoryArrays, device: str) -> KeyCache:
    """The cache on the device, in the form of int8 keys."""
    cache = loaded_cache(arrays, "int8", device)
    cache.form = "sorted"
    return cache


def sent_keys(store: Store, rows: MakeRows, device: str) -> KeyCache:
    """The cache read into rows of the device, whatever it is."""
    return sent_cache(read(store, rows), "int8", device)


def whole(clock: Clock, store: Store, reader: Reader, question: Tensor, fresh: bool) -> float:
    """Milliseconds from files to the first token's number on the host; fresh: with no device memory set aside."""
    clock.synchronise()
    if fresh and clock.bench.device == "cuda":
        torch.cuda.empty_cache()
    start = time.perf_counter()
    logits, _ = open_memory(reader, store, [NAME]).decode(question, None, [])
    int(logits[0, -1].argmax())
    return 1e3 * (time.perf_counter() - start)


def items(clock: Clock, store: Store, model: LanguageModel, question: Tensor) -> None:
    """One line for each thing on the way."""
    device, config = clock.bench.device, model.config
    clock("files read and hashed by as many threads, nothing kept", bare, store)
    clock("read and sent at once", lambda: sent(read(store, rows_on(device)), device))
    rows = partial(SentKeys, device=device, pinned=False)
    clock("read and sent at once, from memory that is not pinned", sent_keys, store, rows, device)
    arrays = clock("read from files, checksums checked", read, store)
    cache = clock("send to the device", sent, arrays, device, n_bytes=arrays.keys.nbytes)
    found = clock("sort, rows of distinct ids", distinct_tokens, model, cache)
    form = form_for(model)
    inverse = clock("kappa's rms", form.inverse_rms, found.unigram, found.pairs, found.tokens)
    for number, layer in enumerate(model.gold_layers()):
        z = clock(f"layer {number}: mixes of bigrams", bigram_mixes, layer, found)
        made = (found.unigram, found.pairs, mixer_of(layer, z, KEYS), config.n_head, torch.int8, found.tokens, inverse)
        n_bytes = len(cache) * (config.n_embd + 2 * config.n_head)
        clock(f"layer {number}: keys", form.make_rows, *made, n_bytes=n_bytes)
        value = (found.o, found.pairs, mixer_of(layer, z, VALUES), config.n_head, torch.bfloat16)
        n_bytes = 2 * len(found.pairs) * config.n_embd
        clock(f"layer {number}: values", form.make_rows, *value, n_bytes=n_bytes)
    clock("all layers, from sorted tokens", sorted_memory, model, cache, tokens=found)
    clock.launches("all layers, launches alone", sorted_memory, model, cache, tokens=found)
    cache.layers(model)
    token, state = clock("question over the memory", asked, model, question, None, cache)
    clock.launches("question over the memory, launches alone", asked, model, question, None, cache)
    clock("question without a memory", model, question)
    clock("one more token, not in place", asked, model, token, state, cache)


def settings(clock: Clock, model: LanguageModel, cache: KeyCache) -> None:
    """One layer's keys with other launch settings than the default."""
    # Imported on use: a platform without Triton still has the other sections.
    from gfqa.kernels.gold_attention import triton_build as form

    found, layer = distinct_tokens(model, cache), model.gold_layers()[0]
    inverse = form.inverse_rms(found.unigram, found.pairs, found.tokens)
    key = mixer_of(layer, bigram_mixes(layer, found), KEYS)
    made = (found.unigram, found.pairs, key, model.config.n_head, torch.int8, found.tokens, inverse)
    name = "WIDE_LAUNCH" if max(model.config.head_size, model.config.gold_lora) > 64 else "LAUNCH"
    kept = getattr(form, name), form.COLUMNS
    for tile, warps, stages, columns in SETTINGS:
        setattr(form, name, {"TILE": tile, "num_warps": warps, "num_stages": stages})
        form.COLUMNS = columns
        clock(f"keys, tile {tile} warps {warps} stages {stages} columns {columns}", form.make_rows, *made)
    setattr(form, name, kept[0])
    form.COLUMNS = kept[1]


def asked(model: LanguageModel, ids: Tensor, state: ModelState | None, cache: KeyCache) -> tuple[Tensor, ModelState]:
    """The next token [1, 1] after ids [1, t], and the chain's state."""
    logits, after = model.decode(ids, state, cache, attention=[], last_only=True)
    return logits[0, -1].argmax().view(1, 1), after


class Clock:
    """Reports the wall clock of calls, each with all it started on the device; the fastest of three times."""

    def __init__(self, bench: Any, size: str, tokens: int) -> None:
        self.bench, self.size, self.tokens = bench, size, tokens

    def __call__(self, name: str, call: Callable[..., T], *given: Any, n_bytes: int = 0, **named: Any) -> T:
        times = []
        for _ in range(1 if self.bench.tiny else 3):
            self.synchronise()
            start = time.perf_counter()
            result = call(*given, **named)
            self.synchronise()
            times.append(1e3 * (time.perf_counter() - start))
        self.bench.report(NAME, self.size, self.tokens, name, min(times), n_bytes)
        return result

    def launches(self, name: str, call: Callable[..., object], *given: Any, **named: Any) -> None:
        """As a call, of the host's time alone, whatever the device has still to do."""
        times = []
        for _ in range(1 if self.bench.tiny else 3):
            self.synchronise()
            start = time.perf_counter()
            call(*given, **named)
            times.append(1e3 * (time.perf_counter() - start))
        self.bench.report(NAME, self.size, self.tokens, name, min(times))

    def synchronise(self) -> None:
        if self.bench.device == "cuda":
            torch.cuda.synchronize()
