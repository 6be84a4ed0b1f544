"""`gfqa ingest`: documents into a cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfqa import config, head_start, views_caches
from gfqa.commands.shared import AsJson, Device, Model, Quiet, Verbose, standard_input
from gfqa.console import Console, plural
from gfqa.errors import NothingToRead, UsageError

if TYPE_CHECKING:
    from gfqa.documents import Document, Limits, Source

Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="GLOB", help="Read only what matches (gitignore syntax; !GLOB: all but that)."),
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave out what matches (gitignore syntax).")
]
IncludeSecrets = Annotated[bool, typer.Option("--include-secrets", help="Also read .env files, keys and the like.")]


def ingest(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH…", help="Folders or files: text, code, notebooks, PDFs; - is standard input."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="NAME", help="The cache's name; default: the folder's.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Make these paths the only ones of the cache.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be read, how long it takes, and what it needs.")
    ] = False,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE|-", help="Read only the files of this list, below PATH (default: here)."),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Names in the list end with NUL, not with a newline.")
    ] = False,
    as_: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The path of the document from standard input.")
    ] = None,
    model: Model = None,
    device: Device = "auto",
    include: Include = None,
    exclude: Exclude = None,
    include_secrets: IncludeSecrets = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 if a file was skipped that was not ignored.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Read documents into a cache, once. Unchanged files are never read by the model again.

    The cache keeps the text itself besides the model's keys: guard it like the documents.

    \b
    gfqa ingest ~/src/project --dry-run
    git ls-files -z | gfqa ingest --from - -0
    pdftotext scan.pdf - | gfqa ingest - --as scan.txt --name papers
    """
    console = Console(as_json=as_json, quiet=quiet, verbose=verbose)
    limits = limits_of(include, exclude, include_secrets)
    # A misspelt path is told before torch is imported.
    sources = _sources([path for path in paths or () if path != "-"], from_, null, limits)
    piped = _piped("-" in (paths or ()), as_, from_, limits)
    if not sources and piped is None:
        raise UsageError("Missing argument 'PATH…'.", hint="gfqa ingest . reads the current folder.")
    if piped is not None and not sources and name is None:
        raise UsageError("A document from standard input needs the name of a cache.", hint="Say --name CACHE.")

    head_start.begin(model, device)
    from gfqa import ingest as use_case

    reader = use_case.open_model(model, device)
    with console.progress() as progress:
        arguments = {
            "reader": reader,
            "home": config.home(),
            "name": name,
            "only_these": replace,
            "piped": piped,
            "on_progress": progress,
        }
        if dry_run:
            from gfqa.plan import plan

            planned = plan(sources, **arguments)  # type: ignore[arg-type]
        else:
            report = use_case.run(sources, **arguments, on_wait=console.waiting)  # type: ignore[arg-type]
    if dry_run:
        skipped = planned.skipped
        console.json(planned.to_json()) if as_json else views_caches.planned(console, planned)
    else:
        skipped = report.skipped
        console.json(report.to_json()) if as_json else console.ingested(report)
    left_out = [item for item in skipped if item.reason != "ignored"]
    if strict and left_out:
        first = left_out[0]
        console.failing(
            f"{plural(len(left_out), 'file')} left out with --strict, the first {first.path} ({first.reason})."
        )
        raise typer.Exit(1)


def limits_of(include: list[str] | None, exclude: list[str] | None, include_secrets: bool) -> Limits:
    from gfqa.documents import Limits

    return Limits(include=tuple(include or ()), exclude=tuple(exclude or ()), include_secrets=include_secrets)


def _sources(paths: list[str], listed: str | None, null: bool, limits: Limits) -> list[Source]:
    """The folders and files, or with --from the one source that the list's files lie below."""
    from gfqa.documents import open_list, open_source, split_list

    if listed is None:
        if null:
            raise UsageError("-0 is about the list that --from names, and there is none.")
        return [open_source(path, limits) for path in paths]
    if len(paths) > 1:
        raise UsageError(
            "A list of files is below one folder, and several were named.", hint="Ingest one after the other."
        )
    if listed != "-" and (not Path(listed).exists() or Path(listed).is_dir()):  # a pipe will do
        raise UsageError(f"There is no file {listed} to read a list of files from.")
    data = standard_input() if listed == "-" else Path(listed).read_bytes()
    return [open_list(paths[0] if paths else ".", split_list(data, null), limits)]


def _piped(wanted: bool, name: str | None, listed: str | None, limits: Limits) -> Document | None:
    """The document from standard input."""
    from gfqa.documents import Skipped, document_from_bytes

    if not wanted:
        if name is not None:
            raise UsageError("--as names the document from standard input, and - was not given.")
        return None
    if listed == "-":
        raise UsageError("Standard input cannot be both the list of files and a document.")
    if name is None:
        raise UsageError("A document from standard input needs a name.", hint="Say --as NAME: citations will show it.")
    _check_label(name)
    document = document_from_bytes(name, standard_input(), limits)
    if isinstance(document, Skipped):
        reason = document.reason.replace("_", " ")
        raise NothingToRead(f"Standard input cannot be read as a document ({reason}).")
    return document


def _check_label(name: str) -> None:
    """UsageError for a name that could not be the path of a document."""
    odd = not name.isprintable() or len(name) > 500 or name.startswith("/") or ".." in name.split("/")
    if odd or not name.strip():
        raise UsageError(
            f"{name!r} cannot be the name of a document.", hint="Write it like a relative path: notes/today.txt"
        )
