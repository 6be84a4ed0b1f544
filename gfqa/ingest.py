"""Ingest: documents -> token ids -> [chains the store lacks] -> prefill -> store, then one commit.

Whether a document is unchanged is decided by the hash of its content; equal size and modification time save reading it.
Finished chains are made durable as they come, so an interrupted ingest goes on where it stopped.
"""

from __future__ import annotations

import collections
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gfqa.answer.prompt import document_ids
from gfqa.cachestore import DocumentEntry, Manifest, Store, StoreWriter, chain_keys, check_name
from gfqa.documents import Document, Found, Limits, Skipped, Source, in_parallel, open_source
from gfqa.errors import NotCacheable, NothingToRead, UsageError
from gfqa.prefill import Counter, Ids, id_array, prefill_chain, prefill_documents
from gfqa.reader import Reader, open_model

__all__ = ["IngestReport", "open_model", "run"]

RACY_NS = 2_000_000_000
"""A file modified this shortly before it was read may change again within the grain of its time stamp, so its time is not
kept and it is read again next time."""

Progress = Callable[[str, int, int], None]
_Encoded = tuple[Ids, int]


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did. Counts of documents and tokens, bytes of the cache, seconds of wall time."""

    name: str
    model: str
    layout: str
    bytes: int
    ingested: int
    unchanged: int
    removed: int
    skipped: tuple[Skipped, ...]
    pages_without_text: tuple[tuple[str, tuple[int, ...]], ...]
    total: int
    reused: int
    prefilled: int
    seconds: float

    def reasons(self) -> dict[str, int]:
        """Skipped files by reason, most frequent first."""
        return dict(collections.Counter(item.reason for item in self.skipped).most_common())

    def to_json(self) -> dict[str, Any]:
        """The documented object of `ingest --json`."""
        return {
            "schema": 1,
            "cache": {"name": self.name, "model": self.model, "layout": self.layout, "bytes": self.bytes},
            "documents": {"ingested": self.ingested, "unchanged": self.unchanged, "removed": self.removed},
            "skipped": self.reasons(),
            "skipped_files": [{"path": item.path, "reason": item.reason} for item in self.skipped],
            "pages_without_text": [{"path": path, "pages": list(pages)} for path, pages in self.pages_without_text],
            "tokens": {"total": self.total, "reused": self.reused, "prefilled": self.prefilled},
            "seconds": round(self.seconds, 3),
        }


def run(
    paths: Sequence[str | Path],
    *,
    reader: Reader,
    home: Path,
    name: str | None = None,
    only_these: bool = False,
    limits: Limits | None = None,
    on_progress: Progress = lambda phase, done, total: None,
) -> IngestReport:
    """Bring the cache `name` up to date with the roots `paths`; other roots of the cache stay unless `only_these`.

    home: gfqa's data directory. Raises UsageError (missing path, name conflict), NothingToRead, CacheError (the cache is of
    another model), ModelError, Busy, OSError (disk).
    """
    began = time.monotonic()
    _check_cacheable(reader)
    sources = list({source.root: source for source in (open_source(path, limits) for path in paths)}.values())
    scans = [list(source.scan()) for source in sources]
    if not any(isinstance(item, Found) for scan in scans for item in scan):
        raise _nothing(sources, [item for scan in scans for item in scan if isinstance(item, Skipped)])
    store = Store.open(home, create=True)
    name = _choose_name(name, sources, store)
    with store.writer(name, reader.identity, replace=only_these) as writer:
        work = _Work(reader, writer)
        work.read(sources, scans, on_progress)
        if not work.read_documents:
            raise _nothing(sources, work.skipped)
        kept = [] if only_these else work.of_other_roots(sources)
        entries, prefilled = work.prefill(kept, on_progress)
        roots = {str(source.root) for source in sources} | ({*work.previous_sources} if not only_these else set())
        writer.commit(tuple(sorted(roots)), entries)
    total = sum(entry.n_tokens for entry in entries)
    return IngestReport(
        name=name,
        model=reader.name,
        layout=reader.config.layout,
        bytes=store.info(name).bytes,
        ingested=sum(document.is_new for document in work.read_documents),
        unchanged=sum(not document.is_new for document in work.read_documents),
        removed=len(work.previous_documents.keys() - {(entry.source, entry.path) for entry in entries}),
        skipped=tuple(work.skipped),
        pages_without_text=tuple(sorted(work.pages_without_text)),
        total=total,
        reused=total - prefilled,
        prefilled=prefilled,
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True)
class _Pending:
    """A document of the cache to be: its entry (the chain still missing where `ids` are given) and what is known of it."""

    entry: DocumentEntry
    ids: Ids | None
    is_new: bool


class _Work:
    """One ingest under way: what the cache held before, what was read, what is left to pre-fill."""

    def __init__(self, reader: Reader, writer: StoreWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.manifest: Manifest | None = writer.previous
        if self.manifest is not None and self.manifest.identity.digest != reader.identity.digest:
            self.manifest = None
        documents = () if self.manifest is None else self.manifest.documents
        self.previous_documents = {(entry.source, entry.path): entry for entry in documents}
        self.previous_sources = () if self.manifest is None else self.manifest.sources
        self.read_documents: list[_Pending] = []
        self.skipped: list[Skipped] = []
        self.pages_without_text: list[tuple[str, tuple[int, ...]]] = []

    def read(
        self, sources: Sequence[Source], scans: Sequence[Iterable[Found | Skipped]], on_progress: Progress
    ) -> None:
        """Read what may have changed, in parallel; fill read_documents, skipped and pages_without_text."""
        total = sum(isinstance(item, Found) for scan in scans for item in scan)
        done = 0
        on_progress("reading", done, total)
        for source, scan in zip(sources, scans, strict=True):
            unsure = []
            for item in scan:
                if isinstance(item, Skipped):
                    self.skipped.append(item)
                elif (entry := self._surely_unchanged(source, item)) is not None:
                    self._keep(entry)
                    done += 1
                else:
                    unsure.append(item)
            for document, encoded in in_parallel(partial(self._read_one, source), unsure):
                if isinstance(document, Skipped):
                    self.skipped.append(document)
                else:
                    self._add(source, document, encoded)
                done += 1
                on_progress("reading", done, total)

    def of_other_roots(self, sources: Sequence[Source]) -> list[_Pending]:
        """The cache's documents under roots that were not named this time."""
        named = {str(source.root) for source in sources}
        return [_Pending(entry, None, False) for key, entry in self.previous_documents.items() if key[0] not in named]

    def prefill(self, kept: Sequence[_Pending], on_progress: Progress) -> tuple[list[DocumentEntry], int]:
        """Pre-fill what the store lacks: (all entries of the cache, sorted by source and path; tokens pre-filled)."""
        documents = sorted([*self.read_documents, *kept], key=lambda item: (item.entry.source, item.entry.path))
        if self.reader.config.layout == "chained":
            return self._prefill_chained(documents, on_progress)
        entries, missing = [], {}
        for document in documents:
            entry = document.entry
            if document.ids is not None:
                entry = replace(entry, chain=chain_keys(self.reader.identity, document.ids)[-1])
                if not self.writer.has(entry.chain):
                    missing[entry.chain] = document.ids
            entries.append(entry)
        count = Counter(sum(map(len, missing.values())), on_progress)
        if missing:
            prefill_documents(self.reader, self.writer, list(missing.values()), count)
        return entries, count.done

    def _prefill_chained(self, documents: Sequence[_Pending], on_progress: Progress) -> tuple[list[DocumentEntry], int]:
        parts = [
            document.ids if document.ids is not None else self._stored_ids(document.entry) for document in documents
        ]
        ids = np.concatenate(parts)
        chain = chain_keys(self.reader.identity, ids)[-1]
        starts = np.cumsum([0, *map(len, parts)]).tolist()
        entries = [
            replace(document.entry, chain=chain, start=start)
            for document, start in zip(documents, starts, strict=False)
        ]
        if self.writer.has(chain) and self.writer.snapshot(chain) is not None:
            return entries, 0
        count = Counter(len(ids), on_progress)
        prefill_chain(self.reader, self.writer, ids, count)
        return entries, count.done

    def _surely_unchanged(self, source: Source, found: Found) -> DocumentEntry | None:
        """The document's entry where size and modification time say that reading it again is needless."""
        entry = self.previous_documents.get((str(source.root), found.path))
        if entry is None or self.manifest is None or not self.writer.has(entry.chain):
            return None
        return entry if (found.size, found.mtime_ns) == (entry.size, entry.mtime_ns) else None

    def _read_one(self, source: Source, found: Found) -> tuple[Document | Skipped, _Encoded | None]:
        """A document and, unless its content is known, its ids; runs in several threads at once."""
        document = source.read(found)
        if isinstance(document, Skipped):
            return document, None
        entry = self.previous_documents.get((str(source.root), document.path))
        if entry is not None and entry.content_hash == document.content_hash:
            return document, None
        return document, self._encode(document)

    def _encode(self, document: Document) -> _Encoded:
        ids, header_tokens = document_ids(self.reader.tokenizer, document.path, document.text)
        return id_array(ids, self.reader.config.vocab_size), header_tokens

    def _add(self, source: Source, document: Document, encoded: _Encoded | None) -> None:
        entry = self.previous_documents.get((str(source.root), document.path))
        settled = time.time_ns() - document.mtime_ns > RACY_NS
        mtime_ns = document.mtime_ns if settled else 0
        if entry is not None and entry.content_hash == document.content_hash and self.writer.has(entry.chain):
            self._keep(replace(entry, mtime_ns=mtime_ns))
            return
        array, header_tokens = encoded or self._encode(document)
        entry = DocumentEntry(
            source=str(source.root),
            path=document.path,
            content_hash=document.content_hash,
            size=document.size,
            mtime_ns=mtime_ns,
            chain="",
            n_tokens=len(array),
            header_tokens=header_tokens,
            page_starts=document.page_starts,
        )
        self.read_documents.append(_Pending(entry, array, True))
        if document.pages_without_text:
            self.pages_without_text.append((document.path, document.pages_without_text))

    def _keep(self, entry: DocumentEntry) -> None:
        self.read_documents.append(_Pending(entry, None, False))
        if entry.page_starts is not None:
            text = self.reader.tokenizer.decode(self._stored_ids(entry)[entry.header_tokens :].tolist())
            ends = [*entry.page_starts[1:], len(text)]
            pages = zip(entry.page_starts, ends, strict=True)
            empty = tuple(number for number, (start, end) in enumerate(pages, 1) if not text[start:end].strip())
            if empty:
                self.pages_without_text.append((entry.path, empty))

    def _stored_ids(self, entry: DocumentEntry) -> Ids:
        assert self.manifest is not None
        chain = self.writer.store.load_chain(self.manifest, entry.chain)
        return chain.ids[entry.start : entry.start + entry.n_tokens]


