"""Which token comes next: the most likely one, or one drawn from the likely ones, the same one for the same seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gfqa.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy; top_p 1 and top_k 0 leave nothing out; seed None: another draw each time.

    UsageError for values out of range, and for top_p or top_k without a temperature: they would do nothing.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"The temperature {self.temperature} is not a number from 0 on.")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p is {self.top_p}, but a share of probability lies above 0 and is at most 1.")
        if self.top_k < 0:
            raise UsageError(f"top-k is {self.top_k}, but it counts tokens.")
        if self.temperature == 0 and (self.top_p < 1 or self.top_k):
            raise UsageError("top-p and top-k choose nothing at temperature 0.", hint="Add --temperature 0.7, say.")


GREEDY = Sampling()


class Sampler:
    """Draws the tokens of one answer; each answer has a generator of its own, so its neighbours do not change it."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        # Draws are made on the CPU: a seed then means the same on every device.
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def choose(self, scores: Tensor) -> int:
        """A token from log-probabilities or logits [V]; what must not be said is -inf."""
        sampling = self._sampling
        if sampling.temperature == 0:
            return int(scores.argmax())
        ordered, tokens = torch.sort(scores.float().cpu() / sampling.temperature, descending=True, stable=True)
        if sampling.top_k:
            ordered, tokens = ordered[: sampling.top_k], tokens[: sampling.top_k]
        probability = torch.softmax(ordered, dim=-1)
        if sampling.top_p < 1:
            # The smallest head of the list that holds top_p, so always the first token.
            before = torch.cumsum(probability, dim=-1) - probability
            probability = torch.where(before < sampling.top_p, probability, 0.0)
        return int(tokens[torch.multinomial(probability, 1, generator=self._generator)])
