"""The training loop: one model, packed rows, a time budget; any number of GPUs through torchrun.

`python -m gfqa.training.loop -c phase.json [key=value …]` reads the dataclasses below (unknown keys are refused). A phase
starts from weights (or from nothing), runs `minutes`, and writes bfloat16 weights in shards.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from gfqa.model.checkpoint import build, place
from gfqa.model.config import ModelConfig
from gfqa.model.init import init_weights
from gfqa.model.language_model import LanguageModel
from gfqa.tokenizer import load_tokenizer
from gfqa.training.forward import Forward, Spans
from gfqa.training.optimizer import Optimizer, OptimizerConfig
from gfqa.training.rows import Pool, RowShape, language_row, question_row
from gfqa.training.unit_files import UnitFiles
from gfqa.training.weights import load_shards, save_shards


@dataclass
class TrainConfig:
    """One phase. Lengths in tokens, rows per GPU and step, learning rates in `optimizer`."""

    model: dict[str, Any] = field(default_factory=dict)
    tokenizer: str = ""
    tokens: str = ""
    questions: str = ""
    start: str = ""
    out: str = "runs/phase"
    minutes: float = 1.0
    language_rows: int = 16
    language_length: int = 4096
    question_rows: int = 0
    language_every: int = 1
    """With question rows: one language step in so many; 0 none."""
    cut_share: float = 0.35
    round_keys: bool = False
    warmup_steps: int = 60
    cooldown: float = 0.5
    """Share of the phase over which the rate falls linearly to `final_factor`."""
    peak_factor: float = 1.0
    final_factor: float = 0.02
    row_shape: RowShape = field(default_factory=RowShape)
    set_weights: dict[str, float] = field(default_factory=dict)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    compiled: bool = True
    flex: bool = True
    workers: int = 6
    seed: int = 0
    max_steps: int = 0
    log_every: int = 20


def train_config(data: dict[str, Any]) -> TrainConfig:
    """A TrainConfig from nested dicts; raises ValueError for unknown keys."""
    nested = {"row_shape": RowShape, "optimizer": OptimizerConfig}
    values = {}
    for key, value in data.items():
        if key not in {f.name for f in dataclasses.fields(TrainConfig)}:
            raise ValueError(f"unknown key {key!r} in the training configuration")
        if key in nested:
            unknown = set(value) - {f.name for f in dataclasses.fields(nested[key])}
            if unknown:
                raise ValueError(f"unknown keys {sorted(unknown)} in {key!r}")
            value = nested[key](**value)
        values[key] = value
    return TrainConfig(**values)


class Rows(IterableDataset[dict[str, np.ndarray]]):
    """Endless rows of one kind; every worker of every rank draws from its own seed."""

    def __init__(self, config: TrainConfig, kind: str, rank: int) -> None:
        self.config, self.kind, self.rank = config, kind, rank

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(f"{self.config.seed}/{self.kind}/{self.rank}/{worker.id if worker else 0}")
        return self._language(rng) if self.kind == "language" else self._questions(rng)

    def _language(self, rng: random.Random) -> Iterator[dict[str, np.ndarray]]:
        config = self.config
        stream = np.memmap(Path(config.tokens) / "tokens.bin", dtype=np.uint16, mode="r")
        begins = np.load(Path(config.tokens) / "begins.npy")
        while True:
            yield language_row(stream, begins, config.language_length, rng, config.cut_share)

    def _questions(self, rng: random.Random) -> Iterator[dict[str, np.ndarray]]:
        from gfqa.training.questions import vary
        from gfqa.training.synthetic_units import SyntheticUnits

        config = self.config
        tokenizer = load_tokenizer(Path(config.tokenizer))
        pool = Pool(UnitFiles(Path(config.questions)), config.set_weights, config.row_shape.documents)
        synthetic = SyntheticUnits(tokenizer, pool)
        while True:
            yield question_row(pool, config.row_shape, tokenizer, rng, vary, synthetic)


class Batches:
    """Rows stacked and moved to the device, one batch ahead."""

    def __init__(self, config: TrainConfig, kind: str, rows: int, rank: int, device: torch.device) -> None:
        loader = DataLoader(
            Rows(config, kind, rank),
            batch_size=rows,
            num_workers=config.workers,
            pin_memory=device.type == "cuda",
            prefetch_factor=4 if config.workers else None,
        )
        self._batches, self._device = iter(loader), device

    def next(self) -> dict[str, Tensor]:
        return {name: t.to(self._device, non_blocking=True) for name, t in next(self._batches).items()}


def rate_factor(config: TrainConfig, step: int, progress: float) -> float:
    """Warm-up by steps, then constant, then linear to `final_factor` over the last `cooldown` of the phase."""
    falling = min(1.0, (1 - progress) / max(config.cooldown, 1e-9))
    factor = config.final_factor + (1 - config.final_factor) * max(falling, 0.0)
    return config.peak_factor * factor * min(1.0, (step + 1) / config.warmup_steps)


def new_model(config: TrainConfig, device: torch.device) -> LanguageModel:
    """The model of a phase, bfloat16 weights on a GPU: from `start` shards, or initialised."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    shape = ModelConfig.from_dict(config.model)
    if config.start:
        model = build(shape, {k: v.float() for k, v in load_shards(Path(config.start)).items()})
    else:
        model = init_weights(LanguageModel(shape), config.seed)
        if shape.tie_embeddings:
            # The same matrix is the head: logits need a scale that the tiny embeddings of the reference lack.
            torch.nn.init.normal_(model.emb.weight, std=0.02)
    return place(model, device, dtype).train().requires_grad_(True)


