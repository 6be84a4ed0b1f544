"""The manual page, from the same commands as the command reference.

    python -m gfqa.commands.manual > docs/gfqa.1

A test holds the file against what this prints; the package installs it as share/man/man1/gfqa.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

import gfqa
from gfqa.cli import EXIT_CODES, app
from gfqa.commands.reference import commands
from gfqa.console import Console

HEAD = r""".\" Made from the code by `python -m gfqa.commands.manual > docs/gfqa.1`: do not edit.
.TH GFQA 1 "" "gfqa {version}" "User Commands"
.SH NAME
gfqa \- {summary}
.SH SYNOPSIS
.B gfqa
.I COMMAND
[\fIOPTIONS\fR] [\fIARGUMENTS\fR]
.SH DESCRIPTION
.B gfqa ingest
reads a codebase or PDFs once into a cache;
.B gfqa ask
answers questions from caches, with the places each answer comes from.
.PP
Standard output carries the answer or JSON, everything else goes to standard error. Standard input is read only where \- says
so, and by
.BR "gfqa chat" .
.SH COMMANDS
"""
TAIL = r""".SH EXIT STATUS
{exit_status}.SH ENVIRONMENT
{environment}.SH FILES
.TP
.I ~/.local/share/gfqa
The caches, which hold the documents' text, and models; where the system keeps users' data elsewhere, there. GFQA_HOME moves it.
.TP
.I ~/.config/gfqa/config.toml
The user's own defaults of options;
.B gfqa config path
says where it is. GFQA_CONFIG moves it.
"""
VARIABLES = {
    "GFQA_HOME": "The folder of gfqa's data.",
    "GFQA_CONFIG": "The configuration file.",
    "GFQA_DEBUG": "1: an unexpected error shows its traceback.",
    "NO_COLOR": "Set: no colours.",
    "FORCE_COLOR": "Set: colours in a pipe, too.",
}
"""Those that are of no option."""


def manual() -> str:
    """The whole page, in the man macros of roff; ASCII."""
    root = typer.main.get_command(app)
    found = list(commands(root, "gfqa", None))
    variables = {**VARIABLES, **dict(_variables(found))}
    head = HEAD.format(version=_escaped(gfqa.__version__), summary=_escaped(_first_sentence(root)))
    pages = "".join(_page(command, context) for command, context in found if command is not root)
    codes = (line.strip().split("  ", 1) for line in EXIT_CODES.split("\n")[2:])
    status = "".join(f".TP\n.B {code}\n{_escaped(what.strip())}\n" for code, what in codes)
    environment = "".join(f".TP\n.B {_escaped(name)}\n{_escaped(what)}\n" for name, what in sorted(variables.items()))
    return head + pages + TAIL.format(exit_status=status, environment=environment)


def _page(command: Any, context: Any) -> str:
    """One command: what is typed, what it does, its options."""
    usage = _escaped(" ".join((context.command_path, *command.collect_usage_pieces(context))))
    lines = [f".SS {usage}", *_paragraphs(command.help or "")]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            names, what = record
            # Of an argument Typer adds the type.
            name = re.sub(r" <[^>|]*>$", "", names) if parameter.param_type_name == "argument" else names
            lines += [".TP", f".B {_escaped(name)}", _escaped(what.removesuffix("[required]").rstrip())]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    """Help as Typer keeps it: paragraphs are filled, those that begin with a backspace are shown as they are."""
    for paragraph in text.strip().split("\n\n"):
        first, _, rest = paragraph.partition("\n")
        if first == "\b":
            yield from (".PP", ".RS 4", ".nf", *map(_escaped, rest.split("\n")), ".fi", ".RE")
        else:
            yield from (".PP", _escaped(paragraph.replace("\n", " ")))


def _variables(found: list[tuple[Any, Any]]) -> Iterator[tuple[str, str]]:
    """Variables that options read."""
    for command, context in found:
        for option in command.get_params(context):
            if option.param_type_name == "option" and isinstance(option.envvar, str):
                yield option.envvar, f"The default of {option.opts[0]}."


def _first_sentence(command: Any) -> str:
    return str(command.help).split("\n")[0].rstrip(".")


def _escaped(text: str) -> str:
    """Text as roff shows it letter for letter; other than ASCII by number, so that no formatter has to guess."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    text = re.sub(r"[^\x00-\x7f]", lambda match: f"\\[u{ord(match.group()):04X}]", text)
    return "\\&" + text if text.startswith(".") else text


if __name__ == "__main__":
    Console().block(manual().rstrip("\n"))
