"""E4a: look-up in code never trained on: questions from the syntax tree, in wordings held out of training.

Beside it what a plain text search for the identifier finds.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfqa.errors import UsageError
from gfqa.evaluation.answerer import Answerer, Cited, Document
from gfqa.evaluation.scoring import f1, same_code
from gfqa.training.questions.code import repository_units
from gfqa.training.questions.units import Question, Unit

NEAR = 2
"""A citation is right about the line when it comes within this many lines of the fact."""


def choose(root: Path, tokens: int, answerer: Answerer, seed: int = 0) -> list[Unit]:
    """Files of a repository, drawn at random, of about `tokens` tokens, with their held-out questions.

    Names are unique in the whole repository, not only in what was drawn. UsageError where nothing can be asked.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder.", hint="Give the root of a repository.")
    units = list(repository_units(root, cap=40, files=10_000, held_out=True, seed=seed))
    # Workflow files are alike in all repositories, so they are not unseen.
    units = [unit for unit in units if not unit["path"].startswith(".github/")]
    random.Random(seed).shuffle(units)
    chosen, total = [], 0
    for unit in units:
        if total >= tokens:
            break
        chosen.append(unit)
        total += answerer.tokens(unit["text"])
    if not chosen:
        raise UsageError(f"{root} holds no file that questions can be made from.")
    return chosen


def look_up(answerer: Answerer, repository: Path, tokens: int = 20_000, limit: int | None = 400) -> dict[str, Any]:
    """Ask `limit` held-out questions of about `tokens` tokens of one repository.

    Figures in percent: accuracy (exact answer), f1, cited_file and cited_line (first citation), search_file and search_line
    (plain search for the identifier), find_file, find_line and find_line@5 (the first passage of the search by words; one of
    its first five), and accuracy by kind. A question for a file counts as right too if the file is
    cited first, because that is where the application shows it: `accuracy` leaves this out, `accuracy_or_cited` does not.
    """
    units = choose(repository, tokens, answerer)
    asked = [(unit, qa) for unit in units for qa in unit["qas"]]
    if limit is not None and limit < len(asked):
        asked = random.Random(1).sample(asked, limit)
    documents = [Document(unit["path"], unit["text"]) for unit in units]
    memory = answerer.read(documents)
    answers = answerer.answer(memory, [qa["q"] for _, qa in asked])
    totals: dict[str, float] = defaultdict(float)
    kinds: dict[str, list[bool]] = defaultdict(list)
    for (unit, qa), answer in zip(asked, answers, strict=True):
        right = same_code(answer.text, qa["a"])
        kinds[qa["kind"]].append(right)
        file, line = _cited(answer.citations[:1], unit["path"], qa["line"])
        found = answerer.find(memory, qa["q"], 5)
        found_file, found_line = _cited(found[:1], unit["path"], qa["line"])
        searched = search(documents, qa)
        totals["accuracy"] += right
        totals["accuracy_or_cited"] += right or (file and qa["a"][0] == unit["path"])
        totals["f1"] += f1(answer.text, qa["a"])
        totals["cited_file"] += file
        totals["cited_line"] += line
        totals["find_file"] += found_file
        totals["find_line"] += found_line
        totals["find_line@5"] += any(_cited([place], unit["path"], qa["line"])[1] for place in found)
        totals["search_file"] += searched is not None and searched[0] == unit["path"]
        totals["search_line"] += searched is not None and _near(searched, unit["path"], qa["line"])
    return {
        **{name: 100 * total / len(asked) for name, total in totals.items()},
        "by_kind": {
            kind: [round(100 * sum(found) / len(found), 1), len(found)] for kind, found in sorted(kinds.items())
        },
        "files": len(units),
        "tokens": sum(answerer.tokens(document.text) for document in documents),
        "n": len(asked),
    }


def _cited(places: Sequence[Cited], path: str, line: int) -> tuple[bool, bool]:
    """Whether the first place is in the right file, and near the right line."""
    if not places or places[0].path != path:
        return False, False
    first = places[0]
    if first.start_line is None or first.end_line is None:
        return True, False
    return True, first.start_line - NEAR <= line <= first.end_line + NEAR


def _near(found: tuple[str, int], path: str, line: int) -> bool:
    return found[0] == path and abs(found[1] - line) <= NEAR


def search(documents: Sequence[Document], qa: Question) -> tuple[str, int] | None:
    """Baseline: (path, line) of the first whole-word match, in path order, of the question's rarest identifier."""
    words = {word for name in qa["names"] for word in re.findall(r"[A-Za-z_$][\w$]*", name)}
    best: tuple[int, str, int] | None = None
    for word in sorted(words):
        pattern = re.compile(rf"(?<![\w$]){re.escape(word)}(?![\w$])")
        count, first = 0, None
        for document in sorted(documents, key=lambda document: document.path):
            matches = list(pattern.finditer(document.text))
            count += len(matches)
            if matches and first is None:
                first = (document.path, document.text.count("\n", 0, matches[0].start()) + 1)
        if first and (best is None or count < best[0]):
            best = (count, *first)
    return best[1:] if best else None
