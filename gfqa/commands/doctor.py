"""`gfqa doctor`: is everything in order?"""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from gfqa.commands.shared import AsJson, Model
from gfqa.console import Console
from gfqa.errors import ModelError

if TYPE_CHECKING:
    from gfqa.doctor import Check

NAME_WIDTH = 14


def doctor(
    model: Model = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", envvar="GFQA_DEVICE", help="auto, cpu, cuda or cuda:N.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at this machine, the model and the caches, and try an ingest and a question. Exits 6 if something is broken."""
    console = Console(as_json=as_json)
    from gfqa import doctor as use_case

    found = []
    for check in use_case.checks(model, device):
        found.append(check)
        if not as_json:
            _show(console, check)
    failed = [check.name for check in found if check.status == "failed"]
    if as_json:
        console.json({"schema": 1, "ok": not failed, "checks": [check.to_json() for check in found]})
    if failed:
        raise typer.Exit(ModelError.exit_code)


def _show(console: Console, check: Check) -> None:
    """A check, wrapped to the terminal's width; its status stands out without colour, too."""
    width = max(60, min(120, shutil.get_terminal_size().columns))
    style = {"ok": "", "warning": "yellow", "failed": "red"}[check.status]
    head = f"{check.name:{NAME_WIDTH}}{check.status:9}"
    lines = [*_wrapped(check.detail, width - len(head)), *_wrapped(check.hint or "", width - len(head))]
    for number, line in enumerate(lines):
        console.line((head if number == 0 else " " * len(head)) + line, style)


def _wrapped(text: str, width: int) -> list[str]:
    # A path stays in one piece, so that it can be copied.
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
