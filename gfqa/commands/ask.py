"""`gfqa ask`: questions to caches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfqa import head_start, quick, views
from gfqa.commands import units
from gfqa.commands.output import Output, output_file, write
from gfqa.commands.shared import (
    AsJson,
    AsJsonLines,
    Caches,
    Device,
    Format,
    MaxTokens,
    MemoryBudget,
    Model,
    NoReread,
    NoServer,
    Only,
    OutputFormat,
    Quiet,
    Seed,
    Sources,
    Temperature,
    TopK,
    TopP,
    Verbose,
    chosen_format,
    open_store,
    sampling,
    standard_input,
    waiting_input,
)
from gfqa.console import Console, plural
from gfqa.errors import CacheError, NotFoundInDocuments, UsageError
from gfqa.serve import client as warm

if TYPE_CHECKING:
    from gfqa.answer.result import Answer, Passages
    from gfqa.batch import Outcome, Result
    from gfqa.memory import Memory

_SHOW = {Format.vimgrep: views.vimgrep, Format.text: views.at_once}


def ask(
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="The question; - reads it from standard input.")
    ] = None,
    document: Annotated[
        str | None, typer.Argument(metavar="[-]", help="- reads a document from standard input.")
    ] = None,
    cache: Caches = None,
    only: Only = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch", metavar="FILE|-", help="Many questions, one a line; answers as JSON lines, in order."),
    ] = None,
    model: Model = None,
    device: Device = "auto",
    memory_budget: MemoryBudget = None,
    sources: Sources = 3,
    quote: Annotated[
        bool, typer.Option("--quote", help="The cited lines alone, word for word, instead of the model's answer.")
    ] = False,
    context: Annotated[
        int | None,
        typer.Option(
            "--context",
            min=1,
            metavar="TOKENS",
            help="No answer: the best passages within so many tokens, for another model.",
        ),
    ] = None,
    max_tokens: MaxTokens = 64,
    no_reread: NoReread = False,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    seed: Seed = None,
    fail_not_found: Annotated[
        bool, typer.Option("--fail-not-found", help="Exit 5 if the documents do not answer.")
    ] = False,
    require_fresh: Annotated[
        bool, typer.Option("--require-fresh", help="Exit 3 if a file changed since it was ingested.")
    ] = False,
    require_cache: Annotated[
        bool, typer.Option("--require-cache", help="Exit 3 rather than read any document anew.")
    ] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer at once.")] = False,
    format: OutputFormat = None,
    output: Output = None,
    no_server: NoServer = False,
    as_json: AsJson = False,
    as_jsonl: AsJsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Answer a question from the caches, with the places the answer comes from.

    Without --cache: the cache whose source holds the current folder, else the only one. A document from standard input is
    asked alone, unless caches are named. Standard input is read only where - says so. gfqa find and --context give
    passages for questions that this reader cannot answer.

    \b
    gfqa ask "Where are retries configured?"
    git diff | gfqa ask "What could break?" - --cache myrepo
    gfqa ask "How does the queue work?" --context 2000 | llm "Explain this:"
    """
    began = time.monotonic()
    shape = chosen_format(format, as_json, as_jsonl, Format.text if batch is None else Format.jsonl)
    target = output_file(output, batch)
    console = Console(
        as_json=shape in (Format.json, Format.jsonl), quiet=quiet, verbose=verbose, collects=target is not None
    )
    question, piped = _asked(question, document, batch)
    _check(shape, batch, quote, context)
    drawn = sampling(temperature, top_p, top_k, seed)
    if require_cache and piped is not None:
        raise CacheError("Standard input would be read anew, which --require-cache forbids.", hint="Ingest it first.")
    options: dict[str, Any] = {"citations": max(1, sources) if quote else sources, "max_tokens": max_tokens}
    options |= {"reread": not no_reread, **drawn}

    streams = shape is Format.text and not (quote or no_stream)
    show, begun = console.stream if streams else _silent, quick.begun()
    on_text = warm.Shown(show) if begun is None else begun.to(show)
    budget = None if memory_budget is None else units.byte_count(memory_budget)
    place: dict[str, Any] = {
        "caches": cache or (),
        "document": piped,
        "only": only or (),
        "model": model,
        "device": device,
    }
    place |= {"require_fresh": require_fresh, "on_note": console.detail}
    # A batch loads the model once anyway, and a server holds its memories as it was told to.
    served = batch is None and budget is None and not no_server and begun is None
    answer = passages = outcome = None
    # Behind text that is there already, what is under way would take it away.
    under_way: AbstractContextManager[Callable[[str], None]] = (
        nullcontext(_silent) if on_text.any else console.working("Looking…")
    )
    with under_way as say:
        if served and context is not None:
            passages = warm.find(question, budget=context, **place)
        elif served:
            answer = warm.ask(question, options=options, on_text=on_text, **place)
        if passages is not None:
            not_found = not _context(console, passages)
        elif answer is not None:
            ready = time.monotonic() - began - answer.timing["total"]
            not_found = _shown(console, answer, ready, shape, quote, streams)
        else:
            memory = _opened(cache or [], only or [], model, device, piped, require_fresh, budget)
            if not on_text.any:
                say(f"Looking through {len(memory.ids):,} tokens…")
            ready = time.monotonic() - began - memory.seconds
            if context is not None:
                from gfqa import find

                not_found = not _context(console, find.context(memory, question, context))
            elif batch is not None:
                outcome = _batch(console, memory, question, shape, options, say)
                not_found = outcome.not_found > 0
            else:
                from gfqa import ask as use_case

                answer = use_case.ask(memory, question, **options, on_text=on_text)
                not_found = _shown(console, answer, ready, shape, quote, streams)
    if piped is None and sys.stderr.isatty() and waiting_input():
        console.note("What was piped in was not read: a - after the question makes it a document.")
    if target is not None:
        write(target, console.collected)
    if outcome is not None and outcome.failed:
        console.failing(f"{plural(outcome.failed, 'line')} of the batch failed; what is said of each tells why.")
        raise typer.Exit(1)
    if fail_not_found and not_found:
        raise typer.Exit(NotFoundInDocuments.exit_code)


