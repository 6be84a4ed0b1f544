"""World vocabularies: the ids of the reference implementation, over the part of the vocabulary that its cases touch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfqa.errors import ModelError
from gfqa.tokenizer import load_tokenizer
from gfqa.tokenizer.world import WorldTokenizer

DATA = Path(__file__).parents[1] / "data"
VOCABULARY = DATA / "rwkv_vocab_cases.txt"
CASES = json.loads((DATA / "world_cases.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> WorldTokenizer:
    return WorldTokenizer(VOCABULARY, plain=True)


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: repr(case["text"][:20]))
def test_ids_of_the_reference(tokenizer: WorldTokenizer, case: dict) -> None:
    assert tokenizer.encode(case["text"]) == case["ids"]
    assert tokenizer.decode(case["ids"]) == case["text"]


def test_bytes_of_the_reference(tokenizer: WorldTokenizer) -> None:
    for id, expected in CASES["bytes_hex"].items():
        assert tokenizer.piece_bytes(int(id)) == bytes.fromhex(expected)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(tokenizer: WorldTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_end_of_a_text_never_comes_from_text(tokenizer: WorldTokenizer) -> None:
    text = "a<|endoftext|>b"
    assert 0 not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.control == {"eos": 0}
    assert tokenizer.piece_bytes(0) == b""


def test_the_extension_gives_the_same_ids(tokenizer: WorldTokenizer) -> None:
    pytest.importorskip("pyrwkv_tokenizer")
    fast = load_tokenizer(VOCABULARY)
    for case in CASES["cases"]:
        assert fast.encode(case["text"]) == tokenizer.encode(case["text"])


def test_greedy_match_takes_the_longest(tmp_path: Path) -> None:
    path = tmp_path / "rwkv_vocab_small.txt"
    path.write_text("1 'a' 1\n2 'ab' 2\n3 'abcd' 4\n4 b'\\xff' 1\n5 'c' 1\n", encoding="utf-8")
    tokenizer = WorldTokenizer(path, plain=True)
    assert tokenizer.encode("abcabcda") == [2, 5, 3, 1]
    assert tokenizer.decode([4]) == "\ufffd"
    with pytest.raises(ModelError, match="0x78"):
        tokenizer.encode("x")


@pytest.mark.parametrize("line", ["1 'a' 2", "x 'a' 1", "1 __import__('os') 1", "0 'a' 1", "1 5 1"])
def test_damaged_files_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rwkv_vocab_bad.txt"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ModelError):
        WorldTokenizer(path, plain=True)
