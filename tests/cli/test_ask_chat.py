"""The chat: one question a line in a pipe, a prompt on a terminal, commands, errors that do not end it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_bad_input import check
from tests.conftest import Result

Run = Callable[..., Result]


@pytest.fixture
def talk(gfqa: Run, project: Path) -> Run:
    assert gfqa("ingest", project).code == 0
    return lambda text, *flags: gfqa("chat", "--max-tokens", "4", *flags, stdin=text)


def test_piped_questions_are_answered_one_by_one(talk: Run, gfqa: Run) -> None:
    questions = ["Which port?", "How many retries?"]
    alone = [gfqa("ask", question, "--max-tokens", "4").out for question in questions]
    assert talk("\n".join(questions) + "\n\n").out == "\n".join(alone) + "\n"
    rows = [json.loads(line) for line in talk("\n".join(questions), "--json").out.splitlines()]
    assert [row["question"] for row in rows] == questions


def test_the_model_is_loaded_once(talk: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from gfqa import reader

    loaded = []
    plain = reader.load_model
    monkeypatch.setattr(reader, "load_model", lambda *a: loaded.append(a) or plain(*a))
    assert talk("one?\ntwo?\nthree?\n").code == 0
    assert len(loaded) == 1


def test_commands(talk: Run) -> None:
    result = talk("/caches\n/sources\n/only docs/\n/sources 9\nq\n/json\nq\n/only\nq\n/json\n/help\n/quit\nnever\n")
    assert "asked: proj (4 documents)" in result.err
    assert "asked: 1 document\n" in result.err
    assert "There is no answer yet." in result.err
    assert "/only [GLOB…]" in result.err
    objects = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
    assert [{citation["path"] for citation in row["citations"]} for row in objects] == [
        {"docs/guide.md"},
        {".gitignore", "app.py", "docs/guide.md", "notes.txt"},
    ]
    assert "never" not in result.out


def test_sources_shows_the_places_of_the_last_answer(talk: Run) -> None:
    out = talk("q\n/sources\n").out
    [place, *_] = [line for line in out.splitlines() if re.match(r"\S+:\d+", line)]
    assert out.count(place + "\n") == 2


def test_a_bad_line_does_not_end_the_chat(talk: Run) -> None:
    lines = "/nope\n/only none.such\n/sources x\nq\n"
    human = talk(lines)
    assert human.code == 1
    assert human.err.count("gfqa: ") == 3
    assert human.out
    rows = [json.loads(line) for line in talk(lines, "--json").out.splitlines()]
    assert [row.get("error", {}).get("code") for row in rows] == [2, 2, 2, None]
    assert [row.get("line") for row in rows] == [1, 2, 3, None]


def test_what_cannot_begin(gfqa: Run, project: Path) -> None:
    check(gfqa("chat", stdin="q\n"), 3, "no cache")
    gfqa("ingest", project)
    check(gfqa("chat", "--cache", "nope", stdin="q\n"), 3, "'nope'")
    check(gfqa("chat", "--only", "none.such", stdin="q\n"), 2, "none.such")
    assert gfqa("chat", stdin="").code == 0


def test_a_chained_model_goes_on_and_others_do_not(
    gfqa: Run, project: Path, chained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second question of a chained chat is the plain forward pass over everything before it."""
    import torch

    from gfqa import ask as use_case
    from gfqa.answer.prompt import question_ids
    from gfqa.cachestore import Store
    from gfqa.chat import Chat

    gfqa("ingest", project, "--model", chained_model)
    reader = use_case.open_model(chained_model, "cpu")
    memory = use_case.open_memory(reader, Store.open(Path(os.environ["GFQA_HOME"])), ["proj"])
    seen: list[int] = []
    states: list[torch.Tensor] = []
    plain = type(memory).decode

    def decode(self, ids, state, attention):  # type: ignore[no-untyped-def]
        logits, after = plain(self, ids, state, attention)
        seen.extend(ids[0].tolist())
        states.append(logits[0, -1])
        return logits, after

    monkeypatch.setattr(type(memory), "decode", decode)
    chat = Chat(memory, max_tokens=3)
    assert chat.goes_on
    chat.ask("Which port?")
    first = len(seen)
    chat.ask("And why?")
    assert seen[: len(question_ids(reader.tokenizer, "Which port?"))] == question_ids(reader.tokenizer, "Which port?")
    with torch.no_grad():
        whole = reader.model(torch.tensor([memory.ids.astype(int).tolist() + seen]))[0][0, -1]
    torch.testing.assert_close(states[-1], whole, rtol=1e-3, atol=1e-3)
    chat.begin_again()
    begun = len(seen)
    again = chat.ask("Which port?")
    assert seen[begun : begun + first] == seen[:first]
    assert again.question == "Which port?"


def test_on_a_terminal_there_is_a_prompt_and_control_c_only_stops(
    start: Callable[..., subprocess.Popen[bytes]], gfqa: Run, project: Path
) -> None:
    pty = pytest.importorskip("pty")
    gfqa("ingest", project)
    main, terminal = pty.openpty()
    process = start(
        "chat", "--max-tokens", "4", stdin=terminal, stdout=terminal, stderr=terminal,
        env={"TERM": "xterm", "NO_COLOR": "1"}, preexec_fn=os.setsid,
    )  # fmt: skip
    os.close(terminal)
    shown = b""

    def until(text: bytes, count: int = 1, interrupting: bool = False) -> None:
        nonlocal shown
        deadline, again = time.monotonic() + 90, 0.0
        while shown.count(text) < count:
            assert time.monotonic() < deadline, shown
            if interrupting and time.monotonic() > again:
                # A signal between the prompt and the wait behind it is seen at the next one, which must not come so soon
                # that it meets the answer to the first.
                process.send_signal(signal.SIGINT)
                again = time.monotonic() + 5
            if select.select([main], [], [], 1)[0]:
                shown += os.read(main, 65536)

    until(b"> ")
    assert b"/help lists the commands" in shown
    until(b"ends the chat", interrupting=True)
    until(b"> ", 2)
    os.write(main, b"Which port?\n")
    until(b"> ", 3)
    assert re.search(rb"\S+:\d+", shown)
    os.write(main, b"/quit\n")
    assert process.wait(30) == 0
    os.close(main)
