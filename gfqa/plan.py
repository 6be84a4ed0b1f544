"""A dry run of an ingest: what it would read, how long that takes, what it needs. Writes nothing and takes no lock.

The tokenizer suffices for counting. Only where this model has never read anything on this device are the weights loaded, to
measure how fast it is.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gfqa import rates
from gfqa.cachestore import Store
from gfqa.cachestore.writer import last_commit
from gfqa.documents import Document, Limits, Skipped, Source
from gfqa.gather import Gathering, Progress, in_order, named_chains
from gfqa.ingest import check_cacheable, choose_name, nothing_in, open_sources, scanned
from gfqa.model import ModelConfig
from gfqa.models import bytes_per_token, count_parameters
from gfqa.prefill import TOKENS_AT_ONCE
from gfqa.reader import Reader
from gfqa.shelf import STDIN

MEASURED_TOKENS = 1024
"""Read to find out how fast a model is: enough for its kernels to be at their usual pace."""

_LARGE = (0.2, 20_000)
"""Share of what is to be read, and tokens, from which on a document is named: a lock file, say, that nobody asks about."""
_DOCUMENT_BYTES = 750
"""Of a document besides its tokens: header and index line in a pack, padding, two rows of the manifest (measured)."""
_PROCESS_BYTES = 240_000_000
"""Python and torch before a model is loaded (measured on Linux, CPU build)."""
_ACTIVATIONS = 60
"""float32 numbers per token under way and channel of the model (measured with the shipped reader on the CPU)."""


@dataclass(frozen=True)
class Plan:
    """What an ingest would do. Tokens: all of the cache to be, those in the store already, those to read.

    largest: documents that take a good part of the reading (`_LARGE`), path and tokens, largest first.
    rate: tokens a second, noted at an earlier ingest (`measured` false) or measured now; None where nothing is to be read.
    disk_bytes: that the store would grow by; memory_bytes: of the process at its highest, None on a GPU (not measured).
    """

    name: str
    model: str
    layout: str
    device: str
    new: int
    changed: int
    unchanged: int
    removed: int
    skipped: tuple[Skipped, ...]
    pages_without_text: tuple[tuple[str, tuple[int, ...]], ...]
    total: int
    to_read: int
    largest: tuple[tuple[str, int], ...]
    rate: float | None
    measured: bool
    disk_bytes: int
    memory_bytes: int | None
    seconds: float

    @property
    def estimated_seconds(self) -> float:
        """What the model will need, without loading it and without reading files."""
        return self.to_read / self.rate if self.rate else 0.0

    def reasons(self) -> dict[str, int]:
        """Skipped files by reason, most frequent first."""
        return dict(collections.Counter(item.reason for item in self.skipped).most_common())

    def to_json(self) -> dict[str, Any]:
        """The documented object of `ingest --dry-run --json`."""
        origin = None if self.rate is None else "measured" if self.measured else "noted"
        return {
            "schema": 1,
            "dry_run": True,
            "cache": {"name": self.name, "model": self.model, "layout": self.layout},
            "documents": {
                "new": self.new,
                "changed": self.changed,
                "unchanged": self.unchanged,
                "removed": self.removed,
            },
            "skipped": self.reasons(),
            "skipped_files": [{"path": item.path, "reason": item.reason} for item in self.skipped],
            "pages_without_text": [{"path": path, "pages": list(pages)} for path, pages in self.pages_without_text],
            "tokens": {"total": self.total, "reused": self.total - self.to_read, "to_read": self.to_read},
            "largest": [{"path": path, "tokens": tokens} for path, tokens in self.largest],
            "estimate": {
                "seconds": round(self.estimated_seconds, 3),
                "tokens_per_second": self.rate and round(self.rate, 1),
                "rate": origin,
                "device": self.device,
                "disk_bytes": self.disk_bytes,
                "memory_bytes": self.memory_bytes,
            },
            "seconds": round(self.seconds, 3),
        }


def plan(
    paths: Sequence[str | Path | Source],
    *,
    reader: Reader,
    home: Path,
    name: str | None = None,
    only_these: bool = False,
    limits: Limits | None = None,
    piped: Document | None = None,
    on_progress: Progress = lambda phase, done, total: None,
) -> Plan:
    """What `ingest.run` would do with the same arguments; raises the same errors, but for Busy and a full disk."""
    began = time.monotonic()
    check_cacheable(reader)
    sources = open_sources(paths, limits)
    scans = scanned(sources, piped)
    store = Store.open(home)
    name = choose_name(name, sources, store)
    stored = store.segment_keys()
    previous = last_commit(store, name, reader.identity, replace=only_these)
    work = Gathering(reader, store, previous, stored.__contains__)
    work.read(sources, scans, on_progress)
    if piped is not None:
        work.add(STDIN, piped)
    if not work.documents:
        raise nothing_in(sources, work.skipped)
    kept = [] if only_these else work.others(sources, piped.path if piped else None)
    entries, chains = named_chains(reader, in_order([*work.documents, *kept]), work.stored_ids)
    missing = {key: ids for key, ids in chains.items() if key not in stored}
    to_read = sum(map(len, missing.values()))
    rate, measured = rates.recall(store, reader), False
    if rate is None and to_read:
        rate, measured = _measured_rate(reader), True
    now = {(entry.source, entry.path) for entry in entries}
    new = [item for item in work.documents if item.is_new]
    least = max(_LARGE[0] * to_read, _LARGE[1])
    large = [(item.entry.path, item.entry.n_tokens) for item in new if item.entry.n_tokens >= least]
    changed = sum((item.entry.source, item.entry.path) in work.previous_documents for item in new)
    return Plan(
        name=name,
        model=reader.name,
        layout=reader.config.layout,
        device=reader.device,
        new=len(new) - changed,
        changed=changed,
        unchanged=len(work.documents) - len(new),
        removed=len(work.previous_documents.keys() - now),
        skipped=tuple(work.skipped),
        pages_without_text=tuple(sorted(work.pages_without_text)),
        total=sum(entry.n_tokens for entry in entries),
        to_read=to_read,
        largest=tuple(sorted(large, key=lambda item: (-item[1], item[0]))) if len(new) > 1 else (),
        rate=rate if to_read else None,
        measured=measured,
        disk_bytes=_disk_bytes(reader.config, to_read, len(new), len(missing)),
        memory_bytes=_memory_bytes(reader, to_read),
        seconds=time.monotonic() - began,
    )


@torch.inference_mode()
def _measured_rate(reader: Reader) -> float:
    model = reader.model
    ids = torch.zeros(1, MEASURED_TOKENS, dtype=torch.long, device=reader.device)
    for _ in range(2):  # the first pass loads kernels
        began = time.monotonic()
        model.prefill(ids)[0].cpu()
        seconds = time.monotonic() - began
    return MEASURED_TOKENS / max(seconds, 1e-6)


def _disk_bytes(config: ModelConfig, tokens: int, documents: int, chains: int) -> int:
    """The store's growth. In the chained layout a snapshot comes with the chain: states, shifts, and the tail for GOLD."""
    snapshot = 0
    if config.layout == "chained":
        lower = config.split_layer
        snapshot = 4 * config.n_embd * (lower * (config.head_size + 2) + 2 * config.n_gold)
    return tokens * bytes_per_token(config) + documents * _DOCUMENT_BYTES + chains * snapshot


def _memory_bytes(reader: Reader, tokens: int) -> int | None:
    """The process at its highest on the CPU: itself, the weights as stored and as float32, one batch under way."""
    if not tokens:
        return _PROCESS_BYTES
    if reader.device.partition(":")[0] != "cpu":
        return None
    batch = min(tokens, TOKENS_AT_ONCE["cpu"])
    return _PROCESS_BYTES + 6 * count_parameters(reader.folder) + 4 * _ACTIVATIONS * batch * reader.config.n_embd
