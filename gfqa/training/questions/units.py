"""Question units: one document with its questions, and the JSONL.xz files that hold them.

A unit is the dict of the training format: {"set", "group", "path", "text", "qas": [{"q", "a": [...], "kind", ...}]}.
Answers are copied from the text (or from the path, which heads the document's chain) because the reader can only point
at what it has read.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Question = dict[str, Any]
Unit = dict[str, Any]

MAX_TEXT = 24_000

EVERYDAY_PREFIX = "everyday_"
"""Kinds of questions that describe their subject; one that ends in _back has its answer before the describing words."""

_EVERYDAY_WORDS = "does gives tells thing error says default quantity_default whether value quantity name sets"
_EVERYDAY = _EVERYDAY_WORDS.split()

# Kinds whose answer stands before the words the question names. A causal reader has made the keys of such an answer
# before it saw the clue, so these are the hard ones: the packer may want fewer of them.
BACKWARD_KINDS = frozenset(
    {
        *("where", "imported_by", "doc_to_name", "method_of", "raised_by", "decorator", "kv_reverse", "purpose"),
        *("purpose_where", "with_what", "asked_back", "needle_before", "kv_before", "record_before", "table_row"),
        *(f"{EVERYDAY_PREFIX}{kind}_back" for kind in _EVERYDAY),
    }
)

# Kinds about prose: another paragraph may answer them too, where a name in code is unique in its repository. So are the
# everyday ones that ask for a name of its own; a value or a common exception stands in many files and says nothing there.
PROSE_KINDS = frozenset(
    {
        *("span", "sentence", "heading", "list_item", "how", "with_what", "what_if", "what_is", "asked", "recurring"),
        *(
            f"{EVERYDAY_PREFIX}{kind}{end}"
            for kind in ("does", "gives", "tells", "thing", "says", "name", "sets")
            for end in ("", "_back")
        ),
    }
)


def question(q: str, answers: str | Iterable[str], kind: str, **extra: Any) -> Question:
    """One question record; `answers` are made distinct, in order. `extra` (names, line, offset) is for packer and evaluation.

    offset: the character of the text at which the answer stands.
    """
    found = [answers] if isinstance(answers, str) else answers
    return {"q": q, "a": list(dict.fromkeys(found)), "kind": kind, **extra}


def unit(set_name: str, group: str, path: str, text: str, qas: list[Question]) -> Unit:
    """One document with its questions."""
    return {"set": set_name, "group": group, "path": path, "text": text, "qas": qas}


def is_verbatim(record: Unit) -> bool:
    """Whether every first answer of the unit can be copied from its text or its path."""
    return all(qa["a"] and (qa["a"][0] in record["text"] or qa["a"][0] == record["path"]) for qa in record["qas"])


def cut_at_line(text: str, limit: int = MAX_TEXT) -> str:
    """The longest run of whole lines of `text` that fits in `limit` characters (one over-long first line is cut)."""
    if len(text) <= limit:
        return text
    end = text.rfind("\n", 0, limit) + 1
    return text[: end or limit]


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a .jsonl or .jsonl.xz file."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> int:
    """Write records to a .jsonl.xz file, through a temporary name; returns the count."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    count = 0
    with lzma.open(temporary, "wt", encoding="utf-8", preset=6) as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    temporary.replace(path)
    return count
