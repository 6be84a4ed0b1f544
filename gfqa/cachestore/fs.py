"""The one place of the store that writes to the disk. Every change goes through `system`, which tests replace.

The rule for a new file: temporary file in the same directory, write, fsync, rename, fsync of the directory. A file thus
exists under its name with all of its bytes or not at all, whatever kills the process or the machine. Errors of the
operating system become GfqaError: one sentence with the path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from gfqa.errors import GfqaError

TEMPORARY: Final = ".tmp"
"""Suffix of files that are being written; one left behind by a killed process is never read."""

PRIVATE: Final = 0o600
"""The mode of a file for its owner alone, as everything is that holds text of documents and has no other reader."""


class System:
    """The calls that change the disk, one operating system call each."""

    def create(self, path: str, mode: int) -> int:
        """A new file of that mode, less what the umask takes, open for writing."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, mode)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Writes some of data and returns how many bytes."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Waits until the file's bytes are on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Closes the file."""
        os.close(descriptor)

    def replace(self, source: str, target: str) -> None:
        """Renames atomically, over an existing target too."""
        os.replace(source, target)

    def fsync_directory(self, path: str) -> None:
        """Waits until the names in a directory are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def unlink(self, path: str) -> None:
        """Removes a file."""
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        """A new directory, for its owner alone."""
        os.mkdir(path, 0o700)


system: System = System()


def write_file_atomically(path: Path, chunks: Iterable[bytes], *, mode: int = PRIVATE) -> None:
    """Writes a file so that it has all the bytes of chunks, durably, or is as it was before. Raises GfqaError."""
    temporary = f"{path}.{secrets.token_hex(8)}{TEMPORARY}"
    with explained("write", path):
        try:
            descriptor = system.create(temporary, mode)
            try:
                for chunk in chunks:
                    _write_all(descriptor, chunk)
                system.fsync(descriptor)
            finally:
                system.close(descriptor)
            system.replace(temporary, str(path))
        except BaseException:
            # After a failed fsync the kernel may have dropped the pages: the file is given up, never tried again. An interrupt
            # leaves nothing behind either, as far as this process has a say in it.
            with contextlib.suppress(OSError):
                system.unlink(temporary)
            raise
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Makes renames and removals in a directory durable. Raises GfqaError."""
    with explained("write", path):
        system.fsync_directory(str(path))


def rename(source: Path, target: Path) -> None:
    """Gives a file of a directory another name there, durably and at once. Raises GfqaError."""
    with explained("rename", source):
        system.replace(str(source), str(target))
    sync_dir(target.parent)


def unlink(path: Path) -> None:
    """Removes a file; one that is already gone is fine. Raises GfqaError."""
    with explained("remove", path), contextlib.suppress(FileNotFoundError):
        system.unlink(str(path))


def make_dir(path: Path) -> None:
    """Makes a directory (mode 0700) and its missing parents, durably; an existing one is fine. Raises GfqaError."""
    if path.is_dir():
        return
    if path != path.parent:
        make_dir(path.parent)
    with explained("create", path), contextlib.suppress(FileExistsError):
        system.mkdir(str(path))
    sync_dir(path.parent)


@contextlib.contextmanager
def explained(verb: str, path: Path) -> Iterator[None]:
    """Turns an OSError of the body into a GfqaError: "Cannot <verb> <path>: <reason>."."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or "input/output error").lower()
        hint = _HINTS.get(error.errno or 0)
        if verb == "create" and error.errno in (errno.ENOTDIR, errno.ENOENT):
            hint = "GFQA_HOME must name a folder, or a place where one can be made."
        raise GfqaError(f"Cannot {verb} {path}: {reason}.", hint=hint) from error


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[system.write(descriptor, rest) :]


_FULL = "Free some space on that disk, or move the store with GFQA_HOME, and run the command again."
_DENIED = "Check the owner and permissions of that directory, or move the store with GFQA_HOME."
_HINTS: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
}
