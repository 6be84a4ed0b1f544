"""`gfqa caches …`: what is stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfqa import config, views_caches
from gfqa.commands import units
from gfqa.commands.shared import AsJson, Device, Model, Quiet, complete_cache, group, no_command, open_store
from gfqa.console import Console, joined, plural, size
from gfqa.errors import CacheError, ModelError, UsageError

if TYPE_CHECKING:
    from gfqa.cachestore import Store

app = group("List, show, verify, move and remove caches.")
app.callback(invoke_without_command=True)(no_command)

Name = Annotated[str, typer.Argument(autocompletion=complete_cache, metavar="NAME")]


@app.command("list", short_help="Each cache: documents, tokens, bytes, age, model, sources.")
def list_caches(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Each cache with its documents, tokens, bytes, age, model and sources."""
    console, store = Console(as_json=as_json, quiet=quiet), open_store()
    rows = []
    for name in store.names():
        try:
            rows.append(_cache_json(store, name))
        except CacheError as error:
            rows.append({"name": name, "error": error.message})
    if as_json:
        console.json({"schema": 1, "caches": rows})
    else:
        views_caches.cache_list(console, rows)


@app.command("show")
def show_cache(name: Name, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """One cache and every document in it."""
    console, store = Console(as_json=as_json, quiet=quiet), open_store()
    manifest = store.manifest(name)
    documents = [
        {"source": entry.source, "path": entry.path, "tokens": entry.n_tokens, "bytes": entry.size}
        for entry in manifest.documents
    ]
    row = _cache_json(store, name)
    if as_json:
        console.json({"schema": 1, **row, "documents": documents})
    else:
        views_caches.cache(console, row, documents)


@app.command("text", short_help="Print a document as the cache holds it.")
def print_text(
    name: Name,
    path: Annotated[str | None, typer.Argument(metavar="[PATH]", help="A document; default: list their paths.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The very characters, also those a terminal would act on.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print a document as the cache holds it; its lines are those that citations count."""
    console, store = Console(as_json=as_json, quiet=quiet), open_store()
    from gfqa.caches import Texts, find_document, tokenizer_of

    manifest = store.manifest(name)
    if path is None:
        rows = [{"source": entry.source, "path": entry.path, "tokens": entry.n_tokens} for entry in manifest.documents]
        if as_json:
            console.json({"schema": 1, "cache": name, "documents": rows})
        else:
            for row in rows:
                console.line(str(row["path"]))
        return
    entry = find_document(manifest, path)
    text = Texts(store, manifest, tokenizer_of(store, manifest)).of(entry)
    if as_json:
        console.json({"schema": 1, "cache": name, "source": entry.source, "path": entry.path, "text": text})
    elif raw:
        console.binary([text.encode("utf-8")])
    else:
        console.stream(text.replace("\r\n", "\n").replace("\f", "\n") + "\n" * (not text.endswith("\n")))


@app.command("verify", short_help="Read every byte of caches and check it.")
def verify_caches(
    names: Annotated[
        list[str] | None, typer.Argument(autocompletion=complete_cache, metavar="[NAME…]", help="Caches; default: all.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read every byte of caches and check it: checksums, names, sizes, finite numbers. Exit 3 if any is damaged."""
    console, store = Console(as_json=as_json, quiet=quiet), open_store()
    from gfqa.cachestore import maintenance

    rows: list[dict[str, Any]] = []
    for name in names or store.names():
        if name not in store.names():
            store.manifest(name)  # says that there is none
        try:
            found = maintenance.verify(store, name)
            rows.append(
                {"name": name, "ok": True, "chains": found.chains, "tokens": found.tokens, "bytes": found.bytes}
            )
        except CacheError as error:
            rows.append({"name": name, "ok": False, "error": error.message, "hint": error.hint})
    whole = all(row["ok"] for row in rows)
    if as_json:
        console.json({"schema": 1, "ok": whole, "caches": rows})
    else:
        views_caches.verified(console, rows)
    if not whole:
        raise typer.Exit(CacheError.exit_code)


@app.command("diff", short_help="What cache B has more, less or otherwise than cache A.")
def diff_caches(
    first: Annotated[str, typer.Argument(autocompletion=complete_cache, metavar="A")],
    second: Annotated[str, typer.Argument(autocompletion=complete_cache, metavar="B")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What cache B has more, less or otherwise than cache A, by path and content."""
    console, store = Console(as_json=as_json, quiet=quiet), open_store()
    from gfqa.caches import difference

    result = difference(store.manifest(first), store.manifest(second)).to_json()
    if as_json:
        console.json(result)
    else:
        views_caches.compared(console, result)


@app.command("rename")
def rename_cache(
    old: Annotated[str, typer.Argument(autocompletion=complete_cache, metavar="OLD")],
    new: Annotated[str, typer.Argument(metavar="NEW")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Give a cache another name. Nothing is read again."""
    console = Console(as_json=as_json, quiet=quiet)
    store = open_store(console)
    store.rename(old, new)
    if as_json:
        console.json({"schema": 1, "renamed": old, "name": new})
    else:
        console.note(f"{old} is now called {new}.")


@app.command("remove")
def remove_cache(
    names: Annotated[list[str], typer.Argument(autocompletion=complete_cache, metavar="NAME…")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Remove caches, and every byte no other cache needs."""
    console = Console(as_json=as_json, quiet=quiet)
    store = open_store(console)
    for name in names:
        if name not in store.names():
            store.manifest(name)
    freed = sum(store.remove(name) for name in dict.fromkeys(names))
    if as_json:
        console.json({"schema": 1, "removed": names, "freed_bytes": freed})
    else:
        console.note(f"Removed {joined(names)}: {size(freed)} freed.")


@app.command("prune", short_help="Remove what no cache needs, and old caches.")
def prune_caches(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Remove caches not ingested for so long: 30d, 12h."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="Remove the longest not ingested until the rest fits: 2GB."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Remove bytes no cache needs, and caches that are too old or too many.

    Age counts from the last ingest: asking leaves no trace. What an ingest interrupted within the last day has read is kept.
    """
    console = Console(as_json=as_json, quiet=quiet)
    store = open_store(console)
    age = None if older_than is None else units.seconds(older_than)
    most = None if max_size is None else units.byte_count(max_size)
    pruned = store.prune_caches(older_than=age, max_bytes=most, dry_run=dry_run)
    if as_json:
        removed = {"removed": list(pruned.names), "freed_bytes": pruned.freed_bytes}
        console.json({"schema": 1, "dry_run": dry_run, **removed})
        return
    would = "Would remove" if dry_run else "Removed"
    what = plural(len(pruned.names), "cache") + (f" ({joined(pruned.names)})" if pruned.names else "")
    console.note(f"{would} {what}: {'about ' * dry_run}{size(pruned.freed_bytes)} freed.")


@app.command("export")
def export_cache(
    name: Name,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A new file; - is standard output.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a cache as one file, for another machine. The file holds the documents' text: guard it like the documents."""
    console, store = Console(as_json=as_json, quiet=quiet), open_store()
    from gfqa.caches import export_file
    from gfqa.cachestore.transfer import export_chunks

    if file == "-":
        if as_json:
            raise UsageError("Standard output cannot be both the exported cache and JSON.")
        if console.on_terminal:
            raise UsageError("An exported cache is nothing for a terminal.", hint="Name a file, or pipe it on.")
        console.binary(export_chunks(store, name))
        written = None
    else:
        written = export_file(store, name, Path(file), force=force)
    if as_json:
        console.json({"schema": 1, "exported": name, "file": file, "bytes": written, "holds_text": True})
    else:
        where = "" if written is None else f" to {file} ({size(written)})"
        console.note(f"Exported {name}{where}.")
        console.warn("it holds the documents' text: guard it like the documents")


@app.command("import")
def import_cache(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="An exported cache; - is standard input.")],
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="NAME", help="The cache's name; default: the one it had.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of the cache of that name.")] = False,
    any_model: Annotated[
        bool, typer.Option("--any-model", help="Also a cache of another model: for `caches rebuild`.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="It is your own: let later ingests reuse its numbers as if computed here.")
    ] = False,
    model: Model = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Bring an exported cache in. Every byte is checked, but who made it decides what it answers.

    Its numbers are never reused by an ingest unless you --trust it; `caches rebuild` computes them anew from its text.
    """
    console = Console(as_json=as_json, quiet=quiet)
    if file == "-" and sys.stdin.isatty():
        raise UsageError("- reads standard input, but nothing is piped into it.")
    if file != "-" and not Path(file).is_file():
        raise UsageError(f"There is no file {file}.")
    from gfqa.caches import import_file
    from gfqa.reader import open_model

    try:
        current = open_model(model, "cpu").identity
    except ModelError:
        if model is not None or not any_model:
            raise
        current = None
    with sys.stdin.buffer if file == "-" else Path(file).open("rb") as opened:
        imported = import_file(
            config.home(),
            opened,
            "standard input" if file == "-" else file,
            name=name,
            current=current,
            any_model=any_model,
            trust=trust,
            replace=replace,
            on_wait=console.waiting,
        )
    manifest = imported.manifest
    if as_json:
        console.json({"schema": 1, "usable": imported.usable, **_cache_json(open_store(), manifest.name)})
        return
    console.note(f"Imported {manifest.name}: {plural(len(manifest.documents), 'document')}.")
    if not imported.usable:
        console.warn(f"it is of another model: gfqa caches rebuild {manifest.name} reads its text again")
    elif not trust:
        console.warn(
            f"its answers are as good as whoever made it; gfqa caches rebuild {manifest.name} computes them anew"
        )


@app.command("rebuild", short_help="Read a cache again with the model in use.")
def rebuild_cache(
    name: Name, model: Model = None, device: Device = "auto", as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Read a cache again with the model in use, from the text the cache holds; no source is needed.

    The old cache serves until the new one is complete. An interrupted rebuild goes on where it stopped.
    """
    console = Console(as_json=as_json, quiet=quiet)
    store = open_store(console)
    store.manifest(name)
    from gfqa.reader import open_model
    from gfqa.rebuild import rebuild

    with console.progress() as progress:
        rebuilt = rebuild(store, name, open_model(model, device), progress)
    if as_json:
        console.json(rebuilt.to_json())
    else:
        console.note(
            f"{name}: {plural(rebuilt.documents, 'document')}, {rebuilt.tokens:,} tokens, {rebuilt.prefilled:,} pre-filled "
            f"in {rebuilt.seconds:.1f} s with {rebuilt.model} (before: {rebuilt.old_model or 'unknown'})"
        )


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
        "imported": info.imported,
    }
