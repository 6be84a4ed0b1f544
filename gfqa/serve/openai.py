"""OpenAI's chat form, in and out: requests checked, answers and errors as its clients expect them. Knows no web server.

A cache is the model `gfqa/<cache>`, several are `gfqa/<one>+<other>`. The last message of the user is the question; earlier
ones, and the system's, are not read: an answer comes from the documents alone. Sampling options are ignored, as answers are
deterministic.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PREFIX: Final = "gfqa/"
NOT_FOUND: Final = "Not found in the documents."
MAX_TOKENS: Final = 100_000


class Refusal(Exception):
    """A request that is answered with an error: HTTP status, message, OpenAI's type and code, the parameter at fault."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def to_json(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Chat:
    """A checked request. max_tokens is None where the request leaves it open."""

    model: str
    caches: tuple[str, ...]
    question: str
    stream: bool = False
    usage: bool = False
    max_tokens: int | None = None


def parse_chat(body: bytes, caches: Sequence[str]) -> Chat:
    """The request in a body, where `caches` can be asked. Refusal, with the parameter at fault, for anything else."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is no JSON.") from None
    if not isinstance(data, dict):
        raise Refusal(400, "The body is no JSON object.")
    for name in ("stream", "stream_options", "n", "max_tokens", "max_completion_tokens"):
        if data.get(name) is None:
            data.pop(name, None)
    model, stream = data.get("model"), data.get("stream", False)
    options = data.get("stream_options", {})
    if not isinstance(stream, bool):
        raise Refusal(400, "stream is neither true nor false.", param="stream")
    if not isinstance(options, dict):
        raise Refusal(400, "stream_options is no object.", param="stream_options")
    if data.get("n", 1) != 1:
        raise Refusal(400, "There is one answer to a question: n can only be 1.", param="n")
    return Chat(
        model=str(model),
        caches=_caches(model, caches),
        question=_question(data.get("messages")),
        stream=stream,
        usage=options.get("include_usage") is True,
        max_tokens=_max_tokens(data),
    )


def _caches(model: Any, caches: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(model, str):
        raise Refusal(400, "The request names no model.", param="model")
    names = tuple(model.removeprefix(PREFIX).split("+"))
    if not model.startswith(PREFIX) or any(name not in caches for name in names):
        known = ", ".join(PREFIX + name for name in caches) or "none yet"
        raise Refusal(404, f"There is no model {model!r:.200}. Models: {known}.", code="model_not_found", param="model")
    return names


def _question(messages: Any) -> str:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Refusal(400, "messages is no list of messages.", param="messages")
    mine = [message.get("content") for message in messages if message.get("role") == "user"]
    if not mine:
        raise Refusal(400, "There is no message of the user.", param="messages")
    content = mine[-1]
    if isinstance(content, list):
        content = "".join(map(_text, content))
    if not isinstance(content, str) or not content.strip():
        raise Refusal(400, "The last message of the user is empty.", param="messages")
    return content


def _text(part: Any) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
    raise Refusal(400, "Only text can be asked.", param="messages")


def _max_tokens(data: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if name in data:
            count = data[name]
            if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_TOKENS:
                raise Refusal(400, f"{name} is no number from 1 to {MAX_TOKENS}.", param=name)
            return count
    return None


def models(caches: Mapping[str, float]) -> dict[str, Any]:
    """The list of models; caches: names and when each was made, in seconds since 1970."""
    data = [
        {"id": PREFIX + name, "object": "model", "created": int(created), "owned_by": "gfqa"}
        for name, created in caches.items()
    ]
    return {"object": "list", "data": data}


def completion(chat: Chat, answer: Mapping[str, Any], id: str, created: int) -> dict[str, Any]:
    """The whole answer; answer: the documented object of `ask --json`, which also comes along as `gfqa`."""
    text = answer["answer"] if answer["found"] else NOT_FOUND
    message = {"role": "assistant", "content": text, "refusal": None, "annotations": cited(answer, text)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(chat, answer)}
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": chat.model,
        "choices": [choice],
        "usage": usage(answer),
        "citations": answer["citations"],
        "gfqa": dict(answer),
    }


def chunk(chat: Chat, id: str, created: int, delta: Mapping[str, Any]) -> dict[str, Any]:
    """A piece of a streamed answer."""
    choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": None}
    head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": chat.model}
    return {**head, "choices": [choice], **({"usage": None} if chat.usage else {})}


def last_chunks(chat: Chat, answer: Mapping[str, Any], id: str, created: int) -> list[dict[str, Any]]:
    """What follows the text of a streamed answer: where it comes from, and the usage if it was asked for."""
    text = answer["answer"] if answer["found"] else NOT_FOUND
    delta: dict[str, Any] = {"annotations": cited(answer, text)}
    if not answer["found"]:
        delta["content"] = text
    last = chunk(chat, id, created, delta)
    last["choices"][0]["finish_reason"] = _reason(chat, answer)
    chunks = [{**last, "citations": answer["citations"], "gfqa": dict(answer)}]
    if chat.usage:
        chunks.append({**chunk(chat, id, created, {}), "choices": [], "usage": usage(answer)})
    return chunks


def cited(answer: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    """The citations as annotations of the whole answer. `url_citation` is the one kind that all clients know."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": 0,
                "end_index": len(text),
                "url": _url(citation),
                "title": _title(citation),
            },
        }
        for citation in answer["citations"]
    ]


def usage(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens as OpenAI counts them: the documents are part of the prompt, and cached."""
    tokens = answer["tokens"]
    prompt = tokens["reused"] + tokens["prefilled"] + tokens["question"] + tokens["reread"]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": tokens["generated"],
        "total_tokens": prompt + tokens["generated"],
        "prompt_tokens_details": {"cached_tokens": tokens["reused"]},
    }


def _reason(chat: Chat, answer: Mapping[str, Any]) -> str:
    return "length" if chat.max_tokens is not None and answer["tokens"]["generated"] >= chat.max_tokens else "stop"


def _title(citation: Mapping[str, Any]) -> str:
    if citation["page"] is not None:
        return f"{citation['path']}, page {citation['page']}"
    first, last = citation["start_line"], citation["end_line"]
    return f"{citation['path']}:{first}" + (f"-{last}" if last != first else "")


def _url(citation: Mapping[str, Any]) -> str:
    source, path = Path(citation["source"] or "/"), citation["path"]
    file = source if source.name == path and not source.is_dir() else source / path
    if citation["page"] is not None:
        return f"{file.as_uri()}#page={citation['page']}"
    return f"{file.as_uri()}#L{citation['start_line']}-L{citation['end_line']}"
