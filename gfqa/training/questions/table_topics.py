"""What made-up tables are about: sorts of rows with their names, and what is measured of them.

A line of `_TOPICS` that begins with a word and `:` opens a sort: `names in a header | kinds of names`. A line below it is one
thing measured: `words for it | units | kind of number | questions`, parted by `;`, with `{r}` for the row.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from gfqa.training.questions.naming import DAYS, MONTHS, VALUES, coined, listed, person, upper
from gfqa.training.questions.vocabulary import Words

_WORDS = Words()
_TOPICS = """
station: Station; Gauging station; River station; Site | coined; animal; river
flow; mean flow; discharge; peak flow | m3/s; l/s | f1 2 90 | How much water flows past {r}?
water level; level; stage | cm; m | i 20 600 | How high is the water at {r}?
depth; mean depth; maximum depth | m | f1 1 40 | How deep is it at {r}?
width; channel width | m | i 3 200 | How wide is the river at {r}?
catchment; catchment area; basin area | km2; ha | i 12 4000 | How large is the catchment of {r}?
temperature; water temperature; mean temperature | °C | f1 2 24 | How warm is the water at {r}?
salinity | g/l; psu | f1 0 36 | How salty is it at {r}?
oxygen; dissolved oxygen | mg/l; % | f1 3 14 | How much oxygen was found at {r}?
rainfall; precipitation; annual rainfall | mm | i 200 1900 | How much rain falls at {r}?
elevation; altitude; height | m | i 4 2100 | How high does {r} lie?
samples; number of samples; n | | i 3 90 | How many samples were taken at {r}?
hall: Hall; Room; Auditorium; Lecture room; Venue | letter hall; coined hall; room
seats; number of seats; capacity; places | ; | i 20 900 | How many seats does {r} have?; How many people fit into {r}?
area; floor area; size | m2; sq ft | i 20 1200 | How large is {r}?
height; ceiling height | m | f1 2 12 | How high is {r}?
rent; price per day; hire | €; $; per day | i 40 2400 | How much does it cost to rent {r}?; How much is {r}?
floor; level | | i 1 9 | On which floor is {r}?
windows; number of windows | | i 1 30 | How many windows does {r} have?
opened; built; year built; opening year | | year | When was {r} opened?
doors; exits | | i 1 12 | How many doors does {r} have?
caretaker; contact; manager | | person | Who looks after {r}?
sample: Sample; Specimen; Batch; Run; Test; Trial; Series | code; numbered; letters
mass; weight; dry mass | g; mg; kg | f2 0 60 | How heavy was {r}?
strength; tensile strength; yield strength | MPa; N/mm2 | i 80 900 | How strong is {r}?
density | g/cm3; kg/m3 | f2 0 9 |
hardness | HV; HRC | i 20 800 | How hard is {r}?
thickness; layer thickness | mm; µm; nm | f1 0 90 | How thick is {r}?
moisture; water content; humidity | % | f1 1 60 | How moist was {r}?
pH; pH value | | f1 3 10 |
time; duration; run time | s; min; h | i 2 500 | How long did {r} take?
temperature; firing temperature | °C; K | i 20 1300 | At what temperature was {r} run?
yield | %; g | f1 5 98 |
error; standard error; deviation | %; | f2 0 4 |
porosity | % | f1 1 40 |
town: Town; Municipality; District; Parish; Borough; Village; County; Region | coined; city; compass
population; inhabitants; residents | ; thousand | t 400 900000 | How many people live in {r}?
area; land area | km2; ha | f1 2 900 | How large is {r}?
households; dwellings | | t 100 90000 | How many households are there in {r}?
schools; number of schools | | i 1 60 | How many schools does {r} have?
unemployment; unemployment rate | % | f1 1 20 | How many are out of work in {r}?
turnout; voter turnout | % | f1 30 90 | How many voted in {r}?
median age; mean age | years; | f1 28 52 | How old are people in {r}?
doctors; physicians | ; per 1000 | i 2 400 | How many doctors are there in {r}?
budget; spending; expenditure | million; thousand € | f1 1 300 | How much does {r} spend?
mayor; chair | | person | Who is the mayor of {r}?
visitors; overnight stays | ; thousand | t 200 800000 | How many visitors came to {r}?
rainfall | mm | i 300 1900 | How much does it rain in {r}?
model: Model; Type; Product; Device; Article; Instrument; Version | product; code; letters
price; list price; unit price | €; $; £ | f2 3 900 | How much does {r} cost?; What does {r} cost?; How much is {r}?
weight; net weight | kg; g; lb | f1 0 60 | How heavy is {r}?; What does {r} weigh?
power; rated power; input power | W; kW | i 5 4000 | How much power does {r} take?
voltage; supply voltage | V | i 3 400 | What voltage does {r} need?
current; maximum current | A; mA | f1 0 30 | How much current does {r} draw?
range; operating range | m; km | i 5 900 | How far does {r} reach?
battery life; run time | h; hours | i 2 90 | How long does {r} last?
speed; top speed | rpm; km/h | t 100 9000 | How fast is {r}?
length; overall length | mm; cm; m | i 12 2400 | How long is {r}?
memory; storage | MB; GB | i 2 512 | How much memory does {r} have?
units sold; sales; shipments | ; thousand | t 20 90000 | How many {r} were sold?
warranty | years; months | i 1 48 | How long is the warranty of {r}?
noise; noise level | dB | i 20 96 | How loud is {r}?
colour; finish | | colour | What colour is {r}?
material; made of | | material | What is {r} made of?
person: Name; Employee; Participant; Member; Player; Author; Pupil; Patient; Runner | person
age | years; | i 8 90 | How old is {r}?
height | cm | i 120 205 | How tall is {r}?
points; score; total score | | i 3 400 | How many points did {r} get?
time; finishing time; best time | min; s; | clock | How fast was {r}?; How long did {r} need?
rank; place; position | | i 1 60 | In which place did {r} finish?
office; room; desk | | room | In which room is {r}?; Where does {r} sit?
extension; phone; ext. | | i 1000 9999 | Which extension does {r} have?
department; team; club; unit | | thing | Which team is {r} in?
joined; member since; year of entry | | year | When did {r} join?
visits; attendance; games played | | i 1 99 | How many visits did {r} make?
town; home town; from | | city | Where does {r} come from?
hours; hours worked | h; | f1 2 48 | How many hours did {r} work?
crop: Crop; Variety; Cultivar; Species; Tree; Plant | species; coined; colour thing
yield; mean yield; harvest | t/ha; kg | f1 1 90 | How much did {r} yield?
height; plant height | cm; m | i 5 300 | How tall does {r} grow?
area; area sown | ha | t 10 9000 | How much land was sown with {r}?
days to harvest; growing days; ripening time | days; d | i 30 200 | How long does {r} need to ripen?
seeds; seed rate | kg/ha; per m2 | i 5 400 | How many seeds does {r} need?
water; water use | mm; l | i 100 900 | How much water does {r} need?
protein; protein content | %; g/100 g | f1 2 30 | How much protein is in {r}?
loss; losses; damaged | % | f1 0 40 | How much of {r} was lost?
count; individuals; number observed | | i 1 700 | How many {r} were counted?
share; coverage | % | f1 0 60 |
month: Month; Period | month
temperature; mean temperature | °C | f1 -8 28 | How warm is it in {r}?
rainfall; precipitation | mm | i 4 240 | How much does it rain in {r}?
visitors; guests; passengers | | t 100 90000 | How many visitors came in {r}?
orders; sales; income | ; €; thousand $ | t 90 90000 | How much was sold in {r}?
sunshine; hours of sun | h | i 20 320 | How many hours of sun does {r} have?
repairs; faults; accidents | | i 1 90 | How many faults were there in {r}?
days open; working days | | i 10 31 | How many days was it open in {r}?
department: Department; Branch; Office; Company; Library; School; Museum; Hospital; Line | thing; city; coined thing
staff; employees; headcount | ; FTE | i 3 900 | How many people work at {r}?
budget; expenditure; costs | thousand €; million $; | t 20 90000 | How much does {r} spend?
income; revenue; turnover | thousand €; million $; | t 20 90000 | How much did {r} earn?
loans; cases; orders; requests | | t 20 90000 |
beds; desks; places | | i 4 700 | How many places does {r} have?
visitors; customers; pupils | ; thousand | t 90 90000 | How many visitors did {r} have?
founded; opened; since | | year | When was {r} founded?
head; director; contact | | person | Who is the head of {r}?
change; growth; change on year | % | s1 -20 30 | By how much did {r} change?
satisfaction; rating; mean rating | | f1 1 5 | How was {r} rated?
ship: Ship; Vessel; Train; Route; Bus; Flight; Boat | ship; code; letters
length; overall length | m; ft; km | f1 8 300 | How long is {r}?
tonnage; displacement | t; GT | t 90 90000 | How large is {r}?
speed; top speed; cruising speed | kn; km/h | f1 5 120 | How fast is {r}?
crew; passengers; seats | | i 2 900 | How many people does {r} carry?
built; launched; year built | | year | When was {r} built?
departure; departs; dep. | | clock | When does {r} leave?; What time does {r} depart?
arrival; arrives; arr. | | clock | When does {r} arrive?
platform; berth; gate; pier | | i 1 40 | Where does {r} leave from?
captain; master; driver | | person | Who is the captain of {r}?
fare; price; ticket | €; $; | f2 2 90 | What does a ticket for {r} cost?
cargo; load; freight | t; | t 10 9000 | How much does {r} carry?
method: Method; Algorithm; System; Treatment; Group; Condition; Feature; Parameter; Factor | short; two words; colour thing
accuracy; precision; recall; F1 | %; | f1 40 99 | How accurate is {r}?
error; RMSE; mean error | ; m; % | f3 0 3 | How large is the error of {r}?
time; run time; training time | s; h; ms | f1 0 400 | How long does {r} take?
memory; peak memory | MB; GB | i 20 9000 | How much memory does {r} need?
n; participants; cases; subjects | | i 8 900 | How many took part in {r}?
mean; M; average | | f2 0 90 |
SD; s.d.; standard deviation | | f2 0 20 |
p; p value | | f3 0 1 |
coefficient; estimate; weight | | s2 -3 3 |
cost | €; $ | i 3 900 | What does {r} cost?
recovered; improved; survived | ; % | i 1 99 | How many recovered with {r}?
parameters; size | M; | i 1 900 | How big is {r}?
"""
_ANIMALS = listed("Heron Kingfisher Plover Curlew Sparrow Badger Marten Osprey Wren Linnet Swift Stork Crane Lapwing")
_SPECIES = listed(
    "barley oats wheat rye maize spelt millet beet clover lupin flax hemp pea bean oak ash birch larch spruce"
)
_FEW = {
    "colour": listed("black white silver red blue green grey brown yellow"),
    "material": ["steel", "oak", "glass", "brass", "plastic", "cast iron", "leather", "copper", "stainless steel", "pine"],
}  # fmt: skip
_LETTERS = "ABCDEFGHJKLMN"

Names = Callable[[random.Random], str]
_NAMES: dict[str, Names] = {
    "coined": coined,
    "animal": lambda r: r.choice(_ANIMALS) + r.choice(("", " Bridge", " Mill", " Weir", " Ford", " Point", " Lock")),
    "river": lambda r: f"{r.choice(('Upper', 'Lower', 'North', 'South', 'Old', 'New'))} {coined(r)}",
    "letter hall": lambda r: f"{r.choice(_LETTERS)}{r.choice((' hall', ' Hall', '', '', str(r.randrange(1, 9))))}",
    "coined hall": lambda r: f"{coined(r)} {r.choice(('Hall', 'Room', 'Theatre', 'Studio'))}",
    "room": lambda r: f"{r.choice(('Room ', 'R', ''))}{r.choice(_LETTERS)}{r.randrange(1, 9)}{r.randrange(10, 40)}",
    "code": lambda r: f"{upper(r, r.randint(1, 3))}{r.choice(('-', '', ' '))}{r.randrange(10, 999)}",
    "numbered": lambda r: f"{r.choice(('No. ', '#', 'S', 'Run ', 'T'))}{r.randrange(1, 99)}",
    "letters": lambda r: upper(r, r.choice((1, 2, 2, 3))) + r.choice(("", "1", "2", "3", "a", "b")),
    "city": lambda r: r.choice(_WORDS.cities),
    "compass": lambda r: f"{coined(r)} {r.choice(('East', 'West', 'North', 'South', 'Central', 'on Sea', 'St Mary'))}",
    "product": lambda r: f"{coined(r)} {r.choice(('', 'Pro ', 'X', 'Mini ', 'S'))}{r.randrange(1, 99)}",
    "person": lambda r: person(r).replace(", ", " "),
    "species": lambda r: r.choice(("", "winter ", "red ", "spring ", "dwarf ", "common ", "black ")) + r.choice(_SPECIES),
    "colour thing": lambda r: f"{r.choice(_WORDS.adjectives).title()} {r.choice(_WORDS.nouns)}",
    "month": lambda r: r.choice(MONTHS),
    "thing": lambda r: r.choice((*_WORDS.things, *_WORDS.nouns)).title() + r.choice(("", "", " office", " service", "s")),
    "coined thing": lambda r: f"{coined(r)} {r.choice(('Ltd', 'School', 'Museum', 'Library', 'Group', 'House', 'Line'))}",
    "ship": lambda r: r.choice(("", "MS ", "The ")) + r.choice(("", f"{r.choice(_WORDS.adjectives).title()} ")) + coined(r),
    "short": lambda r: upper(r, r.choice((2, 3, 4))) + r.choice(("", "-2", "+", " (ours)", "-small", "-L")),
    "two words": lambda r: f"{r.choice(_WORDS.adjectives)} {r.choice(_WORDS.nouns)}",
}  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """words: what it is called, the first in short; units: one of which a column has, perhaps none; questions with {r}."""

    words: tuple[str, ...]
    units: tuple[str, ...]
    number: str
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    sort: str
    heads: tuple[str, ...]
    names: tuple[str, ...]
    measures: tuple[Measure, ...]


@cache
def topics() -> tuple[Topic, ...]:
    """All sorts of rows."""
    found: list[tuple[str, list[list[tuple[str, ...]]]]] = []
    for line in _TOPICS.strip().splitlines():
        sort, opens, rest = line.partition(": ")
        is_sort = bool(opens) and sort.isalpha() and sort.islower()
        parts = [tuple(word.strip() for word in part.split(";")) for part in (rest if is_sort else line).split("|")]
        if is_sort:
            found.append((sort, [parts]))
        else:
            found[-1][1].append(parts)
    return tuple(
        Topic(sort, heads, names, tuple(Measure(w, u, n[0], tuple(q for q in asked if q)) for w, u, n, asked in rows))
        for sort, ((heads, names), *rows) in found
    )


def row_name(kind: str, rng: random.Random) -> str:
    """A name of one kind."""
    return _NAMES[kind](rng)


def numbers(measure: Measure, count: int, rng: random.Random, thousands: str = ",") -> list[str]:
    """`count` cells of a measure, alike in size and form."""
    kind, *bounds = measure.number.split()
    if kind in ("person", "city", "room"):
        return [person(rng).replace(", ", " ") if kind == "person" else VALUES[kind].make(rng) for _ in range(count)]
    if kind == "thing":
        few = [rng.choice(_WORDS.things) for _ in range(6)]
        return [rng.choice(few) for _ in range(count)]
    if kind in _FEW:
        return [rng.choice(_FEW[kind]) for _ in range(count)]
    if kind == "year":
        return [str(rng.randrange(1870, 2026)) for _ in range(count)]
    if kind == "clock":
        return [f"{rng.randrange(24):02}:{rng.randrange(60):02}" for _ in range(count)]
    low, high = float(bounds[0]), float(bounds[1])
    # A column keeps to a part of what there may be.
    top = low + (high - low) * rng.choice((0.1, 0.3, 1.0))
    drawn = [rng.uniform(low, max(top, low + 3)) for _ in range(count)]
    if kind in ("i", "t"):
        return [f"{round(x):,}".replace(",", thousands) if kind == "t" else str(round(x)) for x in drawn]
    sign = "+" if kind[0] == "s" and rng.random() < 0.4 else ""
    return [f"{x:{sign}.{kind[1]}f}" for x in drawn]


def columns_of_time(rng: random.Random, count: int, people: bool) -> tuple[str, list[str], str]:
    """What the columns of a table by time or group are called together, their heads, and how a question puts one ({c}).

    people: whether it is people that are counted: they may be so by age.
    """
    draw = rng.randrange(8)
    if draw < 3:
        step, first = rng.choice((1, 1, 1, 2, 5, 10)), rng.randrange(1950, 2022)
        return "year", [str(first + step * i) for i in range(count)], "in {c}"
    if draw == 3:
        first = rng.randrange(12)
        short = rng.random() < 0.5
        return "month", [MONTHS[(first + i) % 12][: 3 if short else 9] for i in range(count)], "in {c}"
    if draw == 4:
        return "day", [day[: rng.choice((9, 9))] for day in DAYS[:count]], "on {c}"
    if draw == 5 and count <= 4:
        year = rng.choice(("", "", f" {rng.randrange(1990, 2026)}"))
        return "quarter", [f"Q{i + 1}{year}" for i in range(count)], "in {c}"
    if draw == 6 or not people:
        names = rng.choice(("Zone {}", "Group {}", "Plot {}", "Phase {}", "Area {}", "Class {}"))
        return (
            names.split()[0].lower(),
            [names.format(mark) for mark in "ABCDEFGH"[:count]],
            rng.choice(("in {c}", "for {c}")),
        )
    ages = [f"{10 * i + 10}–{10 * i + 19}" for i in range(count)]
    return "age", ages, rng.choice(("aged {c}", "in the age group {c}", "for ages {c}"))
