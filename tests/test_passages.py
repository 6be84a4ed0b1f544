"""Finding passages: what is found, where it says it is, and that the attention mass counts where it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gfqa.answer.prompt import document_ids
from gfqa.cachestore import DocumentEntry, Store
from gfqa.ingest import run
from gfqa.memory import Memory, open_memory, restricted
from gfqa.model_folders import tokenizer_of
from gfqa.passages import _Distinct, _indentation, find, lexical_index, look, page_of, rank
from gfqa.reader import open_model
from gfqa.shelf import Origin, Shelf
from tests.documents.pdf_bytes import lines, pdf

TEXTS = {
    "guide.md": "# Guide\n\nHow to begin.\n\nThe retry limit is seven.\nIt can be changed.\n",
    "app.py": "import os\n\n\ndef connect(host):\n    return open_port(host, 8080)\n",
    "long.txt": "".join(f"entry {i} of the long list says nothing\n" for i in range(60))
    + "the harbour closes at nine\n",
}


@pytest.fixture
def memory(tiny_model: Path, tmp_path: Path, home: Path) -> Memory:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    reader = open_model(tiny_model, "cpu")
    run([folder], name="c", reader=reader, home=home)
    return open_memory(reader, Store.open(home), ["c"])


def test_the_passage_and_its_line(memory: Memory) -> None:
    for question, path, line, quote in (
        ("What is the retry limit?", "guide.md", 5, "The retry limit is seven."),
        ("where is connect defined?", "app.py", 4, "def connect(host):"),
        ("when does the harbour close?", "long.txt", 61, "the harbour closes at nine"),
    ):
        best = find(memory, question)[0]
        assert (best.path, best.line, best.quote) == (path, line, quote)
        assert best.place == f"{path}:{line}"
        assert best.text in TEXTS[path]
        assert best.quote in best.text
        assert best.start_line is not None
        assert best.end_line is not None
        assert best.start_line <= line <= best.end_line
        assert TEXTS[path].split("\n")[best.start_line - 1] == best.text.split("\n")[0]
        ids = memory.ids[memory.starts[best.chain] :][best.start : best.end]
        assert best.text in memory.reader.tokenizer.decode(ids.tolist())


def test_a_passage_begins_where_its_line_does() -> None:
    """Pieces of the shipped vocabulary hold a newline and the indentation behind it; the latter belongs to the next line."""
    text = "".join(
        f"class Worker{n}:\n    def run(self):\n\tif self.ready:\n            return start({n})\n" for n in range(200)
    )
    tokenizer = tokenizer_of(None)
    ids, header = document_ids(tokenizer, "worker.py", text)
    entry = DocumentEntry("/src", "worker.py", "", len(text), 0, "", len(ids), header)
    shelf = Shelf(tokenizer, ("c",), np.array(ids, np.uint16), (0,), (Origin(None, entry),))
    found = find(shelf, "worker ready start", 1000)
    lines = text.split("\n")
    assert len(found) > 20
    assert any(passage.text.startswith(" ") for passage in found)
    for passage in found:
        assert passage.start_line is not None
        assert passage.text.split("\n")[0] == lines[passage.start_line - 1]
        assert passage.text in text


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], ""),
        ([b"x\n"], ""),
        ([b"x", b"\n    "], "    "),
        ([b"x\n", b"  ", b"\t"], "  \t"),
        ([b"  ", b" "], "   "),  # the beginning of the document
        ([b"x\f\n\n "], " "),
        ([b"x ", b"  "], ""),  # in the middle of a line
        ([b"\n", b"x", b"  "], ""),
    ],
)
def test_indentation_in_front_of_a_passage(before: list[bytes], expected: str) -> None:
    class Pieces:
        def piece_bytes(self, id: int) -> bytes:
            return before[id]

    assert _indentation(np.arange(len(before)), Pieces()) == expected  # type: ignore[arg-type]


def test_what_was_said_is_counted(memory: Memory) -> None:
    distinct = _Distinct("the port", 3, 0.5)
    for number, text in enumerate(
        [
            "the port is 1\nand so on for long",  # kept
            "# the port\n# is 1 and so on\n# for long",  # the same, folded otherwise and in a comment
            "the port is 1\nbut everything else is quite another matter",  # the same line, another text
            "the port is 2\nand so on for long",  # mostly the same text, but another line is shown
            "",  # says nothing
            "the port is 1\nand so on for long\nand longer",
            "a fourth text of the port, which is too many",
        ]
    ):
        distinct.add(number, text)
    assert distinct.kept == {0: 2, 2: 0, 3: 0}
    whole = _Distinct("the port", 9, 1.0)
    for number, text in enumerate(["x = 1\ny = 2\nthe port", "y = 2\n  the port", "the port == 2", "y == 2"]):
        whole.add(number, text)
    assert whole.kept == {0: 1, 2: 0, 3: 0}
    plain, once = (find(memory, "the long list says nothing", 50, alike=alike) for alike in (None, 0.5))
    assert sum(1 + passage.similar for passage in once) == len(plain)


def test_order_and_number(memory: Memory) -> None:
    found = find(memory, "the long list", 3)
    assert len(found) == 3
    assert [passage.score for passage in found] == sorted((passage.score for passage in found), reverse=True)
    assert find(memory, "zebra") == []
    assert find(memory, "the long list", 0) == []
    assert len(find(memory, "zebra", 2, mass=torch.rand(len(memory.ids)))) == 2


def test_attention_mass_moves_what_the_words_leave_open(memory: Memory) -> None:
    windows = lexical_index(memory).windows
    for number in range(len(windows)):
        mass = torch.full((len(memory.ids),), 1e-6)
        mass[windows.begins[number] : windows.ends[number]] = 1.0
        assert rank(memory, "zebra", mass).order[0] == number
    mass = look(memory, "zebra")
    assert mass is not None
    assert mass.shape == (len(memory.ids),)
    assert 0 < float(mass.sum()) <= 1.001


def test_a_restricted_memory_has_words_of_its_own(memory: Memory) -> None:
    assert find(memory, "the retry limit")[0].path == "guide.md"
    only = restricted(memory, ["*.py"])
    assert {passage.path for passage in find(only, "the retry limit of connect")} == {"app.py"}
    assert lexical_index(memory) is lexical_index(memory)


def test_pages(tiny_model: Path, tmp_path: Path, home: Path) -> None:
    (tmp_path / "book.pdf").write_bytes(
        pdf(*(lines(f"A page on {what}.") for what in ("apples", "harbours", "zebras")))
    )
    reader = open_model(tiny_model, "cpu")
    run([tmp_path / "book.pdf"], name="c", reader=reader, home=home)
    best = find(open_memory(reader, Store.open(home), ["c"]), "harbours")[0]
    assert (best.page, best.line, best.start_line) == (2, None, None)
    assert best.place == "book.pdf, page 2"
    assert "harbours" in best.quote


def test_a_page_that_speaks_of_it_all_along_is_meant(tiny_model: Path, tmp_path: Path, home: Path) -> None:
    """Page 1 says the word first and best, page 3 often; a passage over the end of a page belongs to the page of its line."""
    often = [f"Number {i}: boats leave the harbour when the tide allows it, and come back later." for i in range(12)]
    pages = (["Harbour"], ["A page on zebras."], often)
    (tmp_path / "book.pdf").write_bytes(pdf(*(lines(*page) for page in pages)))
    (tmp_path / "text.txt").write_text("Lighthouses are no concern of the book.\n")
    reader = open_model(tiny_model, "cpu")
    run([tmp_path], name="c", reader=reader, home=home)
    memory = open_memory(reader, Store.open(home), ["c"])
    found = page_of(memory, "harbour")
    assert found is not None
    assert (found[0].page, found[1]) == (3, pytest.approx(1.0))
    assert page_of(memory, "lighthouses") is None
    assert page_of(memory, "xylophones") is None


def test_a_chained_corpus_is_searched_too(chained_model: Path, tmp_path: Path, home: Path) -> None:
    (tmp_path / "one.txt").write_text("alpha beta\n")
    (tmp_path / "two.txt").write_text("the port is 8080\n")
    reader = open_model(chained_model, "cpu")
    run([tmp_path], name="c", reader=reader, home=home)
    memory = open_memory(reader, Store.open(home), ["c"])
    assert find(memory, "which port?")[0].place == "two.txt:1"
    assert find(memory, "which port?", mass=look(memory, "which port?"))[0].place == "two.txt:1"
