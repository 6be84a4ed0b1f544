"""The endpoint over real connections: OpenAI's routes, who is let in, and errors in its form."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_bad_input import check
from tests.conftest import Result
from tests.serve.conftest import Serving

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

Run = Callable[..., Result]
TOKEN = "a-token-for-these-tests"


@pytest.fixture
def port(ingested: Run, serving: Serving) -> Iterator[int]:
    """The endpoint's port, with the cache `proj`."""
    from gfqa.serve import http as endpoint

    listener = endpoint.bound(0)
    with serving() as server, endpoint.listening(server, listener, TOKEN):
        yield listener.getsockname()[1]


def call(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    given = {"Authorization": f"Bearer {TOKEN}", **(headers or {})}
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    connection.request(method, path, data, {name: value for name, value in given.items() if value})
    response = connection.getresponse()
    found = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return found


def chat(port: int, **fields: Any) -> tuple[int, Any]:
    body = {"model": "gfqa/proj", "messages": [{"role": "user", "content": "Which port?"}], **fields}
    status, _, data = call(port, "POST", "/v1/chat/completions", body)
    return status, json.loads(data)


def test_caches_are_models(port: int, ingested: Run, project: Path, other_model: Path) -> None:
    ingested("ingest", project, "--name", "foreign", "--model", other_model, "-q")
    status, headers, data = call(port, "GET", "/v1/models")
    assert status == 200
    assert "server" not in headers
    listed = json.loads(data)
    assert [model["id"] for model in listed["data"]] == ["gfqa/proj"]
    assert chat(port, model="gfqa/foreign")[0] == 404


def test_an_answer_is_that_of_ask(port: int, ingested: Run) -> None:
    expected = ingested("ask", "Which port?", "--cache", "proj", "--json", "--no-server").json
    status, found = chat(port)
    assert status == 200
    assert {**found["gfqa"], "timing": 0} == {**expected, "timing": 0}
    assert found["choices"][0]["message"]["content"] == expected["answer"]
    assert len(found["choices"][0]["message"]["annotations"]) == len(expected["citations"]) > 0
    assert chat(port, max_tokens=2)[1]["usage"]["completion_tokens"] == 2


def test_a_streamed_answer_is_the_same(port: int) -> None:
    whole = chat(port)[1]
    body = {"model": "gfqa/proj", "messages": [{"role": "user", "content": "Which port?"}], "stream": True}
    body["stream_options"] = {"include_usage": True}
    status, headers, data = call(port, "POST", "/v1/chat/completions", body)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert text.strip() == whole["choices"][0]["message"]["content"]
    assert len(chunks) > 4
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-2]["citations"] == whole["citations"]
    assert chunks[-1]["usage"] == whole["usage"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer \xff\xfe"}, 401),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example:8484"}, 403),
        ({"Host": "[::1]:8484"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Authorization": f"bearer {TOKEN}"}, 200),
    ],
)
def test_who_is_let_in(port: int, headers: dict[str, str], status: int) -> None:
    found, answered, data = call(port, "GET", "/v1/models", headers=headers)
    assert found == status
    if status != 200:
        assert list(json.loads(data)["error"]) == ["message", "type", "param", "code"]
        assert b"proj" not in data
    assert ("www-authenticate" in answered) == (status == 401)


def test_errors_have_openais_form(port: int) -> None:
    for method, path, status in (("GET", "/", 404), ("GET", "/v1/nope", 404), ("DELETE", "/v1/models", 405)):
        found, _, data = call(port, method, path)
        assert found == status
        assert json.loads(data)["error"]["message"].startswith(f"{method} {path}")
    assert chat(port, model="gfqa/nope")[1]["error"]["code"] == "model_not_found"
    assert chat(port, messages=[])[0] == 400
    status, _, data = call(port, "POST", "/v1/chat/completions", b"nonsense")
    assert (status, json.loads(data)["error"]["type"]) == (400, "invalid_request_error")


