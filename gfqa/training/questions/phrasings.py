"""How each kind of question is put into words.

A line is a template: `[a|b]` chooses, `{slot}` is filled. Per kind every third line is held out of training and used by
the evaluation only, so that there the wording is new as well as the repository. `say` draws one.

Two files beside this module were written without sight of these lines or of each other's: `wordings_more.txt` is
training's alone, `wordings_apart.txt` the evaluation's. Lines start with the kind; none of the former says what a line of the
evaluation says (`tests/training`).
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path
from typing import Literal

from gfqa.training.questions import code_phrasings, everyday_phrasings, prose_phrasings

_LINES = code_phrasings.LINES | prose_phrasings.LINES | everyday_phrasings.LINES

Wording = Literal["training", "held", "apart"]
"""Whose lines: what training draws from, what is held out of it, or what others wrote for the evaluation."""
_FILES: dict[Wording, str] = {"training": "wordings_more.txt", "apart": "wordings_apart.txt"}

_CHOICE = re.compile(r"\[([^\[\]]*)\]")

# What people add when they know the file; {q} is the question without its mark.
_FILE_FORMS = (
    "in {file}, {q}?",
    "{q} in {file}?",
    "{q} ({file})",
    "{file}: {q}",
    "{q} (see {file})",
    "looking at {file}: {q}?",
)
_FILE_FORMS_HELD = ("as for {file}: {q}?", "{q}, I mean the one in {file}", "within {file}, {q}?")


def kinds() -> tuple[str, ...]:
    """The names of all kinds of generated questions."""
    return tuple(_LINES)


@cache
def templates(kind: str, wording: Wording = "training") -> tuple[str, ...]:
    """The template lines of a kind: two thirds and those of `wordings_more` for training, every third one held out; those
    held out too where nobody wrote any apart.
    """
    lines = [line.strip() for line in _LINES[kind].strip().splitlines()]
    held = tuple(lines[2::3])
    if wording == "training":
        return (*(line for i, line in enumerate(lines) if i % 3 != 2), *_file(wording).get(kind, ()))
    return _file(wording).get(kind, held) if wording == "apart" else held


@cache
def _file(wording: Wording) -> dict[str, tuple[str, ...]]:
    """The lines of a file, by kind."""
    found: dict[str, list[str]] = {}
    for line in (Path(__file__).parent / _FILES[wording]).read_text(encoding="utf-8").splitlines():
        kind, _, template = line.partition("\t")
        found.setdefault(kind, []).append(template)
    return {kind: tuple(lines) for kind, lines in found.items()}


def expand(line: str) -> list[str]:
    """Every phrasing of a template line, choices resolved and slots left open."""
    match = _CHOICE.search(line)
    if not match:
        return [_tidy(line)]
    head, tail = line[: match.start()], line[match.end() :]
    return [phrasing for option in match.group(1).split("|") for phrasing in expand(head + option + tail)]


def _tidy(line: str) -> str:
    return re.sub(r" +([?,.]|$)", r"\1", re.sub(r" +", " ", line)).strip()


def say(
    kind: str, slots: dict[str, str], rng: random.Random, *, wording: Wording = "training", file: str | None = None
) -> str:
    """One question of `kind` in words, about `file` if given; starts with a capital in half of the cases."""
    line = rng.choice(templates(kind, wording))
    while match := _CHOICE.search(line):
        line = line[: match.start()] + rng.choice(match.group(1).split("|")) + line[match.end() :]
    line = _tidy(line)
    if file is not None:
        line = rng.choice(_FILE_FORMS if wording == "training" else _FILE_FORMS_HELD).replace("{q}", line.rstrip("?. "))
        slots = {**slots, "file": file}
    if line[0].isalpha() and rng.random() < 0.5:
        line = line[0].upper() + line[1:]
    # Slots are filled last and in one pass: their contents may hold braces and brackets of their own.
    return re.sub(r"\{(\w+)\}", lambda match: slots.get(match.group(1), match.group(0)), line)
