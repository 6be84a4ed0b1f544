"""Question units, tokenised once and read lazily by every worker.

`python -m gfqa.training.unit_files --questions DIR --tokenizer FILE --out DIR` writes units.jsonl (the records), ids.npy
(uint16 document chains, one behind the other), index.npy (int64 [n, 4]: byte offset, byte length, first token, tokens) and
groups.json ([set, group] a unit).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np

from gfqa.answer.prompt import document_ids
from gfqa.tokenizer import load_tokenizer
from gfqa.training.tokens import documents


class UnitFiles:
    """The units of a folder: `len`, `tokens(i)` uint16, `record(i)` the dict, `sets[i]`, `groups[i]`."""

    def __init__(self, folder: Path) -> None:
        self._lines = np.memmap(folder / "units.jsonl", dtype=np.uint8, mode="r")
        self._ids = np.load(folder / "ids.npy", mmap_mode="r")
        self._index = np.load(folder / "index.npy")
        labels = json.loads((folder / "groups.json").read_text())
        self.sets = [label[0] for label in labels]
        self.groups = [label[1] for label in labels]

    def __len__(self) -> int:
        return len(self._index)

    def tokens(self, i: int) -> np.ndarray:
        first, n = self._index[i, 2:]
        return self._ids[first : first + n]

    def record(self, i: int) -> dict[str, Any]:
        offset, n = self._index[i, :2]
        record: dict[str, Any] = json.loads(self._lines[offset : offset + n].tobytes())
        return record


def tokenise(job: tuple[Path, Path]) -> list[tuple[bytes, np.ndarray, str, str]]:
    """One file's units: (JSON line, ids, set, group)."""
    path, tokenizer_path = job
    tokenizer = load_tokenizer(tokenizer_path)
    units = []
    for record in documents(path):
        if not any(qa["a"] for qa in record["qas"]):
            continue
        ids, _ = document_ids(tokenizer, record["path"], record["text"])
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        units.append((line, np.asarray(ids, dtype=np.uint16), record["set"], record["group"]))
    return units


def write(files: list[Path], tokenizer: Path, out: Path, workers: int) -> int:
    """Tokenise the JSONL.xz files into `out`; returns the number of units."""
    out.mkdir(parents=True, exist_ok=True)
    index, ids, labels, offset, first = [], [], [], 0, 0
    with multiprocessing.Pool(workers) as pool, (out / "units.jsonl").open("wb") as lines:
        for units in pool.imap(tokenise, [(path, tokenizer) for path in files]):
            for line, tokens, set_name, group in units:
                lines.write(line)
                index.append((offset, len(line), first, len(tokens)))
                ids.append(tokens)
                labels.append((set_name, group))
                offset, first = offset + len(line), first + len(tokens)
    np.save(out / "ids.npy", np.concatenate(ids))
    np.save(out / "index.npy", np.asarray(index, dtype=np.int64))
    (out / "groups.json").write_text(json.dumps(labels))
    return len(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    files = sorted(arguments.questions.glob("*.jsonl.xz"))
    print(f"{write(files, arguments.tokenizer, arguments.out, arguments.workers)} units of {len(files)} files")


if __name__ == "__main__":
    main()
