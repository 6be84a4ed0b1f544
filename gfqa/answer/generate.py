"""The decode loop: question chains against one memory, a token at a time, with the mass each put on the documents.

Several questions share every pass. They run in step without padding: a pass reads as many tokens as the shortest of the
waiting pieces has, so that each row's state is exactly what it would be alone; a finished row leaves the batch.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gfqa.answer import prompt
from gfqa.answer.sampling import GREEDY, Sampler, Sampling

CYCLES = 4
"""An answer that says the same so many times in a row is ended."""


class Pieces(prompt.Encoder, Protocol):
    """What the decode loop needs of a tokenizer."""

    @property
    def vocab_size(self) -> int: ...

    def piece_bytes(self, id: int, /) -> bytes: ...


Decode = Callable[[Tensor, Any, list[Tensor]], tuple[Tensor, Any]]
"""decode(ids [B, T], state, attention) -> (logits [B, 1 or T, V], state); each GOLD layer appends its mass [B, H, S].

A state that is shared by several rows, or of which rows leave, has `rows(index)` (see gfqa.model.ModelState).
"""


class Steps(Protocol):
    """One chain on its way, read a token at a time and in place (see gfqa.model.decode_graph.DecodeStep)."""

    def __call__(self, token: int, /) -> Tensor:
        """Read one more token: the logits [V], valid until the next call."""
        ...

    def mass(self, *, last: bool) -> Tensor:
        """The attention mass [S] of all tokens read, pooled and summed; with or without the last one's."""
        ...

    def state(self) -> Any:
        """The chain's state after them, as `Decode` gives it."""
        ...


Begin = Callable[[Any, int], Steps | None]
"""begin(state, room): steps that continue a state for so many tokens, or None where `Decode` has to do it."""


@dataclass(frozen=True)
class Generated:
    """An answer. text: stripped, "" when not found; score: 0..1.

    mass, looked: attention mass [S] float32 on the CPU, None without GOLD layers: of the answer's tokens (of the question where
    nothing was found), and of the question's last token, when the model looked for the place and had written nothing yet.
    state, unread: what the chain is after the answer, and the ids it has not read yet, for a chain that goes on.
    """

    text: str
    ids: tuple[int, ...]
    found: bool
    score: float
    mass: Tensor | None
    looked: Tensor | None = None
    state: Any = None
    unread: tuple[int, ...] = ()


def generate(
    decode: Decode,
    tokenizer: Pieces,
    question: Sequence[int],
    state: Any = None,
    *,
    device: str = "cpu",
    max_tokens: int = 64,
    sampling: Sampling = GREEDY,
    on_text: Callable[[str], None] = lambda chunk: None,
    begin: Begin | None = None,
) -> Generated:
    """Answer the question chain `question`, continuing `state` (None: a chain of its own): `generate_many` of one.

    on_text receives the answer's text piece by piece, whole characters only. Found: another first token is likelier than
    <none>. begin: a quicker way to read the answer.
    """
    rows = [_Row(tokenizer, question, max_tokens, sampling, on_text)]
    return _decoded(decode, rows, state, device, begin)[0]


def generate_many(
    decode: Decode,
    tokenizer: Pieces,
    questions: Sequence[Sequence[int]],
    state: Any = None,
    *,
    device: str = "cpu",
    max_tokens: int = 64,
    sampling: Sampling = GREEDY,
) -> list[Generated]:
    """Answer several question chains, each continuing `state` on its own, in shared passes; the answers in order.

    Greedy unless `sampling` says otherwise. The score is the probability that the first token is not <none>; where the
    tokenizer has no <none>, the geometric mean of the tokens' probabilities. Whether anything was found is never sampled.
    """
    silent = [_Row(tokenizer, ids, max_tokens, sampling, lambda chunk: None) for ids in questions]
    return _decoded(decode, silent, state, device)


@torch.inference_mode()
def _decoded(
    decode: Decode, rows: Sequence[_Row], state: Any, device: str, begin: Begin | None = None
) -> list[Generated]:
    active = list(rows)
    if state is not None and len(active) > 1:
        state = state.rows(torch.zeros(len(active), dtype=torch.long, device=device))
    while active:
        width = min(len(row.unread) for row in active)
        ids = torch.tensor([row.take(width) for row in active], device=device)
        attention: list[Tensor] = []
        logits, state = decode(ids, state, attention)
        kept = []
        for number, row in enumerate(active):
            if not row.unread:
                row.step(logits[number, -1].float(), [layer[number : number + 1] for layer in attention])
            if row.finished:
                row.state = state if len(active) == 1 else None
            else:
                kept.append(number)
        if kept and len(kept) < len(active):
            state = state.rows(torch.tensor(kept, device=device))
        active = [active[number] for number in kept]
        if begin is not None and len(active) == len(rows) == 1 and active[0].answering:
            steps, begin = begin(state, active[0].room), None  # Asked once an answer.
            if steps is not None:
                active[0].follow(steps)
                break
    return [row.generated() for row in rows]


