"""SentencePiece vocabularies, made exact: what SentencePiece alone would lose is encoded as bytes.

SentencePiece writes a space as U+2581, so it reads a literal U+2581 as a space; here it becomes its three byte pieces.
Control pieces are never produced from text. Long texts are cut before line ends, where no piece can span, so the ids do
not depend on the cutting.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import sentencepiece

from gfqa.errors import ModelError
from gfqa.tokenizer.pieces import CONTROL_NAMES, PieceTable

_SPACE_MARK = "\u2581"
_CHUNK = 16_384
# A line end after anything but "\r" or "\n" ("\r\n" and "\n\n" are pieces of their own).
_CUT = re.compile(r"(?<=[^\r\n])(?=\n)")


class SentencePieceTokenizer(PieceTable):
    """A `.model` file with byte fallback. Raises ModelError for a file that is damaged or not lossless."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.identity = hashlib.sha256(data).hexdigest()
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(data)
        except RuntimeError as error:
            raise ModelError(f"{path} is not a SentencePiece model.") from error
        ids = list(range(self._processor.GetPieceSize()))
        # Asked for all at once: one by one they would take a twentieth of a second.
        asked = self._processor
        names: list[str] = asked.IdToPiece(ids)
        is_control, is_unknown, is_byte = asked.IsControl(ids), asked.IsUnknown(ids), asked.IsByte(ids)
        super().__init__(
            [
                b""
                if is_control[id] or is_unknown[id]
                else bytes([int(names[id][1:-1], 16)])
                if is_byte[id]
                else names[id].replace(_SPACE_MARK, " ").encode()
                for id in ids
            ]
        )
        byte_ids = {self._pieces[id]: id for id in ids if is_byte[id]}
        if len(byte_ids) != 256:
            raise ModelError(f"{path} has no byte fallback, so it cannot hold every text.")
        self._mark_ids = [byte_ids[bytes([value])] for value in _SPACE_MARK.encode()]
        pieces = {names[id]: id for id in ids if is_control[id]}
        self.control = {name: pieces[f"<{name}>"] for name in CONTROL_NAMES if f"<{name}>" in pieces}
        if self.decode(self.encode("  a\n\n b ")) != "  a\n\n b ":
            raise ModelError(f"{path} folds spaces or adds a prefix, so it cannot give back a text exactly.")

    def encode(self, text: str) -> list[int]:
        """Ids of the text, about 3 to 4 bytes each; several threads for long texts."""
        ids: list[int] = []
        for number, part in enumerate(text.split(_SPACE_MARK)):
            if number:
                ids += self._mark_ids
            if len(part) <= _CHUNK:
                ids += self._processor.EncodeAsIds(part)
            else:
                for chunk_ids in self._processor.Encode(_chunks(part)):
                    ids += chunk_ids
        return ids


def _chunks(text: str) -> list[str]:
    """Cuts before line ends into chunks of at least _CHUNK characters (the last may be shorter)."""
    chunks, start = [], 0
    while len(text) - start > _CHUNK:
        cut = _CUT.search(text, start + _CHUNK)
        if cut is None:
            break
        chunks.append(text[start : cut.start()])
        start = cut.start()
    chunks.append(text[start:])
    return chunks
