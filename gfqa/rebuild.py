"""Reading a cache again with the model in use, from the text the cache itself holds: no source tree is needed.

The old cache stays as it is until the new one is complete, and finished chains are kept as they come, so an interrupted rebuild
goes on where it stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from gfqa import rates
from gfqa.answer.prompt import document_ids
from gfqa.caches import Texts, tokenizer_of
from gfqa.cachestore import Store
from gfqa.gather import Pending, Progress, in_order, named_chains, prefill_missing
from gfqa.ingest import check_cacheable, keep_tokenizer
from gfqa.prefill import Ids, id_array
from gfqa.reader import Reader


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did. tokens: of the new cache; prefilled: those that had to be read."""

    name: str
    old_model: str
    model: str
    layout: str
    documents: int
    tokens: int
    prefilled: int
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The documented object of `caches rebuild --json`."""
        return {
            "schema": 1,
            "cache": {"name": self.name, "model": self.model, "layout": self.layout, "bytes": self.bytes},
            "was": {"model": self.old_model},
            "documents": self.documents,
            "tokens": {"total": self.tokens, "reused": self.tokens - self.prefilled, "prefilled": self.prefilled},
            "seconds": round(self.seconds, 3),
        }


def rebuild(
    store: Store, name: str, reader: Reader, on_progress: Progress = lambda phase, done, total: None
) -> Rebuilt:
    """Read the cache `name` again with `reader` and put the result in its place.

    CacheError if the cache is missing, damaged, or made with a tokenizer that is nowhere to be found; ModelError, Busy.
    """
    began = time.monotonic()
    check_cacheable(reader)
    old_tokenizer = tokenizer_of(store, store.manifest(name))
    with store.writer(name, reader.identity, replace=True) as writer:
        # Once more, under the lock: the cache may have been brought up to date meanwhile.
        manifest = store.manifest(name)
        texts = Texts(store, manifest, old_tokenizer)
        pending = []
        for number, entry in enumerate(manifest.documents):
            ids, header_tokens = document_ids(reader.tokenizer, entry.path, texts.of(entry))
            array: Ids = id_array(ids, reader.config.vocab_size)
            fresh = replace(entry, chain="", start=0, n_tokens=len(array), header_tokens=header_tokens)
            pending.append(Pending(fresh, array, True))
            on_progress("reading", number + 1, len(manifest.documents))
        entries, chains = named_chains(reader, in_order(pending))
        prefilled = prefill_missing(reader, writer, chains, on_progress)
        keep_tokenizer(reader, store)
        writer.commit(manifest.sources, entries, manifest.readings)
    rates.remember(store, reader, prefilled.tokens, prefilled.seconds)
    return Rebuilt(
        name=name,
        old_model=manifest.identity.model_name,
        model=reader.name,
        layout=reader.config.layout,
        documents=len(entries),
        tokens=sum(entry.n_tokens for entry in entries),
        prefilled=prefilled.tokens,
        bytes=store.info(name).bytes,
        seconds=time.monotonic() - began,
    )
