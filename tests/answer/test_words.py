"""Words and stems: what counts as the same word, and that blocks do not change it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfqa.answer import words
from gfqa.answer.words import find_words, spell
from gfqa.tokenizer import load_tokenizer

BYTES = load_tokenizer("bytes")


def as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def hashes(text: str) -> list[int]:
    return find_words(as_bytes(text)).hashes.tolist()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("the cat's 3rd meal", ["the", "cat", "s", "3rd", "meal"]),
        ("read_HTTPHeader", ["read", "http", "header", "read_httpheader"]),
        ("getName URLs", ["get", "name", "urls", "getname"]),
        ("“Quoted”—dashed…", ["quoted", "dashed"]),
        ("_private __init__", ["private", "init"]),
        ("é is a letter", ["é", "is", "a", "letter"]),
        ("", []),
        (" \n\t,;", []),
    ],
)
def test_words_and_identifiers(text: str, parts: list[str]) -> None:
    found = find_words(as_bytes(text))
    whole = [part for part in parts if "_" in part or part == "getname"]
    plain = [part for part in parts if part not in whole]
    # Each alone is hashed as it is inside the text; an identifier alone comes last of its own words.
    assert found.hashes.tolist() == [hashes(part)[0] for part in plain] + [
        hashes(re.sub("name", "Name", part))[-1] for part in whole
    ]
    assert found.n_plain == len(plain)


@pytest.mark.parametrize(
    "same",
    [
        ("study", "studies", "studied", "Studying"),
        ("run", "running", "runs"),
        ("use", "used", "using", "uses"),
        ("create", "creation", "created", "CREATING"),
        ("box", "boxes"),
        ("develop", "development", "developed"),
        ("direct", "directly"),
    ],
)
def test_forms_of_one_word_are_the_same(same: tuple[str, ...]) -> None:
    assert len({hashes(word)[0] for word in same}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("sing", "s"), ("need", "ne"), ("king", "k"), ("bus", "bu"), ("cat", "car")]
)
def test_different_words_stay_different(one: str, other: str) -> None:
    assert hashes(one)[0] != hashes(other)[0]


@given(st.text(alphabet="aB1_ é-\n", max_size=300))
def test_the_size_of_the_blocks_changes_nothing(text: str) -> None:
    spaced = text + " end"
    whole = find_words(as_bytes(spaced))
    plain = words._BLOCK
    words._BLOCK = 16
    try:
        cut = find_words(as_bytes(spaced))
    finally:
        words._BLOCK = plain
    # Only a block that finds no white space for its whole length may cut a word.
    if max(map(len, re.split(r"\s", spaced.encode().decode("latin-1")))) < 16:
        assert cut.hashes.tolist() == whole.hashes.tolist()
        assert cut.at.tolist() == whole.at.tolist()
        assert cut.n_plain == whole.n_plain


@given(st.text(max_size=200))
def test_spelling_ids_gives_their_text(text: str) -> None:
    ids = np.array(BYTES.encode(text), np.uint16)
    spelled, begins = spell(ids, BYTES)
    assert spelled.tobytes().decode() == text
    assert begins.tolist() == list(range(len(ids) + 1))


def test_control_ids_and_padding_part_words() -> None:
    ids = np.array([BYTES.control["doc"], ord("a"), 60_000], np.uint16)
    spelled, begins = spell(ids, BYTES)
    assert spelled.tobytes() == b"\na\n"
    assert begins.tolist() == [0, 1, 2, 3]
