"""`gfqa config …`: the user's own defaults of flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gfqa import config
from gfqa.commands.shared import AsJson, group, no_command
from gfqa.console import Console
from gfqa.errors import GfqaError, UsageError

app = group("Show and change the defaults of flags that you keep in a file.")
app.callback(invoke_without_command=True)(no_command)

Name = Annotated[str, typer.Argument(metavar="KEY", help=f"One of: {', '.join(config.KEYS)}.")]


def apply(context: typer.Context) -> None:
    """Make the file's settings the defaults of the command that follows; `config` itself has to work with a bad file."""
    name = context.invoked_subcommand
    if name in (None, "config", "doctor"):
        return
    settings = config.load()
    if settings:
        root: Any = context.command
        context.default_map = {name: _defaults(root.get_command(context, name), settings)}


def _defaults(command: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What the settings mean for a command, or for each command of a group."""
    if hasattr(command, "commands"):
        return {name: _defaults(inner, settings) for name, inner in command.commands.items()}
    options = ((option.name, getattr(option, "envvar", None) or "") for option in command.params)
    return config.defaults(settings, options)


@app.command("show", short_help="Every setting as a command without flags has it.")
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Also say where each value comes from.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every setting as a command without flags has it: from the environment, the file, or gfqa itself."""
    console, found = Console(as_json=as_json), config.in_force(config.load())
    if as_json:
        settings = {
            key: {"value": setting.value, "origin": setting.origin} if origin else setting.value
            for key, setting in found.items()
        }
        console.json({"schema": 1, "path": str(config.path()), "settings": settings})
        return
    rows = [("SETTING", "VALUE", "ORIGIN")] + [(key, _shown(value), where) for key, (value, where) in found.items()]
    console.table(rows if origin else [row[:2] for row in rows])


@app.command("path")
def path(as_json: AsJson = False) -> None:
    """Where the file is, or would be."""
    console, file = Console(as_json=as_json), config.path()
    if as_json:
        console.json({"schema": 1, "path": str(file), "exists": file.is_file()})
    else:
        console.line(str(file))


@app.command("set", short_help="Write one setting into the file.")
def set_value(key: Name, value: Annotated[str, typer.Argument(metavar="VALUE")], as_json: AsJson = False) -> None:
    """Write one setting into the file; several caches are separated by commas."""
    parsed = config.from_text(key, value)
    _write(Console(as_json=as_json), key, parsed)


@app.command("unset")
def unset(key: Name, as_json: AsJson = False) -> None:
    """Take one setting out of the file."""
    if key not in config.KEYS:
        raise UsageError(f"There is no setting {key!r}.", hint=f"Settings: {', '.join(config.KEYS)}.")
    _write(Console(as_json=as_json), key, None)


def _write(console: Console, key: str, value: Any) -> None:
    from gfqa.cachestore import fs

    # A file that is kept elsewhere and linked here stays a link.
    file = Path(config.path()).resolve()
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no UTF-8 text.") from None
    changed = config.changed(text, key, value, file)
    if changed != text:
        try:
            fs.make_dir(file.parent)
            fs.write_file_atomically(file, [changed.encode("utf-8")])
        except GfqaError as error:
            raise GfqaError(error.message, hint="GFQA_CONFIG chooses another place.") from error
        except UnicodeEncodeError:
            raise UsageError(f"The value of {key} is no valid text.") from None
    if console.as_json:
        console.json({"schema": 1, "path": str(file), "key": key, "value": value})
    else:
        console.note(f"{key} is {'no longer set' if value is None else _shown(value)} in {file}.")


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, list) else str(value)
