"""Facts found in a file, and how a repository's facts become questions with one answer.

A fact is a kind, the words that fill its template and the answer as it stands in the file. A name that occurs twice in a
repository with different answers is only asked about together with the file, or not at all.
"""

from __future__ import annotations

import posixpath
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gfqa.training.questions.phrasings import Wording, say
from gfqa.training.questions.units import EVERYDAY_PREFIX, Question, question

SHORTEST, LONGEST = 1, 160

# Relative share of each kind inside one file; 1 where nothing is said. Look-ups that need a pointer backwards are kept few.
WEIGHTS: Mapping[str, float] = {
    **dict.fromkeys(("imported_by", "where"), 0.15),
    **dict.fromkeys(("definition", "decorator", "doc_to_name", "method_of", "raised_by"), 0.3),
    **dict.fromkeys(("imports_from", "calls", "local", "keyword"), 0.6),
    **dict.fromkeys(("return_type", "attribute", "base_class"), 1.4),
    **dict.fromkeys(("docstring", "message", "param_default", "constant"), 2.5),
    **dict.fromkeys(("option_default", "option_help", "comment_value"), 3.0),
    **dict.fromkeys(("how", "default_of", "purpose"), 3.0),
    **dict.fromkeys(("with_what", "what_if", "asked", "asked_back", "what_is"), 1.5),
    "heading": 0.5,
}
# No more than this many of a kind from one file: every definition gives one of these.
_MOST: Mapping[str, int] = {
    "definition": 4,
    "where": 3,
    "imported_by": 1,
    "params": 9,
    "imports_from": 5,
    "doc_to_name": 3,
    "purpose": 6,
    "purpose_where": 2,
    "asked_back": 2,
}
# Answers so common that a model may learn to say them unread; asked about a third as often.
_COMMON_WORDS = 'None True False true false 0 1 str int bool string error void "" [] {}'
_COMMON = frozenset(_COMMON_WORDS.split())


_NAMES_A_VALUE = re.compile(
    r"(?:The )?(?:(?:\w+ )?(?:maximum|minimum|default|number|size|time|timeout|length|limit|path|name|amount|interval|version|"
    r"port|delay|threshold|rate|width|height|prefix|suffix|url|key|period|factor|range|list|set|color|seconds))\b",
    re.IGNORECASE,
)
"""Comments that can be asked as they stand: they begin with what the value is."""


@dataclass(frozen=True)
class Fact:
    """One look-up: `names` are ways to call the subject, best known first, each a full set of template slots."""

    kind: str
    names: tuple[dict[str, str], ...]
    answers: tuple[str, ...]
    line: int  # 1-based, where the answer stands
    path: str = ""


@dataclass
class FileFacts:
    """The facts of one file, in the order found."""

    path: str
    text: str
    facts: list[Fact] = field(default_factory=list)

    def add(self, kind: str, names: dict[str, str] | Iterable[dict[str, str]], answer: str | None, line: int) -> None:
        """Keep a fact if its answer is one short line standing in the text (or the path)."""
        if answer is None:
            return
        answer = answer.strip()
        options = (names,) if isinstance(names, dict) else tuple(names)
        fits = SHORTEST <= len(answer) <= LONGEST and "\n" not in answer
        if fits and options and (answer in self.text or answer == self.path):
            self.facts.append(Fact(kind, options, (answer,), line, self.path))


Finder = Callable[[str, str], FileFacts]


def _key(kind: str, slots: dict[str, str]) -> tuple[str, ...]:
    return (kind, *(slots[name] for name in sorted(slots) if name != "what"))


