"""Files of a bare git directory at one commit, filtered: no vendored, generated, minified or test-data files, no links."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pathspec

from gfqa.errors import UsageError
from gfqa.training.sources import Source

MAX_CODE_BYTES = 600_000
MAX_DOC_BYTES = 2_500_000

_LEFT_OUT = re.compile(
    r"(?:^|/)(?:_?vendor(?:ed)?|third[_-]?party|node_modules|external|deps|dist|testdata|test-data|test_data|fixtures?|"
    r"__snapshots__|snapshots?|cassettes|goldens?|locales?|i18n|\.github|\.git|\.vscode|\.idea|assets|static/js)/"
    r"|(?:^|/)(?:[^/]*lock\.(?:json|yml|yaml|toml)|[^/]*\.lock|LICENSE[^/]*|COPYING[^/]*|AUTHORS[^/]*|THANKS|CODE_OF_CONDUCT[^/]*|"
    r"ThirdPartyNotices[^/]*|TOC\.(?:md|yml)|requirements[^/]*\.txt)$"
    r"|\.min\.|\.bundle\.|_pb2\.|\.pb\.go$|\.generated\.|_generated\.|(?:^|/)(?:tests?|specs?|unicode_tables)/.*\.(?:txt|html|css|ya?ml|sql)$",
    re.IGNORECASE,
)

# What the licence file must (or must not) say; a repository that fails its line is refused.
_LICENCE_WORDS = {
    "MIT": r"Permission is hereby granted, free of charge",
    "Apache-2.0": r"Apache License",
    "MIT OR Apache-2.0": r"Permission is hereby granted|Apache License",
    "BSD": r"Redistribution and use in source and binary forms",
    "CC-BY-4.0": r"Attribution 4\.0 International",
    "CC-BY-SA-4.0": r"Attribution-ShareAlike 4\.0 International",
    "CC0-1.0": r"CC0 1\.0 Universal",
    "curl": r"Permission to use, copy, modify, and distribute this software",
}


class Repository:
    """A bare git directory at one commit. Raises UsageError when the directory or the commit is missing."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.folder = folder
        self.commit = self._git("rev-parse", "--verify", "--quiet", commit + "^{commit}").decode().strip()
        if not self.commit:
            raise UsageError(f"{folder} has no commit {commit}.", hint="Fetch the repository with its whole history.")

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        # A mirror may list blobs it does not hold: never try to fetch them.
        environment = {**os.environ, "GIT_NO_LAZY_FETCH": "1"}
        command = ["git", "--git-dir", str(self.folder), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=False, env=environment).stdout

    def files(self) -> list[tuple[str, str, int]]:
        """(path, blob id, bytes) of every regular file that the mirror holds, in path order."""
        found = []
        for line in self._git("ls-tree", "-r", "-z", "-l", self.commit).split(b"\0"):
            meta, _, path = line.partition(b"\t")
            fields = meta.split()
            if len(fields) == 4 and fields[1] == b"blob" and fields[0] != b"120000" and fields[3].isdigit():
                found.append((path.decode("utf-8", "replace"), fields[2].decode(), int(fields[3])))
        return sorted(found)

    def read(self, blobs: list[str]) -> Iterator[bytes | None]:
        """The contents of the blobs, in their order; None for one that is missing."""
        answer = self._git("cat-file", "--batch", stdin="".join(blob + "\n" for blob in blobs).encode())
        at = 0
        for _ in blobs:
            end = answer.index(b"\n", at)
            header, at = answer[at:end].split(), end + 1
            if header[-1] == b"missing":
                yield None
            else:
                size = int(header[2])
                yield answer[at : at + size]
                at += size + 1


def check_licence(repository: Repository, source: Source) -> str:
    """The name of the licence file that says what the table says, or "" where the table says it otherwise."""
    words = _LICENCE_WORDS.get(source.licence)
    if words is None:
        return ""
    for path, blob, _ in repository.files():
        if re.match(r"(?:LICEN[CS]E|COPYING)(?:[-.][\w.]+)?$", path, re.IGNORECASE):
            text = (next(repository.read([blob])) or b"").decode("utf-8", "replace")
            if re.search(words, text) and "NonCommercial" not in text[:200]:
                return path
    raise UsageError(f"{source.repository} at {source.commit} has no licence file that says {source.licence}.")


def wanted_files(repository: Repository, source: Source) -> list[tuple[str, str, int]]:
    """The files of the repository that the table takes, in path order."""
    include = pathspec.PathSpec.from_lines("gitignore", source.patterns)
    exclude = pathspec.PathSpec.from_lines("gitignore", source.exclude)
    largest = MAX_CODE_BYTES if source.kind == "code" else MAX_DOC_BYTES
    return [
        (path, blob, size)
        for path, blob, size in repository.files()
        if include.match_file(path)
        and not exclude.match_file(path)
        and not _LEFT_OUT.search("/" + path)
        and size <= largest
    ]


def capped(documents: list[tuple[str, str]], max_mb: float | None) -> list[tuple[str, str]]:
    """Whole directories (or families of like-named files) in hash order until `max_mb` of text; then path order again."""
    if max_mb is None:
        return documents
    families: dict[str, list[tuple[str, str]]] = {}
    for path, text in documents:
        folder, _, name = path.rpartition("/")
        families.setdefault("/".join((folder, *re.split(r"[-.]", name)[:3])), []).append((path, text))
    kept, room = [], max_mb * 1e6
    for key in sorted(families, key=lambda name: hashlib.sha256(name.encode()).digest()):
        size = sum(len(text.encode()) for _, text in families[key])
        if size <= room:
            room -= size
            kept += families[key]
    return sorted(kept)
