"""The progress line: losses, tokens per second and the share of the card's arithmetic in use."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from gfqa.errors import GfqaError
from gfqa.model.language_model import LanguageModel

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bfloat16 multiply-add operations per second by a part of the device's name, from the makers' data sheets."""


def peak_of(device: torch.device) -> float | None:
    """Operations per second of a device, None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


class Work:
    """Floating-point operations of a training step, forward and backward: matrices, and attention of the GOLD layers.

    The recurrence and everything elementwise is left out: a few percent.
    """

    def __init__(self, model: LanguageModel) -> None:
        split = model.config.split_layer
        parts = {"lower": 0, "upper": 0}
        for name, p in model.named_parameters():
            if p.dim() == 2 and name != "emb.weight":
                number = name.split(".")[1] if name.startswith("blocks.") else "0"
                parts["upper" if name.startswith("blocks.") and int(number) >= split else "lower"] += p.numel()
        self._lower, self._upper = parts["lower"], parts["upper"]
        self._head = model.emb.weight.numel()
        self._attention = model.config.n_gold * model.config.n_embd

    def of(self, rows: int, length: int, upper: int, seen: float, *, head: bool = True) -> float:
        """rows of `length` tokens, `upper` of them through GOLD layers (and the head), each seeing `seen` keys."""
        matrices = length * self._lower + upper * (self._upper + self._head * head)
        return 6.0 * rows * (matrices + 2 * upper * seen * self._attention)


class Meter:
    """Sums between two log lines, kept on the device so that nothing waits."""

    def __init__(self, world: int, peak: float | None) -> None:
        self._sums: dict[str, Tensor] = {}
        self._began = time.monotonic()
        self._steps = 0
        self._tokens = 0
        self._work = 0.0
        self._world, self._peak = world, peak

    def add(self, name: str, value: Tensor) -> None:
        value = value.detach().float()
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def count(self, tokens: int, work: float) -> None:
        """Tokens and operations of this process in one step."""
        self._steps += 1
        self._tokens += tokens
        self._work += work

    def line(self) -> dict[str, Any]:
        """What happened since the last line, of all processes where it is speed. GfqaError where a loss is not finite."""
        sums = {name: float(value) for name, value in self._sums.items()}
        seconds = max(time.monotonic() - self._began, 1e-9)
        line: dict[str, Any] = {"tokens_per_s": round(self._tokens * self._world / seconds)}
        if self._peak:
            line["mfu"] = round(self._work / seconds / self._peak, 4)
        line["norm"] = round(sums["norm"] / max(self._steps, 1), 4)
        for kind in ("language", "questions", "place", "passages", "choice", "teacher"):
            if f"{kind}_loss" in sums:
                line[f"{kind}_loss"] = round(sums[f"{kind}_loss"] / max(sums[f"{kind}_count"], 1), 4)
        if sums.get("asked"):
            line["exact"] = round(sums["exact"] / sums["asked"], 4)
        if sums.get("place_count"):
            line["placed"] = round(sums["placed"] / sums["place_count"], 4)
        if sums.get("choice_count"):
            line["chosen"] = round(sums["chosen"] / sums["choice_count"], 4)
        if sums.get("marked"):
            line["pointed"] = round(sums["pointed"] / sums["marked"], 4)
        self._sums.clear()
        self._began, self._steps, self._tokens, self._work = time.monotonic(), 0, 0, 0.0
        if not all(math.isfinite(value) for value in line.values()):
            raise GfqaError(
                "The loss is not finite any more.", hint="Lower peak_factor, or look at the last good shards."
            )
        return line
