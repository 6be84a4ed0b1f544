"""Corpus shards (JSONL.xz of documents) to one memory-mapped token stream, tokenised by all cores.

`python -m gfqa.training.tokens --corpus DIR --tokenizer FILE --out DIR` writes tokens.bin (uint16) and begins.npy (bool
per 64 tokens: a document begins there). Documents are cut to a multiple of 64 tokens, so that every chain can begin at a
chunk of the WKV kernel without padding; files that are present already are appended to, in the order of the calls.
"""

from __future__ import annotations

import argparse
import json
import lzma
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gfqa.answer.prompt import document_ids
from gfqa.tokenizer import load_tokenizer

CHUNK = 64


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL.xz file."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def tokenise(job: tuple[Path, Path]) -> tuple[np.ndarray, np.ndarray]:
    """One shard's tokens and document beginnings (bool per 64 tokens)."""
    shard, tokenizer_path = job
    tokenizer = load_tokenizer(tokenizer_path)
    parts, begins = [], []
    for record in documents(shard):
        ids, _ = document_ids(tokenizer, record["path"], record["text"])
        n = len(ids) // CHUNK * CHUNK
        if n:
            parts.append(np.asarray(ids[:n], dtype=np.uint16))
            begin = np.zeros(n // CHUNK, dtype=bool)
            begin[0] = True
            begins.append(begin)
    return np.concatenate(parts), np.concatenate(begins)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    jobs = [(shard, arguments.tokenizer) for shard in sorted(arguments.corpus.glob("*.jsonl.xz"))]
    begins_path = arguments.out / "begins.npy"
    all_begins = [np.load(begins_path)] if begins_path.exists() else []
    total = 0
    with multiprocessing.Pool(arguments.workers) as pool, (arguments.out / "tokens.bin").open("ab") as file:
        for tokens, begins in pool.imap(tokenise, jobs):
            tokens.tofile(file)
            all_begins.append(begins)
            total += len(tokens)
    np.save(begins_path, np.concatenate(all_begins))
    print(f"{total} tokens of {len(jobs)} shards; {sum(map(len, all_begins)) * CHUNK} in all")


if __name__ == "__main__":
    main()
