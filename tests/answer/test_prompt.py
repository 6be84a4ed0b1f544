"""The token forms, and that no text can forge their control pieces."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

from gfqa.answer import prompt
from gfqa.tokenizer import load_tokenizer

BYTES = load_tokenizer("bytes")
CONTROL = BYTES.control


class World:
    """A tokenizer without control pieces but an end of text."""

    identity = "world"
    control: ClassVar = {"eos": 0}

    def encode(self, text: str) -> list[int]:
        return [byte + 1 for byte in text.encode()]


def test_a_document_begins_with_its_path() -> None:
    ids, header = prompt.document_ids(BYTES, "src/a.py", "x = 1\n")
    assert ids == [CONTROL["doc"], *b"src/a.py\nx = 1\n"]
    assert header == 1 + len("src/a.py\n")


def test_question_and_answer() -> None:
    assert prompt.question_ids(BYTES, "  why? \n") == [CONTROL["q"], *b" why?", CONTROL["a"]]
    assert prompt.answer_ids(BYTES, "because") == [*b" because", CONTROL["eos"]]
    assert prompt.answer_ids(BYTES, None) == [CONTROL["none"], CONTROL["eos"]]
    assert prompt.stop_ids(BYTES) == {CONTROL["eos"]}
    assert CONTROL["eos"] not in prompt.forbidden_ids(BYTES)
    assert CONTROL["none"] in prompt.forbidden_ids(BYTES)


def test_the_chat_form_without_control_pieces() -> None:
    world = World()
    assert prompt.question_ids(world, "why?") == world.encode("\n\nUser: why?\n\nAssistant:")
    assert prompt.document_ids(world, "a", "b")[0] == [0, *world.encode("a\nb")]
    assert prompt.stop_text(world) == "\n\n"
    assert prompt.stop_text(BYTES) is None


def test_the_prompt_version_is_part_of_the_tokenizer_identity(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    before = prompt.tokenizer_identity(BYTES)
    monkeypatch.setattr(prompt, "PROMPT_VERSION", prompt.PROMPT_VERSION + 1)
    assert prompt.tokenizer_identity(BYTES) != before


@given(st.text(), st.text())
def test_no_text_yields_a_control_id(path: str, text: str) -> None:
    ids, _ = prompt.document_ids(BYTES, path, text)
    assert not set(ids[1:]) & set(CONTROL.values())
    assert not set(prompt.question_ids(BYTES, text)[1:-1]) & set(CONTROL.values())


def test_a_path_that_is_no_unicode() -> None:
    ids, header = prompt.document_ids(BYTES, "caf\udce9.txt", "x")
    assert header == len("caf?.txt\n") + 1
    assert len(ids) == header + 1
