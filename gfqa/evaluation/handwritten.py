"""E4b: questions written by hand in users' words about four repositories never trained on; one in five has no answer.

data/handwritten.jsonl holds them with the accepted answers, the places that say so (file:line) and the commit they are of. The
measure is encode/httpx and pallets/click; settings are chosen on psf/requests and pallets/flask.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gfqa.documents import Found, Skipped, open_source
from gfqa.errors import UsageError
from gfqa.evaluation import bm25
from gfqa.evaluation.answerer import Answered, Answerer, Cited, Document
from gfqa.evaluation.places import near, other_code, right_place, search
from gfqa.evaluation.scoring import auroc, exact_match, f1, normalise, same_code
from gfqa.training.questions.units import read_jsonl

QUESTIONS = Path(__file__).parent / "data" / "handwritten.jsonl"

Places = list[tuple[str, int]]


def questions(repository: str | None = None) -> list[dict[str, Any]]:
    """The questions of one repository ("owner/name"), or all; `places` as (path, line) pairs."""
    asked = []
    for record in read_jsonl(QUESTIONS):
        if repository in (None, record["repo"]):
            places = [place.rpartition(":") for place in record["places"]]
            asked.append({**record, "places": [(path, int(line)) for path, _, line in places]})
    return asked


def handwritten(
    answerer: Answerer, root: Path, tokens: int = 20_000, limit: int | None = None, haystack: Sequence[Path] = ()
) -> dict[str, Any]:
    """Ask the questions about the checkout `root` ("…/owner__name") over about `tokens` tokens of it and of `haystack`.

    The files that answer are always in the cache, however many tokens they have. Figures in percent, over the questions
    that have an answer: accuracy (exactly an accepted answer), contains (one stands in what was said), f1, cited_file and
    cited_line (first citation), cited_line@3, the passage search's find_file, find_line, find_line@5, and the baselines
    search_file, search_line (plain search for the rarest word of the question) and bm25_file. Over all: auroc of the score,
    and absent_silent, how often nothing was said where nothing is to be said; answers: what was said to each
    question, the verdict and the first citation. UsageError for a repository without questions, or not at their commit.
    """
    name = root.name.replace("__", "/")
    asked = questions(name)
    if not asked:
        known = ", ".join(sorted({record["repo"].replace("/", "__") for record in questions()}))
        raise UsageError(f"There are no handwritten questions about {root.name}.", hint=f"--repo FOLDER/{known}")
    documents = _documents(root, asked, tokens, answerer, haystack)
    asked = _sample(asked, limit)
    memory = answerer.read(documents)
    answers = answerer.answer(memory, [record["q"] for record in asked])
    totals: dict[str, float] = defaultdict(float)
    kinds: dict[str, list[bool]] = defaultdict(list)
    present = [(record, answer) for record, answer in zip(asked, answers, strict=True) if record["a"]]
    for record, answer in present:
        found = answerer.find(memory, record["q"], 5)
        kinds[record["kind"]].append(is_right(answer.text, record["a"]))
        for figure, value in _judged(record, answer, found, search(documents, [record["q"]])).items():
            totals[figure] += value
    if bm25.installed():
        rows = bm25.rank([document.text for document in documents], [record["q"] for record, _ in present], 1)
        totals["bm25_file"] += sum(
            documents[row[0]].path in {path for path, _ in record["places"]}
            for row, (record, _) in zip(rows, present, strict=True)
        )
    silent = [not answer.text for record, answer in zip(asked, answers, strict=True) if not record["a"]]
    return {
        **{figure: 100 * total / max(1, len(present)) for figure, total in totals.items()},
        "auroc": auroc([answer.score for answer in answers], [bool(record["a"]) for record in asked]),
        "absent_silent": 100 * sum(silent) / max(1, len(silent)),
        "by_kind": {
            kind: [round(100 * sum(right) / len(right), 1), len(right)] for kind, right in sorted(kinds.items())
        },
        "files": len(documents),
        "tokens": sum(answerer.tokens(document.text) for document in documents),
        "answers": {
            record["q"]: [
                answer.text,
                _verdict(record, answer),
                *(f"{c.path}:{c.start_line}" for c in answer.citations[:1]),
            ]
            for record, answer in zip(asked, answers, strict=True)
        },
        "commit": asked[0]["commit"],
        "n": len(present),
        "n_absent": len(silent),
    }


def _sample(asked: list[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    """`limit` of the questions, with and without an answer in proportion."""
    if limit is None or limit >= len(asked):
        return asked
    present, absent = ([record for record in asked if bool(record["a"]) is has] for has in (True, False))
    count = min(max(1, round(limit * len(absent) / len(asked))), len(absent))
    rng = random.Random(1)
    return [*rng.sample(present, limit - count), *rng.sample(absent, count)]


def is_right(text: str, accepted: Sequence[str]) -> bool:
    """Whether an answer is one of those accepted, as code or after SQuAD's normalisation."""
    return same_code(text, accepted) or (bool(normalise(text)) and exact_match(text, accepted) == 1.0)


