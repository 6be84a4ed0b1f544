"""Decoding shared by all tokenizers: a table of the bytes of every id."""

from __future__ import annotations

from collections.abc import Sequence

from gfqa.errors import ModelError

CONTROL_NAMES = ("doc", "q", "a", "none", "eos")


class PieceTable:
    """Bytes per id; a base of the tokenizers. Control ids and ids without a piece hold b""."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    @property
    def vocab_size(self) -> int:
        """Number of ids, control ids included."""
        return len(self._pieces)

    def piece_bytes(self, id: int) -> bytes:
        """Bytes of one id, b"" for a control id. Raises ModelError for an id outside the vocabulary."""
        if not 0 <= id < len(self._pieces):
            raise ModelError(f"The token id {id} is outside the vocabulary of {len(self._pieces)}.")
        return self._pieces[id]

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Bytes of the ids, one after the other."""
        return b"".join(map(self.piece_bytes, ids))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; bytes that are no valid UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")
