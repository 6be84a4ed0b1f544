"""The server itself: one at a time, closed to others, patient with bad clients, gone without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gfqa.errors import Busy, GfqaError
from gfqa.serve import client, protocol
from tests.cli.test_bad_input import check
from tests.conftest import ROOT, Result
from tests.serve.conftest import Serving

Run = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[bytes]"]


def connected() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(protocol.socket_path()))
    return connection


def question(**fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"question": "q", "caches": ["proj"], "document": None, "only": [], "folder": os.getcwd()}
    plain |= {"model": os.environ["GFQA_MODEL"], "device": "cpu", "require_fresh": False, "options": {}}
    return protocol.request("ask", **{**plain, "count": None, "budget": None, **fields})


def test_the_socket_is_this_users_and_goes_with_the_server(serving: Serving, home: Path) -> None:
    path = protocol.socket_path()
    with serving():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert protocol.distrust(path) is None
        status = client.status()
        assert status is not None
        assert (status["model"], status["device"], status["pid"]) == ("tiny", "cpu", os.getpid())
    assert not path.exists()
    assert client.status() is None


def test_one_server_at_a_time(serving: Serving, gfqa: Run, home: Path) -> None:
    with serving():
        with pytest.raises(Busy, match="Another gfqa serve runs"), serving():
            pass
        check(gfqa("serve"), 75, str(home))
        assert gfqa("serve", "--json").json["error"]["code"] == 75
        assert client.status() is not None


def test_what_a_dead_server_left_is_removed(serving: Serving) -> None:
    path = protocol.socket_path()
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving():
        assert client.status() is not None


def test_a_folder_that_others_can_open_is_refused(serving: Serving) -> None:
    protocol.run_folder().mkdir(mode=0o755)
    protocol.run_folder().chmod(0o755)
    with pytest.raises(GfqaError, match="open to other users"), serving():
        pass


def test_bad_input_of_serve(gfqa: Run, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(gfqa("serve", "--model", "nope"), 6, "nope")
    check(gfqa("serve", "--device", "nope"), 2, "nope")
    check(gfqa("serve", "--cache", "nope"), 3, "'nope'")
    check(gfqa("serve", "--idle", "0"), 2, "--idle")
    assert gfqa("serve", "--cache", "nope", "--json").json["error"]["code"] == 3
    assert not protocol.socket_path().exists()
    monkeypatch.setenv("GFQA_HOME", str(tmp_path / ("x" * 100)))
    check(gfqa("serve"), 1, "too long", "GFQA_HOME")
    assert not (tmp_path / ("x" * 100)).exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"question": None},
        {"question": ["q"]},
        {"caches": "proj"},
        {"caches": [1]},
        {"only": None},
        {"document": "not base64!"},
        {"document": 5},
        {"folder": None},
        {"device": None},
        {"options": []},
        {"options": {"max_tokens": "3"}},
        {"options": {"surprise": 3}},
        {"options": {"on_text": "print"}},
        {"op": "nonsense"},
        {"op": "find"},
        {"op": "find", "count": "3"},
        {"count": 3},
        {"budget": 3},
        {"version": "0.0"},
        {"protocol": 99},
        {"package": "/elsewhere"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(ingested: Run, serving: Serving, fields: dict[str, Any]) -> None:
    with serving(), connected() as connection:
        protocol.send(connection, {**question(), **fields})
        while (kind := protocol.receive(connection)["type"]) in ("accepted", "wait", "text"):
            pass
        assert kind == "refused"
        assert client.status() is not None


@pytest.mark.parametrize("fields", [{}, {"op": "find", "count": 3}, {"op": "find", "budget": 300}])
def test_the_same_requests_in_order_are_answered(ingested: Run, serving: Serving, fields: dict[str, Any]) -> None:
    with serving(), connected() as connection:
        protocol.send(connection, {**question(), **fields})
        while (kind := protocol.receive(connection)["type"]) in ("accepted", "wait", "text"):
            pass
        assert kind == ("passages" if fields else "answer")


def test_bytes_that_make_no_sense_end_their_connection_only(serving: Serving) -> None:
    with serving():
        for data in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">I", 4) + b"nope", struct.pack(">I", 0xFFFFFFFF), b"\x00"):
            with connected() as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(100) == b""
        assert client.status() is not None


def test_too_many_clients_are_sent_away(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfqa.serve.server.CONNECTIONS", 2)
    with serving():
        crowd = [connected(), connected()]
        try:
            deadline = time.monotonic() + 10
            while client.status() is not None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            for connection in crowd:
                connection.close()
        while client.status() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_silent_or_vanished_client_holds_up_nobody(ingested: Run, serving: Serving) -> None:
    with serving(), connected(), connected() as deaf, connected() as leaving:
        protocol.send(deaf, question(options={"max_tokens": 500}))
        protocol.send(leaving, question(options={"max_tokens": 500}))
        leaving.close()
        assert ingested("ask", "q", "--json").json["timing"]["warm"]


def test_a_question_nobody_waits_for_is_given_up(ingested: Run, serving: Serving) -> None:
    from gfqa.serve.engine import Question
    from gfqa.serve.server import Job

    job = Job(Question("q", Path.cwd(), ("proj",), options={"max_tokens": 100_000}))
    with serving() as server:
        job.cancelled = True
        server._jobs.put(job)
        busy = server.submit(Question("q", Path.cwd(), ("proj",), options={"max_tokens": 100_000}))
        kinds = []
        for event in busy.events():
            kinds.append(event["type"])
            busy.cancelled = True
        assert kinds[-1] == "refused"
        assert kinds.count("text") < 1000
        assert [event["type"] for event in job.events()] == ["refused"]


def test_a_waiting_client_hears_that_the_server_lives(ingested: Run, serving: Serving) -> None:
    from gfqa.serve.server import Job

    with serving() as server:
        job = Job(None)  # type: ignore[arg-type]
        events = job.events(beat=0.01)
        assert [next(events)["type"] for _ in range(3)] == ["wait"] * 3
        job.put({"type": "refused", "reason": ""})
        assert [event["type"] for event in events][-1] == "refused"
        assert server.status()["model"] == "tiny"


def test_questions_are_answered_one_after_the_other(ingested: Run, serving: Serving) -> None:
    """Several clients at once, each with its own answer."""
    place = {"model": os.environ["GFQA_MODEL"], "device": "cpu"}
    asked = [f"question {number}?" for number in range(6)]
    found: dict[str, Any] = {}

    def ask(text: str) -> None:
        answer = client.ask(text, **place)
        found[text] = None if answer is None else answer.to_json()["question"]

    with serving():
        threads = [threading.Thread(target=ask, args=(text,)) for text in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert found == {text: text for text in asked}


def test_an_idle_server_stops(serving: Serving) -> None:
    with serving(idle=0.2) as server:
        runner = next(thread for thread in threading.enumerate() if thread.name.startswith("Thread-"))
        with connected():
            time.sleep(1.2)
            assert runner.is_alive()
        runner.join(10)
        assert not runner.is_alive()
        assert not server._stopped.is_set()


def ready(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_process_of_its_own(start: Start, ingested: Run, home: Path, number: int) -> None:
    """Two processes: the warm client gives the cold one's bytes, imports neither torch nor numpy, and a signal ends it all."""
    cold = ingested("ask", "Which port?", "--json").json
    server = start("serve", "--json", "--cache", "proj")
    started = ready(server)
    assert list(started) == ["schema", "socket", "model", "device", "pid", "caches"]
    assert started["caches"] == [["proj"]]
    code = (
        "import sys\nfrom gfqa.cli import app\n"
        "try: app(['ask', 'Which port?', '--json'])\nexcept SystemExit as end: assert not end.code\n"
        "loaded = {'torch', 'numpy', 'rich', 'safetensors', 'sentencepiece'} & sys.modules.keys()\n"
        "assert not loaded, loaded\n"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert (asked.returncode, asked.stderr) == (0, b"")
    warm = json.loads(asked.stdout)
    assert warm["timing"].pop("warm")
    assert {**warm, "timing": 0} == {**cold, "timing": 0}
    server.send_signal(number)
    out, err = server.communicate(timeout=30)
    assert (server.returncode, out, err) == (0, b"", b"")
    assert not protocol.socket_path().exists()


@pytest.mark.slow
def test_a_killed_server_is_ignored_and_replaced(start: Start, ingested: Run) -> None:
    first = start("serve", "--json")
    ready(first)
    first.kill()
    first.wait(10)
    assert protocol.socket_path().exists()
    assert "warm" not in ingested("ask", "q", "--json").json["timing"]
    second = start("serve", "--json", "--idle", "1")
    ready(second)
    assert ingested("ask", "q", "--json").json["timing"]["warm"]
    assert second.wait(30) == 0


def test_a_warm_client_is_cheap(serving: Serving, ingested: Run) -> None:
    """Processor time of the whole client, beside that of the smallest program of the same library."""

    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    library = (
        "import typer\napp = typer.Typer()\n"
        "@app.command()\ndef run(x: bool = False): pass\n"
        "app([], standalone_mode=False)"
    )
    warm = "from gfqa.cli import app\napp(['ask', 'q'])"
    with serving():
        best, best_library = 9.0, 9.0
        for _ in range(6):
            best, best_library = min(best, seconds(warm)), min(best_library, seconds(library))
            if best < max(0.4, 2 * best_library):
                break
    assert best < max(0.4, 3 * best_library), f"{best:.2f} s, the library alone {best_library:.2f} s"
