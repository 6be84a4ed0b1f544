"""`gfqa ask` beside a warm server: the same answers, whatever happens to the server, its caches or its model."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gfqa.serve import client, protocol
from tests.conftest import Result, make_model
from tests.serve.conftest import Serving

Run = Callable[..., Result]


def untimed(result: Result) -> dict[str, Any]:
    """The JSON object without what may differ."""
    return {**result.json, "timing": None}


def is_warm(result: Result) -> bool:
    return bool(result.json["timing"].get("warm", False))


@pytest.mark.parametrize(
    "arguments",
    [
        ("Which port?",),
        ("Which port?", "--cache", "proj"),
        ("Which port?", "--max-tokens", "3", "--sources", "1", "--no-reread"),
        ("Which port?", "--sources", "0"),
        ("ünïcode \U0001f600?",),
        ("what?", "-"),
        ("what?", "-", "--cache", "proj"),
        ("-",),
    ],
)
def test_answers_are_those_of_a_process_of_its_own(ingested: Run, serving: Serving, arguments: tuple[str, ...]) -> None:
    stdin = b"one\r\ntwo\n\xc3\xa4 three\n" if "-" in arguments else None
    cold = [ingested("ask", *arguments, *form, stdin=stdin) for form in ((), ("--json",))]
    assert not is_warm(cold[1])
    with serving():
        for _ in range(2):
            warm = [ingested("ask", *arguments, *form, stdin=stdin) for form in ((), ("--json",))]
            assert (warm[0].code, warm[0].out, warm[0].err) == (cold[0].code, cold[0].out, cold[0].err)
            assert untimed(warm[1]) == untimed(cold[1])
            assert list(warm[1].json) == list(cold[1].json)
            assert is_warm(warm[1])


@pytest.mark.parametrize(
    "arguments",
    [
        ("find", "Which port?"),
        ("find", "Which port?", "-n", "2", "--cache", "proj"),
        ("find", "retry count", "--format", "vimgrep"),
        ("find", "port", "--only", "!*.py", "--jsonl"),
        ("find", "port", "--only", "none.such"),
        ("find", " "),
        ("find", "port", "--cache", "nope"),
        ("ask", "Which port?", "--context", "300"),
        ("ask", "Which port?", "--context", "5"),
        ("ask", "Which port?", "--context", "400", "--only", "*.py"),
        ("ask", "two", "-", "--context", "400"),
        ("ask", "two", "-", "--context", "400", "--cache", "proj"),
        ("ask", "port", "--context", "400", "--require-fresh"),
    ],
    ids=" ".join,
)
def test_passages_are_those_of_a_process_of_its_own(
    ingested: Run, serving: Serving, project: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    stdin = b"one\r\ntwo\n\xc3\xa4 three\n" if "-" in arguments else None
    monkeypatch.chdir(project)
    (project / "notes.txt").write_text("changed\n")
    forms = ((), ("--json",)) if not {"--jsonl", "--format"} & {*arguments} else ((),)
    cold = [ingested(*arguments, *form, stdin=stdin) for form in forms]
    with serving() as server:
        answered = []
        plain = server.engine.passages
        monkeypatch.setattr(server.engine, "passages", lambda question: answered.append(question) or plain(question))
        assert [ingested(*arguments, *form, stdin=stdin) for form in forms] == cold
        assert len(answered) == len(forms)
        for away in (("--no-server",), ("--fast",) if arguments[0] == "find" else ("--memory-budget", "1GB")):
            ingested(*arguments, *away, stdin=stdin)
        assert len(answered) == len(forms)


CHAT = "Which port?\n/only *.py\nWhich port?\n/only none.such\n/sources 1\nretry?\n/sources\n/new\n/caches\n/only\nq\n"


def test_a_chat_is_that_of_a_process_of_its_own(
    ingested: Run, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--max-tokens", "4", "--temperature", "0.8", "--seed", "5")
    cold = ingested("chat", *flags, stdin=CHAT)
    objects = ingested("chat", *flags, "--json", stdin=CHAT)
    assert "none.such" in cold.err
    with serving() as server:
        asked = []
        plain = server.engine.answer
        monkeypatch.setattr(server.engine, "answer", lambda *a: asked.append(a) or plain(*a))
        assert ingested("chat", *flags, stdin=CHAT) == cold
        assert len(asked) == 4
        warm = ingested("chat", *flags, "--json", stdin=CHAT)
        rows = [[{**json.loads(line), "timing": 0} for line in result.out.splitlines()] for result in (warm, objects)]
        assert rows[0] == rows[1]
        assert len(asked) == 8
        for away in (["--no-server"], ["--memory-budget", "1GB"]):
            assert ingested("chat", *flags, *away, stdin=CHAT) == cold
        assert len(asked) == 8


def test_a_chat_outlives_its_server(ingested: Run, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--max-tokens", "4")
    cold = ingested("chat", *flags, stdin=CHAT)
    with serving() as server:
        plain = server.engine.answer

        def dying(question: Any, on_text: Any) -> Any:
            if question.only:
                on_text(plain(question, lambda text: None)[0].text[:1])
                raise RuntimeError
            return plain(question, on_text)

        monkeypatch.setattr(server.engine, "answer", dying)
        assert ingested("chat", *flags, stdin=CHAT) == cold


def test_a_chat_that_a_server_cannot_begin(
    gfqa: Run, serving: Serving, project: Path, chained_model: Path, other_model: Path
) -> None:
    """A chained model goes on from question to question; another model is another server's."""
    for model in (chained_model, other_model):
        name = ("--cache", model.name)
        assert gfqa("ingest", project, "--name", model.name, "--model", model).code == 0
        flags = ("--max-tokens", "2", "--model", model, *name)
        cold = gfqa("chat", *flags, stdin="one?\ntwo?\n")
        assert cold.code == 0
        with serving():
            assert gfqa("chat", *flags, stdin="one?\ntwo?\n") == cold
            assert gfqa("chat", "--cache", chained_model.name, stdin="q\n").code == 3


