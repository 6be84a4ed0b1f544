"""Paths that an answer names: is any of them no document of the caches? The answer itself is never changed. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORDS = re.compile(r"[^\s\"'`<>|,;()\[\]{}*?=]+")
_LINES = re.compile(r":\d+(?:[-:]\d+)*$")
_FILE = re.compile(r"[\w.+@-]*\w\.([A-Za-z][A-Za-z0-9]{0,7})")
_USUAL = re.compile(
    "c|cc|cfg|cpp|css|csv|go|h|hpp|html|ini|ipynb|java|json|kt|lua|md|pdf|php|pyi?|rb|rs|rst|sh|sql|toml|tsx?|txt|xml|ya?ml"
)
"""Endings that make a word without a slash the name of a file, besides those of the documents. Not js: Node.js is none."""


def unknown_paths(answer: str, documents: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What looks like a file or folder in `answer` but is in none of `documents`, in order, each once.

    documents: root and path of each. A path in the answer may be any run of whole parts of theirs, so `src/app.py`, `app.py`
    and `src/` are all known where there is src/app.py below /home/me/project. Not judged: URLs, and places elsewhere on the
    machine, of which a document may well speak.
    """
    words = [word for word in _WORDS.findall(answer) if "/" in word or "." in word]
    if not words:
        return ()
    known = _Known(documents)
    named = dict.fromkeys(path for word in words if (path := known.path_in(word)) is not None)
    return tuple(path for path in named if not known.has(path))


class _Known:
    """The paths of documents, to be searched by their parts."""

    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        pairs = list(documents)
        self._roots = {root.rstrip("/") for root, _ in pairs}
        self._paths = "".join(f"{root.rstrip('/')}/{path}/\n" for root, path in pairs)
        self._endings = {ending.lower() for ending in re.findall(r"\.(\w+)/\n", self._paths)}
        self._folders = {path.split("/")[0] for _, path in pairs if "/" in path}

    def has(self, path: str) -> bool:
        """Whether it is a document, or a folder with some, by its whole path or a part of it."""
        return f"/{path.strip('/')}/" in self._paths

    def path_in(self, word: str) -> str | None:
        """The path that a word is, without line numbers and the end of a sentence; None where it is no path to be judged."""
        path = _LINES.sub("", word.rstrip(".:!")).removeprefix("./")
        first, *rest = path.rstrip("/").split("/")
        if "://" in path or path.startswith("~") or ".." in (first, *rest) or not path.strip("/."):
            return None
        if path.startswith("/"):
            return path if any(path.startswith(f"{root}/") for root in self._roots) else None
        file = _FILE.fullmatch([first, *rest][-1])
        if not rest and not path.endswith("/"):
            ending = "" if file is None else file[1].lower()
            return path if ending in self._endings or _USUAL.fullmatch(ending) else None
        is_host = "." in first[1:]
        return path if first in self._folders or (file is not None and not is_host) else None
