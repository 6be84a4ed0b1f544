"""`gfqa caches …`: what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfqa.commands.shared import AsJson, group, no_command, open_store
from gfqa.console import Console, joined
from gfqa.errors import CacheError

if TYPE_CHECKING:
    from gfqa.cachestore import Store

app = group("List, show and remove caches.")
app.callback(invoke_without_command=True)(no_command)


@app.command("list")
def list_caches(as_json: AsJson = False) -> None:
    """Each cache with its documents, tokens, bytes, model and sources."""
    console, store = Console(as_json=as_json), open_store()
    rows = []
    for name in store.names():
        try:
            rows.append(_cache_json(store, name))
        except CacheError as error:
            rows.append({"name": name, "error": error.message})
    if as_json:
        console.json({"schema": 1, "caches": rows})
    else:
        console.caches(rows)


@app.command("show")
def show_cache(name: str, as_json: AsJson = False) -> None:
    """One cache and every document in it."""
    console, store = Console(as_json=as_json), open_store()
    documents = [
        {"source": entry.source, "path": entry.path, "tokens": entry.n_tokens, "bytes": entry.size}
        for entry in store.manifest(name).documents
    ]
    row = _cache_json(store, name)
    if as_json:
        console.json({"schema": 1, **row, "documents": documents})
    else:
        console.cache(row, documents)


@app.command("remove")
def remove_cache(names: Annotated[list[str], typer.Argument(metavar="NAME…")], as_json: AsJson = False) -> None:
    """Remove caches, and every byte no other cache needs."""
    console, store = Console(as_json=as_json), open_store()
    for name in names:
        if name not in store.names():
            store.manifest(name)
    freed = sum(store.remove(name) for name in dict.fromkeys(names))
    if as_json:
        console.json({"schema": 1, "removed": names, "freed_bytes": freed})
    else:
        console.note(f"Removed {joined(names)}: {freed:,} bytes freed.")


def _cache_json(store: Store, name: str) -> dict[str, Any]:
    info = store.info(name)
    return {
        "name": info.name,
        "model": info.identity.model_name,
        "layout": info.identity.layout,
        "sources": list(info.sources),
        "document_count": info.documents,
        "tokens": info.tokens,
        "bytes": info.bytes,
        "created": info.created,
        "updated": info.updated,
    }
