"""Leak check: does anything the evaluation asks or reads stand in the training data?

`python -m gfqa.training.leaks --train DIR [DIR...] --ready DIR --repos DIR` compares every training text and question with
the evaluation's: questions exactly, after normalisation; contexts by the hashes of their shingles (runs of WORDS words).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gfqa.training.questions.units import read_jsonl

WORDS = 12
"""A shingle: so many words in a row, twelve rarely coincide by chance."""
SHARE = 0.3
"""A document of which this share of shingles is in a training text counts as a near-duplicate."""
LEAST = 8
"""Documents with fewer shingles say nothing."""
_BOILERPLATE = 3
"""A shingle in this many evaluation documents is a licence header or the like."""

ARTICLE_SETS = frozenset({"squad", "fairytaleqa", "covidqa"})
"""Question sets whose groups are articles: paragraphs of one article tell each other's answers."""

_SHARED = re.compile(r"(^|/)(\.github|\.git|LICEN[CS]E|COPYING|NOTICE)", re.IGNORECASE)
"""Files that repositories share by nature: licences and workflow templates. The evaluation asks nothing about them."""

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The words of a text, lower case."""
    return _WORD.findall(text.lower())


def shingles(text: str, step: int = 1) -> Iterator[int]:
    """Hashes of every `step`-th run of WORDS words, 64 bit."""
    words = words_of(text)
    for start in range(0, len(words) - WORDS + 1, step):
        digest = hashlib.blake2b(" ".join(words[start : start + WORDS]).encode(), digest_size=8).digest()
        yield int.from_bytes(digest, "little")


@dataclass
class Held:
    """What must not be trained on: shingles of evaluation documents, and normalised questions."""

    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    owners: dict[int, list[int]] = field(default_factory=dict)
    questions: set[str] = field(default_factory=set)

    def add_document(self, name: str, text: str) -> None:
        """Every shingle: training texts are compared at every WORDS-th position, so no shift is missed."""
        number, found = len(self.names), set(shingles(text))
        self.names.append(name)
        self.sizes.append(len(found) // WORDS)
        for value in found:
            self.owners.setdefault(value, []).append(number)

    def add_question(self, question: str) -> None:
        words = words_of(question)
        if len(words) >= 5:  # shorter ones are the same by chance
            self.questions.add(" ".join(words))

    def matches(self, text: str) -> list[str]:
        """Names of evaluation documents of which SHARE of the shingles stand in `text`."""
        hits: Counter[int] = Counter()
        for value in set(shingles(text, WORDS)):
            owners = self.owners.get(value, ())
            if len(owners) < _BOILERPLATE:
                hits.update(owners)
        return [self.names[i] for i, n in hits.items() if self.sizes[i] >= LEAST and n >= SHARE * self.sizes[i]]

    def asks(self, question: str) -> bool:
        """Whether the evaluation asks this very question."""
        return " ".join(words_of(question)) in self.questions


def held_out(ready: Path | None, repositories: Path | None) -> Held:
    """The evaluation's documents and questions: published sets kept for it, and the repositories never trained on."""
    held = Held()
    for name in ("squad-1.1-dev", "squad-2.0-dev", "fairytaleqa-val"):
        path = ready / f"{name}.jsonl.xz" if ready else None
        if path is None or not path.is_file():
            continue
        for document in read_jsonl(path):
            for i, paragraph in enumerate(document["paragraphs"]):
                held.add_document(f"{name}:{document['title']}:{i}", paragraph["context"])
                for qa in paragraph["qas"]:
                    held.add_question(qa["question"])
    if repositories is not None:
        for file in sorted(repositories.rglob("*")):
            name = file.relative_to(repositories).as_posix()
            usable = file.is_file() and not file.is_symlink() and file.stat().st_size < 1_000_000
            if usable and not _SHARED.search(name):
                held.add_document(name, file.read_bytes().decode("utf-8", "ignore"))
    return held


def without_leaks(records: Iterable[dict[str, Any]], held: Held) -> tuple[list[dict[str, Any]], list[str], int]:
    """Question units that may be trained on, what was dropped ("group/path has document"), questions dropped.

    An article goes as a whole when one of its paragraphs is the evaluation's; questions that the evaluation asks go alone.
    """
    found = [(record, held.matches(record["text"])) for record in records]
    dropped = [f"{record['group']}/{record['path']} has {names[0]}" for record, names in found if names]
    articles = {record["group"] for record, names in found if names and record["set"] in ARTICLE_SETS}
    kept, unasked = [], 0
    for record, names in found:
        if names or (record["set"] in ARTICLE_SETS and record["group"] in articles):
            continue
        qas = [qa for qa in record["qas"] if not held.asks(qa["q"])]
        unasked += len(record["qas"]) - len(qas)
        kept.append({**record, "qas": qas})
    return kept, dropped, unasked


def check(held: Held, files: Iterable[Path]) -> dict[str, object]:
    """Counts and examples of leaks in units and corpus shards (.jsonl, .jsonl.xz)."""
    texts = questions = 0
    documents: Counter[str] = Counter()
    asked: list[str] = []
    examples: list[str] = []
    for path in files:
        for record in read_jsonl(path):
            texts += 1
            for name in held.matches(record["text"]):
                documents[name] += 1
                examples.append(f"{path.name}: {record.get('group', record.get('source'))}/{record['path']} has {name}")
            for qa in record.get("qas", ()):
                questions += 1
                if held.asks(qa["q"]):
                    asked.append(f"{path.name}: {qa['q']}")
    return {
        "texts": texts,
        "questions": questions,
        "held_documents": len(held.names),
        "held_questions": len(held.questions),
        "leaked_documents": len(documents),
        "leaking_texts": sum(documents.values()),
        "leaked_questions": len(asked),
        "examples": examples[:20] + asked[:20],
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the counts as JSON; exit 1 if an evaluation document stands in the training data."""
    parser = argparse.ArgumentParser(prog="gfqa.training.leaks", description=__doc__)
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="folders of units and corpus shards")
    parser.add_argument("--ready", type=Path, help="folder with the published sets")
    parser.add_argument("--repos", type=Path, help="folder of the repositories kept for evaluation")
    options = parser.parse_args(arguments)
    files = [path for folder in options.train for path in sorted(folder.glob("*.jsonl*")) if path.suffix != ".tmp"]
    report = check(held_out(options.ready, options.repos), files)
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return int(bool(report["leaked_documents"]))


if __name__ == "__main__":
    sys.exit(main())
