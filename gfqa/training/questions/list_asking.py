"""How a list is asked about: for the value of a key, and for the key of a value."""

from __future__ import annotations

import random
import re
from functools import cache

from gfqa.training.questions.kept_out import trained

_FORWARD = """
What is the value of {k}?
What is {k} set to?
What value does {k} have?
Which value belongs to {k}?
What belongs to {k}?
{k}?
{k}
value of {k}
value for {k}
What does the list say for {k}?
What is written next to {k}?
What stands beside {k}?
Look up {k}.
Look {k} up for me.
{k} =
{k} is what?
Give the value of {k}.
Which value is given for {k}?
What is given for {k}?
Tell me the value for {k}.
what's {k}?
What is {k}?
How is {k} configured?
What did they set {k} to?
In the list, what is {k}?
Which entry goes with {k}?
What is recorded for {k}?
{k}: what value?
What do we have for {k}?
I need the value of {k}.
For {k}, which value is listed?
What comes with {k}?
current value of {k}
what has been entered for {k}
Find {k} and give its value.
get {k}
Under {k}, what is noted?
What should I use for {k}?
What goes with {k}?
"""
_NAMED = """
What is the {r} of {k}?
Which {r} does {k} have?
What {r} does {k} have?
{r} of {k}
{r} of {k}?
{k} {r}
What is the {r} for {k}?
Which {r} belongs to {k}?
What {r} is listed for {k}?
{r} for {k}?
What is {k}'s {r}?
Tell me the {r} of {k}.
Which {r} goes with {k}?
What {r} was given to {k}?
{k}: {r}?
I am looking for the {r} of {k}.
the {r} of {k}, please
Which {r} is noted for {k}?
For {k}, what is the {r}?
What is the right {r} for {k}?
"""
_NATURAL = {
    "person": (
        "Who is listed for {k}?", "Who has {k}?", "Who belongs to {k}?", "Who is responsible for {k}?", "Who goes with {k}?",
        "Whose name stands at {k}?", "Who should I ask about {k}?", "Who is the {r} of {k}?",
    ),
    "time": ("When is {k}?", "What time is given for {k}?", "At what time is {k}?", "At which time does {k} start?"),
    "date": ("When is {k}?", "Which date is given for {k}?", "On what date is {k}?", "When is {k} due?"),
    "duration": ("How long is {k}?", "How much time does {k} have?", "How long does {k} take?"),
    "size": ("How big is {k}?", "How large is {k}?", "What size is {k}?"),
    "length": ("How long is {k}?", "What does {k} measure?"),
    "weight": ("How heavy is {k}?", "How much does {k} weigh?", "What does {k} weigh?"),
    "price": ("How much is {k}?", "What does {k} cost?", "How expensive is {k}?"),
    "small": ("How many are listed for {k}?", "How many does {k} have?"),
    "number": ("How many are listed for {k}?", "Which number does {k} have?"),
    "temperature": ("How warm is {k}?", "What temperature does {k} have?", "How hot is it at {k}?"),
    "city": ("Where is {k}?", "Where does {k} go?", "Which place is listed for {k}?", "In which town is {k}?"),
    "room": ("Where is {k}?", "In which room is {k}?", "Which room is {k} in?", "Where can I find {k}?"),
    "path": ("Where is {k}?", "Where does {k} point to?", "Which path is {k} kept at?"),
    "state": ("Is {k} on or off, or what?", "What state is {k} in?", "What is the status of {k}?", "How does {k} stand?"),
    "phrase": ("What does it say about {k}?", "What is the remark on {k}?", "What has to be known about {k}?"),
    "version": ("Which version of {k}?", "What version is {k} at?", "Which version does {k} have?"),
    "mail": ("How can {k} be reached?", "What is the mail address of {k}?", "Where do I write to {k}?"),
    "phone": ("Which number do I call for {k}?", "How do I reach {k}?", "What is the phone number of {k}?"),
    "speed": ("How fast is {k}?",), "power": ("How strong is {k}?", "How much power does {k} take?"),
    "colour": ("What colour is {k}?", "Which color does {k} have?"),
}  # fmt: skip
_BACK = """
What has the value {v}?
Which key has the value {v}?
Which entry is {v}?
Which one is set to {v}?
What is set to {v}?
{v} belongs to what?
To what does {v} belong?
Which name goes with {v}?
What stands beside {v}?
{v}: which entry is that?
which entry has {v}
Where does {v} stand?
Which of them has {v}?
What goes with {v}?
Find the entry with {v}.
For which entry is {v} given?
"""
_BACK_NAMED = """
Which entry has the {r} {v}?
What has a {r} of {v}?
Which one has the {r} {v}?
The {r} {v} is whose?
Whose {r} is {v}?
{v} is the {r} of what?
{r} {v}: which entry?
Which one is listed with the {r} {v}?
For which is the {r} {v}?
"""
_BACK_PERSON = (
    "Who has {v}?", "Who has the {r} {v}?", "Whose {r} is {v}?", "Who is listed with {v}?", "Whose is {v}?",
    "Who was given {v}?",
    "{v}: who is that?", "Who goes with {v}?",
)  # fmt: skip
_SECTION = """
What is {k} in {s}?
What is the {k} of {s}?
{k} of {s}
{k} in {s}?
{s}.{k}
{s} {k}
What is {k} set to in {s}?
Which {k} does {s} have?
What {k} does {s} use?
What value does {k} have in {s}?
in {s}, what is {k}?
For {s}, what is {k}?
{s}: {k}?
Under {s}, what is the value of {k}?
{k} for {s}?
What is {s}'s {k}?
Which value is given for {k} under {s}?
{k} ({s})
What does {s} have as {k}?
value of {k} in {s}
Give me {k} for {s}.
What is the {k} setting of {s}?
"""
_SECTION_BACK = """
Which one has the {k} {v}?
Which of them has {k} {v}?
What has {v} as its {k}?
Where is {k} set to {v}?
In which part is {k} {v}?
{k} {v}: which one is that?
Whose {k} is {v}?
Which section sets {k} to {v}?
"""
_MEANINGS = {"k": "e", "r": "a", "v": "v"}
_SECTION_MEANINGS = {"s": "e", "k": "a", "v": "v"}


