"""`gfqa eval`: measures of a model."""

from __future__ import annotations

import os

import typer

from gfqa import config
from gfqa.console import Console
from gfqa.evaluation.options import parse

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def evaluate(context: typer.Context) -> None:
    """Measure a model: see `gfqa eval --help`; --json gives one object a measure."""
    console = Console(as_json="--json" in context.args)
    arguments = [argument for argument in context.args if argument != "--json"]
    if (model := os.environ.get("GFQA_MODEL") or config.load().get("model")) and "--model" not in arguments:
        arguments += ["--model", model]
    options = parse(arguments)
    # Imported on use: help and errors in options do not wait for torch.
    from gfqa.evaluation import measures

    measures.run(options, console.measured)
