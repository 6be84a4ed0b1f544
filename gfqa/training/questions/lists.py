"""Lists of keys and values in formats drawn from a grammar, with questions for single values and single keys.

Lists are made as families: their keys are drawn together and none stands in two of them, so that a list beside the one that
answers looks just like it and has no answer.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable

from gfqa.training.questions.filler import Haystack, paragraphs
from gfqa.training.questions.list_asking import for_key, for_value
from gfqa.training.questions.list_formats import END, KEY, MARKS, START, VALUE, draw_format, rendered
from gfqa.training.questions.list_sections import section_units
from gfqa.training.questions.marks import settle
from gfqa.training.questions.naming import KEYS, VALUES, coined, keys, values
from gfqa.training.questions.units import Question, Unit, question, unit

MOST_QUESTIONS = 12
BACK_SHARE = 0.22
"""Of the questions: those that ask for the key."""
SECTIONED = 0.22
"""Share of the families with sections that hold the same keys."""
SMALLEST, LARGEST = 5, 130
"""Entries of a list."""
_OFTEN = ("snake", "kebab", "constant", "dotted", "two words", "title", "person", "code", "coined", "word", "place")
_RECURRING = frozenset({"state", "small", "city", "person", "word"})
_ENDINGS = (
    "txt",
    "md",
    "cfg",
    "log",
    "conf",
    "rst",
    "ini",
    "yml",
    "list",
    "dat",
    "html",
    "pdf",
    "tex",
    "py",
    "sh",
    "toml",
    "csv",
)
_FOLDERS = ("", "notes/", "docs/", "etc/", "data/", "lists/", "config/", "tools/", "papers/", "old/")


def list_units(
    rng: random.Random, count: int, haystack: Haystack | None = None, *, group: str = "synthetic"
) -> list[Unit]:
    """A family of `count` lists; no key and no value that is asked for stands anywhere else in them.

    Kinds: "kv" and "kv_before" (the value before its key) where the value is asked for; where the key is, "kv_reverse", or
    "kv" if the key comes second.
    """
    if rng.random() < SECTIONED:
        return section_units(rng, count, haystack, group=group)
    # Of a given size as often as of double that size, and fewer where lists are many.
    sizes = [round(math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST)))) for _ in range(count)]
    key_kinds = rng.sample(list(KEYS), 1) if rng.random() < 0.5 else [rng.choice(_OFTEN)]
    key_kinds += rng.sample(list(KEYS), 2) if rng.random() < 0.1 else []
    named = keys(key_kinds, sum(sizes), rng.choice((0.0, 0.2, 0.5, 0.8)), rng)
    value_kinds = rng.sample(list(VALUES), 1 if rng.random() < 0.6 else rng.randint(2, 6))
    noun = rng.choice(VALUES[value_kinds[0]].nouns) if len(value_kinds) == 1 else ""
    again = rng.choice((0.1, 0.4, 0.7)) if _RECURRING & set(value_kinds) else rng.choice((0.0, 0.0, 0.05, 0.2))
    drawn = values(value_kinds, len(named), again, rng)
    formats = [draw_format(named, rng)]
    formats += [draw_format(named, rng) if rng.random() < 0.3 else formats[0] for _ in sizes[1:]]
    if any(made.commas for made in formats):
        drawn = [(value.replace(", ", " "), kind) for value, kind in drawn]
        named = [key.replace(", ", " ") for key in named]
    texts, entries, first = [], [], 0
    for size, made in zip(sizes, formats, strict=True):
        mine = list(range(first, min(first + size, len(named))))
        if mine:
            pairs = [(named[i], drawn[i][0]) for i in mine]
            texts.append(_among(rendered(made, pairs, noun or "value", first, rng), haystack, rng))
            entries.append(mine)
        first += size
    settled = [settle(text) for text in texts]
    seen = Seen(text for text, _ in settled)
    units = []
    for (text, places), mine in zip(settled, entries, strict=True):
        qas: list[Question] = []
        for i in rng.sample(mine, len(mine)):
            (value, kind), base = drawn[i], MARKS * i
            span = range(places[base + START], places[base + END])
            key_at, value_at = places[base + KEY], places[base + VALUE]
            if rng.random() < BACK_SHARE:
                if seen.alone(value):
                    asked = for_key(value, key_kinds[0], noun, rng)
                    kind = "kv_reverse" if key_at < value_at else "kv"
                    qas.append(question(asked, named[i], kind, names=[value], offset=key_at))
            elif seen.alone(named[i], text[span.start : span.stop].count(named[i])):
                asked = for_value(named[i], kind, noun, rng)
                qas.append(
                    question(
                        asked, value, "kv" if key_at < value_at else "kv_before", names=[named[i]], offset=value_at
                    )
                )
            if len(qas) == MOST_QUESTIONS:
                break
        path = f"{rng.choice(_FOLDERS)}{coined(rng).lower()}{rng.randrange(1000)}.{rng.choice(_ENDINGS)}"
        if qas:
            units.append(unit("lists", group, path, text, qas))
    return units


class Seen:
    """Whether words stand in some texts once alone."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._text = "\n\n".join(texts).casefold()

    def alone(self, words: str, times: int = 1) -> bool:
        """Whether `words` stand there no more than `times`, not counted inside of a longer word, number or path."""
        words = words.casefold()
        if self._text.count(words) <= times:
            return True
        joined = rf"(?<!\w)(?<!\w[-./]){re.escape(words)}(?![-./]?\w)"
        return len(re.findall(joined, self._text)) <= times


def _among(made: str, haystack: Haystack | None, rng: random.Random) -> str:
    """A list, alone or among other text."""
    if rng.random() < 0.45:
        return made + "\n"
    before, after = (paragraphs(rng, rng.choice((1, 2, 3, 8)), haystack) for _ in range(2))
    parts = [before, made, after]
    return "\n\n".join(part for part in parts if part) + "\n"


def list_set(families: int, seed: int, haystack: Haystack | None = None) -> Iterable[Unit]:
    """The units of `families` families of two or three lists each; the same for the same seed."""
    for number in range(families):
        rng = random.Random(f"lists {seed} {number}")
        yield from list_units(rng, rng.choice((2, 2, 3)), haystack, group=f"lists {number}")
