"""`gfqa models …`: what can read and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfqa.commands.shared import AsJson, group, no_command
from gfqa.console import Console

app = group("List, show, verify and convert models.")
app.callback(invoke_without_command=True)(no_command)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """The shipped reader and the models in gfqa's data directory."""
    from gfqa import models as use_case

    console, found = Console(as_json=as_json), use_case.installed()
    if as_json:
        console.json({"schema": 1, "models": [info.to_json() for info in found]})
    else:
        console.models([info.to_json() for info in found])


@app.command("show")
def show_model(
    name: Annotated[str | None, typer.Argument(envvar="GFQA_MODEL")] = None, as_json: AsJson = False
) -> None:
    """The configuration of a model (default: the shipped reader)."""
    from gfqa import models as use_case

    Console(as_json=as_json).record({"schema": 1, **use_case.describe(name).to_json()})


@app.command("verify")
def verify_model(
    name: Annotated[str | None, typer.Argument(envvar="GFQA_MODEL")] = None, as_json: AsJson = False
) -> None:
    """Check a model's files: checksums, names, shapes and finiteness of the weights, the tokenizer."""
    from gfqa import models as use_case

    Console(as_json=as_json).record(use_case.verify(name))


@app.command("convert")
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
