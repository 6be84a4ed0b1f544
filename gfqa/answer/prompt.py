"""The token forms of documents, questions and answers: one place, versioned, shared by training and the application.

A document is `<doc> path "\\n" text`, a question `<q> " " question <a>`, an answer `" " answer <eos>`; "not in the
documents" is `<none> <eos>` right after `<a>`. For the pointer a passage stands right behind `<q> " " question`. Tokenizers
without these control pieces (RWKV World) get the plain chat form. Torch-free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

PROMPT_VERSION = 1
"""Raised whenever a form below changes: ids made by another version must not meet this one's in a cache."""


class Encoder(Protocol):
    """What the prompt forms need of a tokenizer."""

    @property
    def identity(self) -> str: ...

    @property
    def control(self) -> Mapping[str, int]: ...

    def encode(self, text: str) -> list[int]: ...


def tokenizer_identity(tokenizer: Encoder) -> str:
    """SHA-256 hex of the tokenizer's identity and PROMPT_VERSION: the store's tokenizer identity."""
    return hashlib.sha256(f"{tokenizer.identity}\nprompt {PROMPT_VERSION}\n".encode()).hexdigest()


def document_header(path: str) -> str:
    """The first line of every document: its path relative to its source root."""
    # A file name may hold bytes that are no UTF-8; they reach us as lone surrogates, which no tokenizer encodes.
    return path.encode("utf-8", "replace").decode() + "\n"


def document_ids(tokenizer: Encoder, path: str, text: str) -> tuple[list[int], int]:
    """(ids, header_tokens) of one document; the first `header_tokens` ids are not text of the file."""
    control = tokenizer.control
    # World models saw id 0 (<|endoftext|>) between documents; it plays <doc>'s part where there is none.
    opening = control.get("doc", control.get("eos"))
    header = ([] if opening is None else [opening]) + tokenizer.encode(document_header(path))
    return header + tokenizer.encode(text), len(header)


def question_ids(tokenizer: Encoder, question: str) -> list[int]:
    """The ids after which the model's next token is the first of its answer."""
    control = tokenizer.control
    question = _written(question)
    if "q" in control and "a" in control:
        return [control["q"], *tokenizer.encode(" " + question), control["a"]]
    return tokenizer.encode(f"\n\nUser: {question}\n\nAssistant:")


def asking_ids(tokenizer: Encoder, question: str) -> list[int]:
    """The ids ahead of a passage's in which the pointer is to find the answer; a tokenizer with control pieces is needed."""
    return [tokenizer.control["q"], *tokenizer.encode(" " + _written(question))]


def _written(question: str) -> str:
    """A question as UTF-8 can hold it: bytes of another encoding reach a process as lone surrogates."""
    return question.strip().encode("utf-8", "replace").decode("utf-8")


def answer_ids(tokenizer: Encoder, answer: str | None) -> list[int]:
    """The ids of an answer as trained; None is "not in the documents"."""
    control = tokenizer.control
    if answer is None:
        return [control["none"], control["eos"]]
    return [*tokenizer.encode(" " + answer.strip()), control["eos"]]


def stop_ids(tokenizer: Encoder) -> frozenset[int]:
    """Ids that end an answer."""
    return frozenset(tokenizer.control[name] for name in ("eos",) if name in tokenizer.control)


def forbidden_ids(tokenizer: Encoder) -> Sequence[int]:
    """Control ids that are never part of an answer's text."""
    return sorted(id for name, id in tokenizer.control.items() if name != "eos")


def stop_text(tokenizer: Encoder) -> str | None:
    """Text that ends an answer in the chat form: the model would go on to write the user's next turn."""
    return None if "a" in tokenizer.control else "\n\n"