class _Row:
    """One question on its way: what it has still to read, and what it has said."""

    def __init__(
        self,
        tokenizer: Pieces,
        question: Sequence[int],
        max_tokens: int,
        sampling: Sampling,
        on_text: Callable[[str], None],
    ) -> None:
        self.unread = list(question)
        self.finished = False
        self.state: Any = None
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._none = tokenizer.control.get("none")
        self._stops = prompt.stop_ids(tokenizer)
        self._banned = list(prompt.forbidden_ids(tokenizer))
        self._sampler = Sampler(sampling)
        self._text = _TextStream(on_text, prompt.stop_text(tokenizer))
        self._ids: list[int] = []
        self._found = True
        self._score = self._log_probability = 0.0
        self._pooled: Tensor | None = None
        self._looked: Tensor | None = None

    def take(self, count: int) -> list[int]:
        """The next ids to read."""
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    @property
    def answering(self) -> bool:
        """Whether the question is read, and the answer has begun."""
        return bool(self._ids) and self.unread == self._ids[-1:]

    @property
    def room(self) -> int:
        """Tokens that may still be read."""
        return self._max_tokens - len(self._ids)

    def follow(self, steps: Steps) -> None:
        """Go on to the end of the answer, token by token."""
        while not self.finished:
            [token] = self.take(1)
            self.step(steps(token), [])
        if self._pooled is not None:
            # A stop is not of the answer, nor is what was looked at for it.
            self._pooled = self._pooled + steps.mass(last=self.unread == self._ids[-1:])
        self.state = steps.state()

    def step(self, logits: Tensor, attention: list[Tensor]) -> None:
        """The next token from logits [V] and each GOLD layer's mass [1, H, S]."""
        row = torch.log_softmax(logits, dim=-1)
        if not self._ids and attention:
            self._looked = pool_attention(attention).float().cpu()
        if not self._ids and self._none is not None:
            self._score = -math.expm1(float(row[self._none]))
            if int(row.argmax()) == self._none:
                self._found, self.finished = False, True
                self._pooled = self._looked
                return
        # An answer without text says nothing: "not found" has a token of its own.
        banned = self._banned if self._ids else [*self._banned, *self._stops]
        allowed = row.index_fill(0, torch.tensor(banned, dtype=torch.long, device=row.device), -math.inf)
        allowed[self._tokenizer.vocab_size :] = -math.inf  # a published model has more rows than its vocabulary has ids
        token = self._sampler.choose(allowed)
        if token in self._stops:
            self.unread, self.finished = [token], True
            return
        self._ids.append(token)
        self._log_probability += float(row[token])
        if attention:
            mass = pool_attention(attention)
            self._pooled = mass if self._pooled is None else self._pooled + mass
        self._text.feed(self._tokenizer.piece_bytes(token))
        self.unread = [token]
        # A reader that answers in a few words has lost its way where it repeats itself; digits may.
        lost = self._none is not None and not self._text.text[-1:].isdigit() and _loops(self._ids)
        self.finished = len(self._ids) >= self._max_tokens or self._text.stopped or lost

    def generated(self) -> Generated:
        """The answer, once finished."""
        self._text.close()
        if self._none is None:
            self._score = math.exp(self._log_probability / max(1, len(self._ids)))
        return Generated(
            self._text.text.strip() if self._found else "",
            tuple(self._ids),
            self._found,
            min(max(self._score, 0.0), 1.0),
            None if self._pooled is None else self._pooled.float().cpu(),
            self._looked,
            self.state,
            tuple(self.unread),
        )


def _loops(ids: Sequence[int]) -> bool:
    """Whether the last ids are one to four ids, CYCLES times over."""
    return any(
        len(ids) >= CYCLES * period and all(ids[-n] == ids[-n - period] for n in range(1, (CYCLES - 1) * period + 1))
        for period in range(1, 5)
    )


def pool_attention(layers: Sequence[Tensor]) -> Tensor:
    """One mass per cached token [S] from the GOLD layers' [1, H, S]: the mean over all layers and heads.

    The only place that weighs layers and heads against each other, so that a measured choice has one line to change.
    """
    return torch.stack([layer[0].float().mean(dim=0) for layer in layers]).mean(dim=0)


class _TextStream:
    """Bytes of answer tokens in, whole characters out: leading white space dropped, cut at the stop text."""

    def __init__(self, on_text: Callable[[str], None], stop: str | None) -> None:
        self.text = ""
        self.stopped = False
        self._on_text = on_text
        self._stop = stop
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._shown = 0

    def feed(self, piece: bytes, final: bool = False) -> None:
        self.text = (self.text + self._decoder.decode(piece, final)).lstrip()
        if self._stop is not None and self._stop in self.text:
            self.text, self.stopped = self.text.split(self._stop, 1)[0], True
        # White space at the end is held back: the answer may end here, and is then stripped.
        shown = len(self.text.rstrip())
        if shown > self._shown:
            self._on_text(self.text[self._shown : shown])
            self._shown = shown

    def close(self) -> None:
        self.feed(b"", final=True)
