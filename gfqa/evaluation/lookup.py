"""E4a: look-up in code never trained on: questions from the syntax tree, in wordings held out of training.

Beside it what a plain text search for the identifier finds, and BM25 over the files where its library is installed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfqa.errors import UsageError
from gfqa.evaluation import bm25
from gfqa.evaluation.answerer import Answerer, Document, told
from gfqa.evaluation.places import near, other_code, right_place, search
from gfqa.evaluation.scoring import f1, same_code
from gfqa.training.questions.code import read_repository, units_of
from gfqa.training.questions.phrasings import Wording
from gfqa.training.questions.units import Unit


def choose(
    root: Path,
    tokens: int,
    answerer: Answerer,
    seed: int = 0,
    haystack: Sequence[Path] = (),
    wording: Wording = "held",
) -> tuple[list[Unit], list[Document]]:
    """(files of a repository with their held-out questions, files of other code): about `tokens` tokens in all.

    The repository's files are drawn at random; only where it has too few do those of `haystack` fill up. Names are unique
    in the whole repository and that other code, not only in what was drawn. UsageError where nothing can be asked.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder.", hint="Give the root of a repository.")
    found = read_repository(root, files=10_000, seed=seed)
    paths = {file.path for file in found}
    room = tokens - sum(answerer.tokens(file.text) for file in found) if haystack else 0
    others = other_code(haystack, room, answerer, seed) if room > 0 else []
    group = root.name.replace("__", "/")
    made = units_of("code", group, [*found, *others], cap=40, wording=wording, seed=seed)
    # Workflow files are alike in all repositories, so they are not unseen.
    units = [unit for unit in made if unit["path"] in paths and not unit["path"].startswith(".github/")]
    random.Random(seed).shuffle(units)
    chosen, total = [], 0
    for unit in units:
        if total >= tokens:
            break
        chosen.append(unit)
        total += answerer.tokens(unit["text"])
    if not chosen:
        raise UsageError(f"{root} holds no file that questions can be made from.")
    return chosen, [Document(file.path, file.text) for file in others]


def look_up(
    answerer: Answerer,
    repository: Path,
    tokens: int = 20_000,
    limit: int | None = 400,
    haystack: Sequence[Path] = (),
    wording: Wording = "held",
) -> dict[str, Any]:
    """Ask `limit` held-out questions of about `tokens` tokens of one repository, filled up with code of `haystack`.

    Figures in percent: accuracy (exact answer), f1, cited_file and cited_line (first citation), search_file and search_line
    (plain search for the identifier), bm25_file, find_file, find_line and find_line@5 (the first passage of the search by
    words; one of its first five), and accuracy by kind. A question for a file counts as right too if the file is cited
    first, because that is where the application shows it: `accuracy` leaves this out, `accuracy_or_cited` does not. answers
    as `told`.
    """
    units, others = choose(repository, tokens, answerer, haystack=haystack, wording=wording)
    asked = [(unit, qa) for unit in units for qa in unit["qas"]]
    if limit is not None and limit < len(asked):
        asked = random.Random(1).sample(asked, limit)
    documents = [*(Document(unit["path"], unit["text"]) for unit in units), *others]
    memory = answerer.read(documents)
    answers = answerer.answer(memory, [qa["q"] for _, qa in asked])
    totals: dict[str, float] = defaultdict(float)
    kinds: dict[str, list[bool]] = defaultdict(list)
    said = {}
    for (unit, qa), answer in zip(asked, answers, strict=True):
        path, line = unit["path"], qa["line"]
        right = same_code(answer.text, qa["a"])
        said[qa["q"]] = told(answer.text, right, answer.citations, qa["a"])
        kinds[qa["kind"]].append(right)
        file, there = right_place(answer.citations[:1], path, line)
        found = answerer.find(memory, qa["q"], 5)
        found_file, found_line = right_place(found[:1], path, line)
        searched = search(documents, qa["names"])
        totals["accuracy"] += right
        totals["accuracy_or_cited"] += right or (file and qa["a"][0] == path)
        totals["f1"] += f1(answer.text, qa["a"])
        totals["cited_file"] += file
        totals["cited_line"] += there
        totals["find_file"] += found_file
        totals["find_line"] += found_line
        totals["find_line@5"] += any(right_place([place], path, line)[1] for place in found)
        totals["search_file"] += searched is not None and searched[0] == path
        totals["search_line"] += near(searched, path, line)
    if bm25.installed():
        rows = bm25.rank([document.text for document in documents], [qa["q"] for _, qa in asked], 1)
        totals["bm25_file"] += sum(documents[row[0]].path == unit["path"] for row, (unit, _) in zip(rows, asked))
    return {
        **{name: 100 * total / len(asked) for name, total in totals.items()},
        "by_kind": {
            kind: [round(100 * sum(found) / len(found), 1), len(found)] for kind, found in sorted(kinds.items())
        },
        "answers": said,
        "files": len(documents),
        "tokens": sum(answerer.tokens(document.text) for document in documents),
        "n": len(asked),
    }
