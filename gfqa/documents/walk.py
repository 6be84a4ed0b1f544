"""Walk a tree: sorted, never through a link, never out of the root, with ignore rules applied on the way.

Files are opened relative to their folder's descriptor, one component at a time and without following links, so a
folder that is replaced by a link between the walk and the reading leads nowhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gfqa.documents.ignore import (
    IGNORE_FILES,
    MAX_IGNORE_BYTES,
    SECRET_FOLDERS,
    TOOL_FILES,
    TOOL_FOLDERS,
    Rules,
    check_globs,
    looks_secret,
    read_lines,
)
from gfqa.documents.records import Found, Limits, Skipped
from gfqa.errors import GfqaError

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NON_BLOCK = getattr(os, "O_NONBLOCK", 0)  # a file that became a FIFO must not hang the reader
_FOLDER = getattr(os, "O_DIRECTORY", 0)
_MAX_DEPTH = 128  # folders inside each other; only a bomb has more
_BY_DESCRIPTOR = os.open in os.supports_dir_fd


def shown(raw: str) -> str:
    """A path of the operating system as valid Unicode: bytes that are not UTF-8 appear as `\\xff`."""
    return os.fsencode(raw).decode("utf-8", "backslashreplace")


def open_beneath(root: Path, raw: str) -> int:
    """A descriptor for the regular file `raw` below `root`; OSError when it is none, or a link is on the way."""
    if _BY_DESCRIPTOR:
        *folders, name = raw.split("/")
        folder = os.open(root, _READ | _FOLDER)
        try:
            for part in folders:
                below = os.open(part, _READ | _FOLDER | _NO_FOLLOW, dir_fd=folder)
                os.close(folder)
                folder = below
            descriptor = os.open(name, _READ | _NO_FOLLOW | _NON_BLOCK, dir_fd=folder)
        finally:
            os.close(folder)
    else:
        path = root / raw
        if path.resolve() != path:
            raise OSError(f"{path} leads elsewhere")
        descriptor = os.open(path, _READ | _NO_FOLLOW | _NON_BLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{raw} is not a regular file")
    return descriptor


def walk(root: Path, limits: Limits) -> Iterator[Found | Skipped]:
    """All entries below the folder `root`, sorted by path; a folder that is left out gives one Skipped.

    Raises GfqaError when the root itself cannot be listed: an empty walk would read as "all documents are gone".
    """
    check_globs((*limits.include, *limits.exclude))
    chosen, unwanted = Rules(limits.include), Rules(limits.exclude)
    seen: set[tuple[int, int]] = set()  # a bind mount can hold a folder inside itself
    # Folders still to be listed wait with the entries behind them, so that the output is in order of path.
    pending: list[tuple[Iterator[os.DirEntry[str]], str, str, tuple[Rules, ...]]] = []
    try:
        top = _listing(root)
    except OSError as error:
        raise GfqaError(f"The folder {shown(str(root))} cannot be listed: {error.strerror}.") from error
    pending.append((iter(top), "", "", _rules_above(root) + _rules_of(root, "", top)))
    while pending:
        entries, raw_prefix, prefix, rules = pending[-1]
        entry = next(entries, None)
        if entry is None:
            pending.pop()
            continue
        raw, path = raw_prefix + entry.name, prefix + shown(entry.name)
        is_folder = entry.is_dir(follow_symlinks=False)
        if _left_out(entry.name, raw, is_folder, rules) or unwanted.decide(raw, is_folder):
            yield Skipped(path + "/" * is_folder, "ignored")
        elif not limits.include_secrets and is_folder and entry.name in SECRET_FOLDERS:
            yield Skipped(path + "/", "secret")
        elif is_folder:
            try:
                status = entry.stat(follow_symlinks=False)
                below = _listing(Path(entry.path))
            except OSError:
                yield Skipped(path + "/", "unreadable")
                continue
            identity = (status.st_dev, status.st_ino)
            inside_itself = identity in seen and status.st_ino  # Windows gives no number, and has no bind mounts
            if inside_itself or len(pending) > _MAX_DEPTH:
                yield Skipped(path + "/", "special")
            elif any(child.name == "pyvenv.cfg" for child in below):
                yield Skipped(path + "/", "ignored")  # a virtual environment under any name
            else:
                seen.add(identity)
                inner = rules + _rules_of(root, raw + "/", below)
                pending.append((iter(below), raw + "/", path + "/", inner))
        elif chosen and not chosen.covers(raw):
            yield Skipped(path, "ignored")
        else:
            yield _candidate(entry, raw, path, prefix, limits)


def _candidate(entry: os.DirEntry[str], raw: str, path: str, prefix: str, limits: Limits) -> Found | Skipped:
    if entry.is_symlink():
        return Skipped(path, "symlink")
    if not limits.include_secrets and looks_secret(entry.name):
        return Skipped(path, "secret")
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return Skipped(path, "unreadable")
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path, "special")
    if raw != path and os.path.lexists(Path(entry.path).with_name(path[len(prefix) :])):
        return Skipped(path, "unreadable")  # its shown name is another file's: a citation could mean either
    return screen(raw, path, status, limits)


def screen(raw: str, path: str, status: os.stat_result, limits: Limits) -> Found | Skipped:
    """A regular file judged by its size alone; the rest is known only when its first bytes are."""
    if status.st_size == 0:
        return Skipped(path, "empty")
    if status.st_size > max(limits.max_file_bytes, limits.max_pdf_bytes, limits.max_notebook_bytes):
        return Skipped(path, "too_large")
    return Found(path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev, raw)


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        # A folder sorts as its name with a slash, which is how its files' paths compare with its neighbours.
        return sorted(entries, key=lambda e: shown(e.name) + "/" * e.is_dir(follow_symlinks=False))


def _left_out(name: str, raw: str, is_folder: bool, rules: tuple[Rules, ...]) -> bool:
    if name in (TOOL_FOLDERS if is_folder else TOOL_FILES):
        return True
    for layer in reversed(rules):
        decision = layer.decide(raw, is_folder)
        if decision is not None:
            return decision
    return False


def _rules_of(root: Path, prefix: str, entries: list[os.DirEntry[str]]) -> tuple[Rules, ...]:
    names = {entry.name for entry in entries}
    layers = []
    for name in IGNORE_FILES:
        if name.split("/")[0] in names:
            layer = Rules(_ignore_lines(root, prefix + name), prefix)
            if layer:
                layers.append(layer)
    return tuple(layers)


def _rules_above(root: Path) -> tuple[Rules, ...]:
    """Rules of the folders between the top of a git work tree and a root inside it, as git itself applies them."""
    chain = [root, *root.parents]
    top = next((n for n, folder in enumerate(chain) if (folder / ".git").exists()), 0)
    layers: list[Rules] = []
    for folder in reversed(chain[1 : top + 1]):
        way = root.relative_to(folder).as_posix() + "/"
        for name in IGNORE_FILES:
            layer = Rules(_ignore_lines(folder, name), way=way)
            if layer:
                layers.append(layer)
    return tuple(layers)


def _ignore_lines(root: Path, raw: str) -> list[str]:
    try:
        descriptor = open_beneath(root, raw)
    except OSError:
        return []
    with open(descriptor, "rb") as file:
        return read_lines(file.read(MAX_IGNORE_BYTES))
