"""What `documents` hands around: limits, a candidate that was found, a document, a file that was left out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a walk admits and how much a single file may cost.

    `include` and `exclude` are globs in `.gitignore` syntax, relative to the root of the source: when `include` is not
    empty only matching files are admitted (all but the matching ones, where every glob of it begins with `!`); `exclude`
    wins over it. A PDF that needs more than one of its limits is left
    out whole, never cut short. Of a notebook, whose outputs are left out, the text may have max_file_bytes.
    """

    max_file_bytes: int = 10_000_000
    max_pdf_bytes: int = 200_000_000
    max_notebook_bytes: int = 100_000_000
    pdf_seconds: int = 120
    pdf_memory_bytes: int = 2 << 30
    max_pages: int = 5000
    max_pdf_characters: int = 50_000_000
    include_secrets: bool = False
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """One decoded document. `path` and `text` are valid Unicode, without lone surrogates.

    path: POSIX, relative to the root of its source (a single-file source: the name of the file).
    text: newlines exactly as in the file; a byte order mark is dropped; the pages of a PDF are joined by a form feed; of a
    notebook its code and markdown cells, see notebook.py.
    content_hash: SHA-256, in hex, of the `size` raw bytes that were decoded.
    mtime_ns: as it was before the first byte was read, so a file that grows meanwhile looks changed afterwards.
    page_starts: PDF only, the character offset in `text` at which page 1, 2, ... starts.
    pages_without_text: PDF only, counted from 1.
    """

    path: str
    text: str
    content_hash: str
    size: int
    mtime_ns: int
    page_starts: tuple[int, ...] | None = None
    pages_without_text: tuple[int, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, or a whole folder (its path ends with a slash).

    reason: ignored, binary, too_large, secret, undecodable, unreadable, empty, symlink, special, missing (listed, but not
    there), notebook_damaged, or for a PDF pdf_damaged, pdf_timeout, pdf_encrypted, pdf_without_text.
    """

    path: str
    reason: str


REMEDIES = {
    "pdf_encrypted": "qpdf --decrypt writes a copy without the password",
    "pdf_without_text": "its pages are pictures: run OCR first (ocrmypdf)",
    "pdf_damaged": "if a viewer opens it, qpdf or printing to a new PDF may repair it",
    "undecodable": "iconv -t UTF-8 converts text of another encoding",
    "secret": "--include-secrets reads what looks like one",
}
"""What a user can do about a reason, where there is something."""


@dataclass(frozen=True)
class Found:
    """A candidate before reading.

    `path` is fit to be shown and stored; `raw` is the same path as the operating system spells it (it may hold
    surrogate escapes), which is what opens the file. `size` in bytes.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int
    device: int
    raw: str
