"""`gfqa models …`: what can read and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfqa.commands.shared import AsJson, Quiet, group, no_command
from gfqa.console import Console

app = group("List, show, verify, convert and pull models.")
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


Name = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", envvar="GFQA_MODEL", help="A folder or a name; default: the shipped reader."),
]


@app.command("show")
def show_model(name: Name = None, as_json: AsJson = False) -> None:
    """The configuration of a model (default: the shipped reader)."""
    from gfqa import models as use_case

    Console(as_json=as_json).record({"schema": 1, **use_case.describe(name).to_json()})


@app.command("verify", short_help="Check a model's files.")
def verify_model(name: Name = None, as_json: AsJson = False) -> None:
    """Check a model's files: checksums, names, shapes and finiteness of the weights, the tokenizer."""
    from gfqa import models as use_case

    Console(as_json=as_json).record(use_case.verify(name))


@app.command("convert", short_help="Turn a published checkpoint into a model folder.")
def convert_model(
    source: Annotated[str, typer.Argument(metavar="FILE")],
    destination: Annotated[str, typer.Argument(metavar="FOLDER")],
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="FILE", help="A tokenizer file to copy into the folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a published GoldFinch or RWKV-6 checkpoint (.pth, .safetensors) into a model folder, once."""
    from gfqa import models as use_case

    info = use_case.convert(Path(source), Path(destination), None if tokenizer is None else Path(tokenizer))
    Console(as_json=as_json).record({"schema": 1, **info.to_json()})


@app.command("pull", short_help="Install a model from the hub.")
def pull_model(
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A repository of the Hugging Face hub.")],
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REVISION", help="A branch, tag or commit; default: the main branch."),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Which checkpoint, where there are several.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="FILE", help="A tokenizer file, for a checkpoint without one.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="NAME", help="What to call it; default: the repository.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Install a model from the hub: a gfqa model folder, or a published checkpoint, converted. Needs the extra hub."""
    console = Console(as_json=as_json, quiet=quiet)
    from gfqa.hub import pull

    pulled = pull(
        repository,
        revision=revision,
        file=file,
        tokenizer=None if tokenizer is None else Path(tokenizer),
        name=name,
        on_note=console.note,
    )
    console.record(pulled.to_json())
