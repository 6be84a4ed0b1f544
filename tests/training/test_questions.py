"""Generated questions: answers stand in the text, ambiguous names are not asked, held-out phrasings stay apart."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from gfqa.training.questions import code_phrasings, phrasings, ready
from gfqa.training.questions.code import corpus_units, repository_units
from gfqa.training.questions.config_files import nested_facts, sectioned_facts
from gfqa.training.questions.documentation import documentation_facts
from gfqa.training.questions.facts import FileFacts, Repository, comment_words, sentence_of
from gfqa.training.questions.other_code import c_facts, go_facts, java_facts, javascript_facts, rust_facts
from gfqa.training.questions.python_code import python_facts
from gfqa.training.questions.sentences import purpose, readings, sentence_facts
from gfqa.training.questions.units import cut_at_line, is_verbatim, read_jsonl, write_jsonl
from gfqa.training.questions.vary import keywords, lower, vary

PYTHON = '''"""Module."""
from os import path
MAX_TRIES = 5

class Client(Base):
    """Talks to the server."""

    timeout: float = 2.5

    def connect(self, host: str, port=5432) -> "Socket":
        """Open a connection to the server."""
        if not host:
            raise ValueError("the host name is empty, give one")
        return open_socket(host, port, retries=3)
'''


def answers(file: FileFacts) -> dict[tuple[str, str], str]:
    """(kind, first slot values joined) → answer."""
    return {(f.kind, " ".join(v for k, v in f.names[0].items() if k != "what")): f.answers[0] for f in file.facts}


def test_python_facts_are_verbatim_and_complete() -> None:
    found = answers(python_facts("net/client.py", PYTHON))
    assert found["param_default", "connect port"] == "5432"
    assert found["constant", "MAX_TRIES"] == "5"
    assert found["return_type", "connect"] == '"Socket"'
    assert found["base_class", "Client"] == "Base"
    assert found["field_type", "timeout Client"] == "float"
    assert found["docstring", "connect"] == "Open a connection to the server."
    assert found["message", "connect"] == "the host name is empty, give one"
    assert found["raises", "connect"] == "ValueError"
    assert found["keyword", "connect retries open_socket"] == "3"
    assert found["params", "connect"] == "self, host: str, port=5432"
    assert found["where", "Client"] == "net/client.py"


@pytest.mark.parametrize(
    ("finder", "text", "expected"),
    [
        (javascript_facts, "function add(a: number, b = 2): number {\n  return a\n}\n", ("return_type", "add", "number")),
        (go_facts, "func (c *C) Dial(host string) error {\n\treturn nil\n}\n", ("params", "C.Dial", "host string")),
        (rust_facts, "pub fn find(hay: &str) -> Option<usize> {\n    None\n}\n", ("return_type", "find", "Option<usize>")),
        (c_facts, "#define LIMIT 42 /* why */\nint main(void) {\n}\n", ("constant", "LIMIT", "42")),
        (java_facts, "public class A extends B {\n    static final int MAX = 7;\n}\n", ("base_class", "A", "B")),
        (sectioned_facts, "[tool.x]\nline-length = 120\n", ("config", "tool.x.line-length", "120")),
        (nested_facts, '{\n  "a": {\n    "b": true\n  }\n}\n', ("config", "a.b", "true")),
        (documentation_facts, "# Input\n\nIt reads stdin. More.\n", ("heading", "Input", "It reads stdin.")),
    ],
)  # fmt: skip
def test_facts_of_other_files(finder, text, expected) -> None:  # type: ignore[no-untyped-def]
    kind, name, answer = expected
    assert answers(finder("f", text))[kind, name] == answer


def test_ambiguous_names_are_asked_with_their_file() -> None:
    files = [python_facts(f"{n}.py", f"LIMIT = {n}0\n") for n in (1, 2)]
    repository, rng = Repository(files), random.Random(0)
    fact = next(f for f in files[0].facts if f.kind == "constant")
    asked = [repository.ask(fact, rng) for _ in range(30)]
    assert all(qa and "1.py" in qa["q"] and qa["a"] == ["10"] for qa in asked)
    where = next(f for f in files[0].facts if f.kind == "where")
    assert repository.ask(where, rng) is None or len({f.path for f in files}) == 1


def test_units_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "owner__repo/vendor").mkdir(parents=True)
    (tmp_path / "owner__repo/client.py").write_text(PYTHON)
    (tmp_path / "owner__repo/vendor/copy.py").write_text(PYTHON)
    units = list(repository_units(tmp_path / "owner__repo"))
    assert [unit["path"] for unit in units] == ["client.py"]
    assert units[0]["group"] == "owner/repo"
    assert len(units[0]["qas"]) > 8
    assert all(is_verbatim(unit) for unit in units)
    assert units == list(repository_units(tmp_path / "owner__repo"))


def test_the_evaluation_asks_what_it_asked_and_training_asks_little_of_tests(tmp_path: Path) -> None:
    (tmp_path / "o__r/tests").mkdir(parents=True)
    (tmp_path / "o__r/client.py").write_text(PYTHON)
    (tmp_path / "o__r/tests/test_client.py").write_text("\n".join(f"VALUE_{i} = {i}00" for i in range(40)) + "\n")
    trained, held = (
        {unit["path"]: unit["qas"] for unit in repository_units(tmp_path / "o__r", wording=wording)}
        for wording in ("training", "held")
    )
    assert {"purpose", "purpose_where"} <= {qa["kind"] for qa in trained["client.py"]}
    assert not {"purpose", "purpose_where"} & {qa["kind"] for qa in held["client.py"]}
    assert len(trained["tests/test_client.py"]) == 10 < len(held["tests/test_client.py"])


@pytest.mark.parametrize("wording", ["held", "apart"])
def test_phrasings_of_the_evaluation_share_no_template_with_training(wording: phrasings.Wording) -> None:
    for kind in phrasings.kinds():
        train, held = phrasings.templates(kind), phrasings.templates(kind, wording)
        assert len(train) > len(held) > 0
        words = [{p.lower().rstrip("?. ") for line in lines for p in phrasings.expand(line)} for lines in (train, held)]
        assert not words[0] & words[1]


def test_lines_of_files_have_the_slots_of_their_kind() -> None:
    for kind in code_phrasings.LINES:
        known = {slot for line in phrasings.templates(kind, "held") for slot in re.findall(r"{(\w+)}", line)}
        known |= {slot for line in phrasings.templates(kind) for slot in re.findall(r"{(\w+)}", line)} & {
            "what",
            "s",
            "d",
        }
        for wording in ("training", "apart"):
            lines = phrasings.templates(kind, wording)
            assert lines != phrasings.templates(kind, "held")
            assert {slot for line in lines for slot in re.findall(r"{(\w+)}", line)} <= known


def test_slots_may_hold_braces_and_brackets() -> None:
    text = phrasings.say("constant", {"name": "A[{f}|b]"}, random.Random(1))
    assert "A[{f}|b]" in text


@pytest.mark.parametrize(
    ("sentence", "kind", "asked", "answer"),
    [
        ("To restore a copy, run `extract`.", "how", "restore a copy", "run `extract`"),
        ("Use `tar -x` to unpack the archive.", "with_what", "unpack the archive", "`tar -x`"),
        ("The default of max_size is 20.", "default_of", "max_size", "20"),
        ("The server listens on port 8471.", "asked", "what does the server listen on", "port 8471"),
        ("Copies are kept in the folder backup.", "asked", "where are Copies kept", "in the folder backup"),
        ("The parser was added in version 2.1.", "asked", "when was the parser added", "version 2.1"),
        ("If the bank cannot be reached, old rates are used.", "what_if", "the bank cannot be reached", "old rates are used"),
        ("The maximum number of tags is 50.", "asked", "what is the maximum number of tags", "50"),
    ],
)  # fmt: skip
def test_sentences_that_give_a_question_away(sentence: str, kind: str, asked: str, answer: str) -> None:
    assert (kind, [asked], answer) in [(k, list(slots.values()), a) for k, slots, a in readings(sentence)]


def test_sentences_that_point_elsewhere_say_nothing() -> None:
    file = FileFacts(
        "a.md", "This is a page about nothing.\nTo build it, run the following command:\nIt requires a key.\n"
    )
    sentence_facts(file)
    assert file.facts == []


def test_a_sentence_over_two_lines_is_read_where_its_answer_is_on_one() -> None:
    text = (
        "# Harbour\n\nThere are three. Berta is the only crane that lifts containers, so ships\n"
        "wait when it stops. Lists are kept\nfor 60 days in the folder lists.\n"
    )
    file = FileFacts("a.md", text)
    sentence_facts(file)
    found = {(fact.names[0].get("q"), fact.answers[0], fact.line) for fact in file.facts}
    assert ("which crane lifts containers", "Berta", 3) in found
    assert all(fact.answers[0] in text.split("\n")[fact.line - 1] for fact in file.facts)


def test_purpose_turns_the_verb() -> None:
    assert purpose("Reads the configuration file.") == {
        "d": "read the configuration file", "s": "reads the configuration file"
    }  # fmt: skip
    assert purpose("Apply a patch to it")["s"] == "applies a patch to it"  # type: ignore[index]
    assert purpose("The queue of jobs.") is None


def test_vary_keeps_code_words() -> None:
    rng = random.Random(3)
    question = "What is the default of maxTries in Client.connect()?"
    seen = {vary(question, rng, strength=1.0) for _ in range(200)}
    assert len(seen) > 10
    assert all("maxTries" in text and "Client.connect()" in text for text in seen)
    assert lower("Where is HTTP set?") == "where is HTTP set?"
    assert keywords("What is the capital of France?") == "capital france"
    assert vary(question, rng, strength=0.0) == question


def test_sentence_and_cut() -> None:
    assert sentence_of("Reads a file. Then more.") == "Reads a file."
    assert sentence_of("Reads a file and goes\non over the line.") is None
    assert cut_at_line("ab\ncd\nef\n", 7) == "ab\ncd\n"
    text = "One two. Three four.\n\nFive six. " * 40
    assert "".join(ready.passages(text, 100)) == text


def test_long_documents_keep_the_answer(tmp_path: Path) -> None:
    filler = "Nothing happens here at all. " * 60
    record = {
        "title": "Story",
        "paragraphs": [{"context": f"{filler}\n\nThe Fox stole a golden key.\n\n{filler}", "qas": [
            {"question": "What did the fox steal?", "answers": ["a golden key"], "explicit": True},
            {"question": "Why?", "answers": ["greed"], "explicit": False},
        ]}],
    }  # fmt: skip
    write_jsonl(tmp_path / "s.jsonl.xz", [record])
    units = list(ready.split_documents(tmp_path / "s.jsonl.xz", "set", 500, 200, 0.0))
    assert len(units) == 1
    assert "golden key" in units[0]["text"]
    assert units[0]["qas"][0]["a"] == ["a golden key"]
    assert list(read_jsonl(tmp_path / "s.jsonl.xz")) == [record]


def test_corpus_shards_give_documentation_units(tmp_path: Path) -> None:
    text = "# Input\n\nIt reads standard input only.\n\n# Output\n\nIt writes JSON lines.\n"
    records = [
        {"source": "a/b", "path": f"docs/{i}.md", "kind": "docs", "text": text.replace("It", f"Part {i}")}
        for i in range(5)
    ]
    records.append({"source": "a/b", "path": "x.py", "kind": "code", "text": "X = 1\n"})
    write_jsonl(tmp_path / "shard.jsonl.xz", records)
    units = list(corpus_units([tmp_path / "shard.jsonl.xz"], files=3))
    assert len(units) == 3
    assert all(unit["group"] == "a/b" and is_verbatim(unit) for unit in units)
    # Every page has the same two headings, so a heading alone would not say which page is meant.
    headings = [(unit["path"], qa["q"]) for unit in units for qa in unit["qas"] if qa["kind"] == "heading"]
    assert headings
    assert all(path in asked or Path(path).name in asked for path, asked in headings)


@pytest.mark.parametrize(
    ("line", "words"),
    [("# Maximum size of the queue", "maximum size of the queue"), ("# The number of retries.", "number of retries")]
    + [(line, None) for line in ("#", "# ", "# noqa", "x = 1  # Maximum size", "#: .")],
)
def test_comments_that_name_a_value(line: str, words: str | None) -> None:
    assert comment_words(line, "#") == words
