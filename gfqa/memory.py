"""The memory questions are asked of: the chains of the chosen caches, and a document from standard input.

Reads the store and writes nothing. The memory is the set of chains, each once, in the order of their keys, so neither the order
of documents nor that of caches changes an answer.
"""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pathspec import GitIgnoreSpec
from torch import Tensor

from gfqa.answer import prompt
from gfqa.cachestore import DocumentEntry, Manifest, MemoryArrays, Store, chain_keys
from gfqa.documents import Skipped, document_from_bytes
from gfqa.errors import CacheError, UsageError
from gfqa.model import KeyCache, ModelState
from gfqa.prefill import Counter, id_array, loaded_keys, prefill_in_memory
from gfqa.reader import Reader

STDIN = "<stdin>"
Snapshot = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Origin:
    """The document a stretch of the memory is; `cache` is None for standard input."""

    cache: str | None
    entry: DocumentEntry


@dataclass(frozen=True)
class Memory:
    """What questions are asked of, built once and asked many times.

    ids [S]: all cached tokens; starts [n]: the first token of each document, whose origins come in the same order;
    cache, state: what the model attends over, and (chained layout) the state the question continues.
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

    def decode(self, ids: Tensor, state: ModelState | None, attention: list[Tensor]) -> tuple[Tensor, ModelState]:
        """One step of a question chain over this memory; see LanguageModel.decode."""
        model = self.reader.model
        if self.reader.config.n_gold == 0:
            return model.forward(ids, state)
        return model.decode(ids, state, self.cache, attention=attention, last_only=True)


def open_memory(
    reader: Reader, store: Store | None, names: Sequence[str] = (), document: bytes | None = None
) -> Memory:
    """The memory of the caches `names` of `store` and of a document from standard input.

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
    snapshot: Snapshot | None = None
    if store is not None and names:
        for name in names:
            _check_identity(store.manifest(name), reader)
        manifests, arrays = store.load(names)
        for manifest in manifests:
            for key, entries in manifest.documents_by_chain.items():
                origins.setdefault(key, [Origin(manifest.name, entry) for entry in entries])
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
    places = _places(arrays, origins)
    cache = KeyCache(
        torch.from_numpy(arrays.ids.astype(np.int64)).to(reader.device),
        loaded_keys(arrays, reader.config.key_dtype).to(reader.device),
        torch.from_numpy(arrays.chain_starts.copy()).to(reader.device),
    )
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
    )


def restricted(memory: Memory, globs: Sequence[str]) -> Memory:
    """The memory of only the documents whose paths match a glob (gitignore syntax).

    UsageError where none does, and for the chained layout, whose documents are one chain.
    """
    if memory.state is not None:
        raise UsageError("The documents of a chained cache cannot be asked one by one.")
    spec = GitIgnoreSpec.from_lines(globs)
    chosen = [number for number, origin in enumerate(memory.origins) if spec.match_file(origin.entry.path)]
    if not chosen:
        raise UsageError(f"No document of the cache matches {', '.join(globs)}.")
    bounds = (*memory.starts, len(memory.ids))
    kept = np.concatenate([np.arange(bounds[number], bounds[number + 1]) for number in chosen])
    lengths = [bounds[number + 1] - bounds[number] for number in chosen]
    starts = np.cumsum([0, *lengths])[:-1]
    rows = torch.from_numpy(kept).to(memory.cache.ids.device)
    prefilled = sum(length for number, length in zip(chosen, lengths) if memory.origins[number].cache is None)
    return replace(
        memory,
        cache=KeyCache(memory.cache.ids[rows], memory.cache.keys[rows], torch.from_numpy(starts).to(rows.device)),
        ids=memory.ids[kept],
        starts=tuple(starts.tolist()),
        origins=tuple(memory.origins[number] for number in chosen),
        reused=len(kept) - prefilled,
        prefilled=prefilled,
    )


def choose_caches(store: Store | None, names: Sequence[str], folder: Path) -> list[str]:
    """The caches to ask: those named; else the one whose source holds `folder`; else the only one. CacheError otherwise."""
    existing = [] if store is None else store.names()
    for name in names:
        if name not in existing:
            known = f"Caches: {', '.join(existing)}." if existing else "There is no cache yet: gfqa ingest PATH"
            raise CacheError(f"There is no cache named {name!r}.", hint=known)
    if names:
        return list(names)
    if store is None or not existing:
        raise CacheError("There is no cache yet.", hint="Make one first: gfqa ingest PATH")
    depths: dict[str, int] = {}
    for name in existing:
        try:
            sources = store.manifest(name).sources
        except CacheError:
            continue  # A damaged cache is no reason not to ask another one; asked itself, it says what is wrong.
        holding = [len(Path(source).parts) for source in sources if folder.is_relative_to(source)]
        if holding:
            depths[name] = max(holding)
    closest = [name for name, depth in depths.items() if depth == max(depths.values())]
    if len(closest) == 1:
        return closest
    if len(existing) == 1:
        return existing
    reason = f"Several caches hold {folder}" if closest else f"No cache holds {folder} and there are several"
    raise CacheError(f"{reason}: {', '.join(closest or existing)}.", hint="Choose with --cache NAME.")


def changed_documents(memory: Memory) -> tuple[str, ...]:
    """Files that are gone or whose content is no longer what was ingested, as absolute paths."""
    return tuple(sorted({str(file_of(origin)) for origin in memory.origins if has_changed(origin)}))


def file_of(origin: Origin) -> Path:
    """Where the document lies on the disk; for standard input a path that means nothing."""
    root = Path(origin.entry.source)
    return root / origin.entry.path if root.is_dir() else root


def has_changed(origin: Origin) -> bool:
    """Whether the document's file is gone or its content no longer what was ingested; never for standard input.

    Equal size and modification time count as unchanged; where only the time differs the content is hashed.
    """
    entry = origin.entry
    if origin.cache is None:
        return False
    path = file_of(origin)
    try:
        status = path.stat()
        return status.st_size != entry.size or (
            status.st_mtime_ns != entry.mtime_ns and hashlib.sha256(path.read_bytes()).hexdigest() != entry.content_hash
        )
    except (OSError, ValueError):
        return True


def _check_identity(manifest: Manifest, reader: Reader) -> None:
    difference = manifest.identity.difference(reader.identity)
    if difference is not None:
        maker = manifest.identity.model_name
        raise CacheError(
            f"The cache {manifest.name!r} was made by another model than the one in use ({difference}).",
            hint=f"Ask with the model that made it (--model {maker or 'FOLDER'}), or make it anew: "
            f"gfqa ingest {' '.join(manifest.sources)} --name {manifest.name} --replace",
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


def _places(arrays: MemoryArrays, origins: Mapping[str, Sequence[Origin]]) -> list[tuple[int, Origin]]:
    """Where each document of the memory starts.

    The same text under the same path in two places is one chain, and the first place stands for it; in the chained layout
    the documents of the one chain lie one after the other.
    """
    places = []
    for key, begin in zip(arrays.chain_keys, arrays.chain_starts.tolist(), strict=True):
        firsts = {origin.entry.start: origin for origin in reversed(origins[key])}
        places += [(begin + start, firsts[start]) for start in sorted(firsts)]
    return places
