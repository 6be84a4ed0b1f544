"""What has changed on the disk since a cache was made: by size and time where they agree, else by content. Torch-free.

Each source is looked at as it was read: a folder is walked with the same globs, of a list only its files are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gfqa.cachestore import DocumentEntry, Manifest, Reading
from gfqa.documents import Document, Found, Limits, Source, open_list, open_source, read_many
from gfqa.errors import GfqaError

Place = tuple[str, str]
"""(source, path) of a document."""


@dataclass(frozen=True)
class Status:
    """A cache compared with the disk. unchecked: documents that never were a file here (standard input, imported).

    missing: sources that cannot be opened any more; their documents count as gone.
    """

    name: str
    model: str
    layout: str
    updated: float
    fresh: int
    unchecked: int
    changed: tuple[Place, ...]
    new: tuple[Place, ...]
    gone: tuple[Place, ...]
    missing: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether an ingest would find anything to do."""
        return bool(self.changed or self.new or self.gone)

    def to_json(self) -> dict[str, Any]:
        """One element of `caches` in `status --json`."""

        def listed(places: Iterable[Place]) -> list[dict[str, str]]:
            return [{"source": source, "path": path} for source, path in places]

        return {
            "name": self.name,
            "model": self.model,
            "layout": self.layout,
            "updated": self.updated,
            "stale": self.stale,
            "documents": {
                "fresh": self.fresh,
                "changed": len(self.changed),
                "new": len(self.new),
                "gone": len(self.gone),
                "unchecked": self.unchecked,
            },
            "changed": listed(self.changed),
            "new": listed(self.new),
            "gone": listed(self.gone),
            "missing_sources": list(self.missing),
        }


def compare(manifest: Manifest) -> Status:
    """The status of a cache. Files that an ingest would skip are not new."""
    fresh, unchecked = 0, 0
    changed: list[Place] = []
    new: list[Place] = []
    gone: list[Place] = []
    missing = []
    for name in manifest.sources:
        entries = {entry.path: entry for entry in manifest.documents if entry.source == name}
        reading = manifest.reading(name)
        if not reading.on_disk:
            unchecked += len(entries)
            continue
        try:
            source = reopened(name, reading, entries)
            found = {item.path: item for item in source.scan() if isinstance(item, Found)}
        except GfqaError:
            missing.append(name)
            gone += [(name, path) for path in entries]
            continue
        gone += [(name, path) for path in entries if path not in found]
        there = [(item, entries[path]) for path, item in found.items() if path in entries]
        differing = [item.path for item, entry in there if _differs(source, item, entry)]
        changed += [(name, path) for path in differing]
        fresh += len(there) - len(differing)
        # Only reading tells whether an ingest would skip a file.
        unknown = read_many(source, [item for path, item in found.items() if path not in entries])
        new += [(name, document.path) for document in unknown if isinstance(document, Document)]
    return Status(
        name=manifest.name,
        model=manifest.identity.model_name,
        layout=manifest.identity.layout,
        updated=manifest.updated,
        fresh=fresh,
        unchecked=unchecked,
        changed=tuple(changed),
        new=tuple(new),
        gone=tuple(gone),
        missing=tuple(missing),
    )


def reopened(root: str, reading: Reading, paths: Iterable[str]) -> Source:
    """The source as it was read; paths: of its documents, which of a list is all that is known. UsageError if it is gone."""
    limits = Limits(include=reading.include, exclude=reading.exclude, include_secrets=reading.include_secrets)
    return open_list(root, paths, limits) if reading.kind == "list" else open_source(root, limits)


def _differs(source: Source, found: Found, entry: DocumentEntry) -> bool:
    if found.size != entry.size:
        return True
    return found.mtime_ns != entry.mtime_ns and source.digest(found) != entry.content_hash
