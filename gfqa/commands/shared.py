"""What several commands share: options, the store, standard input."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfqa import config
from gfqa.console import Console
from gfqa.errors import UsageError

if TYPE_CHECKING:
    from gfqa.cachestore import Store

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing but errors on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no commentary on stderr.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", envvar="GFQA_MODEL", help="A model folder, or a name from `gfqa models list`."),
]
Device = Annotated[str, typer.Option(envvar="GFQA_DEVICE", help="auto, cpu, cuda or cuda:N.")]


SETTINGS = {"help_option_names": ["-h", "--help"]}


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


def open_store() -> Store:
    from gfqa.cachestore import Store

    return Store.open(config.home())


def standard_input() -> bytes:
    if sys.stdin.isatty():
        raise UsageError("- reads standard input, but nothing is piped into it.", hint='Try: gfqa ask "…" - < FILE')
    return sys.stdin.buffer.read()
