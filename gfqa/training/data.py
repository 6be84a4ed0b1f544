"""Batches of training rows: row number i of a rank is the same row whatever was drawn before it, and by whichever worker."""

from __future__ import annotations

import dataclasses
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gfqa.errors import UsageError
from gfqa.tokenizer import load_tokenizer
from gfqa.training.config import TrainConfig
from gfqa.training.held import held_shape, is_held
from gfqa.training.packs import UnitFiles
from gfqa.training.passage_rows import passage_row
from gfqa.training.pool import Maker, Pool
from gfqa.training.questions import vary
from gfqa.training.rows import Row, language_row, question_row
from gfqa.training.synthetic_units import StreamUnits, SyntheticUnits, by_weight
from gfqa.training.teacher import WordPieces

KINDS = ("language", "questions", "passages")
FRESH = {"fresh_lists": "lists", "fresh_tables": "printed"}
"""Names in `set_weights` and `passage_weights` for shares of contexts that are lists or tables made on the spot."""


class Rows(Dataset[Row]):
    """Rows of one kind of one rank; files are opened at the first row, in each worker.

    kind: one of KINDS, or "held:SET" and "held-passages:SET", the questions of the groups of a set that are kept out of
    the others, in question rows and in passage rows.
    """

    def __init__(self, config: TrainConfig, kind: str, rank: int) -> None:
        self.config, self.kind, self.rank = config, kind, rank
        self._held = kind.partition(":")[2]
        self._stream: tuple[np.ndarray, np.ndarray] | None = None
        self._questions: tuple[Pool, Maker] | None = None
        self._word_pieces: WordPieces | None = None

    def __getitem__(self, i: int) -> Row:
        rng = random.Random(f"{self.kind}/{i}" if self._held else f"{self.config.seed}/{self.kind}/{self.rank}/{i}")
        if self.kind in ("passages", f"held-passages:{self._held}"):
            return self._passages(rng)
        row = self._language(rng) if self.kind == "language" else self._asked(rng)
        if self.config.teacher and not self._held:
            length = self.config.language_length if self.kind == "language" else self.config.row_shape.documents
            row["pieces"], row["piece_at"] = self._words().windows(row["ids"][:length], row["starts"][:length])
        return row

    def _language(self, rng: random.Random) -> Row:
        stream, begins = self._text()
        return language_row(stream, begins, self.config.language_length, rng, self.config.cut_share)

    def _asked(self, rng: random.Random) -> Row:
        shape = self.config.row_shape
        if self._held:
            shape = held_shape(shape)
        pool, made = self._pool()
        return question_row(pool, shape, pool.tokenizer, rng, self._put(shape.vary), made)

    def _passages(self, rng: random.Random) -> Row:
        shape = self.config.passage_shape
        if self._held:
            shape = dataclasses.replace(shape, unanswerable=0.0, compared=0.0)
        pool, made = self._pool()
        return passage_row(pool, shape, pool.tokenizer, rng, self._put(self.config.row_shape.vary), made)

    def _put(self, strength: float) -> Callable[[str, random.Random], str]:
        """How questions are put: the way people type in training, as they were written where they are measured."""
        return lambda question, rng: question if self._held else vary(question, rng, strength)

    def _pool(self) -> tuple[Pool, Maker]:
        """The units to draw from, and what is made on the spot; opened at the first row."""
        config, held = self.config, self._held
        if self._questions is None:
            folder = Path(config.questions)
            if not config.questions or not (folder / "index.npy").is_file():
                raise UsageError(
                    f"There are no units in {config.questions!r}.", hint="questions=FOLDER of opened packs."
                )
            tokenizer = load_tokenizer(Path(config.tokenizer))

            def taken(name: str, group: str) -> bool:
                return name == held and is_held(group) if held else name not in config.held or not is_held(group)

            # A passage is cut out of any document, where a question row has to hold it whole.
            passages = "passages" in self.kind
            weights = config.set_weights | (config.passage_weights if passages else {})
            largest = sys.maxsize if passages else config.row_shape.documents
            pool = Pool(UnitFiles(folder), tokenizer, weights, largest, taken)
            if not pool.sets:
                raise UsageError(f"{folder} has no units of the groups of {held or 'any set'} that are wanted.")
            makers: dict[str, Maker] = {} if held else {"synthetic": SyntheticUnits(pool)}
            for name, kind in FRESH.items():
                if not held and weights.get(name, 0.0) > 0:
                    makers[name] = SyntheticUnits(pool, (kind,))
            if not held and weights.get("recurring", 0.0) > 0:
                makers["recurring"] = StreamUnits(*self._text(), tokenizer)
            self._questions = (pool, by_weight(pool, makers))
        return self._questions

    def _words(self) -> WordPieces:
        if self._word_pieces is None:
            self._word_pieces = WordPieces(Path(self.config.teacher), load_tokenizer(Path(self.config.tokenizer)))
        return self._word_pieces

    def _text(self) -> tuple[np.ndarray, np.ndarray]:
        """The text stream and where its documents begin."""
        if self._stream is None:
            folder = Path(self.config.tokens)
            if not self.config.tokens or not (folder / "tokens.bin").is_file():
                raise UsageError(
                    f"There is no text stream in {self.config.tokens!r}.", hint="tokens=FOLDER of opened packs."
                )
            self._stream = (
                np.memmap(folder / "tokens.bin", dtype=np.uint16, mode="r"),
                np.load(folder / "begins.npy"),
            )
        return self._stream


class Batches:
    """Rows stacked and moved to the device, a few batches ahead; `position` counts the batches given out."""

    def __init__(
        self, config: TrainConfig, kind: str, rows: int, rank: int, device: torch.device, position: int = 0
    ) -> None:
        self.position, self._device = position, device
        loader = DataLoader(
            Rows(config, kind, rank),
            batch_sampler=_numbers(rows, position),
            num_workers=config.workers,
            pin_memory=device.type == "cuda",
            prefetch_factor=4 if config.workers else None,
        )
        self._batches = iter(loader)

    def next(self) -> dict[str, Tensor]:
        batch = next(self._batches)
        self.position += 1
        return {name: t.to(self._device, non_blocking=True) for name, t in batch.items()}


def _numbers(rows: int, position: int) -> Iterator[list[int]]:
    """The row numbers of every batch from `position` on."""
    for batch in itertools.count(position):
        yield list(range(batch * rows, (batch + 1) * rows))