def _check_cacheable(reader: Reader) -> None:
    kinds = {reader.config.time_mix(layer) for layer in range(reader.config.n_layer)}
    if kinds & {"gptalpha", "llama"}:
        raise NotCacheable(
            f"The model {reader.name} has attention layers that keep every key, so its documents cannot be cached.",
            hint="Ingest needs a GoldFinch or Finch model; this one is for training and evaluation.",
        )


def _choose_name(name: str | None, sources: Sequence[Source], store: Store) -> str:
    """The cache to write: the given name, or that of the first root, unless a cache of that name holds another root."""
    if name is not None:
        return check_name(name)
    root = sources[0].root
    name = default_name(root, is_file=sources[0].is_file)
    if name in store.names() and str(root) not in store.manifest(name).sources:
        raise UsageError(
            f"The cache {name!r} holds {', '.join(store.manifest(name).sources)}, not {root}.",
            hint=f"Give this one a name of its own, e.g. --name {_suggestion(root, name, store)}, "
            f"or add it to that cache with --name {name}.",
        )
    return name


def default_name(root: Path, *, is_file: bool = False) -> str:
    """A cache name made from a folder's (or file's) name: other characters than letters, digits, ._- become dashes."""
    stem = root.stem if is_file else root.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-")[:100] or "documents"


def _suggestion(root: Path, name: str, store: Store) -> str:
    taken = set(store.names())
    candidates = [f"{default_name(root.parent)}-{name}"[:100], *(f"{name[:90]}-{number}" for number in range(2, 1000))]
    return next((candidate for candidate in candidates if candidate not in taken), f"{name[:90]}-new")


def _nothing(sources: Sequence[Source], skipped: Sequence[Skipped]) -> NothingToRead:
    where = ", ".join(str(source.root) for source in sources)
    reasons = collections.Counter(item.reason for item in skipped).most_common()
    if not reasons:
        return NothingToRead(f"There is nothing in {where}.", hint="Name a folder or file with text or PDFs in it.")
    counts = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in reasons)
    return NothingToRead(f"There is nothing readable in {where} ({counts}).")
