"""Drawing tokens: the likeliest, or from the likely ones as often as they should come."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from gfqa.answer.sampling import GREEDY, Sampler, Sampling
from gfqa.errors import UsageError

SCORES = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0]).log()


def drawn(sampling: Sampling, count: int = 2000) -> Counter[int]:
    sampler = Sampler(sampling)
    return Counter(sampler.choose(SCORES) for _ in range(count))


def test_greedy_takes_the_likeliest() -> None:
    assert drawn(GREEDY, 5) == {0: 5}


def test_tokens_come_as_often_as_they_should_and_never_those_forbidden() -> None:
    counts = drawn(Sampling(temperature=1, seed=1))
    for token, share in enumerate((0.5, 0.3, 0.15, 0.05)):
        assert counts[token] / 2000 == pytest.approx(share, abs=0.05)
    assert counts[4] == 0
    cold = drawn(Sampling(temperature=0.25, seed=1))
    assert cold[0] / 2000 == pytest.approx(0.5**4 / sum(p**4 for p in (0.5, 0.3, 0.15, 0.05)), abs=0.05)


def test_top_k_and_top_p_leave_the_rest_out() -> None:
    assert set(drawn(Sampling(temperature=3, top_k=2, seed=1))) == {0, 1}
    assert set(drawn(Sampling(temperature=1, top_p=0.6, seed=1))) == {0, 1}
    assert set(drawn(Sampling(temperature=1, top_p=0.01, seed=1))) == {0}


def test_a_seed_is_a_promise() -> None:
    def draw(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(temperature=1, seed=seed))
        return [sampler.choose(SCORES) for _ in range(40)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
    assert draw(None) != draw(None)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"temperature": math.nan}, {"temperature": 1, "top_p": 0}, {"top_k": 3}, {"top_p": 0.5}],
)
def test_values_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Sampling(**wrong)  # type: ignore[arg-type]
