"""Decoding: UTF-8 first, byte order marks, the binary rule, and a guess only where it is safe."""

from __future__ import annotations

import codecs

import pytest

from gfqa.documents import Document, Limits, Skipped, document_from_bytes

ENGLISH = "The café on the corner has a naïve résumé of the year, and the price of the menu was £5 for everybody.\n"


def text_of(data: bytes) -> str:
    document = document_from_bytes("a.txt", data)
    assert isinstance(document, Document), document
    assert document.page_starts is None
    document.text.encode("utf-8")
    return document.text


def reason_of(data: bytes) -> str:
    skipped = document_from_bytes("a.txt", data)
    assert isinstance(skipped, Skipped), skipped
    return skipped.reason


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\x85", "\u2028", "\x0b"])
def test_newlines_stay_as_they_are(newline: str) -> None:
    text = f"one{newline}two{newline}"
    assert text_of(text.encode()) == text


def test_a_utf8_byte_order_mark_is_dropped_once() -> None:
    assert text_of(codecs.BOM_UTF8 + "é = 1\n".encode()) == "é = 1\n"
    assert text_of(codecs.BOM_UTF8 * 2 + b"x") == "\ufeffx"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_wide_encodings_need_their_mark(mark: bytes, encoding: str) -> None:
    text = "Größe = 1\r\nmore \U0001f600\n"
    assert text_of(mark + text.encode(encoding)) == text
    assert reason_of(text.encode(encoding)) == "binary"


def test_lone_surrogates_are_never_text() -> None:
    lone = codecs.BOM_UTF16_LE + "a".encode("utf-16-le") + b"\x00\xd8" + "b".encode("utf-16-le")
    assert reason_of(lone) == "undecodable"
    assert reason_of(codecs.BOM_UTF8 + b"a \xed\xa0\x80 b") == "undecodable"
    assert "\ud800" not in (getattr(document_from_bytes("a", b"a \xed\xa0\x80 b"), "text", ""))


def test_truncated_utf16_is_undecodable() -> None:
    assert reason_of(codecs.BOM_UTF16_LE + "abc".encode("utf-16-le")[:-1]) == "undecodable"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x7fELF\x02\x01\x01\0", b"a" * 8191 + b"\0"])
def test_a_nul_in_the_first_8_kilobytes_means_binary(data: bytes) -> None:
    assert reason_of(data) == "binary"


def test_a_nul_later_does_not() -> None:
    data = b"a" * 8192 + b"\0 end"
    assert text_of(data) == data.decode()


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_western_single_byte_text_is_read(encoding: str) -> None:
    assert text_of(ENGLISH.encode(encoding)) == ENGLISH
    source = "/* Author: José García */\nint main(void)\n{\n\treturn 0;\n}\n"
    assert text_of(source.encode(encoding)) == source


def test_other_alphabets_are_read_when_their_letters_are_convincing() -> None:
    russian = "Привет, как дела? Это обычный текст на русском языке для проверки кодировки.\n" * 3
    assert text_of(russian.encode("cp1251")) == russian


@pytest.mark.parametrize(
    "data",
    [
        ("héllo wörld, all fine\n" * 20).encode() + b"\xff\xfe\xfa broken",
        ("only the end is cut é" * 3).encode()[:-1],
        bytes((i * 7919 + 13) % 255 + 1 for i in range(3000)),
    ],
    ids=["damaged", "cut", "noise"],
)
def test_damaged_utf8_and_noise_are_not_guessed(data: bytes) -> None:
    assert reason_of(data) == "undecodable"


def test_empty_and_too_large() -> None:
    assert reason_of(b"") == "empty"
    assert reason_of(codecs.BOM_UTF8) == "empty"
    assert document_from_bytes("a", b"12345", Limits(max_file_bytes=4)) == Skipped("a", "too_large")
    assert isinstance(document_from_bytes("a", b"1234", Limits(max_file_bytes=4)), Document)


def test_one_very_long_line_is_text() -> None:
    assert len(text_of(b"x" * 9_000_000)) == 9_000_000


def test_standard_input_has_a_name_and_no_time() -> None:
    document = document_from_bytes("<stdin>", b"hello")
    assert isinstance(document, Document)
    assert (document.path, document.size, document.mtime_ns) == ("<stdin>", 5, 0)
