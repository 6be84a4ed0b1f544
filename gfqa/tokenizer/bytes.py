"""A tokenizer without a file for tests: ids 0-255 are the bytes, then doc, q, a, none, eos."""

from __future__ import annotations

from gfqa.tokenizer.pieces import CONTROL_NAMES, PieceTable


class ByteTokenizer(PieceTable):
    """One id per UTF-8 byte; 261 ids in all."""

    identity = "bytes"

    def __init__(self) -> None:
        super().__init__([bytes([value]) for value in range(256)] + [b""] * len(CONTROL_NAMES))
        self.control = {name: 256 + number for number, name in enumerate(CONTROL_NAMES)}

    def encode(self, text: str) -> list[int]:
        """The UTF-8 bytes as ids."""
        return list(text.encode())
