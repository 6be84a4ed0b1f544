"""Where gfqa keeps its data, and the user's own defaults: one file of flat `key = value` lines in TOML.

A flag goes before an environment variable, that before the file, that before the default. Exactly one file is read: the one
that GFQA_CONFIG names, else config.toml in the user's configuration directory; never one in an ingested or current folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs

from gfqa.errors import UsageError


def home() -> Path:
    """The directory that holds the store: GFQA_HOME if set and not empty, else the user's data directory. Not created here."""
    chosen = os.environ.get("GFQA_HOME")
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    return Path(platformdirs.user_data_dir("gfqa", appauthor=False))


def path() -> Path:
    """The configuration file, whether it exists or not."""
    chosen = os.environ.get("GFQA_CONFIG")
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    folder = platformdirs.user_config_dir("gfqa", appauthor=False)
    if not os.path.isabs(folder):
        # A relative XDG_CONFIG_HOME would make the current folder a place of configuration; its specification ignores it.
        folder = os.path.expanduser("~/.config/gfqa")
    return Path(folder) / "config.toml"


class Key(NamedTuple):
    """A setting: its type, what it is without any file, its bounds where it is a number, and where only some texts will do
    an expression for them and how to name them.

    It is the default of every option that reads the variable `env` and of every option named `option`; a leading `!` says
    that they mean the opposite.
    """

    kind: type
    default: Any
    option: str = ""
    env: str = ""
    bounds: tuple[int, int] = (0, 0)
    pattern: str = ""
    choices: str = ""


DEVICES: Final = r"auto|cpu|cuda(:[0-9]{1,3})?"
"""The names of devices; `gfqa.reader` knows which of them this machine has."""

KEYS: Final[Mapping[str, Key]] = {
    "model": Key(str, None, env="GFQA_MODEL"),
    "device": Key(str, "auto", env="GFQA_DEVICE", pattern=DEVICES, choices="auto, cpu, cuda or cuda:N"),
    "cache": Key(list, [], env="GFQA_CACHE"),
    "sources": Key(int, 3, "sources", bounds=(0, 100)),
    "max_tokens": Key(int, 64, "max_tokens", bounds=(1, 100_000)),
    "reread": Key(bool, True, "!no_reread"),
    "server": Key(bool, True, "!no_server", "!GFQA_NO_SERVER"),
}
"""Every key a file may hold."""


_TRUE: Final = ("1", "true", "t", "yes", "y", "on")
"""What an environment variable may say for yes, as click has it."""


class Setting(NamedTuple):
    """A setting in force: its value and where it comes from ("default", a file's path, or "environment NAME")."""

    value: Any
    origin: str


def load() -> dict[str, Any]:
    """The checked settings of the file; {} where there is none.

    UsageError, naming key and file, for an unknown key or a value of the wrong type; also where GFQA_CONFIG names no file.
    """
    file = path()
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        if os.environ.get("GFQA_CONFIG"):
            raise UsageError(f"There is no file {file}, which GFQA_CONFIG names.") from None
        return {}
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no UTF-8 text.", hint="Write it anew: gfqa config path names it.") from None
    return parse(text, file)


def parse(text: str, file: Path) -> dict[str, Any]:
    """The checked settings in the text of a configuration file. UsageError as `load`."""
    if not text.strip():
        return {}
    import tomllib

    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{file} is no TOML: {error}.") from None
    return {key: check(key, value, str(file)) for key, value in found.items()}


def check(key: str, value: Any, where: str) -> Any:
    """The value as it is used, a single cache as a list of one. UsageError, naming key and place, if it cannot be.

    where: the file that it stands in; "" for the command line.
    """
    place, known = f"{where}: " if where else "", KEYS.get(key)
    if known is None:
        raise UsageError(
            f"{place}{'there' if place else 'There'} is no setting {key!r}.", hint=f"Settings: {', '.join(KEYS)}."
        )
    if known.kind is list:
        names = [value] if isinstance(value, str) else value
        if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
            return names
        raise UsageError(f"{place}{key} is neither a text nor a list of texts.")
    if not isinstance(value, known.kind) or (known.kind is int and isinstance(value, bool)):
        wanted = {str: "a text", int: "a whole number", bool: "true or false"}[known.kind]
        raise UsageError(f"{place}{key} is not {wanted}.")
    least, most = known.bounds
    if isinstance(value, int) and known.kind is int and not least <= value <= most:
        raise UsageError(f"{place}{key} is {value}, but must lie between {least} and {most}.")
    if value == "":
        raise UsageError(f"{place}{key} is empty.")
    if known.pattern and not re.fullmatch(known.pattern, str(value)):
        raise UsageError(f"{place}{key} is {value!r}, but must be {known.choices}.")
    return value


def from_text(key: str, text: str) -> Any:
    """A value given on the command line. UsageError as `check`."""
    known, value = KEYS.get(key), text
    where = ""
    if known is not None and known.kind is list:
        return check(key, [name.strip() for name in text.split(",")], where)
    if known is not None and known.kind is int and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return check(key, int(text), where)
    if known is not None and known.kind is bool and text.lower() in ("true", "false"):
        return check(key, text.lower() == "true", where)
    return check(key, value, where)


def defaults(settings: Mapping[str, Any], options: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The settings as defaults of a command's options, each given as (name, its environment variable or "")."""
    found = {}
    for name, variable in options:
        for key, value in settings.items():
            known = KEYS[key]
            if name == known.option.removeprefix("!") or (variable and variable == known.env.removeprefix("!")):
                found[name] = not value if known.option.startswith("!") else value
    return found


def in_force(settings: Mapping[str, Any]) -> dict[str, Setting]:
    """Every setting as a command without flags would have it."""
    found = {}
    for key, known in KEYS.items():
        name = known.env.removeprefix("!")
        text = os.environ.get(name, "") if name else ""
        if text:
            value: Any = text.split() if known.kind is list else text
            if known.kind is bool:
                value = (text.lower() in _TRUE) != known.env.startswith("!")
            found[key] = Setting(value, f"environment {name}")
        elif key in settings:
            found[key] = Setting(settings[key], str(path()))
        else:
            found[key] = Setting(known.default, "default")
    return found


def changed(text: str, key: str, value: Any, file: Path) -> str:
    """The text of a file with one setting changed, or removed (None). Lines of other keys and comments stay as they are.

    UsageError if the text was not in order, or the value has no place in it.
    """
    wanted = {name: old for name, old in parse(text, file).items() if name != key}
    if value is not None:
        wanted[key] = value
    lines = text.splitlines()
    mine = [number for number, line in enumerate(lines) if re.match(rf"\s*{re.escape(key)}\s*=", line)]
    line = [] if value is None else [_line(key, value)]
    if len(mine) == 1:
        lines[mine[0] : mine[0] + 1] = line
    else:
        lines += line
    result = "".join(line + "\n" for line in lines)
    try:
        fits = parse(result, file) == wanted
    except UsageError:
        fits = False
    # A value over several lines, or a quoted key: written anew, plainly.
    return result if fits else "".join(_line(name, old) + "\n" for name, old in wanted.items())


def _line(key: str, value: Any) -> str:
    """A JSON text, number, boolean or list of texts is TOML as well, once DEL is escaped."""
    return f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
