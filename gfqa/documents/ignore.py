"""Which entries of a folder are left out: ignore files, folders of tools, names that look like secrets.

Ignore files follow git: rules of a deeper folder come before those of a higher one, the last matching line of a file
wins, `.gfqaignore` comes before `.gitignore`, and `.git/info/exclude` comes last. Nothing else in a tree is honoured.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from fnmatch import fnmatchcase

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from gfqa.errors import UsageError

IGNORE_FILES = (".git/info/exclude", ".gitignore", ".gfqaignore")  # weakest first
MAX_IGNORE_BYTES = 1_000_000
MAX_LINE = 1024
MAX_DOUBLE_STARS = 3  # each multiplies the steps of a failing match by the depth of the path
_STAR = "[^/]*"  # how pathspec writes the "*" inside a name

TOOL_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn", ".bzr", "CVS", ".idea", ".direnv", ".gradle", ".terraform", "node_modules"),
        *("bower_components", "__pycache__", ".venv", "venv", ".tox", ".nox", ".eggs", ".mypy_cache", ".ruff_cache"),
        *(".pytest_cache", ".hypothesis", ".ipynb_checkpoints"),
    }
)
TOOL_FILES = frozenset({".git", ".DS_Store"})  # a work tree of git holds .git as a file

SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".kube"})
_SECRET_NAMES = (
    *(".env*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.keytab", "*.kdbx", "*.ppk"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".npmrc", ".pypirc"),
    *(".htpasswd", ".git-credentials", ".dockercfg", ".vault-token", ".s3cfg", "*.tfstate", "*.tfstate.*", "*.tfvars"),
    *("credentials", "credentials.json", "credentials.y*ml", "credentials.toml", "credentials.ini", "credentials.cfg"),
    *("credentials.csv", "credentials.xml", "credentials.txt", "secrets.json", "secrets.y*ml", "secrets.toml"),
    *("secrets.ini", "secrets.txt", "client_secret*.json", "service?account*.json"),
)


def looks_secret(name: str) -> bool:
    """Whether a file of this name usually holds keys or passwords. Letter case does not matter."""
    lowered = name.casefold()
    return any(fnmatchcase(lowered, pattern) for pattern in _SECRET_NAMES)


class Rules:
    """Lines of one ignore file, or globs in the same syntax.

    prefix: the folder whose file it is, "" or ending with a slash, relative to the root of the walk.
    way: for a folder above the root instead, the path from that folder to the root, ending with a slash.
    """

    def __init__(self, lines: Iterable[str], prefix: str = "", way: str = "") -> None:
        self._prefix_length, self._way = len(prefix), way
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # "[[a]" is a set that holds a bracket, and meant so
            self._rules = [rule for line in lines if (rule := _compile(line)) is not None]
            # One expression for all, because nearly every path matches none. The name of a group may not repeat.
            self._any = re.compile("|".join(re.sub(r"\(\?P<\w+>/\)", "/", rule.pattern) for rule, _ in self._rules))
        self._rules.reverse()  # the last line that matches decides
        self._all_but = bool(self._rules) and not any(selected for _, selected in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def decide(self, path: str, is_folder: bool) -> bool | None:
        """True: left out. False: kept by a negated line. None: no line is about this entry itself.

        The expressions of pathspec also match everything below a matching folder. That is for walkers that do not
        prune; here it would let `!*/` bring back files, so a match counts only when it is the entry's own.
        """
        own = self._own(path)
        if not self._any.search(own + "/" * is_folder):
            return None
        for regex, ignored in self._rules:
            if _matches_itself(regex, own, is_folder):
                return ignored
        return None

    def covers(self, path: str) -> bool:
        """Whether a file is selected, by its own name or by that of a folder above it.

        The last line that matches decides. What none matches is selected where all lines only leave out (`!tests/`).
        """
        own = self._own(path)
        return next((selected for regex, selected in self._rules if regex.search(own)), self._all_but)

    def _own(self, path: str) -> str:
        # In an expression "$" matches before a final newline and "." does not match one; a NUL is in no file name.
        return (self._way + path[self._prefix_length :]).replace("\n", "\0")


def check_globs(globs: Iterable[str]) -> None:
    """UsageError for a glob without effect: lines of an ignore file are passed over, but a caller's must all count."""
    for glob in globs:
        if not Rules([glob]):
            raise UsageError(f"The pattern {glob!r} cannot be used.", hint="Patterns are written as in .gitignore.")


def _compile(line: str) -> tuple[re.Pattern[str], bool] | None:
    """The expression of a line and whether it leaves out (False: brings back); None for a line without effect."""
    if len(line) > MAX_LINE or line.count("**") > MAX_DOUBLE_STARS:
        return None  # nobody writes such a line to be matched
    try:
        pattern = GitIgnoreSpecPattern(line)
    except (GitIgnorePatternError, re.error):
        return None  # git passes over a line that it cannot read, too
    if pattern.regex is None or pattern.include is None:
        return None
    return _linear(pattern.regex), pattern.include


def _linear(regex: re.Pattern[str]) -> re.Pattern[str]:
    """The same language without runaway backtracking: `*a*a*a*a*b` would need length**5 steps to fail.

    Between two stars of one name stand single characters and classes, so the first place where they fit is as good as
    any later one, and the choice need never be taken back (an atomic group).
    """
    first, *rest = re.sub(r"(?:\[\^/\]\*)+", _STAR, regex.pattern).split(_STAR)
    for number, part in enumerate(rest):
        within_name = number < len(rest) - 1 and "/" not in part.replace("[^/]", "")
        first += f"(?>[^/]*?{part})" if within_name else _STAR + part
    return re.compile(first)


def _matches_itself(regex: re.Pattern[str], path: str, is_folder: bool) -> bool:
    # pathspec's expressions have one group, which marks the slash after a folder that matched.
    for match in regex.finditer(path):
        if match.lastindex is None:
            return True
    return is_folder and any(m.lastindex and m.end() == len(path) + 1 for m in regex.finditer(path + "/"))


def read_lines(data: bytes) -> list[str]:
    """The lines of an ignore file, decoded the way file names are, so that a name in any encoding can be matched."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]
