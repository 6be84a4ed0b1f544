"""The command line: parse flags, call one use case, hand the result to `console`. Imports no torch until a model is needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfqa import __version__, config
from gfqa.console import Console, joined
from gfqa.errors import CacheError, NotFoundInDocuments, UsageError
from gfqa.guard import Commands

if TYPE_CHECKING:
    from gfqa.cachestore import Store
    from gfqa.documents import Limits

EXIT_CODES = """Exit codes: 0 done, also when the reader of a pipe goes away; 1 failure (I/O, full disk, permission, a
skip under --strict); 2 usage, a missing path, a name conflict; 3 cache missing, ambiguous, damaged, or of another
model; 4 nothing readable to ingest; 5 not found in the documents (--fail-not-found); 6 model, GPU or memory; 75 busy;
130 interrupted; 143 terminated."""

SETTINGS = {"help_option_names": ["-h", "--help"]}


def _group(help: str, **settings: Any) -> typer.Typer:
    return typer.Typer(
        help=help,
        context_settings=SETTINGS,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        **settings,
    )


app = _group(
    "Long-context question answering over a codebase or PDFs.\n\n\b\n"
    'gfqa ingest PATH         read a folder, file or PDF once into a cache\ngfqa ask "QUESTION"      ask it, with citations',
    cls=Commands,
    epilog=EXIT_CODES,
)
caches = _group("List, show and remove caches.")
models = _group("List, show, verify and convert models.")
app.add_typer(caches, name="caches")
app.add_typer(models, name="models")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing but errors on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no commentary on stderr.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", envvar="GFQA_MODEL", help="A model folder, or a name from `gfqa models list`."),
]
Device = Annotated[str, typer.Option(envvar="GFQA_DEVICE", help="auto, cpu, cuda or cuda:N.")]


def _no_command(context: typer.Context) -> None:
    """Print the help where no command was given."""
    if context.invoked_subcommand is None:
        Console().block(context.get_help())


caches.callback(invoke_without_command=True)(_no_command)
models.callback(invoke_without_command=True)(_no_command)


Version = Annotated[bool, typer.Option("--version", help="Show the version.")]


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, version: Version = False) -> None:
    if version:
        Console().line(f"gfqa {__version__}")
        raise typer.Exit
    _no_command(context)


@app.command()
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


@app.command()
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

    store = _store()
    names = [] if piped is not None and not cache else use_case.choose_caches(store, cache or [], Path.cwd())
    memory = use_case.open_memory(use_case.open_model(model, device), store, names, piped)
    if require_fresh and (changed := use_case.changed_documents(memory)):
        raise CacheError(f"{joined(changed, 3)} changed since the ingest.", hint="Run gfqa ingest again.")
    if batch is not None:
        from gfqa import batch as batches

        outcome = batches.run(
            memory, question, console.json, citations=sources, max_tokens=max_tokens, reread=not no_reread
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
    piped = _standard_input() if "-" in (question, document) else None
    if question == "-" and piped is not None:
        question, piped = piped.decode("utf-8", "replace"), None
    elif batch is not None:
        question = Path(batch).read_text("utf-8", "replace")
    if not question.strip():
        raise UsageError("The question is empty." if batch is None else "The batch holds no question.")
    return question, piped


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def eval(context: typer.Context) -> None:
    """Measure a model: see `gfqa eval --help`; --json gives one object a measure."""
    console = Console(as_json="--json" in context.args)
    arguments = [argument for argument in context.args if argument != "--json"]
    if (model := os.environ.get("GFQA_MODEL")) and "--model" not in arguments:
        arguments += ["--model", model]
    from gfqa import evaluation

    evaluation.run(arguments, console.measured)


@caches.command("list")
def list_caches(as_json: AsJson = False) -> None:
    """Each cache with its documents, tokens, bytes, model and sources."""
    console, store = Console(as_json=as_json), _store()
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


@caches.command("show")
def show_cache(name: str, as_json: AsJson = False) -> None:
    """One cache and every document in it."""
    console, store = Console(as_json=as_json), _store()
    documents = [
        {"source": entry.source, "path": entry.path, "tokens": entry.n_tokens, "bytes": entry.size}
        for entry in store.manifest(name).documents
    ]
    row = _cache_json(store, name)
    if as_json:
        console.json({"schema": 1, **row, "documents": documents})
    else:
        console.cache(row, documents)


@caches.command("remove")
def remove_cache(names: Annotated[list[str], typer.Argument(metavar="NAME…")], as_json: AsJson = False) -> None:
    """Remove caches, and every byte no other cache needs."""
    console, store = Console(as_json=as_json), _store()
    for name in names:
        if name not in store.names():
            store.manifest(name)
    freed = sum(store.remove(name) for name in dict.fromkeys(names))
    if as_json:
        console.json({"schema": 1, "removed": names, "freed_bytes": freed})
    else:
        console.note(f"Removed {joined(names)}: {freed:,} bytes freed.")


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """The shipped reader and the models in gfqa's data directory."""
    from gfqa import models as use_case

    console, found = Console(as_json=as_json), use_case.installed()
    if as_json:
        console.json({"schema": 1, "models": [info.to_json() for info in found]})
    else:
        console.models([info.to_json() for info in found])


@models.command("show")
def show_model(
    name: Annotated[str | None, typer.Argument(envvar="GFQA_MODEL")] = None, as_json: AsJson = False
) -> None:
    """The configuration of a model (default: the shipped reader)."""
    from gfqa import models as use_case

    Console(as_json=as_json).record({"schema": 1, **use_case.describe(name).to_json()})


@models.command("verify")
def verify_model(
    name: Annotated[str | None, typer.Argument(envvar="GFQA_MODEL")] = None, as_json: AsJson = False
) -> None:
    """Check a model's files: checksums, names, shapes and finiteness of the weights, the tokenizer."""
    from gfqa import models as use_case

    Console(as_json=as_json).record(use_case.verify(name))


@models.command("convert")
def convert_model(
    source: Annotated[str, typer.Argument(metavar="FILE.pth")],
    destination: Annotated[str, typer.Argument(metavar="FOLDER")],
    tokenizer: Annotated[str | None, typer.Option(help="A tokenizer file to copy into the folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a published GoldFinch or RWKV-6 .pth file into a model folder (safetensors), once."""
    from gfqa import models as use_case

    info = use_case.convert(Path(source), Path(destination), None if tokenizer is None else Path(tokenizer))
    Console(as_json=as_json).record({"schema": 1, **info.to_json()})


def _check_paths(paths: list[str], limits: Limits) -> None:
    """A misspelt path is told before torch is imported."""
    from gfqa.documents import open_source

    for path in paths:
        open_source(path, limits)


def _store() -> Store:
    from gfqa.cachestore import Store

    return Store.open(config.home())


def _standard_input() -> bytes:
    if sys.stdin.isatty():
        raise UsageError("- reads standard input, but nothing is piped into it.", hint='Try: gfqa ask "…" - < FILE')
    return sys.stdin.buffer.read()


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


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