def average_gradients(model: LanguageModel, world: int) -> None:
    """All-reduce the gradients of every rank, as one buffer a dtype."""
    if world == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for p in model.parameters():
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        by_dtype.setdefault(p.grad.dtype, []).append(p.grad)
    for gradients in by_dtype.values():
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat, op=dist.ReduceOp.AVG)
        offset = 0
        for g in gradients:
            g.copy_(flat[offset : offset + g.numel()].view_as(g))
            offset += g.numel()


class Meter:
    """Running sums between two log lines, kept on the device so that nothing waits."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value.detach().float() if name in self.sums else value.detach().float()

    def take(self) -> dict[str, float]:
        values = {name: float(v) for name, v in self.sums.items()}
        self.sums.clear()
        return values


def step_losses(forward: Forward, batch: dict[str, Tensor], kind: str, round_keys: bool, meter: Meter) -> Tensor:
    """The mean loss of one batch; adds sums, counts and whole-answer hits to the meter."""
    targets = batch["targets"]
    counted = targets >= 0
    if kind == "language":
        loss, hits = forward.language(batch["ids"], batch["starts"], targets, round_keys)
    else:
        spans = Spans(batch["document_context"], batch["question_context"], batch["chain"], batch["visible"])
        loss, hits = forward.questions(batch["ids"], batch["starts"], targets, spans, round_keys)
        wrong = (counted & ~hits.view_as(targets)).int()
        # A question is answered exactly when no token of its chain is wrong: sums by chain over 64-token slots.
        chain = torch.where(counted, batch["chain"].long(), 0)
        slots = torch.zeros(targets.shape[0], 2 * targets.shape[1], device=targets.device)
        asked = slots.scatter_add(1, chain, counted.float())
        missed = slots.scatter_add(1, chain, wrong.float())
        meter.add("questions", (asked > 0).sum())
        meter.add("exact", ((asked > 0) & (missed == 0)).sum())
    count = counted.sum()
    meter.add(f"{kind}_loss", loss)
    meter.add(f"{kind}_count", count)
    return loss / count.clamp(min=1)


def run(config: TrainConfig) -> None:
    """Train one phase and write its weights."""
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    began = time.monotonic()
    torch.manual_seed(config.seed)
    model = new_model(config, device)
    forward = Forward(model, compiled=config.compiled, flex=config.flex)
    optimizer = Optimizer(model, config.optimizer)
    kinds = {"language": config.language_rows, "questions": config.question_rows}
    sources = {k: Batches(config, k, rows, rank, device) for k, rows in kinds.items() if rows}
    meter, log, tokens, progress, step = Meter(), [], 0, 0.0, 0
    last_time, last_tokens = began, 0
    while progress < 1.0 and (not config.max_steps or step < config.max_steps):
        kind = "language" if "questions" not in sources else "questions"
        if (
            kind == "questions"
            and "language" in sources
            and config.language_every
            and step % config.language_every == 0
        ):
            kind = "language"
        batch = sources[kind].next()
        step_losses(forward, batch, kind, config.round_keys, meter).backward()
        average_gradients(model, world)
        norm = optimizer.step(rate_factor(config, step, progress))
        for p in model.parameters():
            p.grad = None
        meter.add("norm", norm)
        tokens += batch["ids"].numel() * world
        step += 1
        if step % 5 == 0 or step < 5:
            progress = shared_progress(began, config.minutes, device, world)
        if step % config.log_every == 0 or step == 5:
            values = meter.take()
            now = time.monotonic()
            line = {
                "step": step,
                "minutes": round((now - began) / 60, 2),
                "tokens": tokens,
                "tokens_per_s": round((tokens - last_tokens) / (now - last_time)),
                "lr": round(rate_factor(config, step, progress), 4),
                "norm": round(values.pop("norm") / (config.log_every if step != 5 else 5), 3),
            }
            line |= {
                f"{k}_loss": round(values[f"{k}_loss"] / max(values[f"{k}_count"], 1), 4)
                for k in kinds
                if f"{k}_loss" in values
            }
            if "questions" in values:
                line["exact"] = round(values["exact"] / max(values["questions"], 1), 4)
            last_time, last_tokens = now, tokens
            log.append(line)
            if rank == 0:
                print(json.dumps(line), flush=True)
            if not all(math.isfinite(v) for v in line.values()):
                raise FloatingPointError(f"the loss is not finite at step {step}")
    if rank == 0:
        save_shards(model, Path(config.out), {"config": dataclasses.asdict(config), "log": log[-200:]})
        print(
            f"wrote {config.out} after {step} steps, {tokens} tokens, {(time.monotonic() - began) / 60:.2f} minutes",
            flush=True,
        )
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def shared_progress(began: float, minutes: float, device: torch.device, world: int) -> float:
    """The share of the budget that rank 0 has used, the same number on every rank."""
    value = torch.tensor((time.monotonic() - began) / (minutes * 60), device=device)
    if world > 1:
        dist.broadcast(value, 0)
    return float(value)


def parse(arguments: list[str] | None = None) -> TrainConfig:
    """`-c` JSON files merged in order, then `a.b=value` overrides (values are JSON, or strings)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--config", type=Path, action="append", default=[])
    parser.add_argument("overrides", nargs="*")
    parsed = parser.parse_args(arguments)
    data: dict[str, Any] = {}
    for path in parsed.config:
        merge(data, json.loads(path.read_text()))
    for override in parsed.overrides:
        name, _, text = override.partition("=")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        *parents, leaf = name.split(".")
        node = data
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return train_config(data)


def merge(data: dict[str, Any], more: dict[str, Any]) -> None:
    """Merge nested dicts in place; the later value wins."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            merge(data[key], value)
        else:
            data[key] = value


if __name__ == "__main__":
    run(parse())
