"""The plainest question to a warm server, asked before the command line is built: that takes longer than a warm answer.

Whatever is not plain (other flags than --cache and --json, piped input, a wrong setting, no server, or one that does not
answer) is left to the command line; what is done here is what is done there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gfqa.serve.client import Shown

_NO = ("", "0", "false", "f", "no", "n", "off")
"""What GFQA_NO_SERVER may say for no, as click has it."""

_begun: Shown | None = None


class Plain(NamedTuple):
    """A question without ifs and buts."""

    question: str
    caches: list[str]
    as_json: bool


def answered(arguments: Sequence[str]) -> int | None:
    """The exit code of a command that a warm server has answered; None where the command line is to do it."""
    plain = _plain(arguments)
    if plain is None or (settings := _settings()) is None:
        return None
    from gfqa.console import Console
    from gfqa.failures import run, signals_raise

    console = Console(as_json=plain.as_json)
    left = False

    def ask() -> None:
        nonlocal left
        with signals_raise():
            left = not _asked(plain, settings, console)

    code = run(ask, console)
    return None if left else code


def begun() -> Shown | None:
    """The text, perhaps none, of an answer that a server broke off, for whoever answers now; None where none was asked."""
    return _begun


def _asked(plain: Plain, settings: dict[str, Any], console: Any) -> bool:
    """Ask the server and show its answer; False where there is none."""
    global _begun
    from gfqa import views
    from gfqa.serve import client

    began = time.monotonic()
    _begun = shown = client.Shown(console.stream if not plain.as_json else lambda text: None)
    with console.working("Looking…"):
        answer = client.ask(
            plain.question,
            caches=plain.caches or settings["cache"],
            model=settings["model"],
            device=settings["device"],
            options={
                "citations": settings["sources"],
                "max_tokens": settings["max_tokens"],
                "reread": settings["reread"],
            },
            on_text=shown,
        )
        if answer is None:
            return False
        ready = time.monotonic() - began - answer.timing["total"]
        if plain.as_json:
            console.json(answer.to_json())
        else:
            views.answered(console, answer)
        views.figures(console, answer, ready)
    return True


def _plain(arguments: Sequence[str]) -> Plain | None:
    """The arguments of `gfqa ask "QUESTION" [--cache NAME]… [--json]`, in any order; None for any others."""
    if not arguments or arguments[0] != "ask":
        return None
    questions: list[str] = []
    caches: list[str] = []
    as_json, rest = False, list(arguments[1:])
    while rest:
        word = rest.pop(0)
        if word in ("--cache", "-c") and rest and not rest[0].startswith("-"):
            caches.append(rest.pop(0))
        elif word == "--json":
            as_json = True
        elif word.startswith("-") or not word.strip():
            return None
        else:
            questions.append(word)
    return Plain(questions[0], caches, as_json) if len(questions) == 1 else None


def _settings() -> dict[str, Any] | None:
    """The defaults of flags, from environment and file; None where the command line is needed, or no server is there."""
    if sys.stderr.isatty() and not sys.stdin.isatty():
        return None  # The command line says that piped input was not read.
    from gfqa import config
    from gfqa.errors import GfqaError
    from gfqa.serve import protocol

    if os.environ.get("GFQA_NO_SERVER", "").lower() not in _NO:
        return None
    known = {"GFQA_HOME", "GFQA_CONFIG", *(key.env.removeprefix("!") for key in config.KEYS.values())}
    if any(name.lstrip("_").startswith("GFQA_") and name not in known for name in os.environ):
        return None
    try:
        settings = {name: setting.value for name, setting in config.in_force(config.load()).items()}
        return settings if settings["server"] and protocol.socket_path().exists() else None
    except (GfqaError, OSError, ValueError):
        return None
