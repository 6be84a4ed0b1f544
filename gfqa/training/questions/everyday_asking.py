"""Everyday facts of a repository become questions: each in several wordings, none that gives its answer away."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable

from gfqa.training.questions.everyday_phrasings import SCOPES, SCOPES_HELD
from gfqa.training.questions.everyday_words import bare, clue_names, leaks, loosen, many
from gfqa.training.questions.facts import Fact, FileFacts
from gfqa.training.questions.phrasings import Wording, say
from gfqa.training.questions.units import EVERYDAY_PREFIX, Question, question

WORDINGS = 3
"""So often at most is one fact asked in a file."""
_RARE_WORDINGS = 5
_RARE = frozenset(("sets", "name", "quantity", "quantity_default", "whether", "tells"))
_SPLIT_SHARE = 1 / 3
"""Questions that hold the words of the answer's name, at most this share of a file's."""

# Values that are everywhere: a reader may learn to say them unread.
_COMMON = {"None": 0.03, "null": 0.05, "nil": 0.05, "True": 0.3, "False": 0.3, "true": 0.3, "false": 0.3, "0": 0.5, "1": 0.5,
           "ValueError": 0.5, "TypeError": 0.5}  # fmt: skip
_WEIGHTS = {"does": 0.8, "gives": 0.8, "whether": 0.5, "says": 0.7, "thing": 0.7, "value": 1.6, "quantity": 2.5, "sets": 1.6,
            "default": 1.6, "quantity_default": 3.0, "error": 1.4}  # fmt: skip


def is_everyday(kind: str) -> bool:
    """Whether a kind is asked by what its subject is for, and not by its name."""
    return kind.startswith(EVERYDAY_PREFIX)


def _family(kind: str) -> str:
    return kind.removeprefix(EVERYDAY_PREFIX).removesuffix("_back")


def _key(kind: str, slots: dict[str, str]) -> tuple[str, ...]:
    """What is asked, whatever the order of its words: two facts with one key cannot be told apart."""
    said = " ".join(value for name, value in sorted(slots.items()) if name not in ("what", "s", "g"))
    return (_family(kind), *sorted(set(re.findall(r"\w{3,}", bare(said).lower())) - {"the", "and"}))


class Everyday:
    """The everyday facts of one repository, indexed so that words said of two things are seen."""

    def __init__(self, files: Iterable[FileFacts]) -> None:
        self._answers: dict[tuple[str, ...], set[tuple[str, str]]] = defaultdict(set)
        for file in files:
            for fact in file.facts:
                if is_everyday(fact.kind):
                    for slots in fact.names:
                        self._answers[_key(fact.kind, slots)].add((fact.path, fact.answers[0]))

    def ask(self, fact: Fact, text: str, rng: random.Random, *, wording: Wording = "training") -> Question | None:
        """One wording of a fact whose words are said of nothing else in the repository, else None."""
        free = [slots for slots in fact.names if len(self._answers[_key(fact.kind, slots)]) == 1]
        if not free:
            return None
        slots = free[0] if rng.random() < 0.8 else rng.choice(free)
        said = dict(slots)
        for name in ("n", "c", "q"):
            if name in slots:
                said[name] = loosen(bare(slots[name]) if name == "n" else slots[name], rng)
        if "d" in slots:
            seed = rng.random()  # the same synonyms in every form
            said |= {name: loosen(slots[name], random.Random(seed)) for name in "dsg" if name in slots}
        if _family(fact.kind) == "gives" and "what" in slots and rng.random() < 0.5:
            said["n"] = loosen(slots["n"], rng)
        asked = say(fact.kind, said, rng, wording=wording)
        if "n" in slots and many(said["n"]):
            asked = re.sub(rf"\b([Ww]hat|[Ww]here)(?:'s| is) the (?={re.escape(said['n'])})", r"\1 are the ", asked)
        if "in" in slots:
            form = rng.choice(SCOPES if wording == "training" else SCOPES_HELD)
            asked = form.replace("{in}", slots["in"]).replace(
                "{q}", (asked if asked[:2].isupper() else asked[:1].lower() + asked[1:]).rstrip("?. ")
            )
        leak = leaks(asked, fact.answers[0])
        if leak == "name":
            return None
        names = clue_names(" ".join(value for name, value in slots.items() if name not in ("what", "s", "g")), text)
        more = {"split": True} if leak == "split" else {}
        return question(asked, fact.answers, fact.kind, names=names, line=fact.line, **more)

    def questions(
        self, file: FileFacts, rng: random.Random, cap: int, *, kept_lines: int, wording: Wording = "training"
    ) -> list[Question]:
        """At most `cap` questions about one file: every fact once before one is asked again, rare kinds first."""
        usable = [fact for fact in file.facts if is_everyday(fact.kind) and fact.line <= kept_lines]
        count: dict[str, int] = defaultdict(int)
        for fact in usable:
            count[_family(fact.kind)] += 1

        def turn(fact: Fact) -> float:
            weight = _WEIGHTS.get(_family(fact.kind), 1.0) * _COMMON.get(fact.answers[0], 1.0)
            return float(rng.random() ** (count[_family(fact.kind)] ** 0.5 / weight))

        order = sorted(((turn(fact), i) for i, fact in enumerate(usable)), reverse=True)
        asked: dict[str, Question] = {}
        for round_ in range(_RARE_WORDINGS):
            for _, i in order:
                if round_ >= WORDINGS and _family(usable[i].kind) not in _RARE:
                    continue
                # What is common is not asked again and again.
                answer = usable[i].answers[0]
                if len(asked) < cap and not (answer in _COMMON and (round_ or rng.random() > 2 * _COMMON[answer])):
                    qa = self.ask(usable[i], file.text, rng, wording=wording)
                    if qa and qa["q"].lower() not in asked and (not qa.get("split") or self._room(asked.values())):
                        asked[qa["q"].lower()] = qa
        return list(asked.values())

    def _room(self, asked: Iterable[Question]) -> bool:
        """Whether one more question may hold the words of its answer's name."""
        marks = [bool(qa.get("split")) for qa in asked]
        return sum(marks) + 1 <= _SPLIT_SHARE * (len(marks) + 1)
