"""`gfqa ask`: questions to caches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfqa.commands.shared import AsJson, Device, Model, Quiet, open_store, standard_input
from gfqa.console import Console, joined
from gfqa.errors import CacheError, NotFoundInDocuments, UsageError


def ask(
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="The question; - reads it from standard input.")
    ] = None,
    document: Annotated[
        str | None, typer.Argument(metavar="[-]", help="- reads a document from standard input.")
    ] = None,
    cache: Annotated[
        list[str] | None,
        typer.Option("--cache", "-c", envvar="GFQA_CACHE", help="A cache to ask; may be repeated."),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Many questions, one a line; answers as JSON lines.")
    ] = None,
    model: Model = None,
    device: Device = "auto",
    sources: Annotated[int, typer.Option(min=0, max=100, help="At most this many citations.")] = 3,
    max_tokens: Annotated[int, typer.Option(min=1, max=100_000, help="Longest answer, in tokens.")] = 64,
    no_reread: Annotated[
        bool, typer.Option("--no-reread", help="Answer at first sight: faster, worse on prose.")
    ] = False,
    fail_not_found: Annotated[
        bool, typer.Option("--fail-not-found", help="Exit 5 if the documents do not answer.")
    ] = False,
    require_fresh: Annotated[
        bool, typer.Option("--require-fresh", help="Exit 3 if a file changed since it was ingested.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Answer a question from the caches, with the places the answer comes from.

    Without --cache: the cache whose source holds the current folder, else the only one. A document from standard input is
    asked alone, unless caches are named.

    \b
    gfqa ask "Where are retries configured?"
    git diff | gfqa ask "What could break?" - --cache myrepo
    """
    console = Console(as_json=as_json or batch is not None, quiet=quiet)
    question, piped = _asked(question, document, batch)

    from gfqa import ask as use_case

    store = open_store()
    names = [] if piped is not None and not cache else use_case.choose_caches(store, cache or [], Path.cwd())
    memory = use_case.open_memory(use_case.open_model(model, device), store, names, piped)
    if require_fresh and (changed := use_case.changed_documents(memory)):
        raise CacheError(f"{joined(changed, 3)} changed since the ingest.", hint="Run gfqa ingest again.")
    if batch is not None:
        from gfqa import batch as batches

        outcome = batches.run(
            memory,
            question,
            lambda result: console.json(result.to_json()),
            citations=sources,
            max_tokens=max_tokens,
            reread=not no_reread,
        )
        if outcome.failed:
            raise typer.Exit(1)
        not_found = outcome.not_found > 0
    else:
        on_text = (lambda chunk: None) if as_json else console.stream
        answer = use_case.ask(
            memory, question, citations=sources, max_tokens=max_tokens, reread=not no_reread, on_text=on_text
        )
        if as_json:
            console.json(answer.to_json())
        else:
            console.answered(answer)
        not_found = not answer.found
    if fail_not_found and not_found:
        raise typer.Exit(NotFoundInDocuments.exit_code)


def _asked(question: str | None, document: str | None, batch: str | None) -> tuple[str, bytes | None]:
    """(the question, or the lines of a batch; a document from standard input)."""
    if batch is not None and question not in (None, "-"):
        raise UsageError("Questions come from --batch or from the command line, not from both.")
    if document not in (None, "-"):
        raise UsageError(
            f"{document} is no document that ask reads.", hint="Ingest it first, or pipe it in and write -."
        )
    if batch is not None:
        # With --batch the only argument left is the document.
        document, question = question or document, batch
    if question == "-" and document == "-":
        raise UsageError("Standard input cannot be both the question and the document.")
    if question is None:
        raise UsageError("Missing argument 'QUESTION'.", hint="See gfqa ask --help.")
    piped = standard_input() if "-" in (question, document) else None
    if question == "-" and piped is not None:
        question, piped = piped.decode("utf-8", "replace"), None
    elif batch is not None:
        question = Path(batch).read_text("utf-8", "replace")
    if not question.strip():
        raise UsageError("The question is empty." if batch is None else "The batch holds no question.")
    return question, piped
