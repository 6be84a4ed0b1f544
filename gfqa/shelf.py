"""What caches hold, without the model: whose documents they are, where these lie on the disk, and their tokens. Torch-free.

A shelf is the set of chains, each once, in the order of their keys; `gfqa.memory` adds what a model attends over.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gfqa.answer.prompt import tokenizer_identity
from gfqa.cachestore import DocumentEntry, Manifest, MemoryArrays, Store
from gfqa.documents.ignore import Rules, check_globs
from gfqa.errors import CacheError, UsageError
from gfqa.tokenizer import Tokenizer

_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")

STDIN = "<stdin>"
"""The path of a document from standard input."""


@dataclass(frozen=True)
class Origin:
    """The document a stretch of the memory is; `cache` is None for standard input, on_disk false for what was never a file."""

    cache: str | None
    entry: DocumentEntry
    on_disk: bool = True


class Texts(Protocol):
    """What the documents of a memory or a shelf are found by: ids [S], starts [n], origins of the same n documents."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def ids(self) -> npt.NDArray[Any]: ...

    @property
    def starts(self) -> tuple[int, ...]: ...

    @property
    def origins(self) -> tuple[Origin, ...]: ...


@dataclass(frozen=True, eq=False)
class Shelf:
    """Documents as tokens. ids [S]: all of them; starts [n]: the first token of each document, origins in the same order."""

    tokenizer: Tokenizer
    caches: tuple[str, ...]
    ids: npt.NDArray[Any]
    starts: tuple[int, ...]
    origins: tuple[Origin, ...]


@dataclass(frozen=True)
class Part:
    """Some documents: kept [K], their tokens' numbers; starts, origins of the documents themselves, in order."""

    kept: npt.NDArray[np.int64]
    starts: tuple[int, ...]
    origins: tuple[Origin, ...]


def open_shelf(tokenizer: Tokenizer, store: Store, names: Sequence[str]) -> Shelf:
    """The documents of the caches `names`. CacheError for a cache that is missing, damaged or of another tokenizer."""
    names = sorted(set(names))
    for name in names:
        if store.manifest(name).identity.tokenizer != tokenizer_identity(tokenizer):
            raise CacheError(
                f"The cache {name!r} was made with another tokenizer than the model in use has.",
                hint="Name the model that made it: --model FOLDER",
            )
    manifests, arrays = store.load(names)
    origins: dict[str, list[Origin]] = {}
    for manifest in manifests:
        for key, entries in manifest.documents_by_chain.items():
            origins.setdefault(key, origins_of(manifest, entries))
    found = places(arrays, origins)
    return Shelf(
        tokenizer,
        tuple(names),
        arrays.ids,
        tuple(start for start, _ in found),
        tuple(origin for _, origin in found),
    )


def origins_of(manifest: Manifest, entries: Sequence[DocumentEntry]) -> list[Origin]:
    """The origins of documents of a cache."""
    return [Origin(manifest.name, entry, manifest.reading(entry.source).on_disk) for entry in entries]


def part_of(texts: Texts, globs: Sequence[str]) -> Part:
    """The documents whose paths match a glob (gitignore syntax: the last that matches decides, `!` leaves out).

    UsageError where none does, or for a glob that is none.
    """
    check_globs(globs)
    rules = Rules(globs)
    chosen = [number for number, origin in enumerate(texts.origins) if rules.covers(origin.entry.path)]
    if not chosen:
        raise UsageError(f"No document of the cache matches {', '.join(globs)}.")
    bounds = (*texts.starts, len(texts.ids))
    kept = np.concatenate([np.arange(bounds[number], bounds[number + 1]) for number in chosen])
    starts = np.cumsum([0, *(bounds[number + 1] - bounds[number] for number in chosen)])[:-1]
    return Part(kept, tuple(starts.tolist()), tuple(texts.origins[number] for number in chosen))


def only(shelf: Shelf, globs: Sequence[str]) -> Shelf:
    """The shelf of only the documents that match; see `part_of`."""
    part = part_of(shelf, globs)
    return Shelf(shelf.tokenizer, shelf.caches, shelf.ids[part.kept], part.starts, part.origins)


