"""What an ingest has to do: documents compared with what a cache holds, and the pre-filling of those that are new.

Shared by whoever reads documents for a cache: ingest, its dry run, and a rebuild. Whether a document is unchanged is decided by
the hash of its content; equal size and modification time save reading it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from gfqa.answer.prompt import document_ids
from gfqa.cachestore import DocumentEntry, Manifest, Store, StoreWriter, chain_keys
from gfqa.documents import Document, Found, Skipped, Source, in_parallel
from gfqa.prefill import Counter, Ids, id_array, prefill_chain, prefill_documents
from gfqa.reader import Reader
from gfqa.shelf import STDIN

RACY_NS = 2_000_000_000
"""A file modified this shortly before it was read may change again within the grain of its time stamp, so its time is not
kept and it is read again next time."""

Progress = Callable[[str, int, int], None]
_Encoded = tuple[Ids, int]


@dataclass(frozen=True)
class Pending:
    """A document of the cache to be: its entry (the chain still missing where `ids` are given) and what is known of it."""

    entry: DocumentEntry
    ids: Ids | None
    is_new: bool


class Gathering:
    """Documents gathered for a cache: what it held before, what was read, what was left out.

    previous: the cache's last commit, or None; one of another identity counts as none. has: whether the store has a chain.
    """

    def __init__(self, reader: Reader, store: Store, previous: Manifest | None, has: Callable[[str], bool]) -> None:
        self.reader = reader
        self.store = store
        self.has = has
        self.manifest = previous
        if self.manifest is not None and self.manifest.identity.digest != reader.identity.digest:
            self.manifest = None
        documents = () if self.manifest is None else self.manifest.documents
        self.previous_documents = {(entry.source, entry.path): entry for entry in documents}
        self.documents: list[Pending] = []
        self.skipped: list[Skipped] = []
        self.pages_without_text: list[tuple[str, tuple[int, ...]]] = []

    def read(
        self, sources: Sequence[Source], scans: Sequence[Iterable[Found | Skipped]], on_progress: Progress
    ) -> None:
        """Read what may have changed, in parallel; fill documents, skipped and pages_without_text."""
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
                    self.add(str(source.root), document, encoded)
                done += 1
                on_progress("reading", done, total)

    def others(self, sources: Sequence[Source], piped: str | None) -> list[Pending]:
        """The cache's documents under roots that were not named this time, and from standard input under other names."""
        named = {str(source.root) for source in sources}
        return [
            Pending(entry, None, False)
            for (source, path), entry in self.previous_documents.items()
            if source not in named and (source, path) != (STDIN, piped)
        ]

    def _surely_unchanged(self, source: Source, found: Found) -> DocumentEntry | None:
        """The document's entry where size and modification time say that reading it again is needless."""
        entry = self.previous_documents.get((str(source.root), found.path))
        if entry is None or self.manifest is None or not self.has(entry.chain):
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

    def add(self, source: str, document: Document, encoded: _Encoded | None = None) -> None:
        """Add a document of the root `source`, tokenised unless the cache holds just this content already."""
        entry = self.previous_documents.get((source, document.path))
        settled = time.time_ns() - document.mtime_ns > RACY_NS
        mtime_ns = document.mtime_ns if settled else 0
        if entry is not None and entry.content_hash == document.content_hash and self.has(entry.chain):
            self._keep(replace(entry, mtime_ns=mtime_ns))
            return
        array, header_tokens = encoded or self._encode(document)
        entry = DocumentEntry(
            source=source,
            path=document.path,
            content_hash=document.content_hash,
            size=document.size,
            mtime_ns=mtime_ns,
            chain="",
            n_tokens=len(array),
            header_tokens=header_tokens,
            page_starts=document.page_starts,
        )
        self.documents.append(Pending(entry, array, True))
        if document.pages_without_text:
            self.pages_without_text.append((document.path, document.pages_without_text))

    def _keep(self, entry: DocumentEntry) -> None:
        self.documents.append(Pending(entry, None, False))
        if entry.page_starts is not None:
            text = self.reader.tokenizer.decode(self.stored_ids(entry)[entry.header_tokens :].tolist())
            ends = [*entry.page_starts[1:], len(text)]
            pages = zip(entry.page_starts, ends, strict=True)
            empty = tuple(number for number, (start, end) in enumerate(pages, 1) if not text[start:end].strip())
            if empty:
                self.pages_without_text.append((entry.path, empty))

    def stored_ids(self, entry: DocumentEntry) -> Ids:
        """The ids of a document that the cache held before."""
        assert self.manifest is not None
        chain = self.store.load_chain(self.manifest, entry.chain)
        return chain.ids[entry.start : entry.start + entry.n_tokens]


def in_order(documents: Iterable[Pending]) -> list[Pending]:
    """Documents in the order in which a cache keeps them, and a chained model reads them."""
    return sorted(documents, key=lambda item: (item.entry.source, item.entry.path))


def named_chains(
    reader: Reader, documents: Sequence[Pending], stored_ids: Callable[[DocumentEntry], Ids] | None = None
) -> tuple[list[DocumentEntry], dict[str, Ids]]:
    """(the entries with their chains named, in the same order; the ids of each chain, where they are known or needed).

    In the chained layout all documents are one chain, so all of their ids are needed; stored_ids has those that a document
    does not bring along.
    """
    if reader.config.layout == "chained":
        parts: list[Ids] = []
        for item in documents:
            if item.ids is not None:
                parts.append(item.ids)
            elif stored_ids is not None:
                parts.append(stored_ids(item.entry))
        ids = np.concatenate(parts)
        chain = chain_keys(reader.identity, ids)[-1]
        starts = np.cumsum([0, *map(len, parts)]).tolist()
        entries = [
            replace(item.entry, chain=chain, start=start) for item, start in zip(documents, starts, strict=False)
        ]
        return entries, {chain: ids}
    entries, chains = [], {}
    for item in documents:
        entry = item.entry
        if item.ids is not None:
            entry = replace(entry, chain=chain_keys(reader.identity, item.ids)[-1])
            chains[entry.chain] = item.ids
        entries.append(entry)
    return entries, chains


@dataclass(frozen=True)
class Prefilled:
    """Tokens the model has read, and the seconds that took it, without those of loading it."""

    tokens: int
    seconds: float


def prefill_missing(reader: Reader, writer: StoreWriter, chains: dict[str, Ids], on_progress: Progress) -> Prefilled:
    """Pre-fill those of the chains that the store lacks."""
    chained = reader.config.layout == "chained"
    missing = {
        key: ids
        for key, ids in chains.items()
        if not (writer.has(key) and (not chained or writer.snapshot(key) is not None))
    }
    if not missing:
        return Prefilled(0, 0.0)
    _ = reader.model  # loaded before the clock starts
    began = time.monotonic()
    count = Counter(sum(map(len, missing.values())), on_progress)
    if chained:
        for ids in missing.values():
            prefill_chain(reader, writer, ids, count)
    else:
        prefill_documents(reader, writer, list(missing.values()), count)
    return Prefilled(count.done, time.monotonic() - began)
