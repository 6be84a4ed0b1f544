"""Everyday questions: what authors wrote beside a name or value is asked without the name, and answered by the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gfqa.training.questions.code import read_file, repository_units
from gfqa.training.questions.documentation import documentation_facts
from gfqa.training.questions.everyday_asking import Everyday
from gfqa.training.questions.everyday_comments import commented_words
from gfqa.training.questions.everyday_docs import documented_words
from gfqa.training.questions.everyday_docstrings import condition, sections
from gfqa.training.questions.everyday_phrasings import LINES
from gfqa.training.questions.everyday_python import python_words
from gfqa.training.questions.everyday_values import quantity, thing, used_for
from gfqa.training.questions.everyday_words import (
    action,
    circumstance,
    clean,
    complained,
    gerund,
    leaks,
    loosen,
    told,
    words_of_name,
)
from gfqa.training.questions.facts import FileFacts
from gfqa.training.questions.phrasings import expand, templates
from gfqa.training.questions.units import BACKWARD_KINDS, EVERYDAY_PREFIX, PROSE_KINDS, is_verbatim

PYTHON = '''"""Module."""
import os

# The longest line that is read from the server.
LINE_LIMIT = 4096

MAX_RETRIES = 3
window = 60  # number of seconds between two cleanups

class HostMissing(ValueError):
    """Raised when the address has no host."""

class Client:
    """Talks to a server over one connection."""

    def connect(self, host, wait=30, mode="fast"):
        """Open a connection to the server.

        Args:
            host (str): Name of the host.
            wait (int, optional): How long to wait for the first byte, in
                seconds.
            mode: Compression level of the stream.

        Raises:
            TimeoutError: If the server does not answer.
        """
        if host is None:
            raise LookupError("no host name given")
        if not ready(host):
            raise RuntimeError("the pool must be open")

    def ready(self, host):
        """Return True if the host answers to a ping."""

def cache_folder():
    """Return the folder of downloaded models."""
    # where downloaded models are kept
    return os.environ.get("MODELS_HOME")

def options(parser):
    parser.add_argument("--no-color", help="Disable colors in the output")
    parser.add_argument("--jobs", default=4, help="Number of jobs to run in parallel")
'''

GO = """package main

import "os"

// Dial connects to the given address.
func Dial(address string) error {
	return errors.New("missing port in address")
}

// ErrClosed says why.
var ErrClosed = errors.New("the connection is closed")

type Options struct {
	// Number of requests that may wait.
	Backlog int
	Depth   int // the deepest level of nesting
}

