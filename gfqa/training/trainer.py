"""One training phase: one model, packed rows, a budget of minutes or steps; any number of GPUs, one process each.

The state of a phase (masters, moments, positions in the data, steps) can be written at any step and taken up again: the
weights that come out are those of an uninterrupted phase, bit for bit where the arithmetic is (steps given, CPU).
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gfqa.errors import ModelError
from gfqa.training.config import TrainConfig
from gfqa.training.data import KINDS, Batches, Rows
from gfqa.training.forward import Forward, Marked
from gfqa.training.held import HeldPassages, HeldQuestions
from gfqa.training.meter import Meter, Work, peak_of
from gfqa.training.optimizer import Optimizer, average_gradients
from gfqa.training.schedule import rate_factor, shares
from gfqa.training.spans import Places, Spans, shares_at
from gfqa.training.start import new_model
from gfqa.training.teacher import Teacher
from gfqa.training.weights import MEGABYTE, load_shards, save_shards, weights_of

Emit = Callable[[dict[str, Any]], None]
HELD = (("questions", "held", HeldQuestions), ("passages", "held-passages", HeldPassages))
"""What of a held set is measured where there are rows of this kind, the rows it is measured in, and how."""


class Trainer:
    """A phase that can be run in parts. `resume`: a folder written by `save_state`, of the same configuration; `restarted`: the
    time since that state counts as the phase's, since its end is a time of the day.
    """

    def __init__(
        self, config: TrainConfig, emit: Emit = lambda line: None, resume: Path | None = None, restarted: bool = False
    ) -> None:
        self.config, self.emit = config, emit
        self.world, self.rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        if self.world > 1 and not dist.is_initialized():
            # A process that waits for one that died must end too, so that all of them can be started again.
            waits = datetime.timedelta(minutes=config.patience_minutes)
            dist.init_process_group("nccl" if cuda else "gloo", timeout=waits)
        self.stop_asked = self._stopping = False
        self._began = time.monotonic()
        torch.manual_seed(config.seed)
        self.model = new_model(config, self.device)
        self._teacher = self._new_teacher()
        beside = [] if self._teacher is None else [("teacher.projection", self._teacher.projection)]
        self.optimizer = Optimizer(self.model, config.optimizer, beside)
        self._trained = [*self.model.parameters(), *(parameter for _, parameter in beside)]
        self.step, self.tokens, self.progress, self._elapsed = 0, 0, 0.0, 0.0
        self._clock = 0.0
        self._due = dict.fromkeys(KINDS, 0.0)
        positions = dict.fromkeys(KINDS, 0)
        if resume is not None:
            positions = self._take_up(resume, restarted)
        self._forward = Forward(
            self.model, compiled=config.compiled and cuda, flex=config.flex and cuda, dropout=config.dropout
        )
        rows = {
            "language": config.language_rows,
            "questions": config.question_rows,
            "passages": config.passage_rows,
        }
        begin, end = shares(config, 0.0), shares(config, 1.0)
        self._batches = {
            kind: Batches(config, kind, rows[kind], self.rank, self.device, positions[kind])
            for kind in KINDS
            if max(begin[kind], end[kind]) > 0
        }
        self._held: dict[str, HeldQuestions | HeldPassages] = {}
        for kind, prefix, measured in HELD:
            for name in config.held if rows[kind] else ():
                held_rows = Rows(config, f"{prefix}:{name}", self.rank)
                label = name if kind == "questions" else f"{name} {kind}"
                where = (self.rank, self.world, config.workers)
                self._held[label] = measured(held_rows, config.held_rows, rows[kind], *where)
        self._work, self._meter = Work(self.model), Meter(self.world, peak_of(self.device))
        self._log: list[dict[str, Any]] = []

    def run(self, until: int | None = None) -> bool:
        """Train to the end of the phase, or to step `until`; True where the phase is done."""
        config = self.config
        saved = measured = self._clock
        while self.progress < 1.0 and not self._stopping and (until is None or self.step < until):
            self.optimizer.round_weights = self.progress >= config.round_weights_from
            kind = self._next_kind()
            if config.dropout:
                # What is dropped follows from the step and the rank alone, so that a resumed phase drops the same.
                torch.manual_seed((config.seed * self.world + self.rank) * 1_000_003 + self.step)
            for _ in range(config.accumulate):
                batch = self._batches[kind].next()
                (self._losses(batch, kind) / config.accumulate).backward()
                self.tokens += batch["ids"].numel() * self.world
            average_gradients(self._trained, self.world)
            self._meter.add("norm", self.optimizer.step(rate_factor(config, self.step, self.progress)))
            for p in self._trained:
                p.grad = None
            self.step += 1
            self._look_at_the_clock()
            if self.step % config.log_every == 0 or self.step == 5:
                self._show()
            if config.checkpoint_minutes and self._clock - saved > config.checkpoint_minutes:
                self.save_state(state_folder(config))
                saved = self._clock
            if config.held_minutes and self._clock - measured > config.held_minutes:
                self._measure_held()
                measured = self._clock
        self._measure_held()
        return self.progress >= 1.0

    def _next_kind(self) -> str:
        """Which rows the next step reads: the shares of the moment add up, and the kind that is most behind comes next."""
        for kind, share in shares(self.config, self.progress).items():
            self._due[kind] += share
        kind = max(self._due, key=self._due.__getitem__)
        self._due[kind] -= 1
        return kind

    def _measure_held(self) -> None:
        """A line for every set of which groups are kept out: how many of their questions are answered exactly."""

        def ask(batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
            with self._forward.measuring():
                if "firsts" in batch:
                    return self._forward.pointed(batch["ids"].flatten(0, 1), marked_of(batch))
                places = places_of(batch)
                mass: list[Tensor] = []
                looks = (places.at.clamp(min=0), mass)
                each = self._forward.each(batch["ids"], batch["starts"], batch["targets"], spans_of(batch), keys, looks)
                return *each, shares_at(torch.stack(mass).sum(dim=0), places)[1]

        keys = self.config.round_keys
        for name, questions in self._held.items():
            line = {
                "held": name,
                "step": self.step,
                "minutes": round(self._minutes(), 2),
                **questions.measure(ask, self.device),
            }
            self._log.append(line)
            if self.rank == 0:
                self.emit(line)

    def save_weights(self) -> None:
        """Write the weights of the phase to `out`, in the shipped form where it was trained in it."""
        if self.rank == 0:
            shipped = self.config.round_weights_from < 1.0
            tensors = weights_of(self.model, self.optimizer.tensors(), shipped=shipped)
            about = {"config": dataclasses.asdict(self.config), "steps": self.step, "tokens": self.tokens}
            about["minutes"] = round(self._minutes(), 3)
            folder = Path(self.config.out)
            save_shards(tensors.items(), folder, {**about, "log": self._log[-200:]}, self._shard_bytes())
            self.emit({"wrote": str(folder), **{k: v for k, v in about.items() if k != "config"}})

    def save_state(self, folder: Path) -> None:
        """Write everything an exact resume needs, in one step: the folder before it stays until this one is whole."""
        if self.rank == 0:
            about = {
                "config": dataclasses.asdict(self.config),
                "step": self.step,
                "optimizer_steps": self.optimizer.steps,
                "tokens": self.tokens,
                "progress": self.progress,
                "due": self._due,
                "round_weights": self.optimizer.round_weights,
                "minutes": self._minutes(),
                "at": time.time(),
                "positions": {kind: batches.position for kind, batches in self._batches.items()},
                "world": self.world,
            }
            save_shards(self.optimizer.tensors(), folder, about, self._shard_bytes())
            self.emit({"state": str(folder), "step": self.step})

    def _take_up(self, folder: Path, restarted: bool) -> dict[str, int]:
        """Masters, moments and counters from a state folder; returns the positions in the data."""
        stored, about = load_shards(folder)
        mine = dataclasses.asdict(self.config)
        same = ("model", "seed", "accumulate", "language_rows", "question_rows", "passage_rows", "language_length")
        for key in (*same, "row_shape", "passage_shape"):
            if _plain(about["config"].get(key)) != _plain(mine[key]):
                raise ModelError(
                    f"{folder} is the state of a phase with another {key}.", hint="Resume with its settings."
                )
        if about["world"] != self.world:
            raise ModelError(f"{folder} is the state of {about['world']} processes, not {self.world}.")
        for name, tensor in self.optimizer.tensors():
            if name not in stored or stored[name].shape != tensor.shape:
                raise ModelError(f"{folder} has no fitting {name!r}.")
            tensor.copy_(stored[name])
        self.step, self.tokens, self.progress = about["step"], about["tokens"], about["progress"]
        self.optimizer.steps, self._elapsed = about["optimizer_steps"], about["minutes"]
        self.optimizer.round_weights = about["round_weights"]
        if restarted:
            self._elapsed += max(0.0, (time.time() - about["at"]) / 60)
        self._due, self._clock = about["due"], self._elapsed
        self.optimizer.publish()
        return dict.fromkeys(KINDS, 0) | about["positions"]

    def _losses(self, batch: dict[str, Tensor], kind: str) -> Tensor:
        """The mean loss of one batch; adds sums, counts and whole-answer hits to the meter."""
        if kind == "passages":
            return self._pointing_loss(batch)
        targets, keys = batch["targets"], self.config.round_keys
        counted = targets >= 0
        rows, length = batch["ids"].shape
        if kind == "language":
            loss, _, kappa = self._forward.language(batch["ids"], batch["starts"], targets, keys)
            work = self._work.of(rows, length, length, length / 2)
        else:
            places = places_of(batch)
            mass: list[Tensor] = []
            looks = (places.at.clamp(min=0), mass) if self.config.place_weight else None
            loss, hits, kappa = self._forward.questions(
                batch["ids"], batch["starts"], targets, spans_of(batch), keys, looks
            )
            wrong = (counted & ~hits.view_as(targets)).int()
            # A question is answered exactly when no token of its chain is wrong.
            chain = torch.where(counted, batch["chain"].long(), 0)
            slots = torch.zeros(targets.shape, device=targets.device)
            asked = slots.scatter_add(1, chain, counted.float())
            missed = slots.scatter_add(1, chain, wrong.float())
            self._meter.add("asked", (asked > 0).sum())
            self._meter.add("exact", ((asked > 0) & (missed == 0)).sum())
            work = self._work.of(rows, length, targets.shape[1], length / 4)
        count = counted.sum()
        self._meter.add(f"{kind}_loss", loss)
        self._meter.add(f"{kind}_count", count)
        self._meter.count(batch["ids"].numel(), work)
        mean = loss / count.clamp(min=1)
        if kind == "questions" and mass:
            mean = mean + self.config.place_weight * self._place_loss(torch.stack(mass).sum(dim=0), places)
        if self._teacher is None:
            return mean
        taught = self._teacher.loss(kappa, batch["pieces"], batch["piece_at"])
        self._meter.add("teacher_loss", taught)
        self._meter.add("teacher_count", torch.ones_like(taught))
        return mean + self.config.teacher_weight * taught

    def _place_loss(self, mass: Tensor, places: Places) -> Tensor:
        """-log of the share of the attention mass on the documents that is on the place of the answer, the mean of questions
        with one."""
        share, first = shares_at(mass, places)
        some = places.at >= 0
        loss, count = -((share + 1e-9).log() * some).sum(), some.sum()
        for name, value in (("place_loss", loss), ("place_count", count), ("placed", (first & some).sum())):
            self._meter.add(name, value)
        return loss / count.clamp(min=1)

    def _pointing_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The mean loss of a batch of passage rows."""
        ids = batch["ids"].flatten(0, 1)
        loss, hits, choice = self._forward.passages(ids, marked_of(batch))
        answered = batch["last"].flatten() > 0
        for name, value in (("passages_loss", loss), ("pointed", hits[answered].sum()), ("marked", answered.sum())):
            self._meter.add(name, value)
        self._meter.add("passages_count", torch.full_like(loss, len(ids)))
        for name, value in (("choice_loss", choice.loss), ("choice_count", choice.count), ("chosen", choice.hits)):
            self._meter.add(name, value)
        self._meter.count(ids.numel(), self._work.of(len(ids), ids.shape[1], ids.shape[1], ids.shape[1], head=False))
        return loss / len(ids) + self.config.choice_weight * choice.loss / choice.count.clamp(min=1)

    def _new_teacher(self) -> Teacher | None:
        if not self.config.teacher:
            return None
        weight = self.model.emb.weight
        return Teacher(Path(self.config.teacher), self.model.config.n_embd, weight.device, weight.dtype)

    def _look_at_the_clock(self) -> None:
        """The time, progress and whether to stop, the same on every rank: what rank 0 says, every fifth step.

        Whatever all ranks do together at some time must go by this clock: by its own, each would begin at another step.
        """
        config = self.config
        now, stop = self._minutes(), self.stop_asked
        if self.world > 1:
            if self.step % 5 and self.step > 5:
                now, stop = self._clock, False
            else:
                said = torch.tensor([now, float(stop)], dtype=torch.float64, device=self.device)
                dist.broadcast(said, 0)
                now, stop = float(said[0]), bool(said[1])
        self.progress = self.step / config.steps if config.steps else now / config.minutes
        self._clock, self._stopping = now, stop

    def _minutes(self) -> float:
        return self._elapsed + (time.monotonic() - self._began) / 60

    def _show(self) -> None:
        at = {"step": self.step, "minutes": round(self._minutes(), 2), "tokens": self.tokens}
        rate = round(rate_factor(self.config, self.step, self.progress), 4)
        line = {**at, "lr": rate, **self._meter.line()}
        self._log.append(line)
        if self.rank == 0:
            self.emit(line)

    def _shard_bytes(self) -> int:
        return int(self.config.shard_size * MEGABYTE)


def state_folder(config: TrainConfig) -> Path:
    """Where a phase writes its state."""
    return Path(config.out + "-state")


def marked_of(batch: dict[str, Tensor]) -> Marked:
    """Where the questions of a batch of passage rows are answered."""
    rows, chains = batch["question"].shape
    # Every row counts its own questions.
    apart = batch["question"] + (chains + 1) * torch.arange(rows, device=batch["question"].device)[:, None]
    names = ("asked", "tokens", "first", "last", "firsts", "question")
    parts = {**batch, "question": apart}
    return Marked(*(parts[name].flatten(0, 1) for name in names))


def spans_of(batch: dict[str, Tensor]) -> Spans:
    """Who sees whom in a batch of question rows."""
    return Spans(batch["document"], batch["first"], batch["last"], batch["chain"], batch["visible"])


def places_of(batch: dict[str, Tensor]) -> Places:
    """Where the questions of a batch of question rows are answered."""
    return Places(*(batch[name].long() for name in ("at", "place_first", "place_last")))


def _plain(value: Any) -> Any:
    """Lists for tuples, as JSON gives them back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
