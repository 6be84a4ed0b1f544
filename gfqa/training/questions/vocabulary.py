"""Names and values for synthetic facts. Training and evaluation draw from different halves of every list."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_CITIES = """
Oslo Lima Cairo Hanoi Quito Accra Dakar Minsk Sofia Riga Tunis Amman Doha Baku Bern Turin Leeds Ghent Porto Malmo
Bergen Nantes Graz Lodz Bremen Kyoto Osaka Busan Pune Perth Hobart Dunedin Tampa Boise Omaha Fresno Tucson Regina
Halifax Leon Puebla Cusco Salta Cordoba Recife Natal Lagos Kumasi Harare Maputo Tampere Vilnius Tartu Odense Aarhus
Utrecht Bruges Lille Dijon Verona Parma Siena Murcia Bilbao Coimbra Faro Split Zadar Varna Plovdiv Izmir Konya
"""
_FIRST = """
Anna Boris Carla David Elena Farid Greta Hugo Ines Jonas Karin Leon Marta Nadia Oscar Paula Quentin Rosa Samir Tilda
Umar Vera Walter Xenia Yusuf Zoe Amara Bruno Chen Dalia Emil Fatima Goran Hana Igor Julia Kofi Lena Milan Nora Omar
Petra Rahul Sofia Tomas Ulla Viktor Wanda Yara Zoltan Aisha Bjorn Clara
"""
_LAST = """
Abbott Becker Castillo Dumont Eriksen Fischer Gupta Hansen Ivanov Jansen Kowalski Lindqvist Moreau Nakamura Okafor
Petrov Quinn Rossi Schmidt Tanaka Ueda Varga Weber Xu Yilmaz Zeller Almeida Bakker Cohen Delgado Evans Ferrari Garcia
Hughes Ito Jokinen Kaya Larsen Mbeki Novak Olsen Pereira Reyes Silva
"""
_ADJECTIVES = """
amber bitter calm daring eager faded gentle hollow icy jolly keen lucky mellow narrow orange proud quiet rapid silent
tidy urgent vivid wild young zesty ancient brisk crimson dusty electric frozen golden humble ivory jagged kind lively
misty noble olive purple rusty scarlet tender velvet woolen azure
"""
_NOUNS = """
falcon anchor lantern harbor meadow pebble comet willow copper thunder basket mirror canyon ribbon engine castle
garden marble feather tunnel orchid puzzle saddle timber valley window badger candle dragon ember forest glacier
hammer island jungle kettle ladder magnet needle oyster pillow quartz rocket sailor temple umbrella violin walnut yarn
zipper beacon cactus dolphin easel fountain goblet hornet igloo jacket kitten lizard mango nugget otter parrot quiver
raven
"""
_THINGS = """
router scheduler parser printer turbine sensor pump archive ledger vault gateway beacon locker satellite terminal
warehouse project account module reactor telescope printer elevator kiosk freezer conveyor shuttle drone furnace
boiler mixer scanner cabinet workshop studio clinic depot hangar
"""
_UNITS = ("ms", "seconds", "minutes", "kg", "km", "MB", "GB", "volts", "degrees", "pages", "litres", "percent")


def _half(words: str, held_out: bool) -> list[str]:
    unique = sorted(set(words.split()))
    return [word for i, word in enumerate(unique) if (i % 4 == 3) == held_out]


class Words:
    """One side of the vocabulary: `held_out` False for training (three quarters), True for evaluation."""

    def __init__(self, held_out: bool = False) -> None:
        self.held_out = held_out
        self.cities, self.first, self.last = (_half(words, held_out) for words in (_CITIES, _FIRST, _LAST))
        self.adjectives, self.nouns = _half(_ADJECTIVES, held_out), _half(_NOUNS, held_out)
        self.things = _half(_THINGS, held_out)

    def person(self, rng: random.Random) -> str:
        return f"{rng.choice(self.first)} {rng.choice(self.last)}"

    def key(self, rng: random.Random) -> str:
        """A name for a thing: words, identifiers, hexadecimal, dates, people; two formats are kept for evaluation."""
        a, n = rng.choice(self.adjectives), rng.choice(self.nouns)
        if self.held_out and rng.random() < 0.5:
            return rng.choice(
                (
                    f"{n.upper()}/{rng.randrange(10, 99)}",
                    f"#{a}{rng.randrange(100, 999)}",
                    f"{a}::{n}",
                    f"{n}~{rng.randrange(9)}",
                )
            )
        forms = (
            rng.choice(self.cities), self.person(rng), f"the {a} {n}", f"{a} {n}", f"{a}-{n}", f"{a}_{n}",
            f"{a}{n.title()}", f"{n.upper()}_{rng.randrange(100)}",
            f"{rng.getrandbits(32):08x}", f"0x{rng.getrandbits(24):06X}",
            f"{rng.randrange(1950, 2030)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
            f"{_letters(rng, 2)}-{rng.randrange(1000, 9999)}", f"{a.title()} {n.title()}",
            f"{rng.randrange(10_000, 999_999)}", f"room {rng.randrange(100, 999)}",
            f"{rng.choice(self.things)} {rng.randrange(1, 90)}", f"item {_letters(rng, 1)}{rng.randrange(10, 99)}",
            f"{n}.{a}", f"/{a}/{n}", f"{n}@{a}.org",
        )  # fmt: skip
        return rng.choice(forms)

    def value(self, rng: random.Random) -> str:
        """A value to be copied: digits, words, mixed."""
        a, n = rng.choice(self.adjectives), rng.choice(self.nouns)
        digits = rng.randrange(3, 9)
        forms = (
            str(rng.randrange(10 ** (digits - 1), 10**digits)), str(rng.randrange(10 ** (digits - 1), 10**digits)),
            f"{a} {n}", n, f"{a}-{n}-{rng.randrange(100)}",
            f"{_letters(rng, 3)}{rng.randrange(100, 999)}", f"{rng.getrandbits(28):07x}", self.person(rng),
            rng.choice(self.cities), f"{rng.random() * 100:.2f}",
            f"{rng.randrange(1, 999)} {rng.choice(_UNITS)}",
            f"{rng.randrange(1900, 2030)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
            f"{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}",
            f"{n}.{rng.choice(('txt', 'json', 'cfg', 'bin', 'log'))}",
            f"v{rng.randrange(10)}.{rng.randrange(30)}.{rng.randrange(30)}",
            f"{rng.randrange(24):02}:{rng.randrange(60):02}",
        )  # fmt: skip
        return rng.choice(forms)


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=count))


def distinct(make: Callable[[random.Random], str], rng: random.Random, count: int) -> list[str]:
    """`count` different strings from `make(rng)`, none containing another."""
    found: list[str] = []
    while len(found) < count:
        candidate = make(rng)
        if not any(candidate in other or other in candidate for other in found):
            found.append(candidate)
    return found


def split_templates(lines: Sequence[str], held_out: bool) -> list[str]:
    """Every fourth line for evaluation, the rest for training."""
    return [line for i, line in enumerate(lines) if (i % 4 == 3) == held_out]
