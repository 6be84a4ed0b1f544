"""`gfqa status`: what has changed on the disk since caches were made."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gfqa import views_caches
from gfqa.commands.shared import AsJson, Quiet, open_store
from gfqa.console import Console
from gfqa.errors import CacheError


def status(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="Caches; default: all.")] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 3 if an ingest would find anything to do.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Which documents have changed, are new, or are gone. Reads no model and writes nothing.

    \b
    gfqa status myrepo --exit-code || gfqa ingest ~/src/myrepo
    """
    console, store = Console(as_json=as_json, quiet=quiet), open_store()
    from gfqa.shelf import first_ingest
    from gfqa.status import Status, compare

    rows: list[dict[str, Any]] = []
    compared: list[Status] = []
    for name in names or store.names():
        try:
            compared.append(compare(store.manifest(name)))
            rows.append(compared[-1].to_json())
        except CacheError as error:
            if names:
                raise
            # One damaged cache is no reason to say nothing about the others.
            rows.append({"name": name, "stale": True, "error": error.message})
            console.warn(error.message)
    if as_json:
        console.json({"schema": 1, "caches": rows})
    elif rows:
        views_caches.status(console, compared)
    else:
        console.note(f"There is no cache yet. {first_ingest(store)}")
    if exit_code and any(row["stale"] for row in rows):
        raise typer.Exit(CacheError.exit_code)
