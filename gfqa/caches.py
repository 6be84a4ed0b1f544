"""What can be done with a cache besides asking: its texts, a comparison, moving it to another machine. Torch-free.

Ids turn back into text with the tokenizer that made them. It is looked for beside the caches, where ingest leaves a copy, then
among the models of this machine; the file must have the very contents that the cache was made with.
"""

from __future__ import annotations

import difflib
import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from gfqa.answer.prompt import PROMPT_VERSION
from gfqa.cachestore import DocumentEntry, Identity, Manifest, OnWait, Store, fs
from gfqa.cachestore.transfer import export_chunks, import_segments, read_head
from gfqa.errors import CacheError, GfqaError, UsageError
from gfqa.model_folders import all_folders
from gfqa.tokenizer import Tokenizer, load_tokenizer


class Texts:
    """The documents of a cache as texts, decoded from its ids. Raises CacheError where they are damaged."""

    def __init__(self, store: Store, manifest: Manifest, tokenizer: Tokenizer) -> None:
        self._store, self._manifest, self._tokenizer = store, manifest, tokenizer
        self._chain = ""
        self._ids: npt.NDArray[Any] | None = None

    def of(self, entry: DocumentEntry) -> str:
        """The text of a document, exactly as it was decoded from its file."""
        if entry.chain != self._chain or self._ids is None:
            # One chain at a time: in the chained layout all documents are in the same.
            self._ids, self._chain = self._store.load_chain(self._manifest, entry.chain).ids, entry.chain
        ids = self._ids[entry.start + entry.header_tokens : entry.start + entry.n_tokens]
        return self._tokenizer.decode(ids.tolist())


def tokenizer_of(store: Store, manifest: Manifest, folders: Iterable[Path] | None = None) -> Tokenizer:
    """The tokenizer that made a cache. folders: of models to look in besides the kept copy (default: the installed ones).

    CacheError where it is nowhere to be found.
    """
    identity = manifest.identity
    if identity.tokenizer == _identity("bytes", PROMPT_VERSION):
        return load_tokenizer("bytes")
    kept = store.tokenizer_file(identity)
    if kept is not None and _made(kept, identity):
        return load_tokenizer(kept)
    for folder in all_folders() if folders is None else folders:
        for file in sorted([*folder.glob("*.model"), *folder.glob("rwkv_vocab*.txt")]):
            if _made(file, identity):
                return load_tokenizer(file)
    maker = identity.model_name or identity.model[:12]
    raise CacheError(
        f"The tokenizer that the cache {manifest.name!r} was made with (model {maker}) is not on this machine.",
        hint="Install that model again, or ingest the sources anew with --replace.",
    )


def _made(file: Path, identity: Identity) -> bool:
    """Whether a tokenizer's file has the contents the identity was made with, told before anything parses it."""
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return False
    return identity.tokenizer in {_identity(digest, version) for version in range(1, PROMPT_VERSION + 1)}


def _identity(tokenizer: str, version: int) -> str:
    return hashlib.sha256(f"{tokenizer}\nprompt {version}\n".encode()).hexdigest()


def find_document(manifest: Manifest, path: str) -> DocumentEntry:
    """The document of a path: relative to its source, or absolute. UsageError where there is none, or more than one."""
    exact = [entry for entry in manifest.documents if path in (entry.path, f"{entry.source}/{entry.path}")]
    exact = exact or [entry for entry in manifest.documents if path == entry.source]  # a file named itself
    if len(exact) == 1:
        return exact[0]
    if exact:
        places = ", ".join(f"{entry.source}/{entry.path}" for entry in exact)
        raise UsageError(f"The cache {manifest.name!r} has several documents {path!r}.", hint=f"Write one of: {places}")
    close = difflib.get_close_matches(path, {entry.path for entry in manifest.documents}, 3)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"See them all: gfqa caches text {manifest.name}"
    raise UsageError(f"The cache {manifest.name!r} has no document {path!r}.", hint=hint)