class Repository:
    """The facts of one repository, indexed so that ambiguous names are seen.

    `kept` maps each path to the number of its lines that the unit's text keeps; facts beyond are not asked.
    """

    def __init__(self, files: Iterable[FileFacts]) -> None:
        self.files = list(files)
        self._answers: dict[tuple[str, ...], set[tuple[str, str]]] = defaultdict(set)
        self._basenames: dict[str, int] = defaultdict(int)
        for file in self.files:
            self._basenames[posixpath.basename(file.path)] += 1
            for fact in file.facts:
                for slots in fact.names:
                    self._answers[_key(fact.kind, slots)].update((fact.path, answer) for answer in fact.answers)

    def ask(self, fact: Fact, rng: random.Random, *, wording: Wording = "training") -> Question | None:
        """A question whose answer is unique in the repository, or None. Names the file when it must, and sometimes when not."""
        free = [slots for slots in fact.names if len(self._answers[_key(fact.kind, slots)]) == 1]
        if free and rng.random() < 0.85:
            slots, file = rng.choice(free), None
        elif fact.kind in ("where", "imported_by", "purpose_where"):
            return None
        else:
            sets = ((slots, self._answers[_key(fact.kind, slots)]) for slots in fact.names)
            here = [slots for slots, found in sets if sum(path == fact.path for path, _ in found) == 1]
            if not here:
                return None
            slots, base = rng.choice(here), posixpath.basename(fact.path)
            file = base if self._basenames[base] == 1 and rng.random() < 0.6 else fact.path
        text = say(fact.kind, slots, rng, wording=wording, file=file)
        names = sorted({value for name, value in slots.items() if name != "what"} | ({file} if file else set()))
        return question(text, fact.answers, fact.kind, names=names, line=fact.line)

    def questions(
        self, file: FileFacts, rng: random.Random, cap: int, *, kept_lines: int, wording: Wording = "training"
    ) -> list[Question]:
        """At most `cap` questions about one file, spread over the kinds by WEIGHTS, no two with the same words."""
        # Everyday facts are asked by everyday_asking.
        named = (fact for fact in file.facts if not fact.kind.startswith(EVERYDAY_PREFIX))
        usable = [fact for fact in named if fact.line <= kept_lines]
        # Weighted sampling without replacement: the largest u^(1/w) first.
        count: dict[str, int] = defaultdict(int)
        for fact in usable:
            count[fact.kind] += 1

        def share(fact: Fact) -> float:
            common = 0.4 if fact.answers[0] in _COMMON else 1.0
            return float(common * WEIGHTS.get(fact.kind, 1.0) / count[fact.kind] ** 0.5)

        order = sorted(usable, key=lambda fact: rng.random() ** (1 / share(fact)), reverse=True)
        asked: dict[str, Question] = {}
        taken: dict[str, int] = defaultdict(int)
        for fact in order:
            if len(asked) >= cap:
                break
            if taken[fact.kind] >= _MOST.get(fact.kind, cap):
                continue
            qa = self.ask(fact, rng, wording=wording)
            if qa and qa["a"][0].lower() not in qa["q"].lower().split():
                asked.setdefault(qa["q"].lower(), qa)
                taken[fact.kind] += 1
        return list(asked.values())


def sentence_of(documentation: str | None) -> str | None:
    """The first sentence of a docstring or comment if it is complete on the first line, else None."""
    if not documentation:
        return None
    first, _, rest = documentation.strip().partition("\n")
    first = first.strip()
    match = re.match(r"(.{12,}?[.!])(?:\s|$)", first)
    if not match and rest[: rest.find("\n") if "\n" in rest else None].strip():
        return None  # goes on over the line end
    sentence = match.group(1) if match else first
    return sentence if 12 <= len(sentence) <= LONGEST and " " in sentence else None


def comment_words(line: str, mark: str) -> str | None:
    """What a one-line comment says in a few words, as somebody would ask for it; None for directives and long ones."""
    if not line.startswith(mark):
        return None
    words = line[len(mark) :].strip().rstrip(".:")
    if not re.fullmatch(r"[A-Z][a-z][\w ,'()/-]{10,80}", words) or not _NAMES_A_VALUE.match(words):
        return None
    return (words[0].lower() + words[1:]).removeprefix("the ")
