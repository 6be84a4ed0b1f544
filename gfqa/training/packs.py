"""Packs: token arrays as they travel, small; and the folders they are opened into, which training maps into memory.

A pack is an xz-compressed safetensors file. A text pack holds the documents of one corpus shard, a unit pack the units of
one question set; `text_packs` and `unit_packs` write them. A tokenizer without loss gives the text back from its ids, so
units travel without their text. Opening takes seconds, where tokenising takes minutes.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from gfqa.errors import UsageError

CHUNK = 64
"""Chains begin at multiples of the WKV chunk."""
TEXT_PACKS, UNIT_PACKS = "text-*.pack", "units-*.pack"


def write_pack(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> int:
    """Write a pack through a temporary name; `about` is kept as JSON. Returns its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = save(dict(arrays) | {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)})
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(lzma.compress(data, preset=6))
    temporary.replace(path)
    return path.stat().st_size


def read_pack(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a pack and what it says about itself. Raises UsageError for a file that is no pack."""
    try:
        arrays = load(lzma.decompress(path.read_bytes()))
        about = json.loads(arrays.pop("about").tobytes())
    except (lzma.LZMAError, ValueError, KeyError) as error:
        raise UsageError(f"{path} is not a training pack.", hint="Write it again with gfqa train data.") from error
    return arrays, about


def open_text(packs: Sequence[Path], out: Path) -> int:
    """Text packs to `out`: tokens.bin (uint16) and begins.npy (bool per 64 tokens, a document begins there).

    Replaces what is there. Returns the number of tokens.
    """
    out.mkdir(parents=True, exist_ok=True)
    begins, total = [], 0
    temporary = out / "tokens.tmp"
    with ThreadPoolExecutor(8) as pool, temporary.open("wb") as file:
        for arrays, _ in pool.map(read_pack, packs):
            arrays["tokens"].tofile(file)
            marks = np.zeros(len(arrays["tokens"]) // CHUNK, dtype=bool)
            marks[np.cumsum(arrays["chunks"]) - arrays["chunks"]] = True
            begins.append(marks)
            total += len(arrays["tokens"])
    np.save(out / "begins.npy", np.concatenate(begins))
    temporary.replace(out / "tokens.bin")
    return total


def open_units(packs: Sequence[Path], out: Path) -> int:
    """Unit packs to `out`: ids.npy, index.npy, lines.bin and labels.json, read by `UnitFiles`. Returns the number of units."""
    out.mkdir(parents=True, exist_ok=True)
    ids, lines, index = [], [], []
    labels: list[list[str]] = []
    first = offset = 0
    with ThreadPoolExecutor(8) as pool:
        for arrays, about in pool.map(read_pack, packs):
            lengths, sizes = arrays["lengths"].astype(np.int64), arrays["line_bytes"].astype(np.int64)
            rows = np.stack((np.cumsum(sizes) - sizes, sizes, np.cumsum(lengths) - lengths, lengths), axis=1)
            base = np.full((len(rows), 1), len(labels), dtype=np.int64)
            index.append(np.concatenate((rows + np.asarray([offset, 0, first, 0]), base), axis=1))
            ids.append(arrays["ids"])
            lines.append(arrays["lines"])
            labels += [[about["set"], group] for group in about["groups"]]
            first, offset = first + len(arrays["ids"]), offset + len(arrays["lines"])
    np.save(out / "ids.npy", np.concatenate(ids))
    np.save(out / "index.npy", np.concatenate(index))
    np.concatenate(lines).tofile(out / "lines.bin")
    (out / "labels.json").write_text(json.dumps(labels))
    return len(labels)


class UnitFiles:
    """The opened units of a folder, mapped into memory.

    `len`; `tokens(i)` uint16, the document's chain; `record(i)`: path, header (its tokens) and qas; `sets[i]`, `groups[i]`.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = np.memmap(folder / "lines.bin", dtype=np.uint8, mode="r")
        self._ids = np.load(folder / "ids.npy", mmap_mode="r")
        self._index = np.load(folder / "index.npy")
        labels = json.loads((folder / "labels.json").read_text())
        self.sets = [label[0] for label in labels]
        self.groups = [label[1] for label in labels]

    def __len__(self) -> int:
        return len(self._index)

    def length(self, i: int) -> int:
        """Tokens of unit i."""
        return int(self._index[i, 3])

    def tokens(self, i: int) -> np.ndarray:
        first, n = self._index[i, 2:4]
        return self._ids[first : first + n]

    def record(self, i: int) -> dict[str, Any]:
        offset, n = self._index[i, :2]
        record: dict[str, Any] = json.loads(self._lines[offset : offset + n].tobytes())
        # Numbers of other units count from the beginning of their pack.
        base = int(self._index[i, 4])
        for qa in record["qas"]:
            qa["users"] = [base + other for other in qa.get("users", ())]
        return record
