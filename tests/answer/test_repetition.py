"""What is an answer, however odd, and what only repeats itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfqa.answer.repetition import is_degenerate

HONEST = """
    8471
    fetch_rates
    __init__
    __init__.py
    C++
    --flag
    --
    src/
    /etc/
    /
    ,
    //
    ///
    ===
    ...
    ->
    **
    ****
    **** **** **** 1234
    ########
    password: ********
    Name: ____________
    XXXX-XXXX-XXXX-XXXX
    sk-xxxxxxxx
    char ****argv
    ../../..
    ../../../../etc/passwd
    **/*
    src/**/*.py
    [...]
    (?:)
    <!---->
    file:////server/share
    -----BEGIN PRIVATE KEY-----
    ==== Title ====
    <<<<<<< HEAD
    >>> print(1)
    127.0.0.1
    8.8.8.8
    1, 1, 1, 1
    00:00:00:00:00:00
    0000000000
    11111111
    ffffffffffff
    f32, f32, f32, f32
    VALUES (?, ?, ?, ?)
    no, no, no
    ha ha
    Mississippi
    banana
    {}
    {{}}
    os.path
    a/b/c/d
    the cat and the dog and the cow and the hen
    Wait...
    $$
""".strip().split("\n")

LOST = """
    src////
    src//////////
    src / / / /
    src//-//-//-//-
    src../../../../../
    the port,,,,
    the port , , , ,
    ////
    ------------
    ====
    ,,,,
    , , ,
    // //
    ....
    -=-=-=-=
    :::::
    the the the the
    The the THE the
    of the of the of the of the
    it is in it is in it is in it is in
    src/src/src/src
    src/src/src/src/
    test_test_test_test
    the answer is is is is is
    None, None, None, None
    ratesratesratesrates
    tictictictic
""".strip().split("\n")


@pytest.mark.parametrize("answer", [line.strip() for line in HONEST])
def test_what_is_an_answer(answer: str) -> None:
    assert not is_degenerate(answer)
    assert not is_degenerate(f" {answer}\n")


@pytest.mark.parametrize("answer", [line.strip() for line in LOST])
def test_what_only_repeats_itself(answer: str) -> None:
    assert is_degenerate(answer)
    assert is_degenerate(answer, "Another text, in which src/ is the folder.")
    assert is_degenerate(answer.replace(" ", "\n"))


@pytest.mark.parametrize("answer", [line.strip() for line in LOST])
def test_what_stands_in_the_document_exactly_so_is_an_answer(answer: str) -> None:
    assert not is_degenerate(answer, f"The line reads\n{answer}\nand goes on.")
    assert not is_degenerate(answer, answer)


def test_a_piece_of_a_longer_run_does_not_stand_there() -> None:
    ruler = "#include\n////////////////////////\n// src//////////\n"
    assert is_degenerate("////", ruler)
    assert is_degenerate("src////", ruler)
    assert not is_degenerate("src//////////", ruler)
    assert not is_degenerate("////////////////////////", ruler)


def test_nothing_repeats_nothing() -> None:
    assert not is_degenerate("")
    assert not is_degenerate(" \n")


@given(st.text(max_size=40), st.text(max_size=80))
def test_any_text_is_judged(answer: str, document: str) -> None:
    run = re.search(r"([^\W_])\1{7,}", answer.strip())
    assert is_degenerate(answer, document) <= (
        is_degenerate(answer) or (run is not None and run.group() not in document)
    )
    assert not is_degenerate(answer, f"- {answer.strip()} ") or not answer.strip() or answer.strip()[0] in "- "


@given(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12),
    st.sampled_from("/,;:.|-=+~!"),
    st.integers(4, 40),
)
def test_a_run_of_marks_behind_a_word_is_none(word: str, mark: str, length: int) -> None:
    assert is_degenerate(word + mark * length)
    assert not is_degenerate(word + mark)


def test_one_letter_again_and_again_has_to_stand_in_the_document() -> None:
    assert is_degenerate("1" * 63, "it needs Python 3.10 or 11")
    assert is_degenerate("srccccccccc", "src/click")
    assert not is_degenerate("ffffffff", "the mask is ffffffff")
    assert not is_degenerate("00000000-aa", "id 00000000-aa")
    # Without a document there is nothing to tell them apart by.
    assert not is_degenerate("f" * 16)
