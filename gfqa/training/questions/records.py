"""Small made-up records - people, products, machines, configurations, functions - with a question for every field."""

from __future__ import annotations

import random
from collections.abc import Callable

from gfqa.training.questions.units import Unit, question, unit
from gfqa.training.questions.vocabulary import Words, distinct, split_templates

_MONTHS = ("January", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")

_Fields = dict[str, Callable[[Words, random.Random], str]]


def _number(low: int, high: int) -> Callable[[Words, random.Random], str]:
    return lambda words, rng: str(rng.randrange(low, high))


def _noun(words: Words, rng: random.Random) -> str:
    return f"{rng.choice(words.adjectives)} {rng.choice(words.nouns)}"


def _city(words: Words, rng: random.Random) -> str:
    return rng.choice(words.cities)


def _person(words: Words, rng: random.Random) -> str:
    return words.person(rng)


def _date(words: Words, rng: random.Random) -> str:
    return f"{rng.randrange(1, 29)} {rng.choice(_MONTHS)} {rng.randrange(1900, 2030)}"


def _price(words: Words, rng: random.Random) -> str:
    return f"${rng.randrange(2, 900)}.{rng.randrange(100):02}"


def _mail(words: Words, rng: random.Random) -> str:
    return f"{rng.choice(words.first).lower()}.{rng.choice(words.last).lower()}@{rng.choice(words.nouns)}.example"


def _choice(*options: str) -> Callable[[Words, random.Random], str]:
    return lambda words, rng: rng.choice(options)


SUBJECTS: dict[str, tuple[Callable[[Words, random.Random], str], _Fields]] = {
    "person": (
        _person,
        {
            "birthday": _date, "home town": _city, "employer": lambda w,
            r: f"{r.choice(w.nouns).title()} {r.choice(('Ltd', 'Labs', 'Works', 'Group'))}",
            "job": _choice("baker", "surveyor", "nurse", "welder", "translator", "pilot", "clerk", "botanist", "judge"),
            "email address": _mail, "office": lambda w, r: f"room {r.randrange(100, 999)}", "manager": _person,
            "favourite colour": lambda w, r: r.choice(w.adjectives),
            "phone extension": _number(1000, 9999), "pet": lambda w, r: f"a {r.choice(w.nouns)}",
        },
    ),
    "product": (
        lambda w, r: f"{r.choice(w.adjectives).title()}{r.choice(w.nouns).title()} {r.randrange(2, 900)}",
        {
            "price": _price, "weight": lambda w, r: f"{r.randrange(1, 90)}.{r.randrange(10)} kg", "colour": lambda w,
            r: r.choice(w.adjectives), "designer": _person,
            "release date": _date, "made in": _city, "warranty": lambda w, r: f"{r.randrange(1, 11)} years",
            "battery life": lambda w, r: f"{r.randrange(2, 60)} hours",
            "stock": _number(3, 4000), "article number": lambda w,
            r: f"{r.choice('ABCDEF')}{r.randrange(10_000, 99_999)}",
        },
    ),
    "machine": (
        lambda w, r: f"{r.choice(w.things)} {r.choice('ABCDEFGH')}{r.randrange(1, 99)}",
        {
            "operator": _person, "location": _city, "maximum load": lambda w, r: f"{r.randrange(20, 9000)} kg",
            "power": lambda w, r: f"{r.randrange(1, 900)} kW",
            "last inspection": _date, "firmware": lambda w,
            r: f"{r.randrange(1, 9)}.{r.randrange(20)}.{r.randrange(20)}", "password": _noun,
            "address": lambda w, r: f"10.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(256)}",
            "serial number": lambda w, r: f"{r.getrandbits(32):08X}",
        },
    ),
    "service": (
        lambda w, r: f"{r.choice(w.nouns)}-{r.choice(w.things)}",
        {
            "port": _number(1024, 65_000), "timeout": lambda w, r: f"{r.randrange(1, 120)}s", "region": _city,
            "owner": _mail, "replicas": _number(2, 64),
            "log level": _choice("debug", "info", "warning", "error", "trace"), "memory": lambda w,
            r: f"{r.randrange(64, 9000)}Mi", "retries": _number(1, 20),
            "image": lambda w, r: f"{r.choice(w.nouns)}:{r.randrange(1, 9)}.{r.randrange(30)}", "health path": lambda w,
            r: f"/{r.choice(w.nouns)}/{r.choice(w.nouns)}",
        },
    ),
    "building": (
        lambda w,
        r: f"the {r.choice(w.nouns).title()} {r.choice(('Tower', 'Hall', 'House', 'Bridge', 'Library', 'Station', 'Mill'))}",
        {
            "architect": _person, "height": lambda w, r: f"{r.randrange(8, 400)} metres",
            "opening year": _number(1750, 2025), "city": _city, "number of rooms": _number(4, 900),
            "material": _choice("granite", "brick", "sandstone", "steel", "oak", "concrete", "slate", "marble"),
            "cost": lambda w, r: f"{r.randrange(2, 900)} million", "owner": _person,
        },
    ),
}  # fmt: skip

_SENTENCES = (
    "The {f} of {s} is {v}.", "{s} has {v} as {f}.", "For {s}, the {f} is {v}.", "Its {f} is {v}.", "The {f} is {v}.",
    "The {f} was given as {v}.", "As {f}, {s} lists {v}.",
    "When it comes to the {f}, {s} comes with {v}.", "We learn that the {f} is {v}.", "On file as {f}: {v}.",
    "The records give {v} for the {f} of {s}.", "{f}: {v}.",
    "{v} is the {f} of {s}.", "With {v} as {f}, {s} is well known.", "It is {v} that {s} has for a {f}.",
    "People give {v} as the {f} of {s}.",
)  # fmt: skip
_LAYOUTS = (
    "{f}: {v}",
    "- {f}: {v}",
    "* **{f}**: {v}",
    "{i} = {v}",
    '  "{i}": "{v}",',
    "| {f} | {v} |",
    "{i}: {v}",
    ":{f}: {v}",
    "    {i}={v!r},",
    "<{i}>{v}</{i}>",
)
_QUESTIONS = (
    "What is the {f} of {s}?", "{s} {f}", "What's the {f} for {s}?", "Which {f} does {s} have?", "{f} of {s}?",
    "Tell me the {f} of {s}.", "Do you know the {f} of {s}?", "For {s}, what is the {f}?",
    "I need the {f} of {s}, please", "what {f} is given for {s}", "Look up {s}: {f}?",
    "In the documents, what is the {f} of {s}?", "{s}: {f}?", "What does it say about the {f} of {s}?", "find {f} {s}",
    "Give {s}'s {f}.",
)  # fmt: skip
_WHO = {
    "designer": "Who designed {s}?",
    "architect": "Who was the architect of {s}?",
    "operator": "Who operates {s}?",
    "manager": "Who does {s} report to?",
}
_NATURAL = {
    **_WHO, "home town": "Where does {s} come from?", "birthday": "When was {s} born?",
    "employer": "Who does {s} work for?", "job": "What does {s} do for a living?",
    "price": "How much is {s}?", "weight": "How heavy is {s}?", "release date": "When did {s} come out?",
    "made in": "Where is {s} made?", "stock": "How many of {s} are left?",
    "location": "Where can I find {s}?", "height": "How tall is {s}?", "opening year": "When did {s} open?",
    "port": "Which port does {s} listen on?",
    "timeout": "How long does {s} wait?", "replicas": "How many copies of {s} run?",
    "email address": "How can I write to {s}?", "cost": "How expensive was {s}?",
    "battery life": "How long does {s} last on one charge?", "maximum load": "How much can {s} carry?",
    "last inspection": "When was {s} last checked?",
    "office": "In which room does {s} sit?", "material": "What is {s} built of?",
    "retries": "How often does {s} try again?",
}  # fmt: skip


def facts_units(rng: random.Random, n: int, *, records: tuple[int, int] = (1, 6), held_out: bool = False) -> list[Unit]:
    """`n` units of records of one sort each, in prose or in a listing; subjects distinct over the call, every field asked."""
    words = Words(held_out)
    units = []
    taken: set[str] = set()
    for _ in range(n):
        sort = rng.choice(list(SUBJECTS))
        name, fields = SUBJECTS[sort]
        subjects = [s for s in distinct(lambda r: name(words, r), rng, rng.randint(*records)) if s not in taken]  # noqa: B023
        taken.update(subjects)
        prose = rng.random() < 0.5
        layout = rng.choice(split_templates(_LAYOUTS, held_out))
        blocks, qas = [], []
        for subject in subjects:
            chosen = rng.sample(list(fields), rng.randint(3, len(fields)))
            values = {field: fields[field](words, rng) for field in chosen}
            before: set[str] = set()
            if prose:
                text, before = _prose(rng, subject, values, held_out)
                blocks.append(text)
            else:
                blocks.append(_listing(rng, subject, values, layout))
            for field, value in values.items():
                natural = field in _NATURAL and rng.random() < 0.4
                form = _NATURAL[field] if natural else rng.choice(split_templates(_QUESTIONS, held_out))
                kind = "record_before" if field in before else "record"
                qas.append(question(form.format(f=field, s=subject), value, kind, names=[subject]))
        path = f"{sort}s/{rng.choice(words.nouns)}{rng.randrange(10_000)}.{rng.choice(('txt', 'md', 'cfg', 'rst'))}"
        units.append(unit("facts", "synthetic", path, "\n\n".join(blocks) + "\n", qas[:48]))
    return units


def _prose(rng: random.Random, subject: str, values: dict[str, str], held_out: bool) -> tuple[str, set[str]]:
    """Sentences about a subject, and the fields whose value stands before anything that tells what it is."""
    sentences: list[str] = []
    before: set[str] = set()
    for number, (field, value) in enumerate(values.items()):
        forms = split_templates(_SENTENCES, held_out)
        # The first sentence must name the subject; later ones may leave it to the context.
        form = rng.choice([form for form in forms if "{s}" in form] if number == 0 else forms)
        if form.index("{v}") < min(form.index("{f}"), form.find("{s}") if "{s}" in form else len(form)):
            before.add(field)
        sentence = form.format(f=field, s=subject, v=value)
        as_it_is = sentence.startswith((subject, value))
        sentences.append(sentence if as_it_is else sentence[0].upper() + sentence[1:])
    return " ".join(sentences), before


def _listing(rng: random.Random, subject: str, values: dict[str, str], layout: str) -> str:
    head = rng.choice(("# {s}", "## {s}", "{s}:", "[{s}]", "{s}\n====", "{s} {{", "name: {s}")).format(s=subject)
    rows = [layout.format(f=field, i=field.replace(" ", "_"), v=value) for field, value in values.items()]
    return "\n".join([head, *rows])
