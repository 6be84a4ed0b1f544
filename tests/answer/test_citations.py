"""From attention mass to places: spans, lines, pages, verbatim quotes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfqa.answer.citations import QUOTE_CHARACTERS, Span, find_span, locate
from gfqa.answer.prompt import document_ids
from gfqa.tokenizer import load_tokenizer

BYTES = load_tokenizer("bytes")


def chain(path: str, text: str) -> tuple[np.ndarray, int]:
    ids, header = document_ids(BYTES, path, text)
    return np.array(ids), header


def memory(*texts: str) -> tuple[np.ndarray, list[int], list[int]]:
    """Documents as one memory: (ids, starts, header tokens)."""
    parts = [chain(f"{number}.txt", text) for number, text in enumerate(texts)]
    starts = np.cumsum([0, *(len(ids) for ids, _ in parts)])[:-1].tolist()
    return np.concatenate([ids for ids, _ in parts]), starts, [header for _, header in parts]


def mass_on(ids: np.ndarray, *places: tuple[int, int, float]) -> np.ndarray:
    mass = np.zeros(len(ids), np.float32)
    for start, end, weight in places:
        mass[start:end] = weight / (end - start)
    return mass


def test_without_the_words_the_peak_of_the_mass_is_the_place() -> None:
    ids, starts, headers = memory("alpha beta gamma\n" * 5, "delta epsilon zeta\n" * 5)
    body = starts[1] + headers[1]
    mass = mass_on(ids, (body + 30, body + 36, 0.7), (starts[0] + 20, starts[0] + 24, 0.3))
    span, verbatim = find_span(mass, ids, 1, starts[1], (body, len(ids)), b"absent", BYTES)
    assert not verbatim
    assert (span.chain, span.start, span.end) == (1, headers[1] + 30, headers[1] + 36)
    assert span.share == pytest.approx(0.7, abs=1e-5)


def test_the_answer_s_own_words_come_before_the_peak() -> None:
    text = "The port of the server is 8080 and more text, 8080 too, follows here.\n"
    ids, _, headers = memory(text)
    peak = headers[0] + text.index("server")
    second = headers[0] + text.rindex("8080")
    mass = mass_on(ids, (peak, peak + 3, 0.9), (second, second + 4, 0.1))
    span, verbatim = find_span(mass, ids, 0, 0, (headers[0], len(ids)), b" 8080 ", BYTES)
    assert verbatim
    assert (span.start, span.end) == (second, second + 4)
    assert span.share == pytest.approx(0.1, abs=1e-5)
    elsewhere, verbatim = find_span(mass, ids, 0, 0, (headers[0], headers[0] + 20), b"8080", BYTES)
    assert not verbatim
    assert elsewhere.end <= headers[0] + 20


def test_a_passage_without_mass_is_still_a_place() -> None:
    ids, _, headers = memory("text\n")
    nothing = np.zeros(len(ids), np.float32)
    span, verbatim = find_span(nothing, ids, 0, 0, (headers[0], len(ids)), b"text", BYTES)
    assert (span.start, span.end, span.share, verbatim) == (headers[0], headers[0] + 4, 0.0, True)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_count_from_one_and_the_header_is_line_one(newline: str) -> None:
    text = newline.join(["first", "second", "third", "fourth"])
    ids, header = chain("dir/name.txt", text)
    for number, word in enumerate(["first", "second", "third", "fourth"], 1):
        at = header + text.index(word)
        place = locate(Span(0, at, at + len(word), 1.0), ids, header, None, BYTES)
        assert (place.start_line, place.end_line, place.page, place.quote) == (number, number, None, word)
    place = locate(Span(0, 0, 5, 1.0), ids, header, None, BYTES)
    assert (place.start_line, place.end_line, place.quote) == (1, 1, "first")


def test_a_span_over_several_lines_quotes_the_first_of_them() -> None:
    text = "one\ntwo\nthree\nfour\nfive\n"
    ids, header = chain("a", text)
    place = locate(Span(0, header + 4, header + 22, 1.0), ids, header, None, BYTES, lines=2)
    assert (place.start_line, place.end_line, place.quote) == (2, 5, "two\nthree")


def test_a_trailing_newline_does_not_drag_the_next_line_in() -> None:
    ids, header = chain("a", "one\ntwo\n")
    place = locate(Span(0, header, header + 4, 1.0), ids, header, None, BYTES)
    assert (place.start_line, place.end_line, place.quote) == (1, 1, "one")


def test_pages_of_a_pdf() -> None:
    pages = ["página one", "", "third page", "fourth"]
    text = "\f".join(pages)
    starts = [sum(len(page) + 1 for page in pages[:number]) for number in range(len(pages))]
    ids, header = chain("p.pdf", text)
    for number, word in ((1, "one"), (3, "third"), (4, "fourth")):
        at = header + len(text[: text.index(word)].encode())
        place = locate(Span(0, at, at + len(word), 1.0), ids, header, starts, BYTES)
        assert (place.page, place.start_line, place.end_line) == (number, None, None)
        assert place.quote == pages[number - 1]


def test_a_very_long_line_is_quoted_around_the_place() -> None:
    text = "x" * 5000 + " needle " + "y" * 5000
    ids, header = chain("a", text)
    at = header + text.index("needle")
    place = locate(Span(0, at, at + 6, 1.0), ids, header, None, BYTES)
    assert "needle" in place.quote
    assert place.quote in text
    assert len(place.quote) <= QUOTE_CHARACTERS


@given(
    st.lists(st.text(st.sampled_from("ab é漢🙂\n\r\t"), max_size=40), min_size=1, max_size=4),
    st.data(),
)
def test_every_citation_exists_and_is_quoted_verbatim(texts: list[str], data: st.DataObject) -> None:
    ids, starts, headers = memory(*texts)
    weights = data.draw(st.lists(st.floats(0, 1, width=32), min_size=len(ids), max_size=len(ids)))
    answer = data.draw(st.sampled_from(["", "a", "é", "b a"])).encode()
    mass = np.array(weights, np.float32)
    for number, (begin, text) in enumerate(zip(starts, texts, strict=True)):
        end = [*starts, len(ids)][number + 1]
        span, _ = find_span(mass, ids, number, begin, (begin + headers[number], end), answer, BYTES)
        assert span.chain == number
        assert headers[number] <= span.start <= span.end <= end - begin
        assert 0 <= span.share <= 1
        place = locate(span, ids[begin:end], headers[span.chain], None, BYTES)
        lines = text.split("\n")
        assert place.start_line is not None
        assert place.end_line is not None
        assert 1 <= place.start_line <= place.end_line <= len(lines)
        cited = "\n".join(lines[place.start_line - 1 : place.end_line][:3])
        assert place.quote == cited.rstrip("\r")


def test_a_quote_is_of_one_page() -> None:
    pages = ["the end of a page", "and the next one begins"]
    text = "\f".join(pages)
    ids, header = chain("p.pdf", text)
    starts = [0, len(pages[0]) + 1]
    for first, last, page in (("end", "next", 1), ("page", "begins", 2)):
        span = Span(0, header + text.index(first), header + text.index(last) + len(last), 1.0)
        place = locate(span, ids, header, starts, BYTES, one_page=True)
        assert (place.page, place.quote) == (page, pages[page - 1])