@dataclass(frozen=True)
class Difference:
    """Two caches compared by path and content hash. changed: (the document in the one, the same in the other)."""

    first: Manifest
    second: Manifest
    added: tuple[DocumentEntry, ...]
    removed: tuple[DocumentEntry, ...]
    changed: tuple[tuple[DocumentEntry, DocumentEntry], ...]
    unchanged: int

    def to_json(self) -> dict[str, Any]:
        """The documented object of `caches diff --json`."""

        def listed(entries: tuple[DocumentEntry, ...]) -> list[dict[str, Any]]:
            return [{"source": entry.source, "path": entry.path, "tokens": entry.n_tokens} for entry in entries]

        def total(manifest: Manifest) -> int:
            return sum(entry.n_tokens for entry in manifest.documents)

        pairs = [
            {"source": new.source, "path": new.path, "tokens": [old.n_tokens, new.n_tokens]}
            for old, new in self.changed
        ]
        return {
            "schema": 1,
            "caches": [self.first.name, self.second.name],
            "models": [self.first.identity.model_name, self.second.identity.model_name],
            "same_model": self.first.identity.digest == self.second.identity.digest,
            "added": listed(self.added),
            "removed": listed(self.removed),
            "changed": pairs,
            "unchanged": self.unchanged,
            "tokens": [total(self.first), total(self.second)],
        }


def difference(first: Manifest, second: Manifest) -> Difference:
    """What the second cache has more, less, or otherwise than the first.

    Documents are the same where their paths are; roots may differ (two checkouts). Only where a path stands for several
    documents of a cache do the roots tell them apart.
    """
    old, new = _by_path(first), _by_path(second)
    both = [(old[key], new[key]) for key in sorted(old.keys() & new.keys())]
    changed = tuple(pair for pair in both if pair[0].content_hash != pair[1].content_hash)
    return Difference(
        first=first,
        second=second,
        added=tuple(new[key] for key in sorted(new.keys() - old.keys())),
        removed=tuple(old[key] for key in sorted(old.keys() - new.keys())),
        changed=changed,
        unchanged=len(both) - len(changed),
    )


def _by_path(manifest: Manifest) -> dict[tuple[str, str], DocumentEntry]:
    counts: dict[str, int] = {}
    for entry in manifest.documents:
        counts[entry.path] = counts.get(entry.path, 0) + 1
    return {(entry.path, entry.source if counts[entry.path] > 1 else ""): entry for entry in manifest.documents}


def export_file(store: Store, name: str, target: Path, *, force: bool = False) -> int:
    """Write a cache as one file, whole or not at all; returns its bytes. UsageError for a file that is there already."""
    store.manifest(name)
    if target.is_dir() or (target.exists() and not force):
        raise UsageError(f"{target} exists already.", hint="Name another file, or pass --force.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {target.absolute().parent}.")
    fs.write_file_atomically(target.absolute(), export_chunks(store, name))
    return target.stat().st_size


@dataclass(frozen=True)
class Imported:
    """What an import brought. usable: whether the model in use can answer from it."""

    manifest: Manifest
    usable: bool


def import_file(
    home: Path,
    file: IO[bytes],
    shown: str,
    *,
    name: str | None,
    current: Identity | None,
    any_model: bool = False,
    trust: bool = False,
    replace: bool = False,
    on_wait: OnWait = lambda seconds: None,
) -> Imported:
    """Bring the exported cache in `file` into the store under its own or another name.

    current: the identity of the model in use, None if there is none. Raises CacheError for a file that is not whole, and,
    unless any_model, for a cache of another model; UsageError for a name that is taken, unless replace.
    """
    head = read_head(file, shown)
    name = name or head.name
    identity = head.manifest.identity
    difference = "no model is in use" if current is None else identity.difference(current)
    if difference and not any_model:
        raise CacheError(
            f"The cache in {shown} was made by another model than the one in use ({difference}).",
            hint="Import it with --any-model, then read its text again with the model in use: gfqa caches rebuild NAME",
        )
    store = Store.open(home, on_wait=on_wait)
    if store.manifest_path(name).exists() and not replace:
        raise UsageError(
            f"There is a cache named {name!r} already.", hint="Choose another one with --name, or pass --replace."
        )
    there = next(folder for folder in (store.root, *store.root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if head.payload_bytes > free:
        raise GfqaError(f"The cache in {shown} needs {head.payload_bytes:,} bytes, and {there} has {free:,} free.")
    store.create()
    with store.writer(name, identity, replace=replace, imported=not trust) as writer:
        manifest = import_segments(file, head, writer, shown, trust=trust)
    return Imported(manifest, usable=not difference)
