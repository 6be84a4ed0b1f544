"""Lists of files: names below one root, nothing outside it, what is gone or odd is reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gfqa.documents import Document, Found, Limits, Skipped, open_list, split_list
from gfqa.errors import UsageError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "sub").mkdir()
    for name in ("a.txt", "src/b.py", "src/c.log", ".env", "unlisted.txt"):
        (root / name).write_text(name)
    (root / ".gitignore").write_text("*.log\n")
    (root / "link.txt").symlink_to("a.txt")
    (tmp_path / "outside.txt").write_text("outside")
    (root / "out").symlink_to(tmp_path)
    return root


def scanned(root: Path, *names: str, **limits: object) -> dict[str, str]:
    source = open_list(root, names, Limits(**limits))  # type: ignore[arg-type]
    read = [source.read(item) if isinstance(item, Found) else item for item in source.scan()]
    return {item.path: item.reason if isinstance(item, Skipped) else item.text for item in read}


def test_lists_are_split(tmp_path: Path) -> None:
    assert split_list(b"a\nb c\r\n\nd", null=False) == ["a", "b c", "d"]
    assert split_list(b"a\nb\0c\0", null=True) == ["a\nb", "c"]
    assert os.fsencode(split_list(b"\xff.txt\0", null=True)[0]) == b"\xff.txt"
    with pytest.raises(UsageError, match="NUL"):
        split_list(b"a\0b\0", null=False)


def test_listed_files_are_read_and_others_are_not(tree: Path) -> None:
    assert scanned(tree, "src/b.py", "a.txt", "./a.txt", "src/../a.txt") == {"a.txt": "a.txt", "src/b.py": "src/b.py"}
    assert scanned(tree, str(tree / "a.txt")) == {"a.txt": "a.txt"}
    assert scanned(tree, "src/c.log") == {"src/c.log": "src/c.log"}, "it was listed, so it is wanted"


def test_what_is_gone_or_odd_is_reported(tree: Path) -> None:
    assert scanned(tree, "gone.txt", "sub", "link.txt", ".env", "out/outside.txt") == {
        ".env": "secret",
        "gone.txt": "missing",
        "link.txt": "symlink",
        "out/outside.txt": "unreadable",
        "sub": "special",
    }
    assert scanned(tree, ".env", include_secrets=True) == {".env": ".env"}
    assert scanned(tree, "a.txt", "src/b.py", exclude=("src/",)) == {"a.txt": "a.txt", "src/b.py": "ignored"}
    assert scanned(tree, "a.txt", "src/b.py", include=("*.py",)) == {"a.txt": "ignored", "src/b.py": "src/b.py"}


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", "..", ".", "src/../../outside.txt", "a\0b"])
def test_names_outside_the_root_are_refused(tree: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not below"):
        open_list(tree, ["a.txt", name])


def test_the_root_is_a_folder(tree: Path) -> None:
    with pytest.raises(UsageError, match="is a file"):
        open_list(tree / "a.txt", ["a.txt"])
    with pytest.raises(UsageError, match="cannot be opened"):
        open_list(tree / "nowhere", ["a.txt"])


def test_an_absolute_name_may_go_through_a_linked_folder(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree)
    assert scanned(tree, str(tmp_path / "alias" / "a.txt")) == {"a.txt": "a.txt"}


def test_the_digest_is_that_of_the_bytes(tree: Path) -> None:
    source = open_list(tree, ["a.txt"])
    [found] = source.scan()
    assert isinstance(found, Found)
    document = source.read(found)
    assert isinstance(document, Document)
    assert source.digest(found) == document.content_hash
    (tree / "a.txt").unlink()
    assert source.digest(found) is None