def _asked(question: str | None, document: str | None, batch: str | None) -> tuple[str, bytes | None]:
    """(the question, or the lines of a batch; a document from standard input)."""
    if batch is not None and question not in (None, "-"):
        raise UsageError("Questions come from --batch or from the command line, not from both.")
    if document not in (None, "-"):
        raise UsageError(
            f"{document} is no document that ask reads.",
            hint="A question of several words needs quotes; a document is ingested first, or piped in where - stands.",
        )
    if batch is not None:
        # With --batch the only argument left is the document.
        document, question = question or document, batch
        if batch != "-" and not Path(batch).is_file():
            raise UsageError(f"There is no file {batch}.")
    if question == "-" and document == "-":
        raise UsageError("Standard input cannot be both the question and the document.")
    if question is None:
        raise UsageError(
            "Missing argument 'QUESTION'.", hint="Write it in quotes, or - to read it from standard input."
        )
    piped = standard_input() if "-" in (question, document) else None
    if question == "-" and piped is not None:
        question, piped = piped.decode("utf-8", "replace"), None
    elif batch is not None:
        question = Path(batch).read_text("utf-8", "replace")
    if not question.strip():
        raise UsageError("The question is empty." if batch is None else "The batch holds no question.")
    return question, piped


def _check(shape: Format, batch: str | None, quote: bool, context: int | None) -> None:
    """What can be told to be wrong before torch is imported."""
    if context is not None:
        if batch is not None or quote:
            raise UsageError("--context gives passages and no answers, so it goes without --batch and --quote.")
        if shape is Format.vimgrep:
            raise UsageError("--context prints whole passages.", hint="gfqa find --format vimgrep gives their places.")
    if quote and shape is not Format.text:
        raise UsageError(f"--quote is a view for people; --format {shape.value} has the quotes anyway.")


def _opened(
    names: list[str],
    only: list[str],
    model: str | None,
    device: str,
    piped: bytes | None,
    require_fresh: bool,
    budget: int | None,
) -> Memory:
    """The memory that is asked: of the caches named, or chosen where neither a cache nor a document is given."""
    head_start.begin(model, device)
    from gfqa import ask as use_case
    from gfqa.shelf import stale

    store = open_store()
    chosen = [] if piped is not None and not names else use_case.choose_caches(store, names, Path.cwd())
    memory = use_case.open_memory(use_case.open_model(model, device), store, chosen, piped, memory_budget=budget)
    if only:
        memory = use_case.restricted(memory, only)
    if require_fresh and (changed := use_case.changed_documents(memory)):
        raise stale(changed)
    return memory


def _batch(
    console: Console, memory: Memory, lines: str, shape: Format, options: dict[str, Any], say: Callable[[str], None]
) -> Outcome:
    """Answer a batch, say how far it is, and show each answer or error."""
    from gfqa import batch as batches

    def show(result: Result) -> None:
        if console.as_json:
            console.json(result.to_json())
        elif result.answer is None:
            console.error(1, f"Line {result.line}: {result.error.message if result.error else 'not answered'}")
        else:
            (views.asked if shape is Format.text else views.vimgrep)(console, result.answer)

    def progress(done: int, total: int) -> None:
        say(f"Answering, {done:,} of {plural(total, 'question')} done…")

    return batches.run(memory, lines, show, on_progress=progress, **options)


def _shown(console: Console, answer: Answer, ready: float, shape: Format, quote: bool, streams: bool) -> bool:
    """Show an answer, of which the text has been streamed or not; whether nothing was found."""
    if console.as_json:
        console.json(answer.to_json())
    else:
        (views.quoted if quote else views.answered if streams else _SHOW[shape])(console, answer)
    views.figures(console, answer, ready)
    return not answer.found


def _context(console: Console, passages: Passages) -> bool:
    """Print the best passages within a budget of tokens; whether there are any."""
    if console.as_json:
        console.json(passages.to_json())
    else:
        views.context(console, passages.results)
        if not passages.results:
            console.note("No passage speaks of the question.")
    console.detail(f"{passages.spent:,} tokens in {plural(len(passages.results), 'passage')}")
    return bool(passages.results)


def _silent(text: str) -> None:
    """Where an answer is not streamed."""
