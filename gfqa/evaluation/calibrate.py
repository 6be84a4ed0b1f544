"""The weights of a model's score, fitted to whether its answers are right: what `score.json` of a model folder holds.

Questions of groups that were kept out of training (`held`) are asked over documents of their own group, those of other groups
over documents that cannot answer. Every passage that the second look would read is one example: the answer found in it is right
or not. With --around memories are of many sizes: beside those documents are others, of groups that were trained on. For
models with a pointer.

    python -m gfqa.evaluation.calibrate --model FOLDER --questions UNITS [--held SET …] [--memories N] [--around TOKENS]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gfqa.answer import prompt
from gfqa.answer.confidence import SCORE, Confidence, log_odds
from gfqa.answer.generate import pool_attention
from gfqa.errors import GfqaError, UsageError
from gfqa.evaluation.answerer import Chain, Document, memory_of, prefill_all
from gfqa.evaluation.scoring import f1
from gfqa.memory import Memory
from gfqa.model.checkpoint import write_atomically, write_checksums
from gfqa.passages import rank
from gfqa.pointing import PASSAGES, looks_at
from gfqa.reader import Reader, open_model
from gfqa.training.held import is_held
from gfqa.training.packs import UnitFiles
from gfqa.training.pool import Pool, Unit

TOKENS = 12_000
"""Of a memory's documents that are asked about."""
AROUND = 1_000
"""Of the documents beside them, in the smallest memory."""
ASKED = 24
"""Questions of a memory, a third of them of other groups."""
RIGHT = 0.6
"""The least F1 of an answer that counts as right."""
RIDGE = 1.0
"""Strength of the pull of weights towards 0, in examples."""

Example = tuple[float, float, float, float, bool]
"""first and again (log odds), coverage, attention, and whether the answer is right."""


def calibrate(
    reader: Reader,
    units: Path,
    sets: Sequence[str],
    memories: int,
    around: int = 0,
    seed: int = 0,
    show: Callable[[dict[str, Any]], None] = lambda report: None,
) -> Confidence:
    """Fit the weights on questions of the held groups of `sets`, and write them into the reader's folder.

    units: a folder of opened units; memories: how many to ask, of every set in turn; around: tokens of other documents beside
    those asked about, in the largest of them. The limits `found` and `sure` stay those
    of the reader: which errors are worth which silence is a choice, for which the report gives a table. Raises UsageError
    for a model without a pointer and for sets without held groups.
    """
    if not reader.config.pointer_width:
        raise UsageError(f"The model {reader.name} has no pointer.", hint="Its score keeps the weights it has.")
    rng = random.Random(seed)
    pools = [_held_pool(reader, units, name) for name in sets]
    if not all(pool.sets for pool in pools):
        raise UsageError(f"{units} has no held groups of {' and '.join(sets)}.")
    others = _others(reader, units, sets, around, rng)
    examples: list[list[Example]] = []
    for number in range(memories):
        examples += _asked(reader, pools[number % len(pools)], pools, _some(others, around, rng), rng)
        show({"memories": number + 1, "questions": len(examples)})
    flat = [example for question in examples for example in question]
    x = np.array([(*example[:-1], 1.0) for example in flat])
    weights = fit(x, np.array([example[-1] for example in flat], dtype=float))
    names = ("first", "again", "coverage", "attention", "constant")
    before = reader.score
    made = Confidence(
        **dict(zip(names, weights.tolist(), strict=True)),
        found=before.found,
        sure=before.sure,
        unknown=before.unknown,
        repeated=before.repeated,
    )
    show(
        {
            "passages": len(flat),
            "right": sum(example[-1] for example in flat),
            **dict(zip(names, weights.round(3).tolist())),
        }
    )
    for report in table(weights, examples):
        show(report)
    write_atomically(reader.folder / SCORE, lambda path: path.write_text(made.to_json()))
    write_checksums(reader.folder)
    return made


def _held_pool(reader: Reader, units: Path, wanted: str) -> Pool:
    """The units of the held groups of a set."""
    return Pool(UnitFiles(units), reader.tokenizer, {}, TOKENS, lambda name, group: name == wanted and is_held(group))


def fit(x: np.ndarray, y: np.ndarray, steps: int = 50) -> np.ndarray:
    """Weights [n] of a logistic regression of y [m] (0 or 1) on x [m, n], the last column of which is the constant."""
    weights, ridge = np.zeros(x.shape[1]), np.full(x.shape[1], RIDGE)
    ridge[-1] = 1e-6
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - y) + ridge * weights
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge), gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def table(weights: np.ndarray, examples: Sequence[Sequence[Example]]) -> Iterator[dict[str, Any]]:
    """For limits on the score of a question's best passage: how many are answered, and how many of those answers are right."""
    best = []
    for question in examples:
        odds = [float(np.dot((*example[:-1], 1.0), weights)) for example in question]
        first = max(range(len(question)), key=odds.__getitem__)
        best.append((1 / (1 + math.exp(-odds[first])), question[first][-1]))
    could = sum(any(example[-1] for example in question) for question in examples)
    for limit in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
        said = [right for score, right in best if score >= limit]
        yield {
            "found": limit,
            "questions": len(best),
            "could_be_right": could,
            "answered": len(said),
            "right": sum(said),
        }


