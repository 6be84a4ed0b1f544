"""One segment as bytes: a fixed header, then the arrays, each padded with zeros to a multiple of 16 bytes.

Two kinds exist: TOKENS (ids, scales, keys of up to 65,536 tokens) and SNAPSHOT (named float32 arrays that belong to the
token segment of the same key). To the store keys are opaque numbers with a dtype name; only "is it finite" is asked.
Decoding checks everything a header says against what the caller expects and raises Damaged with a few words.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gfqa.cachestore.keys import KEY_DTYPES, SEGMENT_TOKENS, Identity, segment_key
from gfqa.errors import GfqaError

TOKENS: Final = 1
SNAPSHOT: Final = 2

_MAGIC = b"GSEG"
_HEADER = struct.Struct("<4sBBBBII32s32s32s")
HEADER_BYTES: Final = _HEADER.size
STORED: Final[dict[str, np.dtype[Any]]] = {
    "int8": np.dtype(np.int8),
    "bfloat16": np.dtype("<u2"),
    "float32": np.dtype("<f4"),
}
"""The dtype of stored keys by the name of their storage form."""

_ALIGN = 16
_NO_PARENT = bytes(32)


class Damaged(Exception):
    """Bytes that are not what they should be; the store turns it into a CacheError that names the file."""


class Header(NamedTuple):
    """What a segment says about itself. Keys and digests are hexadecimal.

    imported: its numbers came from a file somebody gave us, so no ingest takes them for what the model would compute.
    """

    kind: int
    last: bool
    id_bytes: int
    key_dtype: str
    n_tokens: int
    key_width: int
    key: str
    parent: str | None
    identity: str
    imported: bool = False


class Tokens(NamedTuple):
    """ids uint16 or uint32 [S]; keys [S, key_width] int8, uint16 (bfloat16) or float32; scales float16 [S] for int8."""

    ids: npt.NDArray[Any]
    keys: npt.NDArray[Any]
    scales: npt.NDArray[Any] | None


def checked_tokens(identity: Identity, ids: Any, keys: Any, scales: Any) -> Tokens:
    """The arrays in their storage form. Raises GfqaError for a wrong shape or dtype, and for NaN or infinity."""
    array = np.asarray(ids)
    count = array.shape[0] if array.ndim == 1 else 0
    if not 1 <= count <= SEGMENT_TOKENS or array.dtype.kind not in "iu":
        raise GfqaError(f"a segment takes 1 to {SEGMENT_TOKENS} integer token ids, not {array.dtype} {array.shape}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= 2**32:
        raise GfqaError(f"the token id {low if low < 0 else high} cannot be stored")
    stored_ids = np.ascontiguousarray(array, dtype="<u2" if high < 2**16 else "<u4")

    dtype = STORED[identity.key_dtype]
    matrix = np.zeros((count, 0), dtype) if keys is None else np.asarray(keys)
    if matrix.shape != (count, identity.key_width) or matrix.dtype != dtype:
        raise GfqaError(
            f"{count} tokens need keys {dtype} of shape {(count, identity.key_width)}, not {matrix.dtype} {matrix.shape}"
        )
    stored_keys = np.ascontiguousarray(matrix, dtype=dtype)
    if not _finite(stored_keys, identity.key_dtype):
        raise GfqaError("the model produced keys that are not finite, so they are not stored")
    if not has_scales(identity):
        return Tokens(stored_ids, stored_keys, None)
    factors = np.asarray(scales)
    if factors.shape != (count,) or factors.dtype != np.float16:
        raise GfqaError(f"int8 keys need {count} float16 scales, not {factors.dtype} {factors.shape}")
    if not np.isfinite(factors).all():
        raise GfqaError("the model produced key scales that are not finite, so they are not stored")
    return Tokens(stored_ids, stored_keys, np.ascontiguousarray(factors, dtype="<f2"))


def encode_tokens(
    identity: Identity, key: str, parent: str | None, tokens: Tokens, *, last: bool, imported: bool = False
) -> bytes:
    """The bytes of one token segment; `tokens` as checked_tokens returns them."""
    header = Header(
        kind=TOKENS,
        last=last,
        id_bytes=tokens.ids.dtype.itemsize,
        key_dtype=identity.key_dtype,
        n_tokens=len(tokens.ids),
        key_width=identity.key_width,
        key=key,
        parent=parent,
        identity=identity.digest,
        imported=imported,
    )
    parts = [tokens.ids.tobytes(), b"" if tokens.scales is None else tokens.scales.tobytes(), tokens.keys.tobytes()]
    return pack_header(header) + b"".join(_padded(part) for part in parts)


def decode_tokens(data: bytes | memoryview, identity: Identity, key: str, parent: str | None) -> Tokens:
    """The arrays (views of data) of the token segment `key`; Damaged if it is not exactly that segment."""
    header = unpack_header(data)
    if (header.kind, header.key, header.parent) != (TOKENS, key, parent):
        raise Damaged("it holds another segment than expected")
    if header.identity != identity.digest:
        raise Damaged("it holds a segment of another model")
    count, width = header.n_tokens, identity.key_width
    dtype = STORED[identity.key_dtype]
    offset = HEADER_BYTES
    ids, offset = _array(data, offset, np.dtype(f"<u{header.id_bytes}"), count)
    scales, offset = _array(data, offset, np.dtype("<f2"), count) if has_scales(identity) else (None, offset)
    keys, offset = _array(data, offset, dtype, count * width)
    if offset != len(data):
        raise Damaged("a segment has another length than its header says")
    if segment_key(identity, parent, ids) != key:
        raise Damaged("the token ids of a segment do not match its key")
    return Tokens(ids, keys.reshape(count, width), scales)


def encode_snapshot(
    identity: Identity, key: str, tensors: dict[str, npt.NDArray[Any]], *, imported: bool = False
) -> bytes:
    """The bytes of a snapshot: a JSON table of names and shapes, then the float32 data. Refuses other dtypes, NaN, inf."""
    table: list[tuple[str, list[int]]] = []
    parts: list[bytes] = []
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        if array.dtype != np.float32:
            raise GfqaError(f"the snapshot tensor {name!r} is {array.dtype}, not float32")
        if not np.isfinite(array).all():
            raise GfqaError(f"the snapshot tensor {name!r} holds values that are not finite, so it is not stored")
        table.append((name, list(array.shape)))
        parts.append(_padded(np.ascontiguousarray(array, dtype="<f4").tobytes()))
    head = json.dumps(table).encode("ascii")
    header = Header(SNAPSHOT, False, 0, identity.key_dtype, 0, identity.key_width, key, None, identity.digest, imported)
    return pack_header(header) + _padded(len(head).to_bytes(4, "little") + head) + b"".join(parts)


def decode_snapshot(data: bytes, identity: Identity, key: str) -> dict[str, npt.NDArray[np.float32]]:
    """The named arrays of the snapshot of segment `key`; Damaged if it is not that, or not finite."""
    header = unpack_header(data)
    if (header.kind, header.key, header.identity) != (SNAPSHOT, key, identity.digest):
        raise Damaged("it holds another snapshot than expected")
    start = HEADER_BYTES + 4
    size = int.from_bytes(data[HEADER_BYTES:start], "little")
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    try:
        table = json.loads(data[start : start + size])
        offset = start + size + _pad(4 + size)
        for name, shape in table:
            array, offset = _array(data, offset, np.dtype("<f4"), int(np.prod(shape, dtype=np.int64)))
            tensors[name] = array.reshape(shape)
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged("the table of a snapshot cannot be read") from error
    if offset != len(data):
        raise Damaged("a snapshot has another length than its table says")
    if not all(np.isfinite(array).all() for array in tensors.values()):
        raise Damaged("a snapshot holds values that are not finite")
    return tensors


def pack_header(header: Header) -> bytes:
    """The 112 bytes of a header, as they stand before a segment and in the index of its pack."""
    return _HEADER.pack(
        _MAGIC,
        header.kind,
        header.last | header.imported << 1,
        header.id_bytes,
        KEY_DTYPES.index(header.key_dtype),
        header.n_tokens,
        header.key_width,
        bytes.fromhex(header.key),
        _NO_PARENT if header.parent is None else bytes.fromhex(header.parent),
        bytes.fromhex(header.identity),
    )


def unpack_header(data: bytes | memoryview) -> Header:
    """The header at the start of data; Damaged if it cannot be one."""
    if len(data) < HEADER_BYTES:
        raise Damaged("a segment is cut short")
    magic, kind, flags, id_bytes, dtype, n_tokens, width, key, parent, identity = _HEADER.unpack_from(data)
    if magic != _MAGIC or flags > 3 or dtype >= len(KEY_DTYPES) or (kind, id_bytes) not in _KINDS:
        raise Damaged("a segment has no valid header")
    return Header(
        kind=kind,
        last=bool(flags & 1),
        id_bytes=id_bytes,
        key_dtype=KEY_DTYPES[dtype],
        n_tokens=n_tokens,
        key_width=width,
        key=key.hex(),
        parent=None if parent == _NO_PARENT else parent.hex(),
        identity=identity.hex(),
        imported=bool(flags & 2),
    )


_KINDS = {(TOKENS, 2), (TOKENS, 4), (SNAPSHOT, 0)}


def has_scales(identity: Identity) -> bool:
    """Whether keys of this storage form come with one float16 scale per token."""
    return identity.key_dtype == "int8" and identity.key_width > 0


def _finite(array: npt.NDArray[Any], key_dtype: str) -> bool:
    if key_dtype == "int8":
        return True
    if key_dtype == "bfloat16":
        # An exponent of all ones is infinity or NaN in bfloat16, which numpy does not know.
        return not bool(((array & 0x7F80) == 0x7F80).any())
    return bool(np.isfinite(array).all())


def _pad(size: int) -> int:
    return -size % _ALIGN


def _padded(data: bytes) -> bytes:
    return data + bytes(_pad(len(data)))


def _array(data: bytes | memoryview, offset: int, dtype: np.dtype[Any], count: int) -> tuple[npt.NDArray[Any], int]:
    end = offset + count * dtype.itemsize
    if count < 0 or end + _pad(end - offset) > len(data):
        raise Damaged("a segment is cut short")
    return np.frombuffer(data, dtype, count, offset), end + _pad(end - offset)
