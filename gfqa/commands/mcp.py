"""`gfqa mcp`: the caches as tools of an agent."""

from __future__ import annotations

from typing import Annotated

import typer

from gfqa.commands.shared import Device, Model


def mcp(
    model: Model = None,
    device: Device = "auto",
    no_server: Annotated[
        bool, typer.Option("--no-server/--server", envvar="GFQA_NO_SERVER", help="Do without a running gfqa serve.")
    ] = False,
) -> None:
    """Serve the Model Context Protocol on stdin and stdout: tools ask, find, list_caches and read_span.

    For the settings of an editor or agent: {"command": "gfqa", "args": ["mcp"]}. A running gfqa serve answers; without
    one the model is loaded at the first question and stays.
    """
    from gfqa.serve import mcp as use_case

    use_case.require_library()
    from gfqa.serve.tools import Tools

    use_case.run(Tools(model, device, use_server=not no_server))
