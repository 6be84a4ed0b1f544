"""The memory questions are asked of: the chains of the chosen caches, and a document from standard input.

Reads the store and writes nothing. The memory is the set of chains, each once, in the order of their keys, so neither the order
of documents nor that of caches changes an answer.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfqa import shelf
from gfqa.answer import prompt
from gfqa.answer.generate import Steps
from gfqa.cachestore import DocumentEntry, Manifest, MemoryArrays, Store, chain_keys
from gfqa.documents import Skipped, document_from_bytes
from gfqa.errors import CacheError, UsageError
from gfqa.loaded import loaded_cache, rows_on
from gfqa.model import KeyCache, ModelState
from gfqa.model.stepping import answer_steps
from gfqa.prefill import Counter, id_array, prefill_in_memory
from gfqa.reader import Reader
from gfqa.shelf import STDIN, Origin, changed_documents, choose_caches, file_of, has_changed
from gfqa.tokenizer import Tokenizer

__all__ = [
    "STDIN",
    "Memory",
    "Origin",
    "changed_documents",
    "choose_caches",
    "file_of",
    "has_changed",
    "open_memory",
    "restricted",
]

Snapshot = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Memory:
    """What questions are asked of, built once and asked many times.

    ids [S]: all cached tokens; starts [n]: the first token of each document, whose origins come in the same order;
    cache, state: what the model attends over, and (chained layout) the state the question continues; documents: root and path
    of all that the caches hold, also of those that `restricted` leaves out.
    """

    reader: Reader
    caches: tuple[str, ...]
    cache: KeyCache
    state: ModelState | None
    ids: npt.NDArray[Any]
    starts: tuple[int, ...]
    origins: tuple[Origin, ...]
    reused: int
    prefilled: int
    seconds: float
    documents: tuple[tuple[str, str], ...] = ()

    @property
    def tokenizer(self) -> Tokenizer:
        """The reader's tokenizer."""
        return self.reader.tokenizer

    def decode(self, ids: Tensor, state: ModelState | None, attention: list[Tensor]) -> tuple[Tensor, ModelState]:
        """One step of a question chain over this memory; see LanguageModel.decode."""
        model = self.reader.model
        if self.reader.config.n_gold == 0:
            return model.forward(ids, state)
        return model.decode(ids, state, self.cache, attention=attention, last_only=True)

    def begin(self, state: ModelState | None, room: int) -> Steps | None:
        """Steps in place that continue a question chain over this memory; None where `decode` has to do it."""
        return answer_steps(self.reader.model, self.cache, state, room) if self.reader.config.n_gold else None


def open_memory(
    reader: Reader,
    store: Store | None,
    names: Sequence[str] = (),
    document: bytes | None = None,
    *,
    memory_budget: int | None = None,
) -> Memory:
    """The memory of the caches `names` of `store` and of a document from standard input.

    memory_budget: bytes that may be held for the model to attend over (None: half of the machine's memory); where nothing fits,
    the first question raises ModelError.

    Raises CacheError for a cache that is missing, damaged or of another model; UsageError for a document that cannot be
    read, and for what the chained layout cannot do: several caches, or a document beside a cache.
    """
    began = time.monotonic()
    names = sorted(set(names))
    chained = reader.config.layout == "chained"
    if chained and len(names) + (document is not None) > 1:
        raise UsageError(
            f"The model {reader.name} reads its documents as one chain, so it answers from one cache at a time.",
            hint="Name one cache, without a document from standard input.",
        )
    arrays: MemoryArrays | None = None
    origins: dict[str, list[Origin]] = {}
    documents: list[tuple[str, str]] = []
    snapshot: Snapshot | None = None
    if store is not None and names:
        # A document is put among the keys on the host, so they stay there.
        rows = rows_on(reader.device if document is None else "cpu")
        manifests, arrays = store.load(names, rows, lambda manifest: _check_identity(manifest, reader))
        for manifest in manifests:
            documents += [(entry.source, entry.path) for entry in manifest.documents]
            for key, entries in manifest.documents_by_chain.items():
                origins.setdefault(key, shelf.origins_of(manifest, list(entries)))
        if chained:
            snapshot = store.load_chain(manifests[0], arrays.chain_keys[0]).snapshot
    prefilled = 0
    if document is not None:
        extra, entry, snapshot = _stdin(reader, document)
        prefilled = entry.n_tokens
        origins[entry.chain] = [Origin(None, entry)]
        arrays = extra if arrays is None else _with_chain(arrays, extra)
    if arrays is None:
        raise UsageError("There is nothing to ask: no cache was named and no document given.")
    places = shelf.places(arrays, origins)
    cache = loaded_cache(arrays, reader.config.key_dtype, reader.device, memory_budget)
    state = None
    if chained:
        if snapshot is None:
            raise CacheError("The cache has no snapshot to resume from.", hint="Ingest its sources again.")
        tensors = {name: torch.from_numpy(array.copy()).to(reader.device) for name, array in snapshot.items()}
        with torch.inference_mode():
            state, cache = reader.model.resume(cache, tensors)
    return Memory(
        reader=reader,
        caches=tuple(names),
        cache=cache,
        state=state,
        ids=arrays.ids,
        starts=tuple(start for start, _ in places),
        origins=tuple(origin for _, origin in places),
        reused=len(arrays.ids) - prefilled,
        prefilled=prefilled,
        seconds=time.monotonic() - began,
        documents=tuple(documents),
    )


