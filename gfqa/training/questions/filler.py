"""Sentences that say nothing anybody is asked about, to stand around made-up lists and tables."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from gfqa.training.questions.naming import DAYS, MONTHS, coined
from gfqa.training.questions.vocabulary import Words

Haystack = Callable[[random.Random], str]

_WORDS = Words()
_SENTENCES = (
    "The work began in {m} and was finished before the end of the year.", "{p} looked after most of it.",
    "Nothing else was changed since {d}.", "Some of the entries were checked twice.",
    "The {n} beside the {a} {o} was left as it was.",
    "Later versions may differ.", "Please write to {p} when something is missing.", "This part was written in {c}.",
    "Everything that was doubtful has been left out.", "We thank {p} and {p} for their help.",
    "See the next section for the rest.",
    "The {a} {n} is described in another chapter.", "No claim is made that it is complete.",
    "Copies were sent to {c} in {m}.",
    "As one would expect, the differences are small.", "It was decided on a {d} to keep it that way.",
    "The method is that of {p}.",
    "In {c} they do it in another way.", "The order has no meaning.", "Old copies should be thrown away.", "{p} disagreed.",
    "Readers in a hurry may skip this page.", "The reasons are given below.",
    "A {a} {n} was seen near {c}, but not recorded.",
    "Corrections are welcome until the end of {m}.", "The figures were read off by hand.", "It rained for most of {m}.",
    "Two of the visits had to be put off because of the {n}.", "Where a choice had to be made, the {a} one was taken.",
    "The {n} will be opened by {p} in {m}.", "Only the {a} ones are shown here.", "Errors of this kind are rare.",
    "What follows is taken from the papers of {p}.", "The survey was paid for by the town of {c}.", "Do not edit by hand.",
    "It has been argued that the {n} matters more than the {a} {o}, though {p} found no sign of it.",
    "Most of the {n} had to be built anew.", "The key to the {n} is with {p}.",
    "Whether this will be done again is not known.",
    "A second {n}, which was {a}, stands in {c}.", "There was too little time for more.", "{p} took the pictures.",
    "The {a} parts were put in by {p} and taken out again in {m}.", "Ask for a copy at the {n}.",
    "The road to {c} was closed.",
    "From {m} on, the {n} was used by everybody.", "Older papers call it the {a} {n}.", "Nobody knows why the {n} was {a}.",
    "There is a list of all names at the end.", "Work on the {n} goes on.", "The weather in {m} was fair.",
    "{c} lies to the north.",
    "Since the {n} was moved to {c}, fewer people have come to see it.", "On {d}s the {n} is closed.",
)  # fmt: skip
_HEADINGS = (
    "Introduction",
    "Method",
    "Notes",
    "Results",
    "Background",
    "Remarks",
    "Overview",
    "Discussion",
    "Material",
)


def sentences(rng: random.Random, count: int) -> str:
    """`count` sentences."""
    slots = {
        "m": lambda: rng.choice(MONTHS), "d": lambda: rng.choice(DAYS), "p": lambda: _WORDS.person(rng),
        "c": lambda: coined(rng),
        "a": lambda: rng.choice(_WORDS.adjectives), "n": lambda: rng.choice(_WORDS.nouns),
        "o": lambda: rng.choice(_WORDS.nouns),
    }  # fmt: skip
    made = []
    for form in rng.sample(_SENTENCES, min(count, len(_SENTENCES))):
        pieces = form.split("{")
        said = pieces[0] + "".join(slots[piece[0]]() + piece[2:] for piece in pieces[1:])
        made.append(re.sub(r"^A (?=[aeiou])", "An ", said))
    return " ".join(made)


def paragraphs(rng: random.Random, most: int, haystack: Haystack | None = None) -> str:
    """None to `most` paragraphs, some with headings; of `haystack` now and then, cut at a word."""
    parts = []
    for _ in range(rng.randint(0, most)):
        if haystack is not None and rng.random() < 0.5:
            text = haystack(rng)[: rng.randint(100, 900)]
            parts.append(text[: max(text.rfind(" "), 1)].strip())
            continue
        if rng.random() < 0.15:
            parts.append(rng.choice(("", "", "## ", "# ", "1. ", "3.2 ")) + rng.choice(_HEADINGS))
        parts.append(sentences(rng, rng.randint(1, 6)))
    return "\n\n".join(part for part in parts if part)
