"""ingest, ask, caches and models from end to end on a tiny random model: what they print, and what is documented JSON."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

from gfqa.cli import app
from gfqa.model_folders import SHIPPED
from tests.conftest import Result, make_model
from tests.documents.pdf_bytes import lines, pdf

Run = Callable[..., Result]


def shape(value: Any) -> Any:
    """A JSON value as its structure: keys and types."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def rounded(value: Any) -> Any:
    """A JSON value with its floats to four digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def test_ingest_json_is_as_documented(gfqa: Run, project: Path) -> None:
    result = gfqa("ingest", project, "--json")
    assert (result.code, result.err) == (0, "")
    report = result.json
    assert list(report) == [
        "schema", "cache", "documents", "skipped", "skipped_files", "pages_without_text", "tokens", "seconds", "timing",
    ]  # fmt: skip
    assert report["schema"] == 1
    assert report["cache"] == {
        "name": "proj",
        "model": "tiny",
        "layout": "independent",
        "bytes": report["cache"]["bytes"],
    }
    assert report["documents"] == {"ingested": 4, "unchanged": 0, "removed": 0}
    assert report["skipped"] == {"binary": 1, "ignored": 1, "secret": 1}
    assert {"path": "image.bin", "reason": "binary"} in report["skipped_files"]
    assert report["tokens"]["reused"] == 0
    assert report["tokens"]["total"] == report["tokens"]["prefilled"] > 100
    assert isinstance(report["seconds"], float)


def test_ask_json_is_as_documented(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    result = gfqa("ask", "Which port?", "--json", "--max-tokens", "4", "--sources", "2")
    assert (result.code, result.err) == (0, "")
    answer = result.json
    assert list(answer) == [
        "schema", "question", "answer", "found", "score", "low_confidence", "stale", "citations", "cache", "tokens", "timing",
    ]  # fmt: skip
    assert shape({key: answer[key] for key in ("schema", "question", "answer", "found", "score", "stale")}) == {
        "schema": "int", "question": "str", "answer": "str", "found": "bool", "score": "float", "stale": "bool",
    }  # fmt: skip
    assert answer["found"]
    assert 0 <= answer["score"] <= 1
    assert answer["low_confidence"] is (answer["score"] < 0.5)
    assert answer["cache"] == {"names": ["proj"], "model": "tiny", "layout": "independent"}
    assert answer["tokens"]["prefilled"] == answer["tokens"]["reread"] == 0
    assert answer["tokens"]["generated"] == 4
    assert len(answer["citations"]) == 2
    for citation in answer["citations"]:
        assert list(citation) == [
            "cache", "source", "path", "start_line", "end_line", "page", "quote", "score", "verified", "changed",
        ]  # fmt: skip
        assert (citation["verified"], citation["changed"]) == (True, False)
        lines = (Path(citation["source"]) / citation["path"]).read_text().split("\n")
        cited = lines[citation["start_line"] - 1 : citation["end_line"]]
        assert citation["quote"] == "\n".join(cited[:3])
        assert 0 < citation["score"] <= 1
        assert citation["page"] is None


def test_the_human_answer_goes_to_stdout_with_its_places(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    result = gfqa("ask", "Which port?", "--max-tokens", "4")
    assert result.code == 0
    assert any(
        line.startswith(("app.py:", "docs/guide.md:", "notes.txt:", ".gitignore:")) for line in result.out.splitlines()
    )


def test_an_answer_is_the_same_streamed_and_as_json(gfqa: Run, project: Path) -> None:
    from gfqa.console import neutralise

    gfqa("ingest", project)
    answer = gfqa("ask", "Which port?", "--json")
    streamed = gfqa("ask", "Which port?", "--sources", "0")
    assert streamed.out == neutralise(answer.json["answer"]) + "\n"


def test_an_unchanged_tree_is_not_read_by_the_model_again(
    gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gfqa("ingest", project, "--json").json
    monkeypatch.setattr("gfqa.reader.load_model", lambda *_: pytest.fail("the weights were loaded"))
    second = gfqa("ingest", project, "--json").json
    assert second["documents"] == {"ingested": 0, "unchanged": 4, "removed": 0}
    assert second["tokens"] == {"total": first["tokens"]["total"], "reused": first["tokens"]["total"], "prefilled": 0}
    assert {**second["cache"], "bytes": 0} == {**first["cache"], "bytes": 0}


def test_a_changed_file_alone_is_read_again_and_a_deleted_one_disappears(gfqa: Run, project: Path) -> None:
    total = gfqa("ingest", project, "--json").json["tokens"]["total"]
    (project / "notes.txt").write_text("alpha\nbeta\ndelta!\n")
    (project / "app.py").unlink()
    report = gfqa("ingest", project, "--json").json
    assert report["documents"] == {"ingested": 1, "unchanged": 2, "removed": 1}
    assert report["tokens"]["prefilled"] == len("notes.txt\nalpha\nbeta\ndelta!\n") + 1
    assert report["tokens"]["total"] < total
    shown = gfqa("caches", "show", "proj", "--json").json
    assert [document["path"] for document in shown["documents"]] == [".gitignore", "docs/guide.md", "notes.txt"]


def test_a_touched_file_is_unchanged_and_same_size_edits_are_seen(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    os.utime(project / "app.py", (1, 1))
    before = (project / "notes.txt").stat()
    (project / "notes.txt").write_text("ALPHA\nbeta\ngamma\n")
    os.utime(project / "notes.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert gfqa("ingest", project, "--json").json["documents"] == {"ingested": 1, "unchanged": 3, "removed": 0}


def test_a_renamed_file_is_read_again(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    (project / "notes.txt").rename(project / "memo.txt")
    report = gfqa("ingest", project, "--json").json
    assert report["documents"] == {"ingested": 1, "unchanged": 3, "removed": 1}


def test_a_cache_is_a_set_of_roots(gfqa: Run, project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "more.txt").write_text("more text\n")
    gfqa("ingest", project, "--name", "both")
    added = gfqa("ingest", other, "--name", "both", "--json").json
    assert added["documents"] == {"ingested": 1, "unchanged": 0, "removed": 0}
    assert gfqa("caches", "show", "both", "--json").json["sources"] == sorted([str(project), str(other)])
    refreshed = gfqa("ingest", other, "--name", "both", "--json").json
    assert refreshed["documents"] == {"ingested": 0, "unchanged": 1, "removed": 0}
    only = gfqa("ingest", other, "--name", "both", "--replace", "--json").json
    assert only["documents"] == {"ingested": 0, "unchanged": 1, "removed": 4}
    assert only["tokens"]["prefilled"] == 0
    assert gfqa("caches", "show", "both", "--json").json["sources"] == [str(other)]


def test_the_same_content_under_the_same_path_is_stored_once(gfqa: Run, project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "copy")
    gfqa("ingest", project)
    report = gfqa("ingest", tmp_path / "copy", "--json").json
    assert report["tokens"]["prefilled"] == 0
    assert (
        gfqa("ask", "Which port?", "-c", "proj", "-c", "copy", "--json").json["tokens"]["reused"]
        == report["tokens"]["total"]
    )


def test_a_single_file_is_a_source(gfqa: Run, project: Path) -> None:
    report = gfqa("ingest", project / "notes.txt", "--json").json
    assert report["cache"]["name"] == "notes"
    answer = gfqa("ask", "alpha?", "--json").json
    assert answer["citations"][0]["path"] == "notes.txt"
    assert answer["citations"][0]["source"] == str(project / "notes.txt")
    assert not answer["stale"]


def test_pages_without_text_are_listed_each_time(gfqa: Run, tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "mixed.pdf").write_bytes(pdf(lines("First page about retries"), b"", lines("Third page about ports")))
    expected = [{"path": "mixed.pdf", "pages": [2]}]
    assert gfqa("ingest", folder, "--json").json["pages_without_text"] == expected
    assert gfqa("ingest", folder, "--json").json["pages_without_text"] == expected
    human = gfqa("ingest", folder)
    assert "mixed.pdf: no text on page 2" in human.err
    citation = gfqa("ask", "ports?", "--json").json["citations"][0]
    assert citation["page"] in (1, 2, 3)
    assert citation["start_line"] is citation["end_line"] is None
    assert "mixed.pdf, page" in gfqa("ask", "ports?").out


def test_a_question_and_a_document_from_stdin(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    assert gfqa("ask", "-", "--json", stdin="Which port?\n").json["question"] == "Which port?\n"
    piped = gfqa("ask", "what could break?", "-", "--json", stdin="one\ntwo\nthree\n").json
    assert piped["cache"]["names"] == []
    assert piped["tokens"]["reused"] == 0
    assert piped["tokens"]["prefilled"] == len("<stdin>\none\ntwo\nthree\n") + 1
    assert {citation["path"] for citation in piped["citations"]} == {"<stdin>"}
    assert gfqa("ask", "what?", "-", stdin="one\n").out.splitlines()[-2] == "<stdin>:1"
    both = gfqa("ask", "what?", "-", "--cache", "proj", "--json", "--sources", "9", stdin="one\n").json
    assert {citation["path"] for citation in both["citations"]} > {"<stdin>"}
    assert gfqa("caches", "show", "proj", "--json").json["document_count"] == 4


def test_a_changed_source_is_stale(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    assert gfqa("ask", "q", "--json").json["stale"] is False
    os.utime(project / "app.py", (1, 1))
    assert gfqa("ask", "q", "--json").json["stale"] is False
    (project / "app.py").write_text("changed\n")
    assert gfqa("ask", "q", "--json").json["stale"] is True
    human = gfqa("ask", "q")
    assert human.code == 0
    assert "app.py changed since the ingest" in human.err
    assert gfqa("ask", "q", "--require-fresh").code == 3
    shutil.rmtree(project)
    assert gfqa("ask", "q", "--json").json["stale"] is True
    assert "proj: gone since the ingest." in gfqa("ask", "q").err


def test_which_cache_is_asked(gfqa: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = project / "docs"
    gfqa("ingest", project)
    gfqa("ingest", inner)
    gfqa("ingest", project, "--name", "again")

    def asked(*flags: str) -> list[str]:
        names: list[str] = gfqa("ask", "q", "--json", *flags).json["cache"]["names"]
        return names

    monkeypatch.chdir(inner)
    assert asked() == ["docs"]
    monkeypatch.chdir(project)
    ambiguous = gfqa("ask", "q", "--json")
    assert ambiguous.code == 3
    assert "again, proj" in ambiguous.json["error"]["message"]
    monkeypatch.chdir(tmp_path)
    assert gfqa("ask", "q").code == 3
    monkeypatch.setenv("GFQA_CACHE", "again")
    assert asked() == ["again"]
    assert asked("--cache", "proj", "-c", "docs") == ["docs", "proj"]


def test_the_order_of_caches_changes_nothing(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    gfqa("ingest", project / "docs")
    one = gfqa("ask", "q", "--json", "-c", "proj", "-c", "docs").json
    two = gfqa("ask", "q", "--json", "-c", "docs", "-c", "proj").json
    assert {**one, "timing": 0} == {**two, "timing": 0}


def test_not_found_is_said_plainly(gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from gfqa.model import LanguageModel

    plain = LanguageModel.decode

    def unsure(self: LanguageModel, *args: Any, **kwargs: Any) -> Any:
        logits, state = plain(self, *args, **kwargs)
        none = torch.zeros_like(logits)
        none[..., 259] = 1000.0
        return logits + none, state

    monkeypatch.setattr(LanguageModel, "decode", unsure)
    gfqa("ingest", project)
    answer = gfqa("ask", "q", "--json").json
    assert (answer["answer"], answer["found"], answer["citations"]) == ("", False, [])
    assert answer["score"] == 0
    assert gfqa("ask", "q").out == "Not found in the documents.\n"
    assert gfqa("ask", "q", "--fail-not-found").code == 5
    failing = gfqa("ask", "q", "--fail-not-found", "--json")
    assert (failing.code, failing.json["found"]) == (5, False)


def test_a_batch_answers_in_order_and_a_bad_line_does_not_stop_it(gfqa: Run, project: Path, tmp_path: Path) -> None:
    gfqa("ingest", project)
    lines = [
        "Which port?",
        "",
        '{"id": "a", "question": "How many retries?", "only": "docs/"}',
        '{"question": 5}',
        '{"broken',
        '{"question": "q", "only": ["nowhere.txt"]}',
        '{"id": 7, "question": "last", "only": ["*.txt", "*.py"]}',
    ]
    questions = tmp_path / "questions.txt"
    questions.write_text("\n".join(lines) + "\n")
    result = gfqa("ask", "--batch", questions, "--max-tokens", "4", "--sources", "9")
    assert result.code == 1
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer.get("id", answer.get("line")) for answer in answers] == [1, "a", 4, 5, 6, 7]
    assert [sorted(answer)[:2] == ["error", "line"] for answer in answers] == [False, False, True, True, True, False]
    assert list(answers[2]) == ["schema", "line", "question", "error"]
    assert list(answers[2]["error"]) == ["code", "message"]
    assert {citation["path"] for citation in answers[1]["citations"]} == {"docs/guide.md"}
    assert {citation["path"] for citation in answers[5]["citations"]} == {"notes.txt", "app.py"}
    alone = gfqa("ask", "Which port?", "--max-tokens", "4", "--sources", "9", "--json").json
    # Shared passes round differently in the last bits, so figures are compared to four digits.
    assert rounded({**answers[0], "timing": 0}) == rounded({"line": 1, **alone, "timing": 0})
    piped = gfqa("ask", "--batch", "-", stdin="one?\ntwo?\n")
    assert (piped.code, len(piped.out.splitlines())) == (0, 2)
    assert gfqa("ask", "q", "--batch", questions).code == 2
    assert gfqa("ask", "--batch", tmp_path / "missing").code == 2
    document = gfqa("ask", "-", "--batch", questions, stdin="a document\n")
    assert json.loads(document.out.splitlines()[0])["citations"][0]["path"] == "<stdin>"


def test_caches_list_and_remove(gfqa: Run, project: Path, home: Path) -> None:
    assert gfqa("caches", "list", "--json").json == {"schema": 1, "caches": []}
    gfqa("ingest", project)
    [row] = gfqa("caches", "list", "--json").json["caches"]
    assert (row["name"], row["document_count"], row["sources"]) == ("proj", 4, [str(project)])
    assert "proj\t4\t" in gfqa("caches", "list").out
    removed = gfqa("caches", "remove", "proj", "--json").json
    assert removed["removed"] == ["proj"]
    assert removed["freed_bytes"] > 0
    assert not list(home.rglob("*.pack"))


def test_chained_and_recurrent_models(gfqa: Run, project: Path, chained_model: Path, recurrent_model: Path) -> None:
    first = gfqa("ingest", project, "--model", chained_model, "--json").json
    assert first["cache"]["layout"] == "chained"
    assert gfqa("ingest", project, "--model", chained_model, "--json").json["tokens"]["prefilled"] == 0
    answer = gfqa("ask", "Which port?", "--model", chained_model, "--json").json
    assert answer["tokens"]["reused"] == first["tokens"]["total"]
    assert answer["citations"]
    assert "located" not in answer
    (project / "notes.txt").write_text("other\n")
    assert gfqa("ingest", project, "--model", chained_model, "--json").json["tokens"]["prefilled"] > 0

    gfqa("ingest", project, "--name", "rnn", "--model", recurrent_model)
    answer = gfqa("ask", "Which port?", "-c", "rnn", "--model", recurrent_model, "--json").json
    assert (answer["citations"], answer["located"]) == ([], False)
    human = gfqa("ask", "Which port?", "-c", "rnn", "--model", recurrent_model)
    assert "cannot be traced" in human.err
    assert gfqa("ask", "q", "-", "--model", recurrent_model, "--json", stdin="text\n").json["located"] is False
    assert gfqa("ask", "q", "-", "--model", chained_model, "--json", stdin="text\n").json["citations"]
    assert gfqa("ask", "q", "-", "-c", "rnn", "--model", recurrent_model, stdin="text\n").code == 2


def test_models_commands(gfqa: Run, tiny_model: Path, home: Path) -> None:
    make_model(home / "models" / "mine", key_dtype="int8")
    listed = gfqa("models", "list", "--json").json["models"]
    assert [row["bytes_per_token"] for row in listed if row["name"] == "mine"] == [2 + 2 + 4]
    assert gfqa("models", "show", "mine", "--json").json["config"]["key_dtype"] == "int8"
    verified = gfqa("models", "verify", "mine", "--json").json
    assert verified["parameters"] > 10_000
    assert "parameters:" in gfqa("models", "verify", tiny_model).out
    weights = home / "models" / "mine" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert gfqa("models", "verify", "mine").code == 6


def test_checksums_of_a_model_are_checked(gfqa: Run, home: Path) -> None:
    import hashlib

    folder = make_model(home / "models" / "mine")
    names = ("config.json", "weights.safetensors")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))
    assert gfqa("models", "verify", "mine", "--json").json["checksums"] == 2
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    result = gfqa("models", "verify", "mine")
    assert result.code == 6
    assert "does not match its checksum" in result.err


def test_the_shipped_model_is_as_it_was_released(gfqa: Run) -> None:
    """Of every file but the card there is a checksum, and it fits."""
    names = {path.name for path in SHIPPED.iterdir() if path.is_file()} - {"README.md", "SHA256SUMS"}
    assert gfqa("models", "verify", SHIPPED, "--json").json["checksums"] == len(names) == 4


def test_help_names_every_exit_code(gfqa: Run) -> None:
    text = gfqa("--help").out
    for code in ("0", "1", "2", "3", "4", "5", "6", "75", "130", "143"):
        assert f" {code} " in text.replace("\n", " ")
    assert gfqa().out == text
    assert "Usage" in gfqa("caches").out
    assert gfqa("--version").out.startswith("gfqa ")


def declared_options(commands: typer.Typer) -> Iterator[tuple[str, OptionInfo]]:
    """(the parameter's name, the option) as the functions of these commands and of the groups below declare them."""
    registered = [*commands.registered_commands, *filter(None, [commands.registered_callback])]
    for function in filter(None, (entry.callback for entry in registered)):
        for name, hint in get_type_hints(function, include_extras=True).items():
            yield from ((name, info) for info in getattr(hint, "__metadata__", ()) if isinstance(info, OptionInfo))
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            yield from declared_options(group.typer_instance)


def test_every_option_is_declared_with_its_flag() -> None:
    # Typer 0.27 spells a flag that it has to make up like an equal metavar: --DEVICE.
    options = list(declared_options(app))
    assert {"device", "as_json", "older_than", "version"} <= {name for name, _ in options}
    for name, option in options:
        # The first of them is where an option outside Annotated has its default.
        flags = [text for text in (option.default, *option.param_decls) if isinstance(text, str)]
        assert any(flag.startswith("--") for flag in flags), name


def test_json_is_ascii_and_one_line(gfqa: Run, project: Path) -> None:
    (project / "évil\x1b[2J.txt").write_text("x\u202ey\n")
    gfqa("ingest", project)
    result = gfqa("ask", "é\u202e?", "--json", "--sources", "9")
    assert result.out.isascii()
    assert result.out.count("\n") == 1
    assert any("\x1b" in citation["path"] for citation in json.loads(result.out)["citations"])
    assert "\x1b" not in gfqa("ask", "q", "--sources", "9").out
