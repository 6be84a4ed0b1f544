"""A source is a folder or a file that was named: it can be scanned, and what was found can be read."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from gfqa.documents import notebook, pdf
from gfqa.documents.listing import relative_names, scan_list
from gfqa.documents.records import Document, Found, Limits, Skipped
from gfqa.documents.text import HEAD_BYTES, decode, is_binary
from gfqa.documents.walk import open_beneath, screen, shown, walk
from gfqa.errors import GfqaError, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """A root that documents come from: absolute, links resolved.

    A file that was named itself is read whatever ignore rules or its name say; only its size and content are judged.
    names: the files of the root that were listed; None for all of them.
    """

    root: Path
    is_file: bool
    limits: Limits
    names: tuple[str, ...] | None = None

    def scan(self) -> Iterator[Found | Skipped]:
        """Walk without reading, sorted by path. GfqaError when the root is gone or cannot be listed."""
        if self.names is not None:
            yield from scan_list(self.root, self.names, self.limits)
            return
        if not self.is_file:
            yield from walk(self.root, self.limits)
            return
        name = self.root.name
        try:
            status = self.root.lstat()
        except OSError as error:
            raise GfqaError(f"The file {shown(str(self.root))} cannot be read: {error.strerror}.") from error
        yield screen(name, shown(name), status, self.limits)

    def digest(self, found: Found) -> str | None:
        """SHA-256, in hex, of a candidate's bytes as they are now; None where they cannot be read."""
        folder = self.root.parent if self.is_file else self.root
        try:
            with open(open_beneath(folder, found.raw), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    def read(self, found: Found) -> Document | Skipped:
        """Read and decode one candidate; what has become unreadable, too large or a link since the scan is Skipped."""
        folder = self.root.parent if self.is_file else self.root
        try:
            with open(open_beneath(folder, found.raw), "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                head = file.read(HEAD_BYTES)
                if not head.startswith(pdf.MAGIC) and is_binary(head):
                    return Skipped(found.path, "binary")
                most = _most_bytes(found.path, head, self.limits)
                # One byte more than allowed, so that a file which grew since the scan shows.
                data = head + _read_up_to(file, most + 1 - len(head)) if status.st_size <= most else None
        except OSError:
            return Skipped(found.path, "unreadable")
        if data is None:
            return Skipped(found.path, "too_large")
        return _document(found.path, data, status.st_mtime_ns, self.limits)


def open_source(path: str | Path, limits: Limits | None = None) -> Source:
    """The source at `path`, which may be a link itself. UsageError when there is no such file or folder."""
    limits = limits or Limits()
    try:
        if not str(path):
            raise UsageError("The path of a source is empty.")
        root = Path(path).resolve(strict=True)
        mode = root.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL; RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{shown(str(path))} cannot be opened: {reason}.", hint="Check the spelling of the path."
        ) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UsageError(
            f"{shown(str(path))} is neither a file nor a folder.", hint="Name a file or folder, or pipe to -."
        )
    return Source(root, stat.S_ISREG(mode), limits)


def open_list(root: str | Path, names: Iterable[str], limits: Limits | None = None) -> Source:
    """The source of the listed files below the folder `root`. UsageError for a root that is no folder, a name outside it."""
    source = open_source(root, limits)
    if source.is_file:
        raise UsageError(f"{shown(str(root))} is a file.", hint="A list of files needs the folder that they are in.")
    return replace(source, names=relative_names(source.root, list(names)))


def document_from_bytes(name: str, data: bytes, limits: Limits | None = None) -> Document | Skipped:
    """A document that was not read from a file, such as standard input; `name` becomes its path, mtime_ns is 0."""
    return _document(name, data, 0, limits or Limits())


def read_many(source: Source, founds: Iterable[Found], workers: int | None = None) -> Iterator[Document | Skipped]:
    """`source.read` for each candidate, in order, by `workers` threads; see `in_parallel`."""
    return in_parallel(source.read, founds, workers)


def in_parallel(work: Callable[[Found], T], founds: Iterable[Found], workers: int | None = None) -> Iterator[T]:
    """`work` for each candidate, in order, by `workers` threads (default: one per core).

    PDFs run in child processes and tokenizers outside the interpreter's lock, so threads suffice to keep all cores busy. At
    most a few files per worker are held in memory. Closing the generator early drops what has not started.
    """
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from map(work, founds)
        return
    window: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for found in founds:
            window.append(pool.submit(work, found))
            if len(window) >= 3 * workers:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _document(path: str, data: bytes, mtime_ns: int, limits: Limits) -> Document | Skipped:
    if not data:
        return Skipped(path, "empty")
    if not data.startswith(pdf.MAGIC) and is_binary(data[:HEAD_BYTES]):
        return Skipped(path, "binary")
    if len(data) > _most_bytes(path, data, limits):
        return Skipped(path, "too_large")
    digest = hashlib.sha256(data).hexdigest()
    if data.startswith(pdf.MAGIC):
        pages = pdf.extract(data, limits)
        if isinstance(pages, str):
            return Skipped(path, pages)
        return Document(path, pages.text, digest, len(data), mtime_ns, pages.starts, pages.without_text)
    if path.lower().endswith(".pdf"):
        return Skipped(path, "pdf_damaged")  # an error page that was saved under the paper's name, say
    text = decode(data)
    if text is None:
        return Skipped(path, "undecodable")
    if notebook.is_notebook(path):
        text = notebook.extract(text)
        if text is None:
            return Skipped(path, "notebook_damaged")
        if len(text) > limits.max_file_bytes:
            return Skipped(path, "too_large")
    return Document(path, text, digest, len(data), mtime_ns) if text else Skipped(path, "empty")


def _most_bytes(path: str, head: bytes, limits: Limits) -> int:
    if head.startswith(pdf.MAGIC):
        return limits.max_pdf_bytes
    return limits.max_notebook_bytes if notebook.is_notebook(path) else limits.max_file_bytes


def _read_up_to(file: io.FileIO, most: int) -> bytes:
    parts = []
    while most > 0 and (part := file.read(min(most, 1 << 24))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)
