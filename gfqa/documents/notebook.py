"""Text of a Jupyter notebook: its code and markdown cells one after the other, each under a line that marks it.

    # %% cell 3 [code]
    import csv

The number is the place of the cell in the notebook, counted from 1; cells left out (raw and empty ones) count as well, so that
it is the one a reader of the notebook counts to. Outputs, attachments and metadata are left out. Lines are those of this text,
which `gfqa caches text CACHE PATH` prints.
"""

from __future__ import annotations

import json
from typing import Any

SUFFIX = ".ipynb"
_KINDS = ("code", "markdown", "heading")


def is_notebook(path: str) -> bool:
    """Whether a file is a notebook, which only its name says: inside it is JSON like any other."""
    return path.casefold().endswith(SUFFIX)


def extract(text: str) -> str | None:
    """The text of a notebook of format 3 or 4, "" where no cell has any; None for what is no notebook."""
    try:
        notebook = json.loads(text)
        cells = _cells(notebook)
        parts = [_cell(number, cell) for number, cell in enumerate(cells, 1)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return "\n".join(part for part in parts if part)


def _cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    if "cells" in notebook:
        cells = notebook["cells"]
    else:  # format 3
        cells = [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
    if not isinstance(cells, list):
        raise TypeError("cells are a list")
    return cells


def _cell(number: int, cell: dict[str, Any]) -> str:
    """A cell with its marker, ending with a newline; "" for one that is left out."""
    kind = cell["cell_type"]
    if kind not in _KINDS:
        return ""
    source = cell["source"] if "source" in cell else cell.get("input", "")
    text = source if isinstance(source, str) else "".join(source)
    # JSON can spell halves of surrogate pairs, which are no text.
    text = text.encode("utf-8", "replace").decode("utf-8")
    if not text.strip():
        return ""
    return f"# %% cell {number} [{'code' if kind == 'code' else 'markdown'}]\n" + text.rstrip("\n") + "\n"
