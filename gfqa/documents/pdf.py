"""Text of a PDF, read by a child process with limits, because a PDF reader meets what strangers wrote.

The child gets the bytes on its standard input and answers with one JSON object; whatever else happens to it (a signal,
an unreadable answer, silence until the deadline) is a reason to leave the PDF out, and nothing more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gfqa.documents.records import Limits

MAGIC = b"%PDF-"
_WORKER = Path(__file__).with_name("pdf_worker.py")
_KEPT_ENVIRONMENT = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # without these some Pythons do not start
_REASONS = frozenset({"too_large", "pdf_damaged", "pdf_encrypted"})


@dataclass(frozen=True)
class Pages:
    """Pages joined by form feeds, the character offset of each, and the numbers (from 1) of those without text."""

    text: str
    starts: tuple[int, ...]
    without_text: tuple[int, ...]


def extract(data: bytes, limits: Limits) -> Pages | str:
    """The text of the PDF in `data`, or the reason of a Skipped. Never raises for what the PDF holds."""
    order = {
        "seconds": limits.pdf_seconds,
        "memory": limits.pdf_memory_bytes,
        "pages": limits.max_pages,
        "characters": limits.max_pdf_characters,
        "library": _library(),
    }
    try:
        # -I: nothing of the current folder or of PYTHON* variables is imported. -B: no file is written.
        done = subprocess.run(
            [sys.executable, "-I", "-B", str(_WORKER), json.dumps(order)],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=limits.pdf_seconds,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "pdf_timeout"
    if done.returncode:
        return "pdf_timeout" if -done.returncode == getattr(signal, "SIGXCPU", None) else "pdf_damaged"
    return _join(done.stdout)


def _library() -> str:
    """The folder that holds pypdf: with -I a child would not see one that came from PYTHONPATH or the user's site."""
    spec = find_spec("pypdf")
    return str(Path(spec.origin).parent.parent) if spec is not None and spec.origin else ""


def _join(answer: bytes) -> Pages | str:
    try:
        message = json.loads(answer)
        pages, error = message.get("pages"), message.get("error")
    except (ValueError, AttributeError, RecursionError):
        return "pdf_damaged"
    if error is not None:
        return error if error in _REASONS else "pdf_damaged"
    if not isinstance(pages, list) or not pages or not all(isinstance(page, str) for page in pages):
        return "pdf_damaged"
    cleaned = [_clean(page) for page in pages]
    without_text = tuple(number for number, page in enumerate(cleaned, 1) if not page.strip())
    if len(without_text) == len(cleaned):
        return "pdf_without_text"
    starts, position = [], 0
    for page in cleaned:
        starts.append(position)
        position += len(page) + 1
    return Pages("\f".join(cleaned), tuple(starts), without_text)


def _clean(page: str) -> str:
    # Broken character maps yield halves of surrogate pairs: whole pairs are joined, halves become U+FFFD. A form feed
    # separates pages and may therefore not be in one.
    whole = page.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\f", "\n").replace("\0", "")
