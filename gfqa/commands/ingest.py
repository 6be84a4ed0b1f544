"""`gfqa ingest`: documents into a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gfqa import config
from gfqa.commands.shared import AsJson, Device, Model, Quiet
from gfqa.console import Console

if TYPE_CHECKING:
    from gfqa.documents import Limits


def ingest(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Folders or files: text, code, PDFs.")],
    name: Annotated[str | None, typer.Option("--name", "-n", help="The cache's name; default: the folder's.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Make these paths the only ones of the cache.")] = False,
    model: Model = None,
    device: Device = "auto",
    include: Annotated[list[str] | None, typer.Option(help="Read only what matches (gitignore syntax).")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave out what matches (gitignore syntax).")] = None,
    include_secrets: Annotated[
        bool, typer.Option("--include-secrets", help="Also read .env files, keys and the like.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 if a file was skipped that was not ignored.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read documents into a cache, once. Unchanged files are never read by the model again.

    The cache keeps the text itself besides the model's keys: guard it like the documents.
    """
    console = Console(as_json=as_json, quiet=quiet)
    from gfqa.documents import Limits

    limits = Limits(include=tuple(include or ()), exclude=tuple(exclude or ()), include_secrets=include_secrets)
    _check_paths(paths, limits)
    from gfqa import ingest as use_case

    reader = use_case.open_model(model, device)
    with console.progress() as progress:
        report = use_case.run(
            paths,
            reader=reader,
            home=config.home(),
            name=name,
            only_these=replace,
            limits=limits,
            on_progress=progress,
        )
    if as_json:
        console.json(report.to_json())
    else:
        console.ingested(report)
    if strict and any(item.reason != "ignored" for item in report.skipped):
        raise typer.Exit(1)


def _check_paths(paths: list[str], limits: Limits) -> None:
    """A misspelt path is told before torch is imported."""
    from gfqa.documents import open_source

    for path in paths:
        open_source(path, limits)
