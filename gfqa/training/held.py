"""Questions of groups that are kept out of training: whether what is learnt holds for articles and repositories never seen.

The same rows every time, of the groups kept out alone: every question with an answer in its context, as it was written and over
text as it stands.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gfqa.training.rows import RowShape

HELD_ONE_IN = 30
"""Of this many groups of a held set one is kept out."""

Ask = Callable[[dict[str, Tensor]], tuple[Tensor, ...]]
"""A batch of question rows -> (-log p of every target [B, Tq], whether the most likely token was another one, bool
[B, Tq], whether attention is heaviest at the place of the answer, bool [B, M]); of passage rows -> (F1, whether the span is
the one marked) [N]."""


def is_held(group: str) -> bool:
    """Whether a group of a held set is kept out, the same in every run."""
    return int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "little") % HELD_ONE_IN == 0


def held_shape(shape: RowShape) -> RowShape:
    """The rows of the measurement: those of training, undisturbed, every question with an answer."""
    asking = dataclasses.replace(shape.asking, unanswerable=0.0, backward=1.0)
    return dataclasses.replace(shape, vary=0.0, noise=0.0, asking=asking)


class _HeldRows:
    """Rows of one set, this rank's share of them."""

    def __init__(self, rows: Dataset[Any], count: int, size: int, rank: int, world: int, workers: int) -> None:
        """rows: a data set of single rows; count: rows of all ranks; size: rows a batch, the last filled up with its first,
        which are not counted."""
        self._rows, self._world, self._workers = rows, world, workers
        mine = list(range(rank, count, world))
        self._counted = [min(size, len(mine) - i) for i in range(0, len(mine), size)]
        mine += mine[:1] * (-len(mine) % size)
        self._numbers = [mine[i : i + size] for i in range(0, len(mine), size)]
        self._batches: list[dict[str, Tensor]] = []

    def _made(self) -> Iterator[tuple[dict[str, Tensor], int]]:
        """The batches, put together when they are first needed, each with how many of its rows count."""
        if not self._batches:
            self._batches = list(DataLoader(self._rows, batch_sampler=self._numbers, num_workers=self._workers))
        return zip(self._batches, self._counted, strict=True)


class HeldPassages(_HeldRows):
    """How well the pointer finds the answers of questions of one set in the passages that hold them."""

    def measure(self, ask: Ask, device: torch.device) -> dict[str, float]:
        """questions; exact: share of spans that are the one marked; f1: mean F1 of tokens. ask gives (f1, exact) [N]."""
        sums = torch.zeros(3, dtype=torch.float64, device=device)
        for batch, rows in self._made():
            each = ask({name: t.to(device) for name, t in batch.items()})
            overlap, same = (part[: rows * batch["ids"].shape[1]] for part in each)
            sums += torch.stack((overlap.new_tensor(len(same)), same.sum(), overlap.sum())).double()
        if self._world > 1:
            dist.all_reduce(sums)
        n, exact, overlap_sum = sums.tolist()
        return {"questions": int(n), "exact": round(exact / n, 4), "f1": round(overlap_sum / n, 4)}


class HeldQuestions(_HeldRows):
    """How many questions of one set a model answers without a wrong token, in question rows."""

    def measure(self, ask: Ask, device: torch.device) -> dict[str, float]:
        """questions; exact: share of them; loss: nats a question; placed: share of those with a place at which attention is
        heaviest."""
        sums = torch.zeros(5, dtype=torch.float64, device=device)
        for padded, rows in self._made():
            whole = {name: t.to(device) for name, t in padded.items()}
            losses, wrong, heaviest = (part[:rows] for part in ask(whole))
            batch = {name: t[:rows] for name, t in whole.items()}
            counted, chain = batch["targets"] >= 0, batch["chain"].long()
            slots = torch.zeros(chain.shape, device=device)
            asked, missed, cost = (
                slots.scatter_add(1, torch.where(counted, chain, 0), value.float() * counted)
                for value in (counted, wrong, losses)
            )
            chosen = asked > 0
            some = batch["at"] >= 0
            with_place, placed = some.sum(), (heaviest & some).sum()
            exact = (chosen & (missed == 0)).sum()
            sums += torch.stack((chosen.sum(), exact, cost[chosen].sum(), with_place, placed)).double()
        if self._world > 1:
            dist.all_reduce(sums)
        n, exact, cost_sum, with_place, placed = sums.tolist()
        return {
            "questions": int(n),
            "exact": round(exact / max(n, 1), 4),
            "loss": round(cost_sum / max(n, 1), 4),
            "placed": round(placed / max(with_place, 1), 4),
        }
