"""The decode loop on scripted models: stopping, scores, characters split over tokens, what is never said."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gfqa.answer.generate import generate, pool_attention
from gfqa.tokenizer import load_tokenizer

BYTES = load_tokenizer("bytes")
NONE, EOS, DOC = BYTES.control["none"], BYTES.control["eos"], BYTES.control["doc"]


class Script:
    """Says the given rows of {token: logit}, one a step; all other tokens have logit 0."""

    def __init__(self, *rows: dict[int, float], mass: bool = True) -> None:
        self.rows, self.mass, self.asked = rows, mass, []

    def __call__(self, ids: Tensor, state: Any, attention: list[Tensor]) -> tuple[Tensor, int]:
        step = state or 0
        self.asked.append(ids.tolist())
        logits = torch.zeros(1, 1, BYTES.vocab_size)
        for token, value in self.rows[min(step, len(self.rows) - 1)].items():
            logits[0, 0, token] = value
        if self.mass:
            attention += [torch.full((1, 2, 3), float(step + 1)), torch.zeros(1, 2, 3)]
        return logits, step + 1


def says(text: bytes) -> list[dict[int, float]]:
    return [{byte: 20.0} for byte in text] + [{EOS: 20.0}]


def test_it_streams_whole_characters_and_stops() -> None:
    script, chunks = Script(*says(" né 漢 ".encode())), []
    answer = generate(script, BYTES, [1, 2], on_text=chunks.append)
    assert answer.text == "né 漢" == "".join(chunks)
    assert "�" not in "".join(chunks)
    assert answer.found
    assert script.asked[0] == [[1, 2]]
    assert all(len(step[0]) == 1 for step in script.asked[1:])
    assert bytes(answer.ids) == " né 漢 ".encode()


def test_not_found_is_its_own_answer() -> None:
    chunks: list[str] = []
    answer = generate(Script({NONE: 20.0}), BYTES, [1], on_text=chunks.append)
    assert (answer.text, answer.found, answer.ids, chunks) == ("", False, (), [])
    assert answer.mass is not None  # where the question looked, for a second look there
    assert answer.score == pytest.approx(260 / (260 + math.exp(20)), abs=1e-6)


def test_the_score_is_the_probability_that_the_first_token_is_not_none() -> None:
    answer = generate(Script({NONE: 5.0, 65: 5.0 + 1e-3}, {EOS: 20.0}), BYTES, [1])
    assert answer.text == "A"
    p_none = math.exp(5) / (math.exp(5) + math.exp(5 + 1e-3) + 259)
    assert answer.score == pytest.approx(1 - p_none, abs=1e-5)


def test_control_pieces_are_never_said_and_the_answer_is_never_empty() -> None:
    script = Script({EOS: 30.0, DOC: 25.0, 66: 10.0}, {NONE: 30.0, DOC: 25.0, 67: 10.0}, {EOS: 30.0})
    assert generate(script, BYTES, [1]).text == "BC"


def test_the_longest_answer() -> None:
    assert generate(Script(*says(b"ABCDEFGH")), BYTES, [1], max_tokens=5).text == "ABCDE"


def test_mass_is_summed_over_the_answer_and_absent_without_gold() -> None:
    answer = generate(Script(*says(b"ab")), BYTES, [1])
    assert answer.mass is not None
    assert answer.mass.tolist() == [1.5, 1.5, 1.5]
    assert generate(Script(*says(b"ab"), mass=False), BYTES, [1]).mass is None


def test_pooling_weighs_layers_and_heads_equally() -> None:
    one = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    two = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    assert pool_attention([one, two]).tolist() == [0.25, 0.5]


class World:
    """No <none>, no <a>: the chat form."""

    vocab_size = 261
    identity = "world"
    control: ClassVar = {"eos": 260}

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def piece_bytes(self, id: int, /) -> bytes:
        return bytes([id]) if id < 256 else b""


def test_without_control_pieces_it_stops_at_the_next_turn_and_scores_by_probability() -> None:
    chunks: list[str] = []
    answer = generate(Script(*says(b" yes\n\nUser: no")), World(), [1], on_text=chunks.append)
    assert answer.text == "yes" == "".join(chunks)
    assert answer.found
    assert answer.score == pytest.approx(1.0, abs=1e-4)
    unsure = generate(Script({65: 0.0}), World(), [1], max_tokens=3)
    assert unsure.score == pytest.approx(1 / 261, rel=1e-3)


@pytest.mark.parametrize(
    ("said", "kept"),
    [("src//////////", "src////"), ("so so so so so so", "so so so so"), ("1000000000", "1000000000"), ("aaa", "aaa")],
)
def test_an_answer_that_repeats_itself_is_ended(said: str, kept: str) -> None:
    assert generate(Script(*says(said.encode())), BYTES, [1]).text == kept
