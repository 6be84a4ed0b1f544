"""How likely a passage answers: both looks of the model and the words of the passage, weighed together.

It decides whether a second look answers (`gfqa.pointing`); a first look that answers alone is scored by the model's own
probability. The weights belong to a model: `score.json` in its folder holds them (`gfqa.evaluation.calibrate` fits them); a
model without one has those of the first reader. Torch-free.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from gfqa.errors import ModelError

SCORE = "score.json"
HOPE = 0.99
"""A passage is not worth reading again where even this probability of an answer would not make one likely."""
_FLOOR = 1e-4
_LARGEST = 4096
"""Bytes of a score.json."""


@dataclass(frozen=True)
class Confidence:
    """A logistic fit. first, again, coverage, attention, constant: weights of what `of` takes; found: an answer less likely
    than this is not given; sure: where one is as likely as this no further passages are looked at; unknown, repeated: what
    an unknown name, and an answer that only repeats the question, take from the log odds.

    The defaults were fitted on 488 questions of the training side, half of whose documents were left out (articles,
    repositories, single paragraphs), while the second look still wrote its answers; `found` was chosen on fifty handwritten
    questions about psf/requests and pallets/flask. A reader with a pointer needs weights of its own.
    """

    first: float = 0.148
    again: float = 0.299
    coverage: float = 5.349
    constant: float = -4.219
    found: float = 0.08
    sure: float = 0.25
    unknown: float = 2.0
    attention: float = 0.0
    repeated: float = 2.0

    def of(
        self,
        first: float,
        again: float,
        coverage: float,
        unknown: bool = False,
        attention: float = 0.0,
        repeated: bool = False,
    ) -> float:
        """Probability 0..1 that a passage answers the question.

        first, again: the model's own probability of an answer, over everything at first sight and, by the pointer, in the
        passage read again with the question; coverage: the share of the question's words, by weight, that the passage or its
        path holds; unknown: whether a name of the question stands in no document; attention: what the first look's attention
        says of the passage (`Ranking.attention`); repeated: whether the answer's words are the question's, which asks
        for an amount. How sure the pointer is of its span is left out: it helps with questions as training asks them, and
        misleads with those in a user's own words, where many spans would do.
        """
        odds = self.constant + self.first * log_odds(first) + self.again * log_odds(again) + self.coverage * coverage
        odds += self.attention * attention - self.unknown * unknown - self.repeated * repeated
        return 1 / (1 + math.exp(-min(max(odds, -500.0), 500.0)))

    @classmethod
    def load(cls, folder: Path) -> Confidence:
        """The weights of a model folder, the defaults where it has none; ModelError for a file that cannot be used."""
        path = folder / SCORE
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise ModelError(f"Cannot read {path}: {error.strerror}.") from None
        try:
            values = json.loads(raw) if len(raw) <= _LARGEST else None
        except (ValueError, RecursionError):
            values = None
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or not set(values) <= names or not all(map(_is_number, values.values())):
            raise ModelError(
                f"{path} does not hold the weights of a score.", hint=f"Numbers: {', '.join(sorted(names))}."
            )
        return cls(**{name: float(value) for name, value in values.items()})

    def to_json(self) -> str:
        """What a `score.json` of these weights holds."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def log_odds(probability: float) -> float:
    """log(p / (1 - p)), held where p is next to 0 or 1."""
    return math.log((probability + _FLOOR) / (1 - probability + _FLOOR))
