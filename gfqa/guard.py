"""How a command ends: every failure becomes one sentence and an exit code (`gfqa.failures`), also what Typer makes of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperGroup

from gfqa.console import Console
from gfqa.failures import Failure, failure_of, run, signals_raise


class Commands(TyperGroup):
    """The group of all commands: runs one of them and turns whatever it raises into a sentence and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        parse = super().main
        console = Console(as_json=_wants_json(options))
        if complete_var is None and (help := self._help(given)) is not None:
            code = run(lambda: console.block(help), console, _failure)
        else:
            said = _failure if _RESUMABLE.isdisjoint(given[:2]) else _resumable
            code = run(lambda: parse(given, "gfqa", complete_var, False, windows_expand_args, **extra), console, said)
        if standalone_mode:
            sys.exit(code)
        return code

    def _help(self, given: list[str]) -> str | None:
        """The help of `COMMAND… --help`, without parsing: that would load what checks values, two thirds of the time."""
        if not given or given[-1] not in ("-h", "--help"):
            return None
        command: Any = self
        context = command.context_class(command, info_name="gfqa", **command.context_settings)
        for word in given[:-1]:
            command = command.get_command(context, word) if isinstance(command, TyperGroup) else None
            if command is None or not command.context_settings.get("help_option_names", True):
                return None
            context = command.context_class(command, info_name=word, parent=context, **command.context_settings)
        help: str = context.get_help()
        return help

    def invoke(self, ctx: Any) -> Any:
        try:
            with signals_raise():
                return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, OSError) as error:
            # Typer has its own ideas about these three; ours are in `_failure`.
            raise _Carried(error) from error


_RESUMABLE = {"ingest", "watch", "rebuild"}
"""The commands that go on where they were interrupted; the others have nothing to go on with."""


def _wants_json(options: Sequence[str]) -> bool:
    """Whether errors, too, are to be JSON: as the flags will be read once parsed, which an error may prevent."""
    formats = {following for option, following in pairwise(options) if option == "--format"}
    formats |= {option.removeprefix("--format=") for option in options if option.startswith("--format=")}
    return not {"--json", "--jsonl"}.isdisjoint(options) or not {"json", "jsonl"}.isdisjoint(formats)


class _Carried(BaseException):
    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def _failure(error: BaseException) -> Failure | None:
    """`failure_of` what a command raised, through Typer."""
    if isinstance(error, _Carried):
        error = error.error
    match error:
        case typer.Abort():
            return Failure(1, "Aborted.")
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):
            return Failure(0, "")  # Typer's own end of a closed pipe, while it printed help.
        case SystemExit() | GeneratorExit() | typer.Exit():
            return None
    if not isinstance(error, OSError) and callable(getattr(error, "format_message", None)):
        return _usage(error)
    return failure_of(error)


def _resumable(error: BaseException) -> Failure | None:
    """As `_failure`, of a command that goes on where it was interrupted."""
    failure = _failure(error)
    if failure is not None and failure.code in (130, 143):
        failure = failure._replace(hint="Finished documents are kept: run the same command to go on.")
    return failure


def _usage(error: Any) -> Failure:
    """A wrong flag or argument, as Typer reports it."""
    context = getattr(error, "ctx", None)
    hint = f"See {context.command_path} --help." if context is not None else None
    message = str(error.format_message()).strip()
    if (
        message.startswith("Got unexpected extra argument")
        and context is not None
        and context.info_name in ("ask", "find")
    ):
        hint = f'A question of several words needs quotes: gfqa {context.info_name} "…"'
    # Pydantic, whom Typer asks, says what "Input" should be but not what it was.
    details = getattr(error.__cause__, "errors", None)
    if callable(details) and (found := details()):
        message = message.replace(": Input should", f": {str(found[0].get('input'))!r:.200} should", 1)
        message = message.replace(": Value error, ", ": ", 1)
    return Failure(int(error.exit_code), message if message.endswith((".", "?")) else message + ".", hint)