def _others(reader: Reader, units: Path, sets: Sequence[str], tokens: int, rng: random.Random) -> list[Chain]:
    """Documents of groups of the sets that are not held, about so many tokens, read."""
    pool = Pool(UnitFiles(units), reader.tokenizer, {}, TOKENS, lambda name, group: name in sets and not is_held(group))
    found: dict[tuple[str, str], Unit] = {}
    size = 0
    while pool.sets and size < tokens:
        unit = pool.seed(rng)
        if unit.key in found:
            size += len(unit.ids) // 10  # So that a small pool ends.
        else:
            found[unit.key] = unit
            size += len(unit.ids)
    return prefill_all(reader, [Document(unit.path, unit.text) for unit in found.values()])


def _some(others: Sequence[Chain], most: int, rng: random.Random) -> list[Chain]:
    """Of about AROUND to `most` tokens, every order of size as likely as any."""
    if most <= AROUND:
        return []
    room = AROUND * (most / AROUND) ** rng.random()
    found = []
    for chain in rng.sample(others, len(others)):
        room -= len(chain.ids)
        if room < 0:
            break
        found.append(chain)
    return found


def _asked(
    reader: Reader, pool: Pool, pools: Sequence[Pool], others: Sequence[Chain], rng: random.Random
) -> Iterator[list[Example]]:
    """The examples of each question asked of one memory."""
    units = _documents(pool, rng)
    own_chains = prefill_all(reader, [Document(unit.path, unit.text) for unit in units])
    memory = memory_of(reader, [*own_chains, *others])
    own = [(qa, True) for unit in units for qa in unit.qas]
    questions = rng.sample(own, min(len(own), ASKED * 2 // 3))
    while len(questions) < ASKED:
        other = rng.choice(pools).seed(rng)
        if other.group != units[0].group and other.qas:
            questions.append((rng.choice(other.qas), False))
    for qa, here in questions:
        found = list(_looked(memory, qa["q"], qa["a"] if here else ()))
        if found:
            yield found


def _documents(pool: Pool, rng: random.Random) -> list[Unit]:
    """Documents of one group, TOKENS of them or all there are."""
    seed = pool.seed(rng)
    units, size = {seed.key: seed}, len(seed.ids)
    for _ in range(200):
        other = pool.neighbour(seed, rng)
        if other.key not in units and size + len(other.ids) <= TOKENS:
            units[other.key] = other
            size += len(other.ids)
    return list(units.values())


@torch.inference_mode()
def _looked(memory: Memory, question: str, answers: Sequence[str]) -> Iterator[Example]:
    """One example for each passage that would be read; none of `answers`: nothing is right."""
    reader = memory.reader
    ids = torch.tensor([prompt.question_ids(reader.tokenizer, question)], device=reader.device)
    attention: list[torch.Tensor] = []
    logits, _ = memory.decode(ids, memory.state, attention)
    none = logits[0, -1].float().log_softmax(dim=-1)[reader.tokenizer.control["none"]]
    first = float(-torch.expm1(none))
    ranking = rank(memory, question, pool_attention(attention).float().cpu())
    for look in looks_at(memory, question, ranking, ranking.order[:PASSAGES].tolist()):
        right = bool(answers) and f1(look.text, answers) >= RIGHT
        yield log_odds(first), log_odds(look.answerable), look.coverage, look.attention, right


def main(arguments: Sequence[str] | None = None) -> int:
    """The module's command line; what it finds is JSON, a line each."""
    parser = argparse.ArgumentParser(prog="gfqa.evaluation.calibrate", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the model; its score.json is written")
    parser.add_argument("--questions", type=Path, required=True, metavar="UNITS", help="opened units")
    parser.add_argument("--held", nargs="+", default=["squad", "code"], metavar="SET", help="sets with held groups")
    parser.add_argument("--memories", type=int, default=30, metavar="N", help=f"memories of {ASKED} questions each")
    parser.add_argument(
        "--around", type=int, default=0, metavar="TOKENS", help="of other documents, in the largest memory"
    )
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)

    def show(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    try:
        reader = open_model(options.model, options.device)
        calibrate(reader, options.questions, options.held, options.memories, options.around, show=show)
    except GfqaError as error:
        print(error.message, error.hint or "", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
