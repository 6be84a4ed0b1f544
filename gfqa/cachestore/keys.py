"""Identities: which model wrote a segment, and the segment's own name, computed from inputs only.

A segment key is SHA-256(identity, parent segment, token ids). The identity covers the format version, the model, the
tokenizer, the layout and the numerics (storage form of the keys, numerics_version). Nothing that comes out of floating
point enters, nor Python's `hash()`, so the same text has the same key in every process and on every machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from gfqa.errors import GfqaError

FORMAT_VERSION: Final = 1
SEGMENT_TOKENS: Final = 65_536
"""A segment holds at most this many tokens; a longer chain is several segments."""

KEY_DTYPES: Final = ("int8", "bfloat16", "float32")
LAYOUTS: Final = ("independent", "chained")

_KEY = re.compile(r"[0-9a-f]{64}")
_NO_PARENT = bytes(32)


def is_key(text: object) -> bool:
    """True for 64 lower-case hexadecimal digits. Checked before a key touches a path."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


@dataclass(frozen=True)
class Identity:
    """All parts of "which model wrote this". Two identities are the same where their digests are.

    model: SHA-256 (hex) of config and weights. tokenizer: what the tokenizer calls itself. layout: "independent" or
    "chained". key_dtype: "int8", "bfloat16" or "float32". key_width: 0 for models without GOLD. model_name appears in
    messages only and is no part of the digest. Raises GfqaError for an unknown layout or key_dtype.
    """

    model: str
    tokenizer: str
    layout: str
    key_dtype: str
    key_width: int
    numerics_version: int = 1
    model_name: str = ""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise GfqaError(f"{self.layout!r} is not a layout of a cache; the layouts are {', '.join(LAYOUTS)}")
        if self.key_dtype not in KEY_DTYPES:
            raise GfqaError(f"{self.key_dtype!r} is not a storage form of keys; the forms are {', '.join(KEY_DTYPES)}")
        if not 0 <= self.key_width < 2**32:
            raise GfqaError(f"a key width of {self.key_width} is not possible")

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the format version and every field but model_name."""
        fields = [
            "gfqa identity",
            FORMAT_VERSION,
            self.model,
            self.tokenizer,
            self.layout,
            self.key_dtype,
            self.key_width,
            self.numerics_version,
        ]
        return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode("ascii")).hexdigest()

    def difference(self, other: Identity) -> str | None:
        """What tells this identity from the other, in a few words for a message, or None if they are the same."""
        if self.digest == other.digest:
            return None
        if self.model != other.model:
            mine, theirs = (identity.model_name or identity.model[:12] for identity in (self, other))
            return f"model {mine} instead of {theirs}" if mine != theirs else f"other weights of model {mine}"
        if self.tokenizer != other.tokenizer:
            return "another tokenizer"
        if self.layout != other.layout:
            return f"layout {self.layout} instead of {other.layout}"
        if (self.key_dtype, self.key_width) != (other.key_dtype, other.key_width):
            return f"keys {self.key_dtype} x {self.key_width} instead of {other.key_dtype} x {other.key_width}"
        return f"numerics version {self.numerics_version} instead of {other.numerics_version}"


def segment_key(identity: Identity, parent: str | None, ids: npt.NDArray[np.integer]) -> str:
    """SHA-256 (hex) of identity, parent key and token ids [S] (any integer type: the key does not depend on it)."""
    digest = hashlib.sha256(b"gfqa segment\0")
    digest.update(bytes.fromhex(identity.digest))
    digest.update(_NO_PARENT if parent is None else bytes.fromhex(parent))
    digest.update(np.ascontiguousarray(ids, dtype="<u4").data)
    return digest.hexdigest()


def chain_keys(identity: Identity, ids: Sequence[int] | npt.NDArray[np.integer]) -> list[str]:
    """The keys of the segments of a chain over all of ids [S], in order; the last one is the chain's key."""
    array = np.asarray(ids)
    keys: list[str] = []
    for start in range(0, len(array), SEGMENT_TOKENS):
        keys.append(segment_key(identity, keys[-1] if keys else None, array[start : start + SEGMENT_TOKENS]))
    return keys
