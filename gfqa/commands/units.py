"""Amounts as users write them: 30d, 12h, 500MB, 2GiB."""

from __future__ import annotations

import re

from gfqa.errors import UsageError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def seconds(text: str) -> float:
    """An age in seconds: a number and s, m, h, d or w. UsageError for anything else."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([smhdw])", text.strip().casefold())
    if match is None:
        raise UsageError(f"{text!r} is no age.", hint="Write a number and s, m, h, d or w: 12h, 30d, 2w.")
    return float(match[1]) * _SECONDS[match[2]]


def byte_count(text: str) -> int:
    """A size in bytes: a number and kB, MB, GB, TB (powers of ten), KiB, MiB, GiB, TiB or nothing. UsageError otherwise."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([a-z]*)", text.strip().casefold())
    if match is None or match[2] not in _BYTES:
        raise UsageError(f"{text!r} is no size.", hint="Write a number and a unit: 500MB, 2GB, 1.5GiB.")
    return int(float(match[1]) * _BYTES[match[2]])
