"""Corpus shards (JSONL.xz of documents) to text packs; documents that the evaluation reads are left out on the way.

Documents are cut to a multiple of 64 tokens, so that every chain can begin at a chunk of the WKV kernel without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gfqa.answer.prompt import document_ids
from gfqa.errors import UsageError
from gfqa.tokenizer import Tokenizer, load_tokenizer
from gfqa.training.leaks import Held
from gfqa.training.packs import CHUNK, write_pack
from gfqa.training.questions.units import read_jsonl


def pack_texts(
    corpus: Path, tokenizer: Path, held: Held, out: Path, show: Callable[[dict[str, Any]], None] = lambda report: None
) -> list[dict[str, Any]]:
    """One text-NNN.pack for each shard-NNN.jsonl.xz of `corpus`; a pack that is there already is kept.

    Each report (shown as it is made, and returned): pack, documents, tokens, bytes, dropped: "source/path has document" of
    texts that hold a document of the evaluation. Raises UsageError where there is no shard.
    """
    shards = sorted(corpus.glob("shard-*.jsonl.xz"))
    if not shards:
        raise UsageError(f"{corpus} has no shard-*.jsonl.xz.", hint="Make the corpus first: gfqa train data corpus.")
    encoder, reports = load_tokenizer(tokenizer), []
    for shard in shards:
        path = out / (shard.name.replace("shard-", "text-").removesuffix(".jsonl.xz") + ".pack")
        if path.exists():
            continue
        dropped: list[str] = []
        chains = list(_chains(encoder, _clean(read_jsonl(shard), held, dropped)))
        if not chains:
            continue
        arrays = {
            "tokens": np.concatenate(chains),
            "chunks": np.asarray([len(chain) // CHUNK for chain in chains], dtype=np.uint32),
        }
        about = {"documents": len(chains), "tokens": len(arrays["tokens"]), "dropped": dropped}
        reports.append({"pack": path.name, **about, "bytes": write_pack(path, arrays, about)})
        show(reports[-1])
    return reports


def _clean(records: Iterator[dict[str, Any]], held: Held, dropped: list[str]) -> Iterator[dict[str, Any]]:
    for record in records:
        found = held.matches(record["text"])
        if found:
            dropped.append(f"{record['source']}/{record['path']} has {found[0]}")
        else:
            yield record


def _chains(tokenizer: Tokenizer, records: Iterator[dict[str, Any]]) -> Iterator[np.ndarray]:
    for record in records:
        ids, _ = document_ids(tokenizer, record["path"], record["text"])
        whole = len(ids) // CHUNK * CHUNK
        if whole:
            yield np.asarray(ids[:whole], dtype=np.uint16)