def first_ingest(store: Store | None) -> str:
    """What to do where there is no cache: an ingest, or the end of one that has begun."""
    if store is not None and store.packs.is_dir() and any(store.packs.iterdir()):
        return "An ingest has begun: ask when it is done. One that was interrupted goes on with the same command."
    return "Make one first: gfqa ingest PATH"


def choose_caches(store: Store | None, names: Sequence[str], folder: Path) -> list[str]:
    """The caches to ask: those named; else the one whose source holds `folder`; else the only one. CacheError otherwise."""
    existing = [] if store is None else store.names()
    for name in names:
        if name not in existing:
            close = difflib.get_close_matches(name, existing, 1) or [
                other for other in existing if other.startswith(name)
            ]
            known = f"Caches: {', '.join(existing)}." if existing else f"There is no cache yet. {first_ingest(store)}"
            raise CacheError(
                f"There is no cache named {name!r}.", hint=f"Did you mean {close[0]!r}? {known}" if close else known
            )
    if names:
        return list(names)
    if store is None or not existing:
        raise CacheError("There is no cache yet.", hint=first_ingest(store))
    depths: dict[str, int] = {}
    for name in existing:
        try:
            manifest = store.manifest(name)
            sources = [source for source in manifest.sources if manifest.reading(source).on_disk]
        except CacheError:
            continue  # A damaged cache is no reason not to ask another one; asked itself, it says what is wrong.
        holding = [len(Path(source).parts) for source in sources if folder.is_relative_to(source)]
        if holding:
            depths[name] = max(holding)
    closest = [name for name, depth in depths.items() if depth == max(depths.values())]
    if len(closest) == 1:
        return closest
    if len(existing) == 1:
        return existing
    reason = f"Several caches hold {folder}" if closest else f"No cache holds {folder} and there are several"
    raise CacheError(f"{reason}: {', '.join(closest or existing)}.", hint="Choose with --cache NAME.")


def changed_documents(texts: Texts) -> tuple[str, ...]:
    """Files that are gone or whose content is no longer what was ingested, as absolute paths."""
    return tuple(sorted({str(file_of(origin)) for origin in texts.origins if has_changed(origin)}))


def file_of(origin: Origin) -> Path:
    """Where the document lies on the disk; for standard input a path that means nothing."""
    root = Path(origin.entry.source)
    if not root.is_dir():
        return root
    path = root / origin.entry.path
    if "\\x" not in origin.entry.path or os.path.lexists(path):
        return path
    # Bytes of a name that are no UTF-8 are written \xff in a document's path; the file has the bytes themselves.
    raw = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), os.fsencode(origin.entry.path))
    return root / os.fsdecode(raw)


def stale(changed: Sequence[str]) -> CacheError:
    """The error of `--require-fresh`: these files are no longer what was ingested."""
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return CacheError(f"{', '.join(changed[:3])}{more} changed since the ingest.", hint="Run gfqa ingest again.")


def has_changed(origin: Origin) -> bool:
    """Whether the document's file is gone or its content no longer what was ingested; never for standard input.

    Equal size and modification time count as unchanged; where only the time differs the content is hashed.
    """
    entry = origin.entry
    if origin.cache is None or not origin.on_disk:
        return False
    path = file_of(origin)
    try:
        status = path.stat()
        return status.st_size != entry.size or (
            status.st_mtime_ns != entry.mtime_ns and hashlib.sha256(path.read_bytes()).hexdigest() != entry.content_hash
        )
    except (OSError, ValueError):
        return True


def places(arrays: MemoryArrays, origins: Mapping[str, Sequence[Origin]]) -> list[tuple[int, Origin]]:
    """Where each document of the memory starts.

    The same text under the same path in two places is one chain, and the first place stands for it; in the chained layout
    the documents of the one chain lie one after the other.
    """
    places = []
    for key, begin in zip(arrays.chain_keys, arrays.chain_starts.tolist(), strict=True):
        firsts = {origin.entry.start: origin for origin in reversed(origins[key])}
        places += [(begin + start, firsts[start]) for start in sorted(firsts)]
    return places
