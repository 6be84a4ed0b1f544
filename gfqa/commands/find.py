"""`gfqa find`: passages instead of answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfqa import head_start, views
from gfqa.commands.shared import (
    AsJson,
    AsJsonLines,
    Caches,
    Device,
    Format,
    Model,
    NoServer,
    Only,
    OutputFormat,
    Quiet,
    Verbose,
    chosen_format,
    open_store,
)
from gfqa.console import Console
from gfqa.errors import NotFoundInDocuments
from gfqa.serve import client as warm

if TYPE_CHECKING:
    from gfqa.memory import Memory
    from gfqa.shelf import Shelf


def find(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="A question, or words to look for.")],
    cache: Caches = None,
    only: Only = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=1000, metavar="N", help="At most this many passages.")
    ] = 10,
    fast: Annotated[
        bool, typer.Option("--fast", help="By words alone: no model is loaded, and it takes a fraction of the time.")
    ] = False,
    model: Model = None,
    device: Device = "auto",
    fail_not_found: Annotated[bool, typer.Option("--fail-not-found", help="Exit 5 if no passage is found.")] = False,
    format: OutputFormat = None,
    no_server: NoServer = False,
    as_json: AsJson = False,
    as_jsonl: AsJsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find the passages that speak of a question: path:line and the best line of each, best first. Nothing is generated.

    Ranked by shared words and by where the model looks; --fast by words alone. Which cache is searched: as for gfqa ask.

    \b
    gfqa find "retry delay after a failed job"
    vim -q <(gfqa find "where is the port set" --format vimgrep)
    """
    began = time.monotonic()
    shape = chosen_format(format, as_json, as_jsonl)
    console = Console(as_json=shape in (Format.json, Format.jsonl), quiet=quiet, verbose=verbose)

    opened, passages = time.monotonic(), None
    with console.working("Looking…") as say:
        if not fast and not no_server:
            place: dict[str, Any] = {"caches": cache or (), "only": only or (), "model": model, "device": device}
            passages = warm.find(question, count=count, on_note=console.detail, **place)
        if passages is None:
            from gfqa import find as use_case

            texts = _texts(cache or [], only or [], fast, model, device)
            opened = time.monotonic()
            say(f"Looking through {len(texts.ids):,} tokens…")
            passages = use_case.search(texts, question, count)
    seconds = time.monotonic() - opened
    if shape is Format.json:
        console.json(passages.to_json())
    elif shape is Format.jsonl:
        for row in passages.to_json()["passages"]:
            console.json({"schema": 1, **row})
    elif shape is Format.vimgrep:
        for result in passages.results:
            views.vimgrep_line(console, result.file, result.line, result.column, result.page, result.quote)
    else:
        views.found(console, passages.results)
    console.detail(f"seconds: open {opened - began:.3f}, find {seconds:.3f}; {passages.searched:,} tokens searched")
    if fail_not_found and not passages.results:
        raise typer.Exit(NotFoundInDocuments.exit_code)


def _texts(names: list[str], only: list[str], fast: bool, model: str | None, device: str) -> Shelf | Memory:
    """What is searched: tokens alone, or with the model that looks at them."""
    from gfqa import shelf

    store = open_store()
    names = shelf.choose_caches(store, names, Path.cwd())
    if fast:
        from gfqa.model_folders import tokenizer_of

        texts = shelf.open_shelf(tokenizer_of(model), store, names)
        return shelf.only(texts, only) if only else texts
    head_start.begin(model, device)
    from gfqa.ask import open_memory, open_model, restricted

    memory = open_memory(open_model(model, device), store, names)
    return restricted(memory, only) if only else memory
