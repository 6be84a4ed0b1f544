"""PDFs: pages and their offsets, and every way in which one can be left out."""

from __future__ import annotations

import hashlib
import io
import os
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gfqa.documents import Document, Found, Limits, Skipped, document_from_bytes, open_source, read_many
from gfqa.documents import pdf as pdf_module
from tests.documents.pdf_bytes import bomb, lines, pdf, slow


def read(data: bytes, **limits: int) -> Document | Skipped:
    return document_from_bytes("a.pdf", data, replace(Limits(), **limits))  # type: ignore[arg-type]


def reason(data: bytes, **limits: int) -> str:
    result = read(data, **limits)
    assert isinstance(result, Skipped), result
    return result.reason


def test_pages_are_joined_by_form_feeds_and_their_starts_are_known() -> None:
    data = pdf(lines("First page.", "It has two lines."), lines("Second (and last) page."))
    document = read(data)
    assert isinstance(document, Document)
    assert document.text == "First page.\nIt has two lines.\fSecond (and last) page."
    assert document.page_starts == (0, 30)
    assert document.text[30:] == "Second (and last) page."
    assert document.pages_without_text == ()
    assert document.content_hash == hashlib.sha256(data).hexdigest()
    assert document.size == len(data)


def test_pages_without_text_are_listed() -> None:
    document = read(pdf(b"", lines("Only this page speaks."), b"0 0 9 9 re f"))
    assert isinstance(document, Document)
    assert document.pages_without_text == (1, 3)
    assert document.text == "\fOnly this page speaks.\f"
    assert document.page_starts == (0, 1, 24)


def test_no_text_at_all() -> None:
    assert reason(pdf(b"", b"0 0 9 9 re f")) == "pdf_without_text"


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"%PDF-1.4\n" + bytes(range(256)) * 20, pdf(lines("x"))[:120]])
def test_damaged(data: bytes) -> None:
    assert reason(data) == "pdf_damaged"


def test_encrypted_with_a_password_is_left_out_and_without_one_is_read() -> None:
    from pypdf import PdfReader, PdfWriter

    for user_password, expected in (("secret", "pdf_encrypted"), ("", None)):
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(lines("Hidden words.")))))
        writer.encrypt(user_password, "owner", algorithm="RC4-128")
        out = io.BytesIO()
        writer.write(out)
        if expected:
            assert reason(out.getvalue()) == expected
        else:
            document = read(out.getvalue())
            assert isinstance(document, Document)
            assert document.text == "Hidden words."


def test_a_slow_pdf_ends_at_its_limit() -> None:
    started = time.monotonic()
    assert reason(slow(), pdf_seconds=1) == "pdf_timeout"
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("megabytes", [200, 400])
def test_a_bomb_ends_at_its_limit(megabytes: int) -> None:
    started = time.monotonic()
    assert reason(bomb(megabytes), pdf_memory_bytes=400 << 20) == "too_large"
    # Without a limit it would take minutes; how fast the limit is reached depends on the machine.
    assert time.monotonic() - started < 60


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms may not limit memory")
def test_memory_limit_is_reported_as_too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hungry = tmp_path / "worker.py"
    hungry.write_text(pdf_module._WORKER.read_text().replace("sys.stdin.buffer.read()", "bytes(1 << 30)"))
    monkeypatch.setattr(pdf_module, "_WORKER", hungry)
    assert reason(pdf(lines("x")), pdf_memory_bytes=200 << 20) == "too_large"


def test_too_many_pages_or_characters_are_left_out_whole() -> None:
    data = pdf(*[lines(f"Page {n}.") for n in range(1, 6)])
    assert isinstance(read(data, max_pages=5), Document)
    assert reason(data, max_pages=4) == "too_large"
    assert reason(data, max_pdf_characters=20) == "too_large"
    assert reason(data, max_pdf_bytes=100) == "too_large"


@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs signals")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "pdf_damaged"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "pdf_damaged"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "pdf_timeout"),
        ("while True: pass", "pdf_timeout"),
        ("print('no JSON')", "pdf_damaged"),
        ("print('[' * 100000)", "pdf_damaged"),
        ("print('[]')", "pdf_damaged"),
        ("print('{\"pages\": [1]}')", "pdf_damaged"),
        ('print(\'{"error": "forged"}\')', "pdf_damaged"),
    ],
)
def test_whatever_happens_to_the_child_is_one_skip(
    body: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(body)
    monkeypatch.setattr(pdf_module, "_WORKER", worker)
    assert reason(pdf(lines("x")), pdf_seconds=1) == expected


def test_what_a_broken_character_map_yields_becomes_valid_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(r"""print('{"pages": ["a\\udc80b \\ud83d\\ude00 c\\fd\\u0000", "second"]}')""")
    monkeypatch.setattr(pdf_module, "_WORKER", worker)
    document = read(pdf(lines("x")))
    assert isinstance(document, Document)
    assert document.text == "a\ufffdb \U0001f600 c\nd\fsecond"
    assert document.page_starts == (0, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_the_child_can_write_no_file_and_inherits_no_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker, target = tmp_path / "worker.py", tmp_path / "written"
    worker.write_text(
        pdf_module._WORKER.read_text().replace(
            "    try:\n        answer =",
            f"    try:\n        open({str(target)!r}, 'w').write('x')\n    except OSError:\n        pass\n"
            "    import os, resource\n"
            "    facts = [sorted(os.environ), resource.getrlimit(resource.RLIMIT_CORE)[0], sys.flags.isolated]\n"
            "    print(json.dumps({'pages': [json.dumps(facts)]})); return\n"
            "    try:\n        answer =",
        )
    )
    monkeypatch.setattr(pdf_module, "_WORKER", worker)
    monkeypatch.setenv("GFQA_CANARY", "1")
    document = read(pdf(lines("x")))
    assert isinstance(document, Document)
    assert "GFQA_CANARY" not in document.text
    assert document.text.endswith("0, 1]")
    assert not target.exists() or target.stat().st_size == 0


def test_a_pdf_is_told_by_its_content_and_a_name_that_promises_one_is_held_to_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(pdf(lines("A PDF by content.")))
    (tmp_path / "plain.pdf").write_text("Text by content.\n")
    source = open_source(tmp_path)
    documents = [source.read(item) for item in source.scan() if isinstance(item, Found)]
    by_path = {d.path: d for d in documents if isinstance(d, Document)}
    assert by_path["notes.txt"].text == "A PDF by content."
    assert by_path["notes.txt"].page_starts == (0,)
    assert Skipped("plain.pdf", "pdf_damaged") in documents


def test_many_are_read_in_parallel_and_in_order(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.pdf").write_bytes(pdf(lines(f"Number {number}.")))
    (tmp_path / "3.pdf").write_bytes(b"%PDF-broken")
    source = open_source(tmp_path)
    founds = [item for item in source.scan() if isinstance(item, Found)]
    results = list(read_many(source, founds, workers=3))
    assert results == list(map(source.read, founds))
    assert [r.path for r in results] == [f"{n}.pdf" for n in range(8)]
    assert results[3] == Skipped("3.pdf", "pdf_damaged")


def test_mutated_pdfs_end_in_a_document_or_a_skip() -> None:
    chance = random.Random(7)
    good = pdf(lines("Some words on the first page.", "More."), lines("And on the second."))
    for _ in range(12):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 30)):
            data[chance.randrange(5, len(data))] = chance.randrange(256)
        result = read(bytes(data), pdf_seconds=10)
        assert isinstance(result, Document) or result.reason in {"pdf_damaged", "pdf_without_text", "pdf_encrypted"}
