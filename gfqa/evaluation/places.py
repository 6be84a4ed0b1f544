"""Places in code: whether a citation is right, what a plain search finds, which other files fill a cache."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from gfqa.errors import UsageError
from gfqa.evaluation.answerer import Answerer, Cited, Document
from gfqa.training.questions.code import read_repository
from gfqa.training.questions.facts import FileFacts

NEAR = 2
"""A citation is right about the line when it comes within this many lines of the fact."""


def right_place(places: Sequence[Cited], path: str, line: int) -> tuple[bool, bool]:
    """Whether the first place is in the right file, and near the right line."""
    if not places or places[0].path != path:
        return False, False
    first = places[0]
    if first.start_line is None or first.end_line is None:
        return True, False
    return True, first.start_line - NEAR <= line <= first.end_line + NEAR


def near(found: tuple[str, int] | None, path: str, line: int) -> bool:
    """Whether a found (path, line) is near the fact."""
    return found is not None and found[0] == path and abs(found[1] - line) <= NEAR


def search(documents: Sequence[Document], names: Iterable[str]) -> tuple[str, int] | None:
    """Baseline: (path, line) of the first whole-word match, in path order, of the rarest identifier in `names`."""
    words = {word for name in names for word in re.findall(r"[A-Za-z_$][\w$]*", name)}
    in_order = sorted(documents, key=lambda document: document.path)
    best: tuple[int, str, int] | None = None
    for word in sorted(words):
        pattern = re.compile(rf"(?<![\w$]){re.escape(word)}(?![\w$])")
        count, first = 0, None
        for document in in_order:
            if word not in document.text:
                continue
            matches = list(pattern.finditer(document.text))
            count += len(matches)
            if matches and first is None:
                first = (document.path, document.text.count("\n", 0, matches[0].start()) + 1)
        if first and (best is None or count < best[0]):
            best = (count, *first)
    return best[1:] if best else None


def other_code(roots: Sequence[Path], tokens: int, answerer: Answerer, seed: int = 0) -> list[FileFacts]:
    """Files of other repositories, drawn at random, of about `tokens` tokens; their paths begin with the folder's name.

    UsageError for a root that is no folder.
    """
    found: list[FileFacts] = []
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder.", hint="Give the root of a repository.")
        for file in read_repository(root, files=10_000, seed=seed):
            path = f"{root.name}/{file.path}"
            found.append(FileFacts(path, file.text, [replace(fact, path=path) for fact in file.facts]))
    random.Random(seed).shuffle(found)
    chosen, total = [], 0
    for file in found:
        if total >= tokens:
            break
        chosen.append(file)
        total += answerer.tokens(file.text)
    return chosen
