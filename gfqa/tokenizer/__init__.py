"""Text to token ids and back. Every valid string without lone surrogates survives `decode(encode(text))` unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gfqa.errors import ModelError

__all__ = ["Tokenizer", "load_tokenizer"]


class Tokenizer(Protocol):
    """What a reader needs of a tokenizer.

    `identity` is the SHA-256 of the file ("bytes" for the tokenizer of tests). `control` maps "doc", "q", "a", "none",
    "eos" to ids where the vocabulary has them; `encode` never yields a control id, whatever the text.
    """

    @property
    def vocab_size(self) -> int: ...

    @property
    def identity(self) -> str: ...

    @property
    def control(self) -> dict[str, int]: ...

    def encode(self, text: str) -> list[int]:
        """Ids of the text. Raises UnicodeEncodeError for lone surrogates."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; bytes that are no valid UTF-8 become U+FFFD, control ids become nothing."""
        ...

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """UTF-8 bytes of the ids. Raises ModelError for an id outside the vocabulary."""
        ...

    def piece_bytes(self, id: int) -> bytes:
        """Bytes of one id, b"" for a control id."""
        ...


def load_tokenizer(path: Path | str) -> Tokenizer:
    """The tokenizer in a file: `*.model` (SentencePiece), `rwkv_vocab*.txt` (World), or the name "bytes" for tests.

    Raises ModelError for a missing file or another name.
    """
    if str(path) == "bytes":
        from gfqa.tokenizer.bytes import ByteTokenizer

        return ByteTokenizer()
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"The tokenizer file {path} does not exist.")
    if path.suffix == ".model":
        from gfqa.tokenizer.sentencepiece import SentencePieceTokenizer

        return SentencePieceTokenizer(path)
    if path.name.startswith("rwkv_vocab") and path.suffix == ".txt":
        from gfqa.tokenizer.world import WorldTokenizer

        return WorldTokenizer(path)
    raise ModelError(
        f"The tokenizer file {path} is of no known kind.",
        hint="Known are SentencePiece files (*.model) and RWKV World vocabularies (rwkv_vocab*.txt).",
    )
