"""Watch: keep a cache up to date with its sources. Looks every so often, waits until the tree is quiet, ingests what changed.

Polling needs no library, works on network disks, and sees what any other writer did; a look costs one walk, without reading.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfqa.cachestore import OnWait
from gfqa.documents import Found, Limits, Source, open_source
from gfqa.errors import GfqaError
from gfqa.gather import Progress
from gfqa.ingest import IngestReport, run
from gfqa.reader import Reader

Signature = tuple[tuple[str, str, int, int, int], ...]
"""(root, path, size, mtime_ns, inode) of every candidate: equal signatures mean that nothing has changed."""


@dataclass(frozen=True)
class Refresh:
    """One refresh: its report, or why it failed (the next change is another chance)."""

    report: IngestReport | None
    error: GfqaError | None


@contextlib.contextmanager
def _unseen() -> Iterator[Progress]:
    yield lambda phase, done, total: None


def watch(
    paths: Sequence[str | Path],
    *,
    reader: Reader,
    home: Path,
    name: str | None = None,
    limits: Limits | None = None,
    interval: float = 1.0,
    debounce: float = 0.5,
    sleep: Callable[[float], object] = time.sleep,
    progress: Callable[[], contextlib.AbstractContextManager[Progress]] = _unseen,
    on_wait: OnWait = lambda seconds: None,
) -> Iterator[Refresh]:
    """Ingest the paths, then again whenever they have changed; one Refresh each, for ever.

    interval: seconds between two looks; debounce: seconds a tree must stay as it is before it is read; progress: entered for
    each ingest, it gives what hears of it; on_wait: as of Store.open. The first ingest raises what `ingest.run` raises; later
    failures are handed on, because a root may be back the next time.
    """

    def ingested(name: str | None) -> IngestReport:
        with progress() as show:
            return run(paths, reader=reader, home=home, name=name, limits=limits, on_progress=show, on_wait=on_wait)

    seen = _signature(paths, limits)
    first = ingested(name)
    name = first.name
    yield Refresh(first, None)
    while True:
        sleep(interval)
        now = _signature(paths, limits)
        if now == seen:
            continue
        # An editor, a checkout or a build writes many files: they are read together, when it is done.
        while True:
            sleep(debounce)
            later = _signature(paths, limits)
            if later == now:
                break
            now = later
        # Remembered from before the ingest: what changes during it is seen at the next look.
        seen = now
        try:
            yield Refresh(ingested(name), None)
        except GfqaError as error:
            yield Refresh(None, error)


def _signature(paths: Sequence[str | Path], limits: Limits | None) -> Signature:
    """What the sources look like; a source that is gone looks like nothing."""
    found: list[tuple[str, str, int, int, int]] = []
    for path in paths:
        try:
            source: Source = open_source(path, limits)
            root = str(source.root)
            items = [item for item in source.scan() if isinstance(item, Found)]
        except GfqaError:
            continue
        found.append((root, "", 0, 0, 0))
        found += [(root, item.path, item.size, item.mtime_ns, item.inode) for item in items]
    return tuple(found)
