"""The command reference: every help page, made from the commands themselves.

    python -m gfqa.commands.reference > docs/commands.md

A test holds the file against what this prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from gfqa.cli import app
from gfqa.console import Console

WIDTH = 100
"""Columns of a page, whatever the terminal."""
HEAD = """# Commands

Made from the code by `python -m gfqa.commands.reference > docs/commands.md`: do not edit.

Standard output carries the answer or JSON, everything else goes to standard error. Standard input is read only where `-` says
so, and by `gfqa chat`.
"""


def reference() -> str:
    """The whole page, Markdown."""
    found = commands(typer.main.get_command(app), "gfqa", None)
    return HEAD + "".join(f"\n## {context.command_path}\n\n```text\n{_help(context)}\n```\n" for _, context in found)


def commands(command: Any, name: str, parent: Any) -> Iterator[tuple[Any, Any]]:
    """(a command, its context) of a command called `name` and of all below it, each group before its members."""
    context = command.context_class(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **command.context_settings,
    )
    yield command, context
    if isinstance(command, TyperGroup):
        for inner_name, inner in command.commands.items():
            if not inner.hidden:
                yield from commands(inner, inner_name, context)


def _help(context: Any) -> str:
    return "\n".join(line.rstrip() for line in context.get_help().strip().split("\n"))


if __name__ == "__main__":
    Console().block(reference().rstrip("\n"))
