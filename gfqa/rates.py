"""How fast a model has read on this machine: tokens a second of the last longer ingest, kept with the store for estimates.

A note, not data: one that cannot be written or read is as good as none.
"""

from __future__ import annotations

import contextlib
import json
import math

from gfqa.cachestore import Store, fs
from gfqa.errors import GfqaError
from gfqa.reader import Reader

LEAST_TOKENS = 2000
"""An ingest of fewer tokens says more about warming up than about speed."""

_MAX_BYTES = 65_536
_MOST = 50


def remember(store: Store, reader: Reader, tokens: int, seconds: float) -> None:
    """Note the rate of an ingest, if it was long enough to mean something."""
    if tokens < LEAST_TOKENS or seconds <= 0:
        return
    known = _read(store)
    known.pop(_key(reader), None)
    kept = dict([*known.items(), (_key(reader), round(tokens / seconds, 1))][-_MOST:])
    with contextlib.suppress(GfqaError):
        fs.write_file_atomically(store.root / "rates.json", [json.dumps(kept).encode()])


def recall(store: Store, reader: Reader) -> float | None:
    """Tokens a second of this model on this kind of device, if it has read here before."""
    return _read(store).get(_key(reader))


def _key(reader: Reader) -> str:
    return f"{reader.identity.model[:16]} {reader.device.partition(':')[0]}"


def _read(store: Store) -> dict[str, float]:
    try:
        with (store.root / "rates.json").open("rb") as file:
            known = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    rates = known.items() if isinstance(known, dict) else ()
    return {key: float(rate) for key, rate in rates if isinstance(rate, int | float) and 0 < rate < math.inf}