@cache
def _lines(text: str) -> tuple[str, ...]:
    """The templates of a block that may be trained on."""
    return trained(text, _SECTION_MEANINGS if "{s}" in text else _MEANINGS)


def for_value(key: str, value_kind: str, noun: str, rng: random.Random) -> str:
    """A question for the value of a key; `noun`: what the list's values are called, empty where they are many things."""
    draw = rng.random()
    if value_kind in _NATURAL and draw < 0.2:
        form = rng.choice(_NATURAL[value_kind])
        form = form if noun or "{r}" not in form else _NATURAL[value_kind][0]
    elif noun and draw < 0.6:
        form = rng.choice(_lines(_NAMED))
    else:
        form = rng.choice(_lines(_FORWARD))
    return _put(form, {"k": _quoted(key, rng), "r": noun}, rng)


def for_key(value: str, key_kind: str, noun: str, rng: random.Random) -> str:
    """A question for the key that has a value."""
    if key_kind == "person" and rng.random() < 0.7:
        form = rng.choice(_BACK_PERSON)
        form = form if noun or "{r}" not in form else _BACK_PERSON[0]
    else:
        form = rng.choice(_lines(_BACK_NAMED if noun and rng.random() < 0.5 else _BACK))
    return _put(form, {"v": _quoted(value, rng), "r": noun}, rng)


def in_section(section: str, key: str, rng: random.Random) -> str:
    """A question for the value that a key has in one section."""
    return _put(rng.choice(_lines(_SECTION)), {"k": key, "s": _quoted(section, rng, 0.06)}, rng)


def for_section(key: str, value: str, rng: random.Random) -> str:
    """A question for the section in which a key has a value."""
    return _put(rng.choice(_lines(_SECTION_BACK)), {"k": key, "v": _quoted(value, rng, 0.06)}, rng)


def _quoted(words: str, rng: random.Random, share: float = 0.12) -> str:
    return rng.choice(('"{}"', "'{}'", "`{}`")).format(words) if rng.random() < share else words


def _put(form: str, slots: dict[str, str], rng: random.Random) -> str:
    """The slots filled in one pass: their contents may hold braces."""
    if rng.random() < 0.25:
        form = form.rstrip("?.")
    if form[0].isalpha() and rng.random() < 0.25:
        form = form[0].lower() + form[1:]
    return re.sub(r"\{(\w)\}", lambda match: slots[match.group(1)], form)
