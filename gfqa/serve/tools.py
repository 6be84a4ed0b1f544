"""What an agent can do with caches: ask them, list them, read a place in them. The functions behind `gfqa mcp`.

A warm server answers where one runs; otherwise the model is loaded in this process, at the first question. All text comes
from the caches, never from the disk, and nothing is written.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gfqa import config
from gfqa.cachestore import DocumentEntry, Manifest, Store
from gfqa.errors import CacheError, UsageError
from gfqa.serve import client
from gfqa.serve.engine import Engine, Question

LINES: Final = 400
CHARACTERS: Final = 40_000
"""The most that one call reads; more is had by asking for the lines that follow."""


class Tools:
    """The tools over the caches of gfqa's data directory. Every method may be called from any thread."""

    def __init__(self, model: str | None = None, device: str = "auto", *, use_server: bool = True) -> None:
        self._model, self._device, self._use_server = model, device, use_server
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def ask(self, question: str, caches: Sequence[str] = (), max_tokens: int = 64) -> dict[str, Any]:
        """The documented object of `ask --json`. GfqaErrors as of `gfqa ask`."""
        options = {"max_tokens": max_tokens}
        if not 1 <= max_tokens <= 100_000:
            raise UsageError("max_tokens is no number from 1 to 100000.")
        if self._use_server:
            answer = client.ask(question, caches=caches, model=self._model, device=self._device, options=options)
            if answer is not None:
                return answer.to_json()
        with self._lock:
            asked = Question(question, Path.cwd(), tuple(caches), options=options)
            return self._opened().answer(asked)[1]

    def find(self, question: str, caches: Sequence[str] = (), count: int = 10) -> list[dict[str, Any]]:
        """The best passages, best first: the documented objects of `find --json`. GfqaErrors as of `gfqa find`."""
        if not 1 <= count <= 100:
            raise UsageError("count is no number from 1 to 100.")
        found = None
        if self._use_server:
            found = client.find(question, count=count, caches=caches, model=self._model, device=self._device)
        if found is None:
            with self._lock:
                found = self._opened().passages(Question(question, Path.cwd(), tuple(caches), count=count))
        passages: list[dict[str, Any]] = found.to_json()["passages"]
        return passages

    def list_caches(self) -> list[dict[str, Any]]:
        """Name, documents, tokens, sources, model and time of the last ingest of each cache; damaged ones with `error`."""
        store = _store()
        rows: list[dict[str, Any]] = []
        for name in store.names():
            try:
                info = store.info(name)
            except CacheError as error:
                rows.append({"name": name, "error": error.message})
                continue
            rows.append(
                {
                    "name": name,
                    "documents": info.documents,
                    "tokens": info.tokens,
                    "sources": list(info.sources),
                    "model": info.identity.model_name,
                    "updated": info.updated,
                }
            )
        return rows

    def read_span(
        self,
        cache: str,
        path: str,
        start_line: int = 1,
        end_line: int | None = None,
        page: int | None = None,
        source: str | None = None,
    ) -> dict[str, Any]:
        """Lines of a document, or a page of a PDF, as the cache holds them; lines and pages count from 1.

        CacheError for a missing cache or one of another tokenizer, UsageError for a document or place that it does not have.
        """
        store = _store()
        manifest = store.manifest(cache)
        entry = _entry(manifest, path, source)
        text = self._text(store, manifest, entry)
        found: dict[str, Any] = {"cache": cache, "source": entry.source, "path": path}
        if page is not None:
            return {**found, "page": page, **_bounded(_page(entry, text, page).split("\n"), LINES)}
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        last = len(lines) if end_line is None else end_line
        if not 1 <= start_line <= last or start_line > len(lines):
            raise UsageError(f"{path} has {len(lines)} lines: {start_line} to {last} is no part of it.")
        part = _bounded(lines[start_line - 1 : last], LINES)
        end = start_line + part["text"].count("\n")
        return {**found, "start_line": start_line, "end_line": end, "lines": len(lines), **part}

    def _text(self, store: Store, manifest: Manifest, entry: DocumentEntry) -> str:
        with self._lock:
            reader = self._opened().reader
        if reader.identity.tokenizer != manifest.identity.tokenizer:
            raise CacheError(
                f"The cache {manifest.name!r} was made with another tokenizer than that of {reader.name}.",
                hint=f"Start gfqa mcp with --model {manifest.identity.model_name or 'FOLDER'}.",
            )
        ids = store.load_chain(manifest, entry.chain).ids
        mine = ids[entry.start + entry.header_tokens : entry.start + entry.n_tokens]
        return reader.tokenizer.decode_bytes(mine.tolist()).decode("utf-8", "replace")

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = Engine(self._model, self._device)
        return self._engine


def _store() -> Store:
    return Store.open(config.home())


def _entry(manifest: Manifest, path: str, source: str | None) -> DocumentEntry:
    found = [entry for entry in manifest.documents if entry.path == path and source in (None, entry.source)]
    if not found:
        where = f" of {source}" if source is not None else ""
        raise UsageError(f"The cache {manifest.name!r} has no document {path!r}{where}.")
    if len(found) > 1:
        sources = ", ".join(entry.source for entry in found)
        raise UsageError(f"The cache {manifest.name!r} has {path!r} in several sources: {sources}.", hint="Name one.")
    return found[0]


def _page(entry: DocumentEntry, text: str, page: int) -> str:
    starts = entry.page_starts
    if starts is None:
        raise UsageError(f"{entry.path} has lines, not pages.")
    if not 1 <= page <= len(starts):
        raise UsageError(f"{entry.path} has {len(starts)} pages: there is no page {page}.")
    return text[starts[page - 1] : starts[page] if page < len(starts) else len(text)].rstrip("\f\n")


def _bounded(lines: Sequence[str], limit: int) -> dict[str, Any]:
    """The lines as one text, cut at a line's end (a single huge line in its middle) where they are too many."""
    kept: list[str] = []
    size = 0
    for line in lines[:limit]:
        if size + len(line) > CHARACTERS:
            kept += [] if kept else [line[:CHARACTERS]]
            break
        kept.append(line)
        size += len(line) + 1
    text = "\n".join(kept)
    return {"text": text, "truncated": len(text) < len("\n".join(lines))}
