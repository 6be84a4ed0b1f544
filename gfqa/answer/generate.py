"""The decode loop: a question chain against the memory, one greedy token at a time, with the mass each put on the documents."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gfqa.answer import prompt


class Pieces(prompt.Encoder, Protocol):
    """What the decode loop needs of a tokenizer."""

    def piece_bytes(self, id: int, /) -> bytes: ...


Decode = Callable[[Tensor, Any, list[Tensor]], tuple[Tensor, Any]]
"""decode(ids [1, T], state, attention) -> (logits [1, 1 or T, V], state); each GOLD layer appends its mass [1, H, S]."""


@dataclass(frozen=True)
class Generated:
    """An answer. text: stripped, "" when not found; score: 0..1.

    mass, looked: attention mass [S] float32 on the CPU, None without GOLD layers: of the answer's tokens (of the question where
    nothing was found), and of the question's last token, when the model looked for the place and had written nothing yet.
    """

    text: str
    ids: tuple[int, ...]
    found: bool
    score: float
    mass: Tensor | None
    looked: Tensor | None = None


@torch.inference_mode()
def generate(
    decode: Decode,
    tokenizer: Pieces,
    question: Sequence[int],
    state: Any = None,
    *,
    device: str = "cpu",
    max_tokens: int = 64,
    on_text: Callable[[str], None] = lambda chunk: None,
    accept: Callable[[float], bool] | None = None,
) -> Generated:
    """Answer the question chain `question`, continuing `state` (None: a chain of its own), greedily and deterministically.

    on_text receives the answer's text piece by piece, whole characters only. The score is the probability that the first
    token is not <none>; where the tokenizer has no <none>, the geometric mean of the tokens' probabilities. Found is what
    `accept` says of that first score; without it, that another first token is likelier than <none>.
    """
    none = tokenizer.control.get("none")
    stops, stop_text = prompt.stop_ids(tokenizer), prompt.stop_text(tokenizer)
    banned = torch.tensor(prompt.forbidden_ids(tokenizer), dtype=torch.long, device=device)
    # An answer without text says nothing: "not found" has a token of its own.
    first_banned = torch.tensor(sorted(stops), dtype=torch.long, device=device)
    text = _TextStream(on_text, stop_text)
    pooled: Tensor | None = None
    looked: Tensor | None = None
    score, log_probability = 0.0, 0.0
    ids: list[int] = []
    step = list(question)
    while len(ids) < max_tokens and not text.stopped:
        attention: list[Tensor] = []
        logits, state = decode(torch.tensor([step], device=device), state, attention)
        row = torch.log_softmax(logits[0, -1].float(), dim=-1)
        if not ids and attention:
            looked = pool_attention(attention).float().cpu()
        if not ids and none is not None:
            score = -math.expm1(float(row[none]))
            if int(row.argmax()) == none if accept is None else not accept(score):
                return Generated("", (), False, score, looked, looked)
        allowed = row.index_fill(0, banned, -math.inf)
        if not ids:
            allowed = allowed.index_fill(0, first_banned, -math.inf)
        token = int(allowed.argmax())
        if token in stops:
            break
        ids.append(token)
        log_probability += float(row[token])
        if attention:
            mass = pool_attention(attention)
            pooled = mass if pooled is None else pooled + mass
        text.feed(tokenizer.piece_bytes(token))
        step = [token]
    text.close()
    if none is None:
        score = math.exp(log_probability / max(1, len(ids)))
    mass_on_cpu = None if pooled is None else pooled.float().cpu()
    return Generated(text.text.strip(), tuple(ids), True, min(max(score, 0.0), 1.0), mass_on_cpu, looked)


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
