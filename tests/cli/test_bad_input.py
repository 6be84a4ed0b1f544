"""Everything a user can get wrong: one clear sentence, the documented exit code, no traceback, nothing lost."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result

Run = Callable[..., Result]


def check(result: Result, code: int, *words: str) -> None:
    """One sentence (and at most a hint) on stderr, nothing on stdout."""
    assert result.code == code, result
    assert result.out == ""
    assert result.err.startswith("gfqa: ")
    assert 1 <= len(result.err.splitlines()) <= 2
    for word in words:
        assert word in result.err, result.err


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["ingest", "nowhere"], 2, "nowhere"),
        (["ingest"], 2, "PATH"),
        (["ingest", ".", "--nonsense"], 2, "--nonsense"),
        (["nonsense"], 2, "nonsense"),
        (["ask"], 2, "QUESTION"),
        (["ask", "   "], 2, "empty"),
        (["ask", "q", "file.txt"], 2, "file.txt"),
        (["ask", "-", "-"], 2, "both"),
        (["ask", "q", "--sources", "-1"], 2, "sources"),
        (["ask", "q", "--sources", "500"], 2, "'500' should be less than or equal to 100"),
        (["ask", "q", "--temperature", "hot"], 2, "'hot'"),
        (["ask", "q", "--format", "xml"], 2, "'xml' is not one of 'text', 'json'"),
        (["find", "q", "-n", "0"], 2, "'0' should be greater than or equal to 1"),
        (["config", "set", "sorces", "5"], 2, "There is no setting 'sorces'"),
        (["ask", "q"], 3, "no cache"),
        (["ask", "q", "--cache", "nope"], 3, "'nope'"),
        (["caches", "show", "nope"], 3, "'nope'"),
        (["caches", "remove", "nope"], 3, "'nope'"),
        (["caches", "show", "../../etc"], 2, "../../etc"),
        (["models", "show", "nope"], 6, "nope"),
        (["models", "convert", "nope.pth", "out"], 2, "nope.pth"),
    ],
)
def test_wrong_arguments(
    gfqa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    check(gfqa(*arguments), code, word)
    failed = gfqa(*arguments, "--json")
    assert failed.code == code
    error = failed.json
    assert list(error) == ["schema", "error"]
    assert error["schema"] == 1
    assert list(error["error"]) == ["code", "message", "hint"]
    assert error["error"]["code"] == code
    assert word in error["error"]["message"]


def test_an_empty_folder_and_one_with_nothing_readable(gfqa: Run, tmp_path: Path, home: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    check(gfqa("ingest", empty), 4, str(empty))
    (empty / "a.bin").write_bytes(b"\x00" * 100)
    check(gfqa("ingest", empty), 4, "1 binary")
    (empty / "fake.pdf").write_bytes(b"%PDF-1.7 and then nothing of the kind")
    check(gfqa("ingest", empty), 4, "pdf damaged")
    assert gfqa("caches", "list", "--json").json["caches"] == []


def test_a_pdf_that_is_none_does_not_stop_the_rest(gfqa: Run, project: Path) -> None:
    (project / "fake.pdf").write_bytes(b"%PDF-1.7 and then nothing of the kind")
    result = gfqa("ingest", project)
    assert result.code == 0
    assert "fake.pdf was skipped: pdf damaged" in result.err
    for flags in ((), ("-q",), ("--json",)):
        strict = gfqa("ingest", project, "--strict", *flags)
        assert strict.code == 1
        assert re.search(r"gfqa: \d+ files? left out with --strict, the first \S+ \(\w+\)\.$", strict.err.strip(), re.M)


@pytest.mark.parametrize("words", [("ask", "two", "words"), ("ask", "in", "three", "words"), ("find", "two", "words")])
def test_a_question_without_quotes(gfqa: Run, words: tuple[str, ...]) -> None:
    check(gfqa(*words), 2, "question of several words needs quotes")


def test_what_can_be_done_about_a_skipped_file_is_said(gfqa: Run, project: Path) -> None:
    (project / "latin.txt").write_bytes(b"latin \xe9\xe8 text here\n")
    result = gfqa("ingest", project)
    assert "latin.txt was skipped: undecodable" in result.err
    assert "iconv" in result.err
    check(gfqa("ingest", project / "latin.txt"), 4, "1 undecodable", "iconv -t UTF-8")


def test_a_home_that_is_a_file(gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GFQA_HOME", str(next(project.glob("*.*"))))
    check(gfqa("ingest", project), 1, "not a directory", "GFQA_HOME must name a folder")


def test_a_question_during_the_first_ingest(gfqa: Run, home: Path) -> None:
    (home / "store-v1" / "packs").mkdir(parents=True)
    check(gfqa("ask", "q"), 3, "Make one first")
    (home / "store-v1" / "packs" / "0.pack").write_bytes(b"")
    check(gfqa("ask", "q"), 3, "An ingest has begun")


def test_an_emptied_or_vanished_root_never_empties_the_cache(gfqa: Run, project: Path) -> None:
    gfqa("ingest", project)
    for path in sorted(project.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    check(gfqa("ingest", project), 4)
    project.rmdir()
    check(gfqa("ingest", project), 2)
    assert gfqa("caches", "list", "--json").json["caches"][0]["document_count"] == 4


def test_a_name_that_holds_another_root(gfqa: Run, project: Path, tmp_path: Path) -> None:
    gfqa("ingest", project)
    twin = tmp_path / "elsewhere" / "proj"
    twin.mkdir(parents=True)
    (twin / "a.txt").write_text("text\n")
    check(gfqa("ingest", twin), 2, "--name elsewhere-proj", str(project))
    assert gfqa("ingest", twin, "--name", "elsewhere-proj").code == 0
    check(gfqa("ingest", twin, "--name", "../up"), 2, "../up")


def test_a_cache_of_another_model(gfqa: Run, project: Path, other_model: Path) -> None:
    gfqa("ingest", project)
    check(gfqa("ask", "q", "--model", other_model), 3, "another model", "--model tiny")
    check(gfqa("ingest", project, "--model", other_model), 3, "--replace")
    assert gfqa("ask", "q").code == 0
    assert gfqa("ingest", project, "--model", other_model, "--replace").code == 0
    check(gfqa("ask", "q"), 3, "another model")
    assert gfqa("ask", "q", "--model", other_model).code == 0


def test_a_damaged_cache(gfqa: Run, project: Path, home: Path) -> None:
    gfqa("ingest", project)
    [pack] = home.rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0x40
    pack.chmod(0o600)
    pack.write_bytes(data)
    check(gfqa("ask", "q"), 3, "proj")
    # A damaged segment is a miss: ingesting again reads exactly what is gone.
    healed = gfqa("ingest", project, "--json")
    assert healed.code == 0
    assert healed.json["tokens"]["prefilled"] > 0
    assert gfqa("ask", "q").code == 0
    [manifest] = home.rglob("*.manifest")
    manifest.chmod(0o600)
    manifest.write_bytes(b"\x00" * 100)
    check(gfqa("ask", "q"), 3, "proj")
    assert "damaged" in gfqa("caches", "list").out


def test_devices(gfqa: Run, project: Path) -> None:
    import torch

    gfqa("ingest", project)
    check(gfqa("ask", "q", "--device", "mps"), 6, "MPS")
    check(gfqa("ingest", project, "--device", "mps"), 6, "MPS")
    check(gfqa("ask", "q", "--device", "tpu"), 2, "'tpu'")
    check(gfqa("ask", "q", "--device", "cuda:99"), 6, "cuda:99")
    if not torch.cuda.is_available():
        check(gfqa("ask", "q", "--device", "cuda"), 6, "cuda", "no GPU")
        check(gfqa("ingest", project, "--device", "cuda"), 6)


def test_models_that_are_none(gfqa: Run, project: Path, tmp_path: Path, attention_model: Path) -> None:
    gfqa("ingest", project)
    check(gfqa("ask", "q", "--model", tmp_path), 6, "not a model folder")
    (tmp_path / "m.pth").write_bytes(b"x")
    check(gfqa("ask", "q", "--model", tmp_path / "m.pth"), 6, "models convert")
    check(gfqa("ingest", project, "--model", attention_model), 6, "attention layers")
    (tmp_path / "config.json").write_text('{"n_embd": 64, "n_layer": 3, "vocab_size": 261, "surprise": 1}')
    check(gfqa("ask", "q", "--model", tmp_path), 6, "surprise")
    (tmp_path / "config.json").write_text(
        '{"n_embd": 64, "n_layer": 3, "vocab_size": 261, "head_size": 16, "tokenizer": "../../etc/passwd"}'
    )
    check(gfqa("ask", "q", "--model", tmp_path), 6, "outside its folder")


def test_a_shipped_reader_that_is_missing(
    gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GFQA_MODEL")
    monkeypatch.setattr("gfqa.model_folders.SHIPPED", tmp_path / "nothing")
    check(gfqa("ingest", project), 6, "holds no reader")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES])
def test_a_disk_that_fails(gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    import os

    gfqa("ingest", project)
    (project / "new.txt").write_text("new\n")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        check(gfqa("ingest", project), 1)
    assert gfqa("caches", "show", "proj", "--json").json["document_count"] == 4
    assert gfqa("ask", "q").code == 0
    assert gfqa("ingest", project, "--json").json["documents"]["ingested"] == 1


def test_memory_that_runs_out(gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from gfqa.model import LanguageModel

    gfqa("ingest", project)
    for error in (MemoryError(), torch.OutOfMemoryError("secret text"), RuntimeError("can't allocate memory")):
        monkeypatch.setattr(LanguageModel, "decode", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        check(gfqa("ask", "q"), 6, "not enough memory")


def test_a_bug_shows_no_document_text_and_no_traceback(
    gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gfqa.model import LanguageModel

    gfqa("ingest", project)

    def broken(*_: object, **__: object) -> None:
        raise ValueError("hunter2 is the password in the document")

    monkeypatch.setattr(LanguageModel, "decode", broken)
    result = gfqa("ask", "q")
    check(result, 1, "ValueError", "GFQA_DEBUG")
    assert "hunter2" not in result.err
    assert gfqa("ask", "q", "--json").json["error"]["code"] == 1


def test_a_model_that_computes_nonsense_stores_nothing(
    gfqa: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gfqa.model import LanguageModel

    plain = LanguageModel.lower_half

    def nonsense(*arguments: Any) -> Any:
        x, states = plain(*arguments)
        return x * float("nan"), states

    monkeypatch.setattr(LanguageModel, "lower_half", nonsense)
    result = gfqa("ingest", project)
    check(result, 1, "not finite")
    assert gfqa("caches", "list", "--json").json["caches"] == []


def test_unsafe_names_are_escaped_in_messages(gfqa: Run, tmp_path: Path) -> None:
    result = gfqa("ingest", tmp_path / "evil\x1b]0;x\x07\u202e\nname")
    check(result, 2, "\\x1b]0;x\\x07\\u202e\\nname")
    assert "\x1b" not in result.err


def test_stdin_that_is_no_document(gfqa: Run) -> None:
    check(gfqa("ask", "q", "-", stdin=b""), 2, "empty")
    check(gfqa("ask", "q", "-", stdin=b"\x00\x01" * 50), 2, "binary")
    check(gfqa("ask", "-", stdin=b" \n"), 2, "empty")


def test_a_question_in_another_encoding_is_asked(gfqa: Run, project: Path) -> None:
    """Its bytes that are no UTF-8 reach the process as lone surrogates."""
    gfqa("ingest", project)
    for command in (("ask",), ("find",), ("ask", "--context", "50")):
        assert gfqa(command[0], "caf\udce9 port", *command[1:], "--json").code == 0
