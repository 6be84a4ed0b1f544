"""How each kind of question is put into words.

A line is a template: `[a|b]` chooses, `{slot}` is filled. Per kind every third line is held out of training and used by
the evaluation only, so that there the wording is new as well as the repository. `say` draws one.
"""

from __future__ import annotations

import random
import re
from functools import cache

from gfqa.training.questions import code_phrasings, everyday_phrasings, prose_phrasings

_LINES = code_phrasings.LINES | prose_phrasings.LINES | everyday_phrasings.LINES

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
def templates(kind: str, held_out: bool = False) -> tuple[str, ...]:
    """The template lines of a kind: two thirds for training, every third one held out for evaluation."""
    lines = [line.strip() for line in _LINES[kind].strip().splitlines()]
    return tuple(line for i, line in enumerate(lines) if (i % 3 == 2) == held_out)


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
    kind: str, slots: dict[str, str], rng: random.Random, *, held_out: bool = False, file: str | None = None
) -> str:
    """One question of `kind` in words, about `file` if given; starts with a capital in half of the cases."""
    line = rng.choice(templates(kind, held_out))
    while match := _CHOICE.search(line):
        line = line[: match.start()] + rng.choice(match.group(1).split("|")) + line[match.end() :]
    line = _tidy(line)
    if file is not None:
        line = rng.choice(_FILE_FORMS_HELD if held_out else _FILE_FORMS).replace("{q}", line.rstrip("?. "))
        slots = {**slots, "file": file}
    if line[0].isalpha() and rng.random() < 0.5:
        line = line[0].upper() + line[1:]
    # Slots are filled last and in one pass: their contents may hold braces and brackets of their own.
    return re.sub(r"\{(\w+)\}", lambda match: slots.get(match.group(1), match.group(0)), line)
