"""Repositories to question units: one unit per file, questions generated from what the file states."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from gfqa.training.questions import config_files, documentation, other_code, python_code
from gfqa.training.questions.everyday_asking import Everyday, is_everyday
from gfqa.training.questions.everyday_comments import commented_words
from gfqa.training.questions.everyday_docs import documented_words
from gfqa.training.questions.everyday_python import python_words
from gfqa.training.questions.facts import FileFacts, Finder, Repository
from gfqa.training.questions.phrasings import Wording
from gfqa.training.questions.units import Unit, cut_at_line, read_jsonl, unit

_FINDERS: dict[str, Finder] = {
    **dict.fromkeys((".py", ".pyi"), python_code.python_facts),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".mts"), other_code.javascript_facts),
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".hpp", ".cxx", ".cu"), other_code.c_facts),
    ".go": other_code.go_facts,
    ".rs": other_code.rust_facts,
    ".java": other_code.java_facts,
    **dict.fromkeys((".sh", ".bash"), other_code.shell_facts),
    **dict.fromkeys((".toml", ".ini", ".cfg"), config_files.sectioned_facts),
    **dict.fromkeys((".yml", ".yaml", ".json"), config_files.nested_facts),
}
_DOCUMENTATION: dict[str, Finder] = dict.fromkeys(
    (".md", ".rst", ".markdown", ".mdx"), documentation.documentation_facts
)
_CONFIG = frozenset({".toml", ".ini", ".cfg", ".yml", ".yaml", ".json"})

# Folders and files that are copied, recorded or made by machines: nobody asks about them.
_SKIPPED_NAMES = (
    "vendor _vendor third_party node_modules fixtures cassettes snapshots __snapshots__ testdata _locales locales corpora "
    "generated bundled dist .git __pycache__ package-lock.json pnpm-lock.yaml poetry.lock"
)
_SKIPPED = frozenset(_SKIPPED_NAMES.split())
_MAX_BYTES = 400_000


def _is_test(path: str) -> bool:
    return any(
        part.startswith("test") or part.endswith(("_test.go", "_test.py", ".spec.ts", ".test.ts", "Test.java"))
        for part in path.split("/")
    )


def find_files(root: Path, finders: dict[str, Finder]) -> list[str]:
    """Relative paths, sorted, of the files under `root` that one of `finders` reads."""
    found = []
    for file in root.rglob("*"):
        path = file.relative_to(root).as_posix()
        if (
            file.suffix in finders
            and not _SKIPPED & set(path.split("/"))
            and file.is_file()
            and not file.is_symlink()
            and 0 < file.stat().st_size <= _MAX_BYTES
        ):
            found.append(path)
    return sorted(found)


def _choose(paths: list[str], count: int, rng: random.Random) -> list[str]:
    """At most `count` files: sources before tests, and configuration at most an eighth."""
    shuffled = rng.sample(paths, len(paths))
    config = [path for path in shuffled if PurePosixPath(path).suffix in _CONFIG][: count // 8]
    others = [path for path in shuffled if PurePosixPath(path).suffix not in _CONFIG]
    tests = [path for path in others if _is_test(path)]
    sources = [path for path in others if not _is_test(path)]
    room = count - len(config)
    kept_tests = tests[: max(room - len(sources), room // 6)]
    return sorted([*config, *kept_tests, *sources[: room - len(kept_tests)]])


def read_repository(
    root: Path, *, documentation_only: bool = False, files: int = 240, seed: int = 0
) -> list[FileFacts]:
    """The facts of the chosen files of one repository, texts cut to the unit length."""
    finders = _DOCUMENTATION if documentation_only else _FINDERS
    rng = random.Random(f"{root.name}:{seed}")
    facts = []
    for path in _choose(find_files(root, finders), files, rng):
        try:
            text = (root / path).read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        facts += read_file(path, text, finders[PurePosixPath(path).suffix])
    return facts


def read_file(path: str, text: str, finder: Finder) -> list[FileFacts]:
    """The facts of one file, its text cut to the unit length; none for texts that nobody wrote or reads by hand."""
    if "\r" in text or "\x00" in text or len(max(text.split("\n"), key=len)) > 2_000:
        return []
    if finder is python_code.python_facts:
        # The tree needs the whole file; facts behind the cut are dropped by their line.
        file = finder(path, text)
        python_words(file)
        file.text = cut_at_line(text)
        return [file]
    if finder is documentation.documentation_facts and not is_english(text):
        return []
    file = finder(path, cut_at_line(text))
    if finder is documentation.documentation_facts:
        documented_words(file)
    else:
        commented_words(file)
    return [file]


_COMMON_WORDS = frozenset(("the", "of", "to", "and", "is", "in", "for", "a", "that", "be", "are", "this", "with"))


def is_english(text: str) -> bool:
    """Whether a page of documentation reads as English: Latin letters, and enough of its commonest words."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    latin = sum(char > "\u024f" for char in text) <= len(text) // 50
    # A page of few words may have none of them.
    return latin and (len(words) < 40 or sum(word in _COMMON_WORDS for word in words) >= 0.08 * len(words))


