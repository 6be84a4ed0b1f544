"""Question sets (units as JSONL.xz) to unit packs: tokenised, every question with the place where it is answered.

Texts are not kept: ids give them back. Questions that name something get the numbers of documents of their own group that
mention the name too, so that training can put them beside the one that answers.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gfqa.errors import UsageError
from gfqa.tokenizer import load_tokenizer
from gfqa.training.leaks import Held, without_leaks
from gfqa.training.packs import write_pack
from gfqa.training.pool import unit_of
from gfqa.training.questions.units import read_jsonl

MOST_USERS = 5
"""Documents kept of those that mention a name."""


def pack_units(
    questions: Path,
    tokenizer: Path,
    held: Held,
    out: Path,
    show: Callable[[dict[str, Any]], None] = lambda report: None,
) -> list[dict[str, Any]]:
    """One units-NAME.pack for each NAME.jsonl.xz of `questions`; a pack that is there already is kept.

    Each report: pack, units, questions, tokens, bytes, dropped (documents that the evaluation reads, and articles that share
    one with it), dropped_questions. Raises UsageError where there is no set.
    """
    files = sorted(questions.glob("*.jsonl.xz"))
    if not files:
        raise UsageError(f"{questions} has no *.jsonl.xz.", hint="Make question sets first: gfqa train data questions.")
    encoder, reports = load_tokenizer(tokenizer), []
    for file in files:
        path = out / f"units-{file.name.removesuffix('.jsonl.xz')}.pack"
        if path.exists():
            continue
        kept, dropped, unasked = without_leaks(read_jsonl(file), held)
        kept = [record for record in kept if any(qa["a"] for qa in record["qas"])]
        if not kept:
            continue
        users = _users(kept)
        ids, lines, counted = [], [], 0
        for number, record in enumerate(kept):
            unit = unit_of(record, encoder)
            for qa in unit.qas:
                qa.pop("line", None)
                qa.pop("offset", None)
                if found := users(number, qa):
                    qa["users"] = found
            ids.append(unit.ids)
            line = json.dumps({"path": unit.path, "header": unit.header, "qas": unit.qas}, ensure_ascii=False)
            lines.append(line.encode())
            counted += len(unit.qas)
        arrays = {
            "ids": np.concatenate(ids),
            "lengths": np.asarray([len(part) for part in ids], dtype=np.uint32),
            "lines": np.frombuffer(b"".join(lines), dtype=np.uint8),
            "line_bytes": np.asarray([len(line) for line in lines], dtype=np.uint32),
        }
        sizes = {"units": len(kept), "questions": counted, "tokens": len(arrays["ids"])}
        about = {**sizes, "dropped": dropped, "dropped_questions": unasked}
        groups = {"set": kept[0]["set"], "groups": [record["group"] for record in kept]}
        reports.append({"pack": path.name, **about, "bytes": write_pack(path, arrays, about | groups)})
        show(reports[-1])
    return reports


def _users(records: list[dict[str, Any]]) -> Callable[[int, dict[str, Any]], list[int]]:
    """A function: (number of a unit, one of its questions) -> units of its group that mention the question's name."""
    asked = {_word(qa) for record in records for qa in record["qas"]} - {""}
    mentions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        for word in set(re.findall(r"\w+", record["text"])) & asked:
            mentions[record["group"], word].append(number)

    def users(number: int, qa: dict[str, Any]) -> list[int]:
        found = [other for other in mentions.get((records[number]["group"], _word(qa)), ()) if other != number]
        rng = random.Random(f"{number}:{qa['q']}")
        return sorted(rng.sample(found, min(len(found), MOST_USERS)))

    return users


def _word(qa: dict[str, Any]) -> str:
    """The identifier a question turns on: the last word of its longest name that is no path."""
    names = [name for name in qa.get("names", ()) if "/" not in name]
    words = re.findall(r"\w+", max(names, key=len)) if names else []
    return words[-1] if words and len(words[-1]) > 3 else ""
