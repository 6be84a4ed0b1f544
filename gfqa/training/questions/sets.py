"""Every question set, one .jsonl.xz file each: published sets, code in parts, documentation, made-up lists and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gfqa.errors import UsageError
from gfqa.training.leaks import Held, without_leaks
from gfqa.training.questions.code import corpus_units, repository_units
from gfqa.training.questions.lists import list_set
from gfqa.training.questions.printed_tables import table_set
from gfqa.training.questions.ready import SETS
from gfqa.training.questions.units import Unit, is_verbatim, write_jsonl

CODE_PARTS = 6
"""The code set is written in parts, so that an interrupted run repeats little."""

FAMILIES = 2600
"""Families of lists, and of tables: two or three documents each."""


def write_sets(
    out: Path,
    held: Held,
    *,
    ready: Path | None = None,
    code: Path | None = None,
    corpus: Path | None = None,
    only: Sequence[str] = (),
    show: Callable[[dict[str, Any]], None] = lambda report: None,
) -> list[dict[str, Any]]:
    """Write the sets that the given folders allow, and those that need none; a set that is there already is kept.

    ready: published sets (NAME.jsonl.xz); code: one folder a repository, named owner__name; corpus: text shards. Units that
    the evaluation reads, questions that it asks, and answers that cannot be copied are dropped. Each report: set, units,
    questions, characters, bytes, dropped, kinds. Raises UsageError for a name in `only` that is no set.
    """
    makers = _makers(ready, code, corpus)
    unknown = sorted(set(only) - set(makers))
    if unknown:
        raise UsageError(f"There is no question set {unknown[0]!r}.", hint=f"Sets here: {', '.join(makers)}.")
    reports = []
    for name, make in makers.items():
        path = out / f"{name}.jsonl.xz"
        if path.exists() or (only and name not in only):
            continue
        units, dropped, unasked = without_leaks(make(), held)
        kept = [unit for unit in units if is_verbatim(unit)]
        kinds = Counter(qa["kind"] for unit in kept for qa in unit["qas"])
        report: dict[str, Any] = {
            "set": name,
            "units": write_jsonl(path, kept),
            "questions": kinds.total(),
            "characters": sum(len(unit["text"]) for unit in kept),
            "bytes": path.stat().st_size,
            "dropped": dropped,
            "dropped_questions": unasked,
            "not_verbatim": len(units) - len(kept),
            "kinds": dict(kinds.most_common()),
        }
        reports.append(report)
        show(report)
    return reports


def _makers(ready: Path | None, code: Path | None, corpus: Path | None) -> dict[str, Callable[[], Iterable[Unit]]]:
    makers: dict[str, Callable[[], Iterable[Unit]]] = {}
    if ready is not None:
        for name, (file, make) in SETS.items():
            makers[name] = lambda file=file, make=make: make(ready / f"{file}.jsonl.xz")  # type: ignore[misc]
    if code is not None:
        roots = sorted(root for root in code.iterdir() if root.is_dir())
        for part in range(CODE_PARTS):
            makers[f"code-{part}"] = lambda chosen=roots[part::CODE_PARTS]: _units(chosen, False)  # type: ignore[misc]
        makers["documentation"] = lambda: _units(roots, True)
    if corpus is not None:
        makers["documentation-corpus"] = lambda: corpus_units(sorted(corpus.glob("shard-*.jsonl.xz")))
    makers["lists"] = lambda: list_set(FAMILIES, 0)
    makers["tables"] = lambda: table_set(FAMILIES, 0)
    return makers


def _units(roots: Sequence[Path], documentation_only: bool) -> Iterable[Unit]:
    for root in roots:
        yield from repository_units(root, documentation_only=documentation_only)