def repository_units(
    root: Path,
    *,
    cap: int = 48,
    files: int = 240,
    documentation_only: bool = False,
    wording: Wording = "training",
    seed: int = 0,
) -> Iterator[Unit]:
    """Units of one repository; `group` is the folder's name with its owner ("owner/name")."""
    group = root.name.replace("__", "/")
    found = read_repository(root, documentation_only=documentation_only, files=files, seed=seed)
    set_name = "documentation" if documentation_only else "code"
    yield from units_of(set_name, group, found, cap=cap, wording=wording, seed=seed)


# Kinds that came after the first measurements: the evaluation goes on asking what it asked.
EVERYDAY_KINDS = frozenset({"comment_value", "purpose", "purpose_where"})


EVERYDAY_CAP = 24
"""Questions of a file, beside the others, that describe what they ask about."""


def _is_new(kind: str) -> bool:
    return kind in EVERYDAY_KINDS or is_everyday(kind)


def _limit(path: str, cap: int, wording: Wording) -> int:
    """How many questions a file gets."""
    suffix = PurePosixPath(path).suffix
    if wording != "training":
        return 14 if suffix in _CONFIG or suffix in _DOCUMENTATION else cap
    return 24 if suffix in _DOCUMENTATION else 10 if suffix in _CONFIG or _is_test(path) else cap


def units_of(
    set_name: str, group: str, found: list[FileFacts], *, cap: int, wording: Wording = "training", seed: int = 0
) -> Iterator[Unit]:
    """Units of files that belong together; a name is asked about only where it is unique among them."""
    for file in found:
        if wording != "training":
            file.facts = [fact for fact in file.facts if not _is_new(fact.kind)]
        elif _is_test(file.path):
            # Comments in tests speak of the case at hand, and nobody asks which test does what.
            file.facts = [fact for fact in file.facts if not _is_new(fact.kind)]
    repository, everyday = Repository(found), Everyday(found)
    for file in found:
        rng = random.Random(f"{group}:{file.path}:{seed}")
        limit = _limit(file.path, cap, wording)
        qas = repository.questions(file, rng, limit, kept_lines=file.text.count("\n"), wording=wording)
        again = random.Random(f"everyday:{group}:{file.path}:{seed}")
        kept = file.text.count("\n")
        qas += everyday.questions(file, again, EVERYDAY_CAP, kept_lines=kept, wording=wording)
        if qas:
            yield unit(set_name, group, file.path, file.text, qas)


def corpus_units(shards: Iterable[Path], *, files: int = 110) -> Iterator[Unit]:
    """Documentation units from text corpus shards: at most `files` documents of each source, drawn with a fixed seed."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    rng = random.Random(5)
    for shard in shards:
        for record in read_jsonl(shard):
            source, path = record["source"], record["path"]
            if PurePosixPath(path).suffix not in _DOCUMENTATION:
                continue
            # Reservoir sampling: every document of a source has the same chance, and few are held at once.
            seen[source] += 1
            if len(found[source]) < files:
                found[source].append((path, record["text"]))
            elif (at := rng.randrange(seen[source])) < files:
                found[source][at] = (path, record["text"])
    for source, documents in sorted(found.items()):
        facts = [
            fact
            for path, text in sorted(documents)
            for fact in read_file(path, text, documentation.documentation_facts)
        ]
        yield from units_of("documentation", source, facts, cap=24)
