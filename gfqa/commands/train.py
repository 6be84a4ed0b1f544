"""`gfqa train`: data, phases of training, a model folder."""

from __future__ import annotations

import typer

from gfqa.commands.evaluate import SETTINGS
from gfqa.console import Console

__all__ = ["SETTINGS", "train"]


def train(context: typer.Context) -> None:
    """Train a model: see `gfqa train --help` and docs/training.md. One JSON object a step."""
    console = Console(as_json=True)
    arguments = [argument for argument in context.args if argument != "--json"]
    from gfqa.training.run import run

    if code := run(arguments, console.json):
        raise typer.Exit(code)
