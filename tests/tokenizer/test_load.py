"""`load_tokenizer` and the tokenizer of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfqa.errors import ModelError
from gfqa.tokenizer import load_tokenizer


def test_bytes_tokenizer() -> None:
    tokenizer = load_tokenizer("bytes")
    assert tokenizer.vocab_size == 261
    assert tokenizer.identity == "bytes"
    assert tokenizer.encode("é\n") == [0xC3, 0xA9, 10]
    assert tokenizer.decode([256, 0xC3, 0xA9, 260]) == "é"
    assert tokenizer.decode([0xC3]) == "\ufffd"
    assert tokenizer.control == {"doc": 256, "q": 257, "a": 258, "none": 259, "eos": 260}


def test_missing_and_unknown_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.model"):
        load_tokenizer(tmp_path / "gone.model")
    path = tmp_path / "words.txt"
    path.write_text("a")
    with pytest.raises(ModelError, match=r"words\.txt"):
        load_tokenizer(path)
