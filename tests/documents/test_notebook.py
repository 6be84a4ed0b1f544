"""Notebooks: cells under markers, numbers as a reader counts, outputs left out, anything else is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gfqa.documents import Document, Limits, Skipped, document_from_bytes, open_source
from gfqa.documents.notebook import extract

CELLS = [
    {"cell_type": "markdown", "metadata": {}, "source": ["# Tides\n", "\n", "The gauge stands at Skarvik."]},
    {"cell_type": "raw", "metadata": {}, "source": "raw text"},
    {"cell_type": "code", "source": "import csv\nheight = 4.5\n", "outputs": [{"text": ["SECRET OUTPUT"]}]},
    {"cell_type": "code", "source": "  \n", "outputs": []},
    {"cell_type": "code", "source": ["print(height)"], "outputs": [{"data": {"image/png": "AAAA" * 1000}}]},
]
TEXT = """# %% cell 1 [markdown]
# Tides

The gauge stands at Skarvik.

# %% cell 3 [code]
import csv
height = 4.5

# %% cell 5 [code]
print(height)
"""


def notebook(cells: object = CELLS, **more: object) -> bytes:
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}, indent=1).encode()


def test_cells_are_text_and_outputs_are_not() -> None:
    document = document_from_bytes("a/tides.ipynb", notebook())
    assert isinstance(document, Document)
    assert document.text == TEXT
    assert document.size == len(notebook())


def test_format_3_has_worksheets() -> None:
    cells = [
        {"cell_type": "code", "input": ["x = 1\n", "y = 2"]},
        {"cell_type": "heading", "level": 1, "source": "Two"},
    ]
    old = json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}).encode()
    document = document_from_bytes("old.IPYNB", old)
    assert isinstance(document, Document)
    assert document.text == "# %% cell 1 [code]\nx = 1\ny = 2\n\n# %% cell 2 [markdown]\nTwo\n"


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"[]",
        b"5",
        b"{}",
        b'{"cells": 5}',
        b'{"cells": {"a": 1}}',
        b'{"cells": [5]}',
        b'{"cells": [{"source": "x"}]}',
        b'{"cells": [{"cell_type": "code", "source": 5}]}',
        b'{"cells": [{"cell_type": "code", "source": [5]}]}',
        b'{"worksheets": [5]}',
        b"[" * 200_000,
    ],
)
def test_what_is_no_notebook(data: bytes) -> None:
    assert document_from_bytes("a.ipynb", data) == Skipped("a.ipynb", "notebook_damaged")


def test_a_notebook_without_text_is_empty() -> None:
    assert document_from_bytes("a.ipynb", notebook([])) == Skipped("a.ipynb", "empty")
    assert document_from_bytes("a.ipynb", notebook(CELLS[1:2])) == Skipped("a.ipynb", "empty")


def test_halves_of_surrogate_pairs_become_text() -> None:
    text = extract('{"cells": [{"cell_type": "code", "source": "a\\ud800b"}]}')
    assert text is not None
    text.encode("utf-8")


def test_outputs_do_not_count_as_size_but_text_does(tmp_path: Path) -> None:
    limits = Limits(max_file_bytes=500, max_notebook_bytes=100_000)
    (tmp_path / "n.ipynb").write_bytes(notebook())
    (tmp_path / "long.ipynb").write_bytes(notebook([{"cell_type": "code", "source": "x" * 600}]))
    (tmp_path / "n.json").write_bytes(notebook())
    source = open_source(tmp_path, limits)
    found = {item.path: item if isinstance(item, Skipped) else source.read(item) for item in source.scan()}
    assert isinstance(found["n.ipynb"], Document)
    assert found["long.ipynb"] == Skipped("long.ipynb", "too_large")
    assert found["n.json"] == Skipped("n.json", "too_large")