def test_who_opts_out_is_left_alone(ingested: Run, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving():
        assert is_warm(ingested("ask", "q", "--json"))
        assert not is_warm(ingested("ask", "q", "--json", "--no-server"))
        monkeypatch.setenv("GFQA_NO_SERVER", "1")
        assert not is_warm(ingested("ask", "q", "--json"))
        assert is_warm(ingested("ask", "q", "--json", "--server"))
        monkeypatch.setenv("GFQA_NO_SERVER", "")
        assert is_warm(ingested("ask", "q", "--json"))


def test_another_model_or_device_is_not_served(
    ingested: Run,
    serving: Serving,
    other_model: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes: list[str] = []

    def asked(**place: Any) -> bool:
        notes.clear()
        return client.ask("q", caches=["proj"], on_note=notes.append, **{"device": "cpu", **place}) is not None

    with serving():
        assert asked(model=str(tiny_model))
        assert not notes
        assert not asked(model=str(other_model))
        assert "it serves the model tiny" in notes[0]
        assert not asked(model="nothing")
        assert not asked(model=str(tiny_model), device="cuda")
        assert not asked(model=str(tiny_model), device="nonsense")
        monkeypatch.chdir(tiny_model.parent)
        assert asked(model="tiny")
        assert asked(model="./tiny")
        monkeypatch.chdir(tmp_path)
        assert not asked(model="tiny")
        mismatch = ingested("ask", "q", "--model", other_model)
        assert mismatch.code == 3
        assert "another model" in mismatch.err


def test_a_refreshed_cache_is_loaded_again(ingested: Run, serving: Serving, project: Path) -> None:
    with serving() as server:
        before = ingested("ask", "q", "--json").json
        [(names, kept)] = server.engine._memories.items()
        ingested("ask", "q")
        assert server.engine._memories[names] is kept
        (project / "new.txt").write_text("one more document\n")
        assert ingested("ingest", project, "-q").code == 0
        after = ingested("ask", "q", "--json")
        assert is_warm(after)
        assert after.json["tokens"]["reused"] > before["tokens"]["reused"]
        assert untimed(after) == untimed(ingested("ask", "q", "--json", "--no-server"))
        ingested("caches", "remove", "proj")
        gone = ingested("ask", "q", "--cache", "proj", "--json")
        assert (gone.code, gone.out) == (3, ingested("ask", "q", "--cache", "proj", "--json", "--no-server").out)


def test_the_last_selection_of_documents_is_kept_while_it_is_true(
    ingested: Run, serving: Serving, project: Path
) -> None:
    with serving() as server:

        def asked(*globs: str) -> Any:
            only = [word for glob in globs for word in ("--only", glob)]
            warm, cold = (ingested("ask", "q", "--json", *only, *flag) for flag in ((), ("--no-server",)))
            assert is_warm(warm)
            assert untimed(warm) == untimed(cold)
            return server.engine._part and server.engine._part[2]

        first = asked("*.py")
        assert first is not None
        assert asked("*.py") is first
        assert asked() is first
        assert asked("*.md") is not first
        first = asked("*.py")
        (project / "app.py").write_text("changed = True\n")
        ingested("ingest", project, "-q")
        assert asked("*.py") is not first


def test_memories_are_bounded(ingested: Run, serving: Serving, project: Path) -> None:
    from gfqa.serve.engine import MEMORIES

    for number in range(MEMORIES + 1):
        ingested("ingest", project, "-q", "--name", f"c{number}")
    with serving() as server:
        for number in range(MEMORIES + 1):
            ingested("ask", "q", "--cache", f"c{number}")
        assert server.engine.loaded == [(f"c{number}",) for number in range(1, MEMORIES + 1)]


def test_a_model_whose_files_change_is_opened_again(
    gfqa: Run, serving: Serving, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(tmp_path / "model")
    monkeypatch.setenv("GFQA_MODEL", str(model))
    assert gfqa("ingest", project, "-q").code == 0
    with serving(model):
        assert is_warm(gfqa("ask", "q", "--json"))
        make_model(model, key_dtype="int8")
        refused = gfqa("ask", "q", "--json")
        assert (refused.code, refused.out) == (3, gfqa("ask", "q", "--json", "--no-server").out)


def test_errors_are_the_same_sentence_and_code(ingested: Run, serving: Serving, project: Path) -> None:
    (project / "app.py").write_text("changed\n")
    with serving():
        for arguments, code in (
            (("q", "--cache", "nope"), 3),
            (("q", "--require-fresh"), 3),
            (("q", "-", "--cache", "proj"), 2),
        ):
            stdin = b"\x00\x01" * 50 if "-" in arguments else None
            for form in ((), ("--json",)):
                warm = ingested("ask", *arguments, *form, stdin=stdin)
                cold = ingested("ask", *arguments, *form, "--no-server", stdin=stdin)
                assert warm == cold
                assert warm.code == code
        stale = ingested("ask", "q")
        assert "app.py changed since the ingest" in stale.err


def test_not_found_keeps_its_exit_code(ingested: Run, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    from gfqa.answer.generate import Generated

    monkeypatch.setattr("gfqa.ask.generate", lambda *_, **__: Generated("", (), False, 0.1, None))
    with serving():
        assert ingested("ask", "q").out == "Not found in the documents.\n"
        assert ingested("ask", "q", "--fail-not-found").code == 5


def test_a_server_that_fails_leaves_the_question_to_the_client(
    ingested: Run, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gfqa.serve.engine import Engine

    def fail(*_: object) -> None:
        raise MemoryError("hunter2")

    notes: list[str] = []
    with serving():
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "answer", fail)
            assert not is_warm(ingested("ask", "q", "--json"))
            place = {"model": os.environ["GFQA_MODEL"], "device": "cpu"}
            assert client.ask("q", on_note=notes.append, **place) is None
            assert notes == ["Answered without the warm server: it failed (MemoryError)."]
        assert is_warm(ingested("ask", "q", "--json"))


def test_without_a_server_nothing_is_said_or_made(ingested: Run, home: Path) -> None:
    notes: list[str] = []
    assert client.ask("q", on_note=notes.append) is None
    assert notes == ["Answered without the warm server: none is running."]
    assert client.status() is None
    assert not (home / "run").exists()
    said = "Answered without the warm server: none is running.\n"
    assert ingested("ask", "q").err == ""
    assert said in ingested("ask", "q", "-v").err
    assert said not in ingested("ask", "q", "-v", "--no-server").err
    assert ingested("ask", "q", "-v", "--json").err == ""


# What follows is no server of ours at the socket's place: dead, of another version, or hostile.


@pytest.fixture
def impostor(home: Path) -> Iterator[Callable[[bytes], None]]:
    """impostor(data): something listens at the socket's path, reads a request, writes `data` and closes."""
    path = protocol.socket_path()
    path.parent.mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()

    def serve(data: bytes) -> None:
        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                protocol.receive(connection)
                connection.sendall(data)

        threading.Thread(target=once, daemon=True).start()

    yield serve
    listener.close()


def frame(text: str) -> bytes:
    return struct.pack(">I", len(text)) + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame('{"type": "refused", "reason": "the server\'s version is 9.0"}'),
        frame('{"type": "answer"}'),
        frame('{"type": "answer", "view": [], "json": {}}'),
        frame('{"type": "answer", "view": {"@": []}, "json": {}}'),
        frame('{"type": "accepted"}') + frame('{"type": "text", "text": 5}'),
        frame('{"type": "accepted"}') + frame('{"type": "error", "code": "x", "message": "y", "hint": null}'),
        frame("[]"),
        struct.pack(">I", 0xFFFFFFFF),
    ],
)
def test_whatever_comes_back_the_question_is_answered(
    ingested: Run, impostor: Callable[[bytes], None], data: bytes
) -> None:
    cold = ingested("ask", "q", "--no-server")
    impostor(data)
    assert ingested("ask", "q") == cold


def test_a_server_that_dies_while_it_answers_repeats_nothing(ingested: Run, impostor: Callable[[bytes], None]) -> None:
    cold = ingested("ask", "q", "--no-server")
    impostor(frame('{"type": "accepted"}') + frame('{"type": "text", "text": ' + '"' + cold.out[0] + '"}'))
    assert ingested("ask", "q") == cold


def test_a_server_that_hangs_is_left(ingested: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "ACCEPT_SECONDS", 0.1)
    path = protocol.socket_path()
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        assert not is_warm(ingested("ask", "q", "--json"))
    # Closed, its file stays behind, as after a kill -9.
    assert path.exists()
    assert not is_warm(ingested("ask", "q", "--json"))


def test_a_socket_others_can_open_is_not_asked(ingested: Run, serving: Serving) -> None:
    with serving():
        protocol.socket_path().chmod(0o666)
        assert not is_warm(ingested("ask", "q", "--json"))


def test_text_is_shown_once() -> None:
    seen: list[str] = []
    shown = client.Shown(seen.append)
    for piece in ("ab", "c"):
        shown(piece)
    shown.again()
    for piece in ("a", "bcd", "e"):
        shown(piece)
    assert seen == ["ab", "c", "d", "e"]
