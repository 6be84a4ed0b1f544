"""Keys and values of made-up lists, of many kinds; among the keys some that differ from another in a character or a word.

No word of the vocabulary that is kept for the evaluation is used.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gfqa.training.questions.vocabulary import Words

_PLAIN = Words()
_HELD = Words(held_out=True)
_NEVER = {
    word.lower()
    for name in ("cities", "first", "last", "adjectives", "nouns", "things")
    for word in getattr(_HELD, name)
}


def listed(words: str) -> list[str]:
    """The words of a text."""
    return words.split()


MONTHS = listed("January February March April May June July August September October November December")
DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")


def _allowed(words: str) -> list[str]:
    return [word for word in sorted(set(words.split())) if word.lower() not in _NEVER]


_PARTS = _allowed("""
max min default timeout buffer cache retry count size limit delay host port user group mode level depth width height
rate queue batch worker thread page index token path file folder backup log debug color font theme locale interval
window offset speed volume gain batch quota lease ttl seed step alpha beta scale margin padding prefix suffix origin
target source sink input output start end first last total mean peak idle load memory disk network proxy session
cookie header body footer title label button menu panel field column row cell border shadow radius angle threshold
""")  # fmt: skip
_OBJECTS = _allowed("""
gate pump door valve lamp oven table chair desk shelf drawer cupboard bench ladder boiler tank pipe crane truck van
tractor trailer wagon ferry buoy pier jetty dock bridge tower chapel mill barn stable shed cellar attic hall kitchen
pantry stair corridor lobby court pitch field pond well fountain hedge orchard nursery greenhouse quarry mine kiln
press loom lathe drill saw anvil wheel clock bell organ piano drum flute violin cello harp globe atlas map ledger
folder letter parcel crate barrel sack bottle jar bowl plate cup spoon kettle pan tray basket rope chain cable hose
""")  # fmt: skip
_SORTS = _allowed("""
north south east west upper lower inner outer old new main side front back left right small large long short high low
first second third red blue green white black grey brown yellow heavy light wet dry cold warm spare shared public
private open closed daily weekly monthly annual early late round square narrow broad steep deep
""")  # fmt: skip
_STATES = listed("on off yes no true false enabled disabled open closed pending done ready failed none auto low high")
_VERBS = _allowed("check replace clean order call paint repair move return sell keep count weigh label lock empty wash")
_ONSETS = listed("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sk st t tr th v w z")
_VOWELS = listed("a e i o u ai ea ee ie oa ou")
_CODAS = listed("l m n r s t rd nd rk lt sk x ck ll ston by ham wick dal berg ria nia va ton")
_UNITS = {
    "duration": "ms,s,seconds,min,minutes,hours,days,weeks", "size": "KB,MB,GB,MiB,GiB,bytes",
    "length": "mm,cm,m,km,metres,inches", "weight": "g,kg,t,grams,tons", "power": "W,kW,MW", "voltage": "V,mV,kV",
    "temperature": "°C,K,degrees", "pressure": "bar,kPa,hPa", "volume": "ml,l,litres,m3", "speed": "km/h,m/s,rpm",
}  # fmt: skip


def coined(rng: random.Random) -> str:
    """A name that nobody has."""
    body = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 1, 2))))
    return (body + rng.choice(_CODAS)).capitalize()


def upper(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=count))


def person(rng: random.Random) -> str:
    first = rng.choice(_PLAIN.first)
    last = rng.choice(_PLAIN.last) if rng.random() < 0.6 else coined(rng)
    return rng.choice((f"{first} {last}",) * 6 + (f"{first[0]}. {last}", f"{last}, {first}", f"Dr {last}"))


def _two(rng: random.Random) -> str:
    return f"{rng.choice(_SORTS)} {rng.choice(_OBJECTS)}"


def _parts(rng: random.Random) -> list[str]:
    return rng.sample(_PARTS, rng.choice((1, 2, 2, 2, 3, 3)))


def _date(rng: random.Random, form: str = "") -> str:
    year, month, day = rng.randrange(1950, 2031), rng.randrange(1, 13), rng.randrange(1, 29)
    name = MONTHS[month - 1]
    forms = (
        f"{year}-{month:02}-{day:02}", f"{day} {name} {year}", f"{name} {day}, {year}", f"{day}.{month}.{year}",
        f"{day:02}/{month:02}/{year}", f"{name[:3]} {day}, {year}",
    )  # fmt: skip
    return forms[int(form)] if form else rng.choice(forms)


KEYS: dict[str, Callable[[random.Random], str]] = {
    "snake": lambda r: "_".join(_parts(r)),
    "camel": lambda r: (lambda p: p[0] + "".join(x.title() for x in p[1:]))(_parts(r)),
    "kebab": lambda r: "-".join(_parts(r)),
    "dotted": lambda r: ".".join([r.choice(_PARTS), *_parts(r)]),
    "constant": lambda r: "_".join(_parts(r)).upper(),
    "option": lambda r: "--" + "-".join(_parts(r)),
    "path": lambda r: "/" + "/".join([r.choice(_OBJECTS), *_parts(r)]),
    "file": lambda r: f"{r.choice(_OBJECTS)}_{r.choice(_PARTS)}.{r.choice(('txt', 'csv', 'png', 'yml', 'pdf', 'dat', 'c'))}",
    "word": lambda r: r.choice((_OBJECTS, _PLAIN.nouns, _PARTS)[r.randrange(3)]),
    "two words": _two,
    "three words": lambda r: f"{_two(r)} {r.choice(_PARTS)}",
    "title": lambda r: _two(r).title(),
    "coined": coined,
    "place": lambda r: f"{coined(r)} {r.choice(_OBJECTS).title()}",
    "person": person,
    "city": lambda r: r.choice(_PLAIN.cities) if r.random() < 0.5 else coined(r),
    "code": lambda r: f"{upper(r, 2)}-{r.randrange(100, 9999)}",
    "part number": lambda r: f"{upper(r, 2)}{r.randrange(10, 99)}-{r.randrange(1000, 9999)}-{upper(r, 1)}",
    "error": lambda r: f"{r.choice('EWXF')}{r.randrange(100, 9999)}",
    "number": lambda r: str(r.randrange(1000, 999_999)),
    "hex": lambda r: f"{r.getrandbits(32):08x}",
    "0x": lambda r: f"0x{r.getrandbits(20):05X}",
    "date": lambda r: _date(r, "0"),
    "day": lambda r: _date(r, "1"),
    "slot": lambda r: f"{r.choice(DAYS)} {r.randrange(6, 22)}:{r.choice(('00', '15', '30', '45'))}",
    "numbered": lambda r: f"{r.choice(_OBJECTS)} {r.randrange(1, 99)}",
    "lettered": lambda r: f"{r.choice(_OBJECTS)} {upper(r, 1)}{r.choice(('', str(r.randrange(1, 20))))}",
    "room": lambda r: f"room {r.randrange(1, 9)}.{r.randrange(10, 60)}",
    "mail": lambda r: f"{r.choice(_PLAIN.first).lower()}@{coined(r).lower()}.example",
    "host": lambda r: f"{r.choice(_OBJECTS)}{r.randrange(1, 60):02}.{coined(r).lower()}.example",
    "address": lambda r: f"10.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(1, 255)}",
    "route": lambda r: f"/{r.choice(('api', 'v1', 'v2', 'admin'))}/{r.choice(_OBJECTS)}s/{r.choice(_PARTS)}",
    "class": lambda r: "".join(x.title() for x in _parts(r)) + r.choice(("", "Error", "Service", "View")),
    "abbreviation": lambda r: upper(r, r.choice((3, 3, 4))),
}  # fmt: skip


@dataclass(frozen=True)
class ValueKind:
    """make: draws a value; nouns: what such a value is called."""

    make: Callable[[random.Random], str]
    nouns: tuple[str, ...]


def _measured(unit_kind: str) -> Callable[[random.Random], str]:
    units = _UNITS[unit_kind].split(",")

    def make(rng: random.Random) -> str:
        unit = rng.choice(units)
        number = str(rng.randrange(1, 900)) if rng.random() < 0.7 else f"{rng.uniform(0.1, 90):.1f}"
        return number + ("" if len(unit) < 3 and rng.random() < 0.5 else " ") + unit

    return make


def _phrase(rng: random.Random) -> str:
    forms = (
        f"{rng.choice(_VERBS)} the {_two(rng)}", f"{_two(rng)} beside the {rng.choice(_OBJECTS)}",
        f"{rng.choice(_VERBS)} it {rng.choice(('on', 'before', 'after'))} {rng.choice(DAYS)}",
        f"{_two(rng)} and {_two(rng)}",
    )  # fmt: skip
    return rng.choice(forms)


VALUES: dict[str, ValueKind] = {
    "small": ValueKind(lambda r: str(r.randrange(2, 100)), ("number", "count", "quantity", "level")),
    "number": ValueKind(lambda r: str(r.randrange(100, 100_000)), ("number", "total", "count", "id")),
    "thousands": ValueKind(lambda r: f"{r.randrange(1000, 9_000_000):,}", ("amount", "total", "figure")),
    "decimal": ValueKind(lambda r: f"{r.uniform(0, 100):.{r.randint(1, 3)}f}", ("reading", "figure", "ratio", "score")),
    "percent": ValueKind(lambda r: f"{r.randrange(1, 100)}{r.choice(('%', '%', ' percent'))}", ("share", "percentage")),
    "price": ValueKind(lambda r: f"{r.choice('$€£')}{r.randrange(1, 900)}.{r.randrange(100):02}", ("price", "cost")),
    **{kind: ValueKind(_measured(kind), (kind,)) for kind in _UNITS},
    "date": ValueKind(_date, ("date", "deadline", "due date")),
    "time": ValueKind(lambda r: f"{r.randrange(24):02}:{r.randrange(60):02}", ("time", "departure", "start time")),
    "hex": ValueKind(lambda r: f"{r.getrandbits(32):08x}", ("hash", "checksum", "id")),
    "address": ValueKind(lambda r: f"0x{r.getrandbits(24):06X}", ("address", "offset", "register")),
    "colour": ValueKind(lambda r: f"#{r.getrandbits(24):06x}", ("colour", "color code")),
    "version": ValueKind(lambda r: f"{r.choice(('', 'v'))}{r.randrange(9)}.{r.randrange(30)}.{r.randrange(30)}", ("version",)),
    "ip": ValueKind(lambda r: ".".join(str(r.randrange(1, 255)) for _ in range(4)), ("address", "IP address")),
    "path": ValueKind(lambda r: f"/{r.choice(('var', 'srv', 'opt'))}/{r.choice(_OBJECTS)}/{r.choice(_PARTS)}", ("path",)),
    "file": ValueKind(lambda r: f"{r.choice(_OBJECTS)}.{r.choice(('txt', 'json', 'bin', 'jpg'))}", ("file", "file name")),
    "word": ValueKind(lambda r: r.choice(r.choice((_OBJECTS, _PLAIN.nouns, _PLAIN.adjectives))), ("word", "name", "label")),
    "words": ValueKind(_two, ("name", "description", "entry")),
    "phrase": ValueKind(_phrase, ("note", "description", "remark", "task")),
    "coined": ValueKind(coined, ("name", "code name", "alias")),
    "person": ValueKind(person, ("contact", "owner", "person", "holder")),
    "city": ValueKind(lambda r: r.choice(_PLAIN.cities), ("city", "town", "destination")),
    "state": ValueKind(lambda r: r.choice(_STATES), ("state", "status", "setting")),
    "code": ValueKind(lambda r: f"{upper(r, r.randint(1, 3))}-{r.randrange(10, 9999)}", ("code", "reference", "part number")),
    "mail": ValueKind(lambda r: f"{r.choice(_PLAIN.last).lower()}@{coined(r).lower()}.example", ("mail address", "email")),
    "phone": ValueKind(lambda r: f"{r.randrange(200, 999)}-{r.randrange(1000, 9999)}", ("phone number", "number")),
    "extension": ValueKind(lambda r: str(r.randrange(1000, 9999)), ("extension", "pin", "locker")),
    "room": ValueKind(lambda r: f"{r.choice(('room ', 'R', 'hall ', ''))}{r.randrange(1, 9)}{r.randrange(10, 60)}", ("room",)),
}  # fmt: skip


def folded(key: str) -> str:
    """What two keys must differ in: letters and digits, whatever their case."""
    return re.sub(r"[\W_]", "", key).casefold()


_PERSON = re.compile(r"(Dr|[A-Z]\.|" + "|".join(_PLAIN.first) + r") |[A-Z][a-z]+, ")
_ENDED = re.compile(r"[ _.-](\d|[A-Z]|new|old|next|main)$")


def alike(key: str, rng: random.Random) -> str:
    """A key that one could take for `key`: another digit, letter or word, or a little more at its end."""
    draw = rng.random()
    if _PERSON.match(key):
        names = [word for word in re.findall(r"[A-Z][a-z]+", key) if word != "Dr"]
        old = rng.choice(names)
        return key.replace(old, _like(old, rng), 1)
    digits = [i for i, character in enumerate(key) if character.isdigit() and not key.startswith("0x", i)]
    if digits and draw < 0.75:
        i = rng.choice(digits)
        return key[:i] + rng.choice([d for d in "123456789" if d != key[i]]) + key[i + 1 :]
    pieces = re.findall(r"[A-Za-z]{3,}", key)
    if len(pieces) > 1 and draw < 0.8:
        old = rng.choice(pieces)
        return key.replace(old, _like(old, rng), 1)
    capitals = [i for i, character in enumerate(key) if character.isupper()]
    if len(capitals) > 1 and key.upper() == key and draw < 0.9:
        i = rng.choice(capitals)
        return key[:i] + upper(rng, 1) + key[i + 1 :]
    if draw < 0.9 and len(pieces) == 1:
        i = rng.randrange(len(key))
        other = rng.choice("aeiou") if key[i] in "aeiou" else rng.choice("bdgklmnprst")
        return key[:i] + other + key[i + 1 :] if key[i].islower() else key + rng.choice("abn")
    key = _ENDED.sub("", key)
    joint = next((mark for mark in "_-. " if mark in key), "_" if key.islower() else " ")
    return (
        key + joint + rng.choice((str(rng.randrange(2, 10)), upper(rng, 1), rng.choice(("new", "old", "next", "main"))))
    )


def _like(word: str, rng: random.Random) -> str:
    """Another word, of the same sort where it is a first or a last name, in the same letters, small or capital."""
    for names in (_PLAIN.first, _PLAIN.last):
        if word in names:
            return rng.choice(names)
    new = rng.choice(_SORTS if word.lower() in _SORTS else _OBJECTS if word.lower() in _OBJECTS else _PARTS)
    if word[0].isupper() and word.lower() not in (*_SORTS, *_OBJECTS, *_PARTS) and not word.isupper():
        return coined(rng)
    return new.upper() if word.isupper() else new.title() if word[0].isupper() else new


def keys(kinds: Sequence[str], count: int, alike_share: float, rng: random.Random) -> list[str]:
    """At most `count` keys of these kinds, in random order, no two the same but for case and punctuation."""
    found: list[str] = []
    seen: set[str] = set()
    for _ in range(count * 6):
        if len(found) == count:
            break
        near = found and rng.random() < alike_share
        key = alike(rng.choice(found[-6:]), rng) if near else KEYS[rng.choice(kinds)](rng)
        if folded(key) not in seen:
            seen.add(folded(key))
            found.append(key)
    # Those that look alike stand together in half of the lists only.
    if rng.random() < 0.5:
        rng.shuffle(found)
    return found


def values(kinds: Sequence[str], count: int, again: float, rng: random.Random) -> list[tuple[str, str]]:
    """`count` values with their kinds, of which a share `again` was a value before."""
    found: list[tuple[str, str]] = []
    for _ in range(count):
        if found and rng.random() < again:
            found.append(rng.choice(found))
        else:
            kind = rng.choice(kinds)
            found.append((VALUES[kind].make(rng), kind))
    return found
