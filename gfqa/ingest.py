"""Ingest: documents -> token ids -> [chains the store lacks] -> prefill -> store, then one commit.

Finished chains are made durable as they come, so an interrupted ingest goes on where it stopped.
"""

from __future__ import annotations

import collections
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gfqa import rates
from gfqa.cachestore import OnWait, Reading, Store, check_name
from gfqa.documents import REMEDIES, Document, Found, Limits, Skipped, Source, open_source
from gfqa.errors import NotCacheable, NothingToRead, UsageError
from gfqa.gather import Gathering, Progress, in_order, named_chains, prefill_missing
from gfqa.reader import Reader, open_model
from gfqa.shelf import STDIN

__all__ = ["IngestReport", "open_model", "run"]


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
    timing: dict[str, float] = field(default_factory=dict)
    """Seconds of its parts: read (files, their text, tokens) and prefill (the model)."""

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
            "timing": {part: round(seconds, 3) for part, seconds in self.timing.items()},
        }


def run(
    paths: Sequence[str | Path | Source],
    *,
    reader: Reader,
    home: Path,
    name: str | None = None,
    only_these: bool = False,
    limits: Limits | None = None,
    piped: Document | None = None,
    on_progress: Progress = lambda phase, done, total: None,
    on_wait: OnWait = lambda seconds: None,
) -> IngestReport:
    """Bring the cache `name` up to date with the roots `paths`; other roots of the cache stay unless `only_these`.

    home: gfqa's data directory. piped: a document from standard input; it replaces the one of the same path. on_wait: as of
    Store.open. Raises UsageError
    (missing path, name conflict), NothingToRead, CacheError (the cache is of another model), ModelError, Busy, OSError (disk).
    """
    began = time.monotonic()
    check_cacheable(reader)
    sources = open_sources(paths, limits)
    scans = scanned(sources, piped)
    store = Store.open(home, create=True, on_wait=on_wait)
    name = choose_name(name, sources, store)
    with store.writer(name, reader.identity, replace=only_these) as writer:
        work = Gathering(reader, store, writer.previous, writer.has)
        before = (
            {} if work.manifest is None else {source: work.manifest.reading(source) for source in work.manifest.sources}
        )
        work.read(sources, scans, on_progress)
        if piped is not None:
            work.add(STDIN, piped)
        if not work.documents:
            raise nothing_in(sources, work.skipped)
        kept = [] if only_these else work.others(sources, piped.path if piped else None)
        read = time.monotonic() - began
        entries, chains = named_chains(reader, in_order([*work.documents, *kept]), work.stored_ids)
        prefilled = prefill_missing(reader, writer, chains, on_progress)
        readings = {**({} if only_these else before), **{str(source.root): _reading(source) for source in sources}}
        if piped is not None:
            readings[STDIN] = Reading("stdin")
        keep_tokenizer(reader, store)
        writer.commit(tuple(sorted(readings)), entries, readings)
    rates.remember(store, reader, prefilled.tokens, prefilled.seconds)
    total = sum(entry.n_tokens for entry in entries)
    return IngestReport(
        name=name,
        model=reader.name,
        layout=reader.config.layout,
        bytes=store.info(name).bytes,
        ingested=sum(document.is_new for document in work.documents),
        unchanged=sum(not document.is_new for document in work.documents),
        removed=len(work.previous_documents.keys() - {(entry.source, entry.path) for entry in entries}),
        skipped=tuple(work.skipped),
        pages_without_text=tuple(sorted(work.pages_without_text)),
        total=total,
        reused=total - prefilled.tokens,
        prefilled=prefilled.tokens,
        seconds=time.monotonic() - began,
        timing={"read": read, "prefill": prefilled.seconds},
    )


def open_sources(paths: Sequence[str | Path | Source], limits: Limits | None) -> list[Source]:
    """The sources of the paths, each root once. UsageError for a path that is not there."""
    opened = [path if isinstance(path, Source) else open_source(path, limits) for path in paths]
    return list({source.root: source for source in opened}.values())


def scanned(sources: Sequence[Source], piped: Document | None) -> list[list[Found | Skipped]]:
    """What a walk over each source finds; NothingToRead where that, and standard input, is nothing at all."""
    scans = [list(source.scan()) for source in sources]
    if piped is None and not any(isinstance(item, Found) for scan in scans for item in scan):
        raise nothing_in(sources, [item for scan in scans for item in scan if isinstance(item, Skipped)])
    return scans


def keep_tokenizer(reader: Reader, store: Store) -> None:
    """Keep a copy of the tokenizer with the caches: without it nobody could read their text once the model is gone."""
    if reader.config.tokenizer != "bytes":
        file = reader.folder / reader.config.tokenizer
        store.keep_tokenizer(reader.identity, file.name, file.read_bytes())


def _reading(source: Source) -> Reading:
    limits = source.limits
    kind = "walk" if source.names is None else "list"
    return Reading(kind, limits.include, limits.exclude, limits.include_secrets)


def check_cacheable(reader: Reader) -> None:
    """NotCacheable for a model that leaves no compressed keys."""
    kinds = {reader.config.time_mix(layer) for layer in range(reader.config.n_layer)}
    if kinds & {"gptalpha", "llama"}:
        raise NotCacheable(
            f"The model {reader.name} has attention layers that keep every key, so its documents cannot be cached.",
            hint="Ingest needs a GoldFinch or Finch model; this one is for training and evaluation.",
        )


def choose_name(name: str | None, sources: Sequence[Source], store: Store) -> str:
    """The cache to write: the given name, or that of the first root, unless a cache of that name holds another root."""
    if name is not None:
        return check_name(name)
    if not sources:
        raise UsageError("A document from standard input needs the name of a cache.", hint="Say --name CACHE.")
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


def nothing_in(sources: Sequence[Source], skipped: Sequence[Skipped]) -> NothingToRead:
    """The error for sources in which nothing can be read, with the reasons counted."""
    where = ", ".join(str(source.root) for source in sources)
    reasons = collections.Counter(item.reason for item in skipped).most_common()
    if not reasons and any(source.names == () for source in sources):
        return NothingToRead(
            "The list of files is empty.", hint="A cache is never emptied by an ingest: see caches remove."
        )
    if not reasons:
        return NothingToRead(f"There is nothing in {where}.", hint="Name a folder or file with text or PDFs in it.")
    counts = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in reasons)
    remedies = [REMEDIES[reason] for reason, _ in reasons if reason in REMEDIES]
    hint = f"To read it: {remedies[0]}." if remedies else None
    return NothingToRead(f"There is nothing readable in {where} ({counts}).", hint=hint)
