"""The check of a citation: it holds for what `locate` finds, and fails for everything forged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfqa.answer.checks import column, document_text, verified
from gfqa.answer.citations import Place, Span, locate
from gfqa.tokenizer import load_tokenizer

BYTES = load_tokenizer("bytes")
TEXT = "alpha beta\n\tgamma é delta\nepsilon\n"
PDF = "first page\fsecond page\nmore\fthird"
PAGES = (0, 11, 28)
GOOD = Place(2, 3, None, "\tgamma é delta\nepsilon")


@given(st.text(st.sampled_from("ab é\n\r漢\t"), min_size=1, max_size=60), st.data())
def test_what_is_located_is_verified(text: str, data: st.DataObject) -> None:
    ids = np.array([BYTES.control["doc"], *BYTES.encode("p\n"), *BYTES.encode(text)])
    start = data.draw(st.integers(0, len(ids) - 1))
    end = data.draw(st.integers(start + 1, len(ids)))
    place = locate(Span(0, start, end, 0.5), ids, 3, None, BYTES)
    held = document_text(ids, 3, BYTES)
    assert held == text
    assert verified(place, held, None) == bool(place.quote.strip())
    assert column(place, held, "a") >= 1


@pytest.mark.parametrize(
    "forged",
    [
        replace(GOOD, quote="delta gamma"),
        replace(GOOD, quote=""),
        replace(GOOD, start_line=1, end_line=2),
        replace(GOOD, start_line=3, end_line=2),
        replace(GOOD, start_line=0),
        replace(GOOD, end_line=99),
        replace(GOOD, start_line=None, end_line=None),
    ],
)
def test_a_forged_place_is_not(forged: Place) -> None:
    assert verified(GOOD, TEXT, None)
    assert not verified(forged, TEXT, None)


def test_pages() -> None:
    for page, quote in ((1, "first page"), (2, "second page\nmore"), (3, "third")):
        assert verified(Place(None, None, page, quote), PDF, PAGES)
    for page, quote in ((2, "first page"), (4, "third"), (0, "third"), (None, "third"), (1, "first page\fsecond")):
        assert not verified(Place(None, None, page, quote), PDF, PAGES)


def test_the_column_is_in_bytes_and_starts_at_one() -> None:
    assert column(GOOD, TEXT, "delta") == len("\tgamma é ".encode()) + 1
    assert column(GOOD, TEXT, "epsilon") == 2  # not in the first line: its first letter
    assert column(GOOD, TEXT, "") == 2
    assert column(Place(None, None, 1, "first"), PDF, "page") == 1
    # The words stand before the quoted part, too.
    long = Place(1, 1, None, "port = 2")
    assert column(long, "port = 1; port = 2\n", "port") == 11