def restricted(memory: Memory, globs: Sequence[str]) -> Memory:
    """The memory of only the documents whose paths match a glob (gitignore syntax).

    UsageError where none does, and for the chained layout, whose documents are one chain.
    """
    if memory.state is not None:
        raise UsageError("The documents of a chained cache cannot be asked one by one.")
    part = shelf.part_of(memory, globs)
    kept = part.kept
    rows = torch.from_numpy(kept).to(memory.cache.ids.device)
    prefilled = sum(origin.entry.n_tokens for origin in part.origins if origin.cache is None)
    return replace(
        memory,
        cache=memory.cache.part(rows, torch.tensor(part.starts, device=rows.device)),
        ids=memory.ids[kept],
        starts=part.starts,
        origins=part.origins,
        reused=len(kept) - prefilled,
        prefilled=prefilled,
    )


def _check_identity(manifest: Manifest, reader: Reader) -> None:
    difference = manifest.identity.difference(reader.identity)
    if difference is not None:
        maker = manifest.identity.model_name
        raise CacheError(
            f"The cache {manifest.name!r} was made by another model than the one in use ({difference}).",
            hint=f"Ask with the model that made it (--model {maker or 'FOLDER'}), or read its text again with the one in use: "
            f"gfqa caches rebuild {manifest.name}",
        )


def _stdin(reader: Reader, data: bytes) -> tuple[MemoryArrays, DocumentEntry, Snapshot]:
    """A document from standard input as a memory of its own, its keys rounded as a store would round them."""
    document = document_from_bytes(STDIN, data)
    if isinstance(document, Skipped):
        raise UsageError(f"Standard input cannot be read as a document ({document.reason.replace('_', ' ')}).")
    tokens, header_tokens = prompt.document_ids(reader.tokenizer, STDIN, document.text)
    ids = id_array(tokens, reader.config.vocab_size)
    chain = chain_keys(reader.identity, ids)[-1]
    keys, scales, snapshot = prefill_in_memory(reader, ids, Counter(0, lambda phase, done, total: None))
    entry = DocumentEntry(
        source="",
        path=STDIN,
        content_hash=document.content_hash,
        size=document.size,
        mtime_ns=0,
        chain=chain,
        n_tokens=len(ids),
        header_tokens=header_tokens,
        page_starts=document.page_starts,
    )
    return MemoryArrays(ids, keys, scales, np.zeros(1, np.int64), (chain,)), entry, snapshot


def _with_chain(arrays: MemoryArrays, extra: MemoryArrays) -> MemoryArrays:
    """A memory and one more chain, at its place in the order of keys."""
    [key] = extra.chain_keys
    number = bisect_left(arrays.chain_keys, key)
    if number < len(arrays.chain_keys) and arrays.chain_keys[number] == key:
        return arrays
    cut = arrays.span(number).start if number < len(arrays.chain_keys) else len(arrays.ids)

    def inserted(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([old[:cut], new, old[cut:]])

    starts = arrays.chain_starts
    return MemoryArrays(
        inserted(arrays.ids, extra.ids),
        inserted(arrays.keys, extra.keys),
        None if arrays.scales is None or extra.scales is None else inserted(arrays.scales, extra.scales),
        np.concatenate([starts[:number], [cut], starts[number:] + len(extra.ids)]),
        (*arrays.chain_keys[:number], key, *arrays.chain_keys[number:]),
    )
