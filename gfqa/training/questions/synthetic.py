"""Look-up units made on the fly: needles in haystacks, key-value lists, variable tracing, records with many
questions, tables.

Every maker takes a random generator and returns units of the training format; nothing is read or written. `held_out=True`
draws names, key formats and wordings that training never sees: for the evaluation only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from gfqa.training.questions.records import facts_units
from gfqa.training.questions.tables import table_units
from gfqa.training.questions.units import Question, Unit, question, unit
from gfqa.training.questions.vocabulary import Words, distinct, split_templates

BEFORE_SHARE = 0.3
"""Of the trained needles and lists: those with the value before the key."""

Haystack = Callable[[random.Random], str]

# {k} the key, {v} the value, {r} the relation; the value stands after the key except in the last, reversed forms.
_NEEDLES = (
    "The special {r} for {k} is {v}.", "The {r} of {k} is {v}.", "For {k}, the {r} is {v}.",
    "Remember that the {r} of {k} was set to {v}.",
    "{k}: {r} = {v}", "{k} has the {r} {v}.", "Note: {k} uses {v} as its {r}.", "Regarding {k}, its {r} equals {v}.",
    "In the case of {k}, the {r} happens to be {v}.", "{k} ({r}: {v})",
    "It should be written down that for {k} the {r} reads {v}.", "As for {k}: the {r} they chose was {v}.",
    "One thing about {k}: its {r} is {v}.", "* {k} - {r}: {v}", "{k} was assigned the {r} {v}.", "- {r} for {k}: {v}",
    "The records say that {k} carries {r} {v}.", "Everybody who asks about {k} is told that the {r} is {v}.",
    "# {k}: {r} {v}", "When asked for the {r} of {k}, answer {v}.",
    "\"{k}\": {{\"{r}\": \"{v}\"}}", "By the way, {k} was given {v} for a {r}.", "{k} -> {r} -> {v}",
    "Whoever looks for {k} will need the {r} {v}.",
    "Attention: {r} of {k} changed; it is now {v}.", "The {r} that belongs to {k} is {v}.", "{k}'s {r} is {v}.",
    "Concerning {k}, note down {v}, which is the {r}.",
    "Last week the {r} of {k} became {v}.", "{r}[{k}] = {v}", "The {r} {v} is that of {k}.", "{v} is the {r} of {k}.",
)  # fmt: skip
# More of the kind that a reader going left to right cannot answer at first sight; for training alone, so that the
# evaluation's wordings stay what they were.
_NEEDLES_BEFORE = (
    "{v} - that is the {r} which {k} uses.", "They wrote down {v}; it is the {r} for {k}.",
    "The entry {v} was given to {k} as its {r}.", "Under {r} you will see {v}, and it belongs to {k}.",
    "{v} ({r} of {k})", "With {v} as its {r}, {k} was complete.", "{v} <- {r} <- {k}", "{v} serves as {r} for {k}.",
    "It was {v} that became the {r} of {k}.", "[{v}] {r}, {k}", "Use {v} where the {r} of {k} is wanted.",
    "{v}, known to all as the {r} of {k}, was changed again.",
    "We keep {v} as the {r} that opens {k}.",
)  # fmt: skip
_NEEDLE_QUESTIONS = (
    "What is the {r} of {k}?", "What is the special {r} for {k}?", "{r} of {k}", "Which {r} does {k} have?",
    "Tell me the {r} for {k}.", "{k} {r}?",
    "what's the {r} for {k}?", "Can you find {k}'s {r}?", "I need the {r} that belongs to {k}.",
    "Look up the {r} of {k}.", "What {r} was assigned to {k}?",
    "For {k}, state the {r}.", "which {r} goes with {k}", "Please give the {r} of {k}.",
    "Do the documents mention the {r} of {k}? What is it?", "How does the {r} of {k} read?",
    "What was noted as {r} for {k}?", "{k}: what is its {r}?", "the {r} for {k} is?",
    "Under {k}, what {r} is recorded?",
)  # fmt: skip
RELATIONS = (
    "code", "magic number", "password", "access key", "token", "secret word", "identifier", "registration number",
    "passphrase", "locker combination", "serial number", "reference",
    "call sign", "pin", "keyword", "label", "tracking number", "badge number", "invoice number", "archive mark",
    "ticket", "code name", "shelf mark", "licence number",
)  # fmt: skip
_REVERSE_QUESTIONS = (
    "Which one has the {r} {v}?", "{v} is the {r} of what?", "To what does the {r} {v} belong?", "Whose {r} is {v}?",
    "what has {v} as its {r}?", "Find the owner of the {r} {v}.", "The {r} {v}: whose is it?",
    "What carries the {r} {v}?",
)  # fmt: skip
_PATHS = (
    "notes/{n}.txt", "{n}.md", "docs/{n}/readme.md", "archive/{d}.txt", "logs/{n}-{d}.log", "data/{n}_{d}.txt",
    "src/{n}/{d}.py", "wiki/{n}.rst", "mail/{d}.eml", "pages/{n}.html",
)  # fmt: skip


def _path(words: Words, rng: random.Random) -> str:
    name = f"{rng.choice(words.adjectives)}-{rng.choice(words.nouns)}"
    return rng.choice(_PATHS).format(n=name, d=rng.randrange(1000, 99_999))


def insert_at_depth(haystack: str, line: str, depth: float) -> str:
    """`haystack` with `line` put in at the sentence or line end nearest to `depth` (0 start, 1 end)."""
    target = round(len(haystack) * depth)
    ends = [
        at + 1
        for mark in (". ", "\n")
        for at in (haystack.rfind(mark, 0, target), haystack.find(mark, target))
        if at >= 0
    ]
    at = min([0, len(haystack), *ends], key=lambda end: abs(end - target))
    glue = "\n" if "\n" in haystack[max(0, at - 1) : at + 1] or at == 0 else " "
    before = "" if at == 0 else glue if not haystack[:at].endswith(("\n", " ")) else ""
    return haystack[:at] + before + line + glue + haystack[at:].lstrip(" ")


def needle(
    rng: random.Random,
    key: str,
    value: str,
    relation: str,
    *,
    held_out: bool = False,
    reversed_share: float = 0.06,
    before_share: float = 0.0,
) -> tuple[str, Question]:
    """The sentence that states one fact, and the question for it.

    Of the trained forms a share asks for the key; `before_share` of the sentences have the value before the key.
    """
    slots = {"k": key, "v": value, "r": relation}
    before = before_share > 0 and rng.random() < before_share
    form = rng.choice(_NEEDLES_BEFORE if before else split_templates(_NEEDLES, held_out))
    line = form.format(**slots)
    line = line[0].upper() + line[1:] if line.startswith("the ") else line
    if rng.random() < reversed_share and not held_out:
        return line, question(rng.choice(_REVERSE_QUESTIONS).format(**slots), key, "kv_reverse", names=[value])
    asked = rng.choice(split_templates(_NEEDLE_QUESTIONS, held_out)).format(**slots)
    kind = "needle_before" if form.index("{v}") < form.index("{k}") else "needle"
    return line, question(asked, value, kind, names=[key])


def needle_units(
    rng: random.Random,
    haystack_texts: Sequence[str],
    n: int,
    *,
    facts: tuple[int, int] = (1, 8),
    held_out: bool = False,
) -> list[Unit]:
    """`n` units: a passage of `haystack_texts` each, with between facts[0] and facts[1] needles at random depths.

    Keys are distinct over all units of one call, and several needles share a relation, so that the key must be read.
    """
    words = Words(held_out)
    counts = [rng.randint(*facts) for _ in range(n)]
    keys = distinct(words.key, rng, sum(counts))
    values = distinct(words.value, rng, sum(counts))
    relations = rng.sample(split_templates(RELATIONS, held_out), 2)
    units = []
    for count in counts:
        text, qas = rng.choice(haystack_texts), []
        for _ in range(count):
            line, qa = needle(
                rng,
                keys.pop(),
                values.pop(),
                rng.choice(relations),
                held_out=held_out,
                before_share=0.0 if held_out else BEFORE_SHARE,
            )
            text = insert_at_depth(text, line, rng.random())
            qas.append(qa)
        kept = [qa for qa in qas if qa["a"][0] in text]
        units.append(unit("needle", "synthetic", _path(words, rng), text, kept))
    return units


_PAIR_FORMS = (
    "{k}: {v}", "{k} = {v}", "{k}\t{v}", "{k} -> {v}", "{k}={v}", "- {k}: {v}", "| {k} | {v} |", "{k}, {v}",
    "\"{k}\": \"{v}\",", "{k} {v}", "{k} => {v}", "* {k} ({v})",
)  # fmt: skip
_PAIRS_BEFORE = (
    "{v} <- {k}", "{v}: {k}", "- {v} ({k})", "{v} | {k}", "[{v}] {k}", "{v} for {k}", "{v}\t# {k}", "{v}; {k}",
)  # fmt: skip
_PAIR_QUESTIONS = (
    "What is the value of {k}?", "{k}?", "value for {k}", "What does {k} map to?", "Look up {k}.", "{k} =",
    "Which value belongs to {k}?", "what's stored under {k}?",
    "Give me {k}.", "What is {k} set to?", "find the entry for {k}", "{k} is paired with what?",
    "What is listed next to {k}?", "return {k}", "What stands beside {k}?", "Read out {k}.",
)  # fmt: skip


def kv_units(rng: random.Random, n: int, *, pairs: tuple[int, int] = (4, 60), held_out: bool = False) -> list[Unit]:
    """`n` units of key-value lists; keys distinct over the call, up to 24 questions a unit."""
    words = Words(held_out)
    counts = [rng.randint(*pairs) for _ in range(n)]
    keys = distinct(words.key, rng, sum(counts))
    values = [words.value(rng) for _ in keys]
    questions = split_templates(_PAIR_QUESTIONS, held_out)
    units = []
    for count in counts:
        before = not held_out and rng.random() < BEFORE_SHARE
        form = rng.choice(_PAIRS_BEFORE if before else split_templates(_PAIR_FORMS, held_out))
        chosen = [(keys.pop(), values.pop()) for _ in range(count)]
        text = "".join(form.format(k=key, v=value) + "\n" for key, value in chosen)
        asked = rng.sample(chosen, min(len(chosen), 24))
        kind = "kv_before" if form.index("{v}") < form.index("{k}") else "kv"
        qas = [question(rng.choice(questions).format(k=key), value, kind, names=[key]) for key, value in asked]
        units.append(unit("kv", "synthetic", _path(words, rng), text, qas))
    return units


_ASSIGN_FORMS = (
    "{n} = {v}",
    "let {n} = {v};",
    "{n} := {v}",
    "VAR {n} = {v}",
    "set {n} {v}",
    "const {n} = {v};",
    "{n} <- {v}",
    "export {n}={v}",
)
_VALUE_QUESTIONS = (
    "What is the value of {n}?", "value of {n}", "What does {n} hold in the end?", "Which value does {n} have?",
    "what is {n} finally?", "{n}?", "Follow the assignments: what is {n}?", "What does {n} evaluate to?",
)  # fmt: skip
_SOURCE_QUESTIONS = (
    "What is {n} assigned from?",
    "Which expression is assigned to {n}?",
    "{n} is a copy of what?",
    "What is on the right of {n}?",
)


def variable_units(rng: random.Random, n: int, *, hops: int = 3, held_out: bool = False) -> list[Unit]:
    """`n` units of assignments, some copying earlier names: direct values, one step, and tracing up to `hops` steps."""
    words = Words(held_out)
    units = []
    for _ in range(n):
        form = rng.choice(split_templates(_ASSIGN_FORMS, held_out))
        names = distinct(lambda r: f"{r.choice(words.nouns)}_{r.choice(words.nouns)}", rng, rng.randint(4, 20))
        lines, qas = [], []
        final: dict[str, tuple[str, int]] = {}
        for name in names:
            earlier = [other for other, (_, steps) in final.items() if steps < hops]
            if earlier and rng.random() < 0.4:
                other = rng.choice(earlier)
                value, steps = final[other]
                lines.append(form.format(n=name, v=other))
                final[name] = (value, steps + 1)
                asked = rng.choice(split_templates(_SOURCE_QUESTIONS, held_out))
                qas.append(question(asked.format(n=name), other, "variable_source", names=[name]))
            else:
                final[name] = (str(rng.randrange(100, 100_000)), 0)
                lines.append(form.format(n=name, v=final[name][0]))
            if rng.random() < 0.25:
                lines.append("")
        for name, (value, steps) in final.items():
            asked = rng.choice(split_templates(_VALUE_QUESTIONS, held_out))
            qas.append(
                question(asked.format(n=name), value, "variable" if steps == 0 else "variable_trace", names=[name])
            )
        units.append(unit("variable", "synthetic", _path(words, rng), "\n".join(lines) + "\n", qas))
    return units


def make(kind: str, rng: random.Random, haystack: Haystack, *, held_out: bool = False) -> list[Unit]:
    """A few units of one kind ("needle", "kv", "variable", "facts", "table") for one context; `haystack(rng)` gives a passage.

    Raises KeyError for another kind.
    """
    makers: dict[str, Callable[[], list[Unit]]] = {
        "needle": lambda: needle_units(rng, [haystack(rng) for _ in range(4)], rng.randint(1, 5), held_out=held_out),
        "kv": lambda: kv_units(rng, rng.randint(1, 3), held_out=held_out),
        "variable": lambda: variable_units(rng, rng.randint(1, 4), held_out=held_out),
        "facts": lambda: facts_units(rng, rng.randint(1, 8), held_out=held_out),
        "table": lambda: table_units(rng, rng.randint(1, 4), haystack, held_out=held_out),
    }
    return makers[kind]()