def test_a_body_that_is_too_long(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfqa.serve.http.BODY_BYTES", 1000)
    status, _, data = call(port, "POST", "/v1/chat/completions", b"x" * 1001)
    assert (status, json.loads(data)["error"]["type"]) == (413, "invalid_request_error")
    assert chat(port)[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_inside_tells_no_document_text(port: int, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    from gfqa.model import LanguageModel

    def broken(*_: object, **__: object) -> None:
        raise ValueError("hunter2 is the password in the document")

    with monkeypatch.context() as patch:
        patch.setattr(LanguageModel, "decode", broken)
        status, found = chat(port, stream=stream)
    assert status == 503
    assert found["error"]["type"] == "server_error"
    assert "hunter2" not in json.dumps(found)
    with monkeypatch.context() as patch:
        patch.setattr("gfqa.serve.http._caches", broken)
        status, found = chat(port, stream=stream)
    assert (status, found["error"]["message"]) == (500, "gfqa failed (ValueError).")
    assert chat(port)[0] == 200


def test_a_client_that_leaves_gives_its_question_up(port: int) -> None:
    body = json.dumps(
        {"model": "gfqa/proj", "messages": [{"role": "user", "content": "q"}], "stream": True, "max_tokens": 100_000}
    )
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as leaving:
        leaving.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert b"200 OK" in leaving.recv(1000)
    began = time.monotonic()
    assert chat(port)[0] == 200
    assert time.monotonic() - began < 60


def test_questions_at_once_each_get_their_own(port: int) -> None:
    found: dict[str, Any] = {}

    def ask(text: str) -> None:
        found[text] = chat(port, messages=[{"role": "user", "content": text}], max_tokens=2)[1]["gfqa"]["question"]

    texts = [f"question {number}" for number in range(8)]
    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {text: text for text in texts}


def test_only_the_loopback_is_bound(port: int) -> None:
    from gfqa.serve import http as endpoint

    with endpoint.bound(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_bad_input(gfqa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    check(gfqa("serve", "--http", "--token-file", token), 2, str(token), "no such file")
    token.write_text("short\n")
    check(gfqa("serve", "--http", "--token-file", token), 2, "other users", "chmod 600")
    token.chmod(0o600)
    check(gfqa("serve", "--http", "--token-file", token), 2, "16 characters")
    token.write_bytes(b"\xff" * 40)
    check(gfqa("serve", "--http", "--token-file", token), 2, "ASCII")
    check(gfqa("serve", "--http", "--port", "70000"), 2, "--port")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        check(gfqa("serve", "--http", "--port", number), 2, number, "in use")
        assert gfqa("serve", "--http", "--port", number, "--json").json["error"]["code"] == 2
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    check(gfqa("serve", "--http"), 2, "starlette and uvicorn", "gfqa[serve]")


def test_the_command_opens_it_and_shows_a_new_token_once(
    start: Callable[..., Any], ingested: Run, tmp_path: Path
) -> None:
    server = start("serve", "--http", "--port", "0", "--json", "--idle", "60")
    ready = json.loads(server.stdout.readline())
    port = int(ready["url"].removeprefix("http://127.0.0.1:").removesuffix("/v1"))
    assert len(ready["token"]) >= 40
    headers = {"Authorization": f"Bearer {ready['token']}"}
    assert call(port, "GET", "/v1/models", headers=headers)[0] == 200
    assert call(port, "GET", "/v1/models")[0] == 401
    server.terminate()
    out, err = server.communicate(timeout=30)
    assert (server.returncode, out, err) == (0, b"", b"")


@pytest.mark.slow
def test_a_token_from_a_file_is_never_shown(start: Callable[..., Any], ingested: Run, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    server = start("serve", "--http", "--port", "0", "--token-file", file, "--json")
    ready = json.loads(server.stdout.readline())
    port = int(ready["url"].removeprefix("http://127.0.0.1:").removesuffix("/v1"))
    assert call(port, "GET", "/v1/models")[0] == 200
    server.terminate()
    out, err = server.communicate(timeout=30)
    assert TOKEN.encode() not in out + err + json.dumps(ready).encode()
