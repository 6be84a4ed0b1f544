"""Files that somebody listed, below one root: as a walk over just these.

What a walk would ignore is read here, since it was listed; names that look like secrets are still left out unless they are
asked for, because lists are made by programs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from gfqa.documents.ignore import SECRET_FOLDERS, Rules, check_globs, looks_secret
from gfqa.documents.records import Found, Limits, Skipped
from gfqa.documents.walk import screen, shown
from gfqa.errors import UsageError


def split_list(data: bytes, null: bool) -> list[str]:
    """The names in a list: one a line, or (null) each ended by a NUL; spelled as the operating system does.

    UsageError for NULs where lines were expected.
    """
    if not null and b"\0" in data:
        raise UsageError("The list of files holds NUL bytes.", hint="Add -0 for lists made with -z or -print0.")
    parts = data.split(b"\0") if null else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(part) for part in parts if part]


def relative_names(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The names relative to the root, sorted, each once. UsageError for one that is not below it.

    root: absolute, links resolved. Names are relative to the root or absolute; links in an absolute one's folders are resolved.
    """
    found = set()
    for name in names:
        path = Path(name)
        if path.is_absolute():
            # The folder may have been spelled through a link; the file itself must not be followed.
            path = Path(os.path.realpath(path.parent)) / path.name
        raw = os.path.normpath(root / path)
        if "\0" in raw or not Path(raw).is_relative_to(root) or raw == str(root):
            raise UsageError(
                f"{shown(name)} is not below {shown(str(root))}.",
                hint="A list holds files of one folder: name that folder before --from (default: the current one).",
            )
        found.add(Path(raw).relative_to(root).as_posix())
    return tuple(sorted(found, key=shown))


def scan_list(root: Path, names: Sequence[str], limits: Limits) -> Iterator[Found | Skipped]:
    """Each listed file, sorted by path, nothing read yet; one that is not there (any more) is Skipped as `missing`."""
    check_globs((*limits.include, *limits.exclude))
    chosen, unwanted = Rules(limits.include), Rules(limits.exclude)
    for raw in names:
        path = shown(raw)
        *folders, name = raw.split("/")
        try:
            status = (root / raw).lstat()
        except (OSError, ValueError):
            yield Skipped(path, "missing")
            continue
        if (chosen and not chosen.covers(raw)) or unwanted.covers(raw):
            yield Skipped(path, "ignored")
        elif stat.S_ISLNK(status.st_mode):
            yield Skipped(path, "symlink")
        elif not limits.include_secrets and (looks_secret(name) or not SECRET_FOLDERS.isdisjoint(folders)):
            yield Skipped(path, "secret")
        elif not stat.S_ISREG(status.st_mode):
            yield Skipped(path, "special")  # a submodule, which git lists like a file
        elif raw != path and os.path.lexists(root / path):
            yield Skipped(path, "unreadable")  # its shown name is another file's: a citation could mean either
        else:
            yield screen(raw, path, status, limits)
