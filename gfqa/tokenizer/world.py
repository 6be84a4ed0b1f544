"""RWKV World vocabularies: greedy longest match over a fixed list of byte strings.

The file has lines `id repr length`: the id, a Python literal of text or bytes, and its length in bytes. Id 0 is reserved
for the end of a text and never comes from text.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gfqa.errors import ModelError
from gfqa.tokenizer.pieces import PieceTable

_END = -1


class WorldTokenizer(PieceTable):
    """A World vocabulary file. Uses `pyrwkv_tokenizer` where it is installed (the same ids, faster), else a trie.

    `control` holds only "eos" (id 0). Raises ModelError for a file that is damaged.
    """

    def __init__(self, path: Path, *, plain: bool = False) -> None:
        data = path.read_bytes()
        self.identity = hashlib.sha256(data).hexdigest()
        pieces: dict[int, bytes] = {}
        try:
            # Split at "\n" only: literals hold raw characters that str.splitlines would cut at.
            for line in data.decode("utf-8").split("\n"):
                if line.strip():
                    id, piece = _parse(line)
                    pieces[id] = piece
        except (ValueError, SyntaxError) as error:
            raise ModelError(f"{path} is not a World vocabulary: {error}.") from error
        if not pieces or min(pieces) < 1:
            raise ModelError(f"{path} is not a World vocabulary: ids must start at 1.")
        super().__init__([pieces.get(id, b"") for id in range(max(pieces) + 1)])
        self.control = {"eos": 0}
        self._trie: dict[int, Any] = {}
        self._fast = None if plain else _installed(path)
        if self._fast is None:
            for id, piece in pieces.items():
                node = self._trie
                for value in piece:
                    node = node.setdefault(value, {})
                node[_END] = id

    def encode(self, text: str) -> list[int]:
        """Ids of the longest pieces from left to right. Raises ModelError for a byte the vocabulary lacks."""
        if self._fast is not None:
            return list(self._fast(text))
        data = text.encode()
        ids, at = [], 0
        while at < len(data):
            node, best, end = self._trie, _END, at
            for position in range(at, len(data)):
                step = node.get(data[position])
                if step is None:
                    break
                node = step
                if _END in node:
                    best, end = node[_END], position + 1
            if best == _END:
                raise ModelError(f"The vocabulary has no piece for the byte 0x{data[at]:02x}.")
            ids.append(best)
            at = end
        return ids


def _parse(line: str) -> tuple[int, bytes]:
    """One vocabulary line. Raises ValueError or SyntaxError."""
    id, _, rest = line.partition(" ")
    literal, _, length = rest.rstrip().rpartition(" ")
    value = ast.literal_eval(literal)
    piece = value.encode() if isinstance(value, str) else value
    if not isinstance(piece, bytes) or len(piece) != int(length):
        raise ValueError(f"the line of id {id} does not have its length")
    return int(id), piece


def _installed(path: Path) -> Callable[[str], list[int]] | None:
    """`encode` of the fast extension for this very file, or None where it is missing or reads a text as id 0."""
    try:
        import pyrwkv_tokenizer
    except ImportError:
        return None
    encode: Callable[[str], list[int]] = pyrwkv_tokenizer.RWKVTokenizer(vocab_filepath=str(path)).encode
    return None if 0 in encode("<|endoftext|>") else encode
