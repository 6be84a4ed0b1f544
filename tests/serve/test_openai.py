"""The chat form: what a request may hold, and what OpenAI's clients read out of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gfqa.serve.openai import NOT_FOUND, Chat, Refusal, completion, last_chunks, models, parse_chat

CACHES = ("docs", "code")
ANSWER: dict[str, Any] = {
    "schema": 1,
    "question": "q",
    "answer": "8471",
    "found": True,
    "score": 0.9,
    "stale": False,
    "citations": [
        {"cache": "docs", "source": "/src", "path": "a b.md", "quote": "8471", "score": 0.5,
         "start_line": 3, "end_line": 5, "page": None},
        {"cache": "docs", "source": "/src/x.pdf", "path": "x.pdf", "quote": "8471", "score": 0.1,
         "start_line": None, "end_line": None, "page": 2},
    ],
    "cache": {"names": ["docs"], "model": "tiny", "layout": "independent"},
    "tokens": {"reused": 100, "prefilled": 0, "question": 7, "reread": 20, "generated": 4},
    "timing": {"total": 0.1, "warm": True},
}  # fmt: skip


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "gfqa/docs", "messages": [{"role": "user", "content": "q"}], **fields}).encode()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Chat("gfqa/docs", ("docs",), "q")),
        ({"model": "gfqa/docs+code"}, Chat("gfqa/docs+code", ("docs", "code"), "q")),
        ({"stream": True, "stream_options": {"include_usage": True}}, Chat("gfqa/docs", ("docs",), "q", True, True)),
        ({"max_tokens": 5}, Chat("gfqa/docs", ("docs",), "q", max_tokens=5)),
        ({"max_completion_tokens": 6, "max_tokens": 5}, Chat("gfqa/docs", ("docs",), "q", max_tokens=6)),
        ({"max_tokens": None, "n": None, "stream": None, "stream_options": None}, Chat("gfqa/docs", ("docs",), "q")),
        ({"temperature": 0.7, "top_p": 1, "user": "me", "unknown": []}, Chat("gfqa/docs", ("docs",), "q")),
        (
            {"messages": [{"role": "user", "content": "old"}, {"role": "assistant", "content": "a"},
                          {"role": "user", "content": [{"type": "text", "text": "ne"}, {"type": "text", "text": "w"}]},
                          {"role": "system", "content": "s"}]},
            Chat("gfqa/docs", ("docs",), "new"),
        ),
    ],
)  # fmt: skip
def test_requests_that_are_understood(fields: dict[str, Any], expected: Chat) -> None:
    assert parse_chat(body(**fields), CACHES) == expected


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": None}, 400, "model"),
        ({"model": 3}, 400, "model"),
        ({"model": "gpt-4"}, 404, "model"),
        ({"model": "gfqa/nope"}, 404, "model"),
        ({"model": "docs"}, 404, "model"),
        ({"model": "gfqa/"}, 404, "model"),
        ({"model": "gfqa/docs+nope"}, 404, "model"),
        ({"messages": None}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"messages": ["q"]}, 400, "messages"),
        ({"messages": [{"role": "system", "content": "q"}]}, 400, "messages"),
        ({"messages": [{"role": "user"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": ["q"]}]}, 400, "messages"),
        ({"n": 2}, 400, "n"),
        ({"stream": "yes"}, 400, "stream"),
        ({"stream_options": []}, 400, "stream_options"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": True}, 400, "max_tokens"),
        ({"max_completion_tokens": "5"}, 400, "max_completion_tokens"),
        ({"max_tokens": 10**9}, 400, "max_tokens"),
    ],
)
def test_requests_that_are_not(fields: dict[str, Any], status: int, param: str) -> None:
    with pytest.raises(Refusal) as refusal:
        parse_chat(body(**fields), CACHES)
    assert refusal.value.status == status
    error = refusal.value.to_json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert error["code"] == ("model_not_found" if status == 404 else None)
    assert error["message"].endswith(".")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b'"text"'])
def test_bodies_that_are_no_object(data: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        parse_chat(data, CACHES)
    assert refusal.value.status == 400


def test_a_whole_answer() -> None:
    found = completion(Chat("gfqa/docs", ("docs",), "q"), ANSWER, "chatcmpl-1", 5)
    [choice] = found["choices"]
    assert choice["message"]["content"] == "8471"
    assert choice["finish_reason"] == "stop"
    assert found["object"] == "chat.completion"
    assert found["usage"] == {
        "prompt_tokens": 127,
        "completion_tokens": 4,
        "total_tokens": 131,
        "prompt_tokens_details": {"cached_tokens": 100},
    }
    assert found["citations"] == ANSWER["citations"]
    assert found["gfqa"] == ANSWER
    assert [note["url_citation"] for note in choice["message"]["annotations"]] == [
        {"start_index": 0, "end_index": 4, "url": "file:///src/a%20b.md#L3-L5", "title": "a b.md:3-5"},
        {"start_index": 0, "end_index": 4, "url": "file:///src/x.pdf#page=2", "title": "x.pdf, page 2"},
    ]
    assert completion(Chat("m", (), "q", max_tokens=4), ANSWER, "i", 0)["choices"][0]["finish_reason"] == "length"


def test_what_is_not_found_is_said() -> None:
    answer = {**ANSWER, "answer": "", "found": False, "citations": []}
    chat = Chat("gfqa/docs", ("docs",), "q", stream=True)
    assert completion(chat, answer, "i", 0)["choices"][0]["message"]["content"] == NOT_FOUND
    [last] = last_chunks(chat, answer, "i", 0)
    assert last["choices"][0]["delta"]["content"] == NOT_FOUND


def test_the_list_of_models() -> None:
    assert models({"docs": 5.7}) == {
        "object": "list",
        "data": [{"id": "gfqa/docs", "object": "model", "created": 5, "owned_by": "gfqa"}],
    }