// The size of the read buffer.
const bufferSize = 8192
"""


def found(file: FileFacts) -> dict[tuple[str, str], tuple[str, int]]:
    """(kind without its prefix, words) → (answer, line)."""
    return {
        (fact.kind.removeprefix(EVERYDAY_PREFIX), next(fact.names[0][k] for k in "ncqd" if k in fact.names[0])): (
            fact.answers[0],
            fact.line,
        )
        for fact in file.facts
        if fact.kind.startswith(EVERYDAY_PREFIX)
    }


def python(text: str) -> dict[tuple[str, str], tuple[str, int]]:
    file = FileFacts("client.py", text)
    python_words(file)
    return found(file)


def comments(path: str, text: str) -> dict[tuple[str, str], tuple[str, int]]:
    file = FileFacts(path, text)
    commented_words(file)
    return found(file)


@pytest.mark.parametrize(
    ("kind", "words", "answer"),
    [
        ("value", "longest line", "4096"),
        ("name", "longest line", "LINE_LIMIT"),
        ("quantity", "how many retries at most", "3"),
        ("quantity_back", "how many seconds between two cleanups", "60"),
        ("error_back", "the address has no host", "HostMissing"),
        ("does_back", "open a connection to the server", "connect"),
        ("quantity_default_back", "how long does it wait for the first byte", "30"),
        ("default_back", "compression level of the stream", '"fast"'),
        ("error_back", "the server does not answer", "TimeoutError"),
        ("error", "the host isn't given", "LookupError"),
        ("says", "no host name is given", "no host name given"),
        ("error_back", "the pool isn't open", "RuntimeError"),
        ("tells_back", "the host answers to a ping", "ready"),
        ("gives_back", "the folder of downloaded models", "cache_folder"),
        ("sets_back", "disable colors in the output", "--no-color"),
        ("quantity_default_back", "how many jobs does it run in parallel", "4"),
    ],
)
def test_python_files(kind: str, words: str, answer: str) -> None:
    facts = python(PYTHON)
    assert (kind, words) in facts, sorted(facts)
    said, line = facts[kind, words]
    assert said == answer
    # An answer stands at its line, or a few below where a docstring begins.
    assert answer in "\n".join(PYTHON.split("\n")[line - 1 : line + 3])


@pytest.mark.parametrize(
    ("path", "text", "kind", "words", "answer"),
    [
        ("a.go", GO, "does", "connect to the given address", "Dial"),
        ("a.go", GO, "says", "the port in address is missing", "missing port in address"),
        ("a.go", GO, "error_back", "the connection is closed", "ErrClosed"),
        ("a.go", GO, "name", "number of requests", "Backlog"),
        ("a.go", GO, "name_back", "deepest level of nesting", "Depth"),
        ("a.go", GO, "quantity", "how big is the read buffer", "8192"),
        ("a.rs", "/// Parses one header line.\npub fn parse(l: &str) {}\n", "does", "parse one header line", "parse"),
        ("a.rs", '    #[error("invalid port number")]\n    BadPort,\n', "error", "the port number is invalid", "BadPort"),
        ("a.ts", "// maximum number of open tabs\nexport const LIMIT = 12;\n", "quantity", "how many open tabs at most", "12"),
        ("a.js", '.option("-p, --port <n>", "port to listen on", 8080)', "quantity_default_back",
         "what port does it listen on", "8080"),
        ("A.java", "    /**\n     * Closes the underlying stream.\n     */\n    public void close() {\n", "does",
         "close the underlying stream", "close"),
        ("a.c", "#define TRIES 5 /* number of attempts before giving up */\n", "quantity_back",
         "how many attempts before giving up", "5"),
        ("a.sh", "# Print the version of the tool.\nshow() {\n", "does", "print the version of the tool", "show"),
        ("a.toml", "# folder for temporary files\nscratch = \"/tmp/x\"\n", "value", "folder for temporary files", '"/tmp/x"'),
        ("a.yml", "# Allow uploads by guests\nguests: true\n", "sets", "allow uploads by guests", "guests"),
        ("a.js", "const cacheFolder = process.env.APP_CACHE;\n", "name", "cache folder", "APP_CACHE"),
    ],
)  # fmt: skip
def test_other_files(path: str, text: str, kind: str, words: str, answer: str) -> None:
    facts = comments(path, text)
    assert (kind, words) in facts, sorted(facts)
    assert facts[kind, words][0] == answer
    assert answer in text.split("\n")[facts[kind, words][1] - 1]


@pytest.mark.parametrize(
    ("text", "kind", "words", "answer"),
    [
        ("Set the `APP_DEBUG` environment variable to enable the debugger.\n", "sets_back", "enable the debugger", "APP_DEBUG"),
        ("A `KeyMissing` error is raised.\n`HostError` is raised if the host is empty.\n", "error_back", "the host is empty",
         "HostError"),
        ("It requires Python 3.9 or newer.\n", "quantity", "which Python version does it need", "3.9 or newer"),
        ("The server listens on port 8443.\n", "quantity_default", "what port does it run on", "8443"),
        (".. setting:: RETRY_TIMES\n\nMaximum number of tries for a page.\n\nDefault: ``2``\n", "quantity_default",
         "how many tries for a page at most", "2"),
    ],
)  # fmt: skip
def test_documentation(text: str, kind: str, words: str, answer: str) -> None:
    file = FileFacts("a.rst", text)
    documented_words(file)
    facts = found(file)
    assert (kind, words) in facts, sorted(facts)
    assert facts[kind, words][0] == answer
    assert answer in text.split("\n")[facts[kind, words][1] - 1]


def test_read_file_adds_everyday_facts() -> None:
    text = "# Server\n\nThe server listens on port 8443.\n"
    (file,) = read_file("README.md", text, documentation_facts)
    assert any(fact.kind == "everyday_quantity_default" for fact in file.facts)


def test_verbs_are_inflected() -> None:
    read = {
        "d": "read the file and return it",
        "s": "reads the file and returns it",
        "g": "reading the file and returning it",
    }
    assert action("reads the file and returns it") == read == action("read the file and return it")
    assert action("list of jumps out of a loop") is None
    assert action("stream returned by the map method") is None
    assert action("something else entirely") is None
    assert [gerund(verb) for verb in ("get", "create", "free", "copy", "stop")] == [
        "getting", "creating", "freeing", "copying", "stopping",
    ]  # fmt: skip


def test_descriptions_become_plain() -> None:
    assert (
        clean("Return the :class:`~a.b.CookieJar` of ``chunk_size`` (if any).") == "return the cookie jar of chunk size"
    )
    assert clean("OAuth token of the GitHub user") == "OAuth token of the GitHub user"
    assert words_of_name("maxLineLength") == "max line length"
    for text in (
        "TODO: remove the thing",
        "Copyright 2020 by somebody",
        "See the docs of x",
        "x = y[3]",
        "Über die Straße 漢字",
    ):
        assert clean(text) is None, text
    assert clean("word") is None
    assert clean(" ".join(["many"] * 20)) is None


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ("port must be positive", "port isn't positive"),
        ("Unknown option {name!r}", "the option is unknown"),
        ("Cannot open file %s", "it can't open file"),
        ("No scheme supplied", "no scheme is supplied"),
        ("The session is closed", "the session is closed"),
        ("Something", None),
        ("The marker cannot be a line break", "the marker is a line break"),
        ("The file cannot be opened", "the file can't be opened"),
        ("please try again", None),
        ("StaticFiles path '{path}' is not a directory", "static files path is not a directory"),
    ],
)
def test_messages_tell_their_case(message: str, read: str | None) -> None:
    assert complained(message) == read


def test_what_is_asked_of_a_description() -> None:
    assert told("check if the host is local") == ("everyday_tells", {"c": "the host is local"})
    assert told("return the environment proxies") == ("everyday_gives", {"n": "the environment proxies"})
    assert told("return True") is None
    assert told("find a task and move it to another queue")[0] == "everyday_does"  # type: ignore[index]
    assert circumstance("raised when the key is missing") == "the key is missing"
    assert circumstance("base class of all errors") is None
    assert quantity("maximum number of redirects") == "how many redirects at most"
    assert quantity("maximum size of a field") == "how big can field be at most"
    assert used_for("port to listen on") == "what port does it listen on"
    assert thing("the colour of the cookie that is set") == "colour of the cookie"
    assert thing("the string that is returned") is None
    assert thing("instructs the kernel to stop") is None


def test_three_layouts_of_docstrings() -> None:
    google = "X.\n\n    Args:\n        size (int): The size.\n    Raises:\n        OSError: If it fails.\n"
    numpy = (
        "X.\n\n    Parameters\n    ----------\n    size : int\n        The size.\n\n    Raises\n    ------\n"
        + "    OSError\n        If it fails.\n"
    )
    sphinx = "X.\n\n    :param int size: The size.\n    :raises OSError: If it fails.\n"
    for text in (google, numpy, sphinx):
        parameters, raised = sections(text)
        assert parameters == {"size": "The size."}
        assert [(error, when) for error, when, _ in raised] == [("OSError", "If it fails.")]
        assert all("OSError" in text.split("\n")[line] for *_, line in raised)


def test_conditions_of_errors() -> None:
    import ast

    tests = {"port is None": "the port isn't given", "len(title) > 9": "the title is too long", "self.closed": "it is closed",
             "count < 0": "the count is negative", "not address": "there is no address", "a and b": None}  # fmt: skip
    for code, clause in tests.items():
        assert condition(ast.parse(code, mode="eval").body) == clause


def test_answers_do_not_leak() -> None:
    assert leaks("which method mounts an adapter?", "mount") == "split"
    assert leaks("how do I mount an adapter?", "mount") == "name"
    assert leaks("what reads the big file?", "read_big_file") == "split"
    assert leaks("what loads the cookies?", "read_big_file") == ""


def test_wordings_keep_the_meaning_and_are_deterministic() -> None:
    said = {loosen("remove the folder of the cache", random.Random(seed)) for seed in range(60)}
    assert len(said) > 3
    assert all("cache" in words for words in said)
    assert all("here" in loosen("no port is given here", random.Random(seed)).split()[4:] for seed in range(60))
    assert loosen("make a folder", random.Random(3)) == loosen("make a folder", random.Random(3))


def test_words_said_of_two_things_are_not_asked() -> None:
    files = [FileFacts(f"{n}.py", f'def f{n}():\n    """Open the gate of the yard."""\n') for n in (1, 2)]
    for file in files:
        python_words(file)
    everyday = Everyday(files)
    assert not everyday.questions(files[0], random.Random(0), 9, kept_lines=9)
    alone = Everyday(files[:1])
    asked = alone.questions(files[0], random.Random(0), 9, kept_lines=9)
    assert {qa["a"][0] for qa in asked} == {"f1"}
    assert len(asked) == 3
    assert not alone.questions(files[0], random.Random(0), 9, kept_lines=0)


def test_units_hold_everyday_questions(tmp_path: Path) -> None:
    folder = tmp_path / "owner__repo"
    (folder / "tests").mkdir(parents=True)
    (folder / "client.py").write_text(PYTHON)
    (folder / "tests/test_client.py").write_text(PYTHON.replace("Client", "Other"))
    (folder / "main.go").write_text(GO)
    units = {unit["path"]: unit for unit in repository_units(folder)}
    held = {unit["path"]: unit for unit in repository_units(folder, wording="held")}
    for path in ("client.py", "main.go"):
        asked = [qa for qa in units[path]["qas"] if qa["kind"].startswith(EVERYDAY_PREFIX)]
        assert len(asked) > 8
        assert is_verbatim(units[path])
        assert all(leaks(qa["q"], qa["a"][0]) != "name" for qa in asked)
        split = sum(bool(qa.get("split")) for qa in asked)
        assert split <= len(asked) / 3
        assert all(len(qa["names"]) <= 3 and qa["line"] > 0 for qa in asked)
        assert not any(qa["kind"].startswith(EVERYDAY_PREFIX) for qa in held[path]["qas"])
    assert not any(qa["kind"].startswith(EVERYDAY_PREFIX) for qa in units["tests/test_client.py"]["qas"])
    assert list(repository_units(folder)) == list(repository_units(folder))


def test_kinds_are_known_by_where_their_answer_stands() -> None:
    assert {kind for kind in LINES if kind.endswith("_back")} == {
        kind for kind in BACKWARD_KINDS if kind.startswith(EVERYDAY_PREFIX)
    }
    assert {kind for kind in PROSE_KINDS if kind.startswith(EVERYDAY_PREFIX)} < set(LINES)
    for kind in LINES:
        slots = {
            slot for line in templates(kind) + templates(kind, "held") for form in expand(line) for slot in _slots(form)
        }
        assert slots <= {"d", "s", "g", "n", "c", "q", "what"}


def _slots(form: str) -> list[str]:
    return [part.split("}")[0] for part in form.split("{")[1:]]
