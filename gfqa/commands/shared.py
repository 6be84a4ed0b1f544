"""What several commands share: options, the store, standard input."""

from __future__ import annotations

import os
import stat
import struct
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfqa import config
from gfqa.console import Console
from gfqa.errors import UsageError

if TYPE_CHECKING:
    from gfqa.cachestore import Store


class Format(StrEnum):
    """How results are written."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    vimgrep = "vimgrep"


def complete_cache(incomplete: str) -> list[str]:
    """Names of caches that begin so, for the shell's completion. Never an error: a shell shows none."""
    try:
        return [name for name in open_store().names() if name.startswith(incomplete)]
    except Exception:
        return []


def complete_model(incomplete: str) -> list[str]:
    """Names of installed models that begin so."""
    from gfqa.model_folders import installed_names

    try:
        return [name for name in installed_names() if name.startswith(incomplete)]
    except Exception:
        return []


AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing but errors on stderr.")]
AsJsonLines = Annotated[bool, typer.Option("--jsonl", help="One JSON object a line; what --batch does anyway.")]
OutputFormat = Annotated[
    Format | None, typer.Option("--format", help="text, json, jsonl, or vimgrep (path:line:column:text).")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no commentary on stderr.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        envvar="GFQA_MODEL",
        help="A model folder, or a name from `gfqa models list`.",
        autocompletion=complete_model,
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Timings and token counts on stderr.")]
Caches = Annotated[
    list[str] | None,
    typer.Option(
        "--cache",
        "-c",
        metavar="NAME",
        envvar="GFQA_CACHE",
        help="A cache to ask; may be repeated.",
        autocompletion=complete_cache,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="GLOB",
        help="Only the documents that match (gitignore syntax; !GLOB leaves out, the last match decides); may be repeated.",
    ),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        "--memory-budget",
        metavar="SIZE",
        help="What the documents may take in memory while they are asked, as 800MB or 4GB; default: half of it.",
    ),
]
Sources = Annotated[int, typer.Option("--sources", min=0, max=100, metavar="N", help="At most this many citations.")]
MaxTokens = Annotated[
    int, typer.Option("--max-tokens", min=1, max=100_000, metavar="N", help="Longest answer, in tokens.")
]
NoReread = Annotated[bool, typer.Option("--no-reread/--reread", help="Answer at first sight: faster, worse on prose.")]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature", min=0, max=10, metavar="T", help="Draw tokens instead of taking the likeliest; 0 is greedy."
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p", min=0, max=1, metavar="P", help="Draw from the likeliest tokens with this share of probability."
    ),
]
TopK = Annotated[int, typer.Option("--top-k", min=0, metavar="K", help="Draw from so many likeliest tokens; 0 is all.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="The same seed draws the same answer.")]
NoServer = Annotated[
    bool, typer.Option("--no-server/--server", envvar="GFQA_NO_SERVER", help="Do without a running gfqa serve.")
]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", envvar="GFQA_DEVICE", help="auto, cpu, cuda or cuda:N.")
]


SETTINGS = {"help_option_names": ["-h", "--help"]}


def chosen_format(given: Format | None, as_json: bool, as_jsonl: bool, default: Format = Format.text) -> Format:
    """The one format asked for by --format, --json and --jsonl. UsageError where they contradict each other."""
    flags = {Format.json: as_json, Format.jsonl: as_jsonl}
    wanted = {name for name, flag in flags.items() if flag} | ({given} if given else set())
    if len(wanted) > 1:
        raise UsageError(f"Two formats were asked for: {' and '.join(sorted(wanted))}.")
    return wanted.pop() if wanted else default


def sampling(temperature: float, top_p: float, top_k: int, seed: int | None) -> dict[str, Any]:
    """The options of sampling as `gfqa.ask.ask` takes them. UsageError where they would choose nothing."""
    if temperature:
        return {"temperature": temperature, "top_p": top_p, "top_k": top_k, "seed": seed}
    if top_p < 1 or top_k:
        raise UsageError("--top-p and --top-k choose nothing at temperature 0.", hint="Add --temperature 0.7, say.")
    return {}


def group(help: str, **settings: Any) -> typer.Typer:
    return typer.Typer(
        help=help,
        context_settings=SETTINGS,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        **settings,
    )


def no_command(context: typer.Context) -> None:
    """Print the help where no command was given."""
    if context.invoked_subcommand is None:
        Console().block(context.get_help())


def open_store(console: Console | None = None) -> Store:
    """The store; where it is written to, `console` says that another process has to be waited for."""
    from gfqa.cachestore import Store

    return Store.open(config.home()) if console is None else Store.open(config.home(), on_wait=console.waiting)


def standard_input() -> bytes:
    if sys.stdin.isatty():
        raise UsageError("- reads standard input, but nothing is piped into it.", hint='Try: gfqa ask "…" - < FILE')
    return sys.stdin.buffer.read()


def waiting_input() -> bool:
    """Whether something was piped in that nobody has read. False where that cannot be told."""
    try:
        import fcntl
        import termios

        if not stat.S_ISFIFO(os.fstat(0).st_mode):
            return False
        return struct.unpack("i", fcntl.ioctl(0, termios.FIONREAD, b"\0" * 4))[0] > 0
    except (ImportError, OSError):
        return False