def _verdict(record: dict[str, Any], answer: Answered) -> str:
    if not answer.text:
        return "silent" if record["a"] else "rightly silent"
    return "right" if is_right(answer.text, record["a"]) else "wrong"


def _judged(
    record: dict[str, Any], answer: Answered, found: Sequence[Cited], searched: tuple[str, int] | None
) -> dict[str, float]:
    places: Places = record["places"]
    words = f" {normalise(answer.text)} "
    file, line = _right(answer.citations[:1], places)
    found_file, found_line = _right(found[:1], places)
    return {
        "accuracy": is_right(answer.text, record["a"]),
        "contains": any(f" {normalise(accepted)} " in words for accepted in record["a"] if normalise(accepted)),
        "f1": f1(answer.text, record["a"]),
        "cited_file": file,
        "cited_line": line,
        "cited_line@3": any(_right([place], places)[1] for place in answer.citations[:3]),
        "find_file": found_file,
        "find_line": found_line,
        "find_line@5": any(_right([place], places)[1] for place in found),
        "search_file": searched is not None and searched[0] in {path for path, _ in places},
        "search_line": any(near(searched, path, line) for path, line in places),
    }


def _right(cited: Sequence[Cited], places: Places) -> tuple[bool, bool]:
    """Whether the first place is in a file that says it, and near a line that says it."""
    judged = [right_place(cited, path, line) for path, line in places]
    return any(file for file, _ in judged), any(line for _, line in judged)


def _documents(
    root: Path, asked: Sequence[dict[str, Any]], tokens: int, answerer: Answerer, haystack: Sequence[Path]
) -> list[Document]:
    """The files that answer, then others of the repository in random order, then other code, up to `tokens`."""
    source = open_source(root)
    read = [source.read(item) for item in source.scan() if isinstance(item, Found)]
    texts = {document.path: document.text for document in read if not isinstance(document, Skipped)}
    needed: set[str] = set()
    for record in asked:
        for path, line in record["places"]:
            if path not in texts or texts[path].count("\n") + 1 < line:
                raise UsageError(
                    f"{root} has no line {line} of {path}, which a question refers to.",
                    hint=f"Check out commit {asked[0]['commit']} there.",
                )
        # The first place is where it is decided; the others, documentation mostly, say it too.
        needed.update(path for path, _ in record["places"][:1])
    others = sorted(texts.keys() - needed)
    random.Random(0).shuffle(others)
    chosen, total = [], 0
    for path in [*sorted(needed), *others]:
        if path in needed or total < tokens:
            chosen.append(Document(path, texts[path]))
            total += answerer.tokens(texts[path])
    filling = other_code(haystack, tokens - total, answerer) if haystack and total < tokens else []
    return [*chosen, *(Document(file.path, file.text) for file in filling)]
