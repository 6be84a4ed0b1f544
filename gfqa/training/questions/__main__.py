"""`python -m gfqa.training.questions --ready DIR --code DIR --out DIR`: write every question set, one .jsonl.xz file each."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from gfqa.training.leaks import Held, held_out
from gfqa.training.questions.code import code_units, corpus_units, documentation_units
from gfqa.training.questions.ready import SETS
from gfqa.training.questions.units import Unit, is_verbatim, write_jsonl


class _Counted:
    """Passes units through and counts what goes by.

    Units with an answer that cannot be copied are dropped, and near-duplicates of documents held for evaluation.
    """

    def __init__(self, units: Iterable[Unit], held: Held) -> None:
        self.units, self.held, self.kinds, self.characters, self.dropped = units, held, Counter[str](), 0, 0

    def __iter__(self) -> Iterator[Unit]:
        for record in self.units:
            if not is_verbatim(record) or self.held.matches(record["text"]):
                self.dropped += 1
                continue
            self.kinds.update(qa["kind"] for qa in record["qas"])
            self.characters += len(record["text"])
            yield record


def main(arguments: list[str] | None = None) -> int:
    """Write the sets; a JSON summary line per set goes to standard output."""
    parser = argparse.ArgumentParser(prog="gfqa.training.questions", description=__doc__)
    parser.add_argument("--ready", type=Path, help="folder with the published sets (*.jsonl.xz)")
    parser.add_argument("--code", type=Path, help="folder of repositories, one folder each")
    parser.add_argument("--corpus", type=Path, help="folder of text corpus shards, for questions about documentation")
    parser.add_argument("--held-out", type=Path, help="folder of the repositories kept for evaluation")
    parser.add_argument("--out", type=Path, required=True, help="where the sets go")
    parser.add_argument("--only", nargs="*", help="names of the sets to write")
    options = parser.parse_args(arguments)
    held = held_out(options.ready, options.held_out)
    makers: dict[str, Iterable[Unit]] = {}
    if options.ready:
        makers |= {name: make(options.ready / f"{file}.jsonl.xz") for name, (file, make) in SETS.items()}
    if options.code:
        makers["code"] = code_units(options.code)
        makers["documentation"] = documentation_units(options.code)
    if options.corpus:
        makers["documentation-corpus"] = corpus_units(sorted(options.corpus.glob("*.jsonl.xz")))
    for name, units in makers.items():
        if options.only and name not in options.only:
            continue
        path, counted = options.out / f"{name}.jsonl.xz", _Counted(units, held)
        count = write_jsonl(path, counted)
        summary = {
            "set": name,
            "units": count,
            "questions": counted.kinds.total(),
            "characters": counted.characters,
            "bytes": path.stat().st_size,
            "dropped_units": counted.dropped,
            "kinds": dict(counted.kinds.most_common()),
        }
        sys.stdout.write(json.dumps(summary) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
