"""SHA-256 of large files, each read once in a process, by whichever thread asks first."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

_known: dict[tuple[str, int, int], bytes] = {}
_one_at_a_time = threading.Lock()


def of_file(path: Path) -> bytes:
    """The digest of a file as it is; who asks while another thread reads it waits for that. Raises OSError."""
    with _one_at_a_time, path.open("rb") as file:
        status = path.stat()
        key = str(path), status.st_size, status.st_mtime_ns
        if key not in _known:
            _known[key] = hashlib.file_digest(file, "sha256").digest()
        return _known[key]
