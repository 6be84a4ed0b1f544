"""Decode steps in bfloat16, plain and fused, each measured from float32 with the same weights: logits and greedy tokens.

Two forms in bfloat16 that differ by some percent say nothing of each other: both may be that far from the truth, or one only.
All begin with the state that float32 has after the question, and read the tokens that float32 chooses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from gfqa.kernels.testing import relative_error
from gfqa.model import KeyCache, LanguageModel
from gfqa.model.state import BlockState, ModelState


@dataclass
class Side:
    """One form's steps: relative errors of logits from float32's and from plain's, and where it would say another token.

    lost: float32's margin between its token and the form's, in units of the form's root-mean-square error at that step; 0 for
    the same token. Errors spread evenly over the logits, as with random weights, explain up to about 4.
    """

    errors: list[float] = field(default_factory=list)
    from_plain: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)

    def add(self, found: Tensor, truth: Tensor, plain: Tensor) -> None:
        """Logits [V] of one step."""
        self.errors.append(relative_error(found, truth))
        self.from_plain.append(relative_error(found, plain))
        margin = float(truth.max() - truth[int(found.argmax())])
        deviation = float((found - truth).double().square().mean().sqrt())
        self.lost.append(margin / deviation if margin else 0.0)

    def row(self) -> dict[str, Any]:
        """Means, the worst error, tokens that are the same, and the largest margin lost."""
        n = len(self.errors)
        return {
            "error": sum(self.errors) / n,
            "worst": max(self.errors),
            "from_plain": sum(self.from_plain) / n,
            "same": f"{sum(lost == 0 for lost in self.lost)}/{n}",
            "lost": max(self.lost),
        }


Step = Callable[[int], Tensor]
"""step(token): the logits [V] after one more token."""


class Plainly:
    """`LanguageModel.decode`, a token at a time."""

    def __init__(self, model: LanguageModel, state: ModelState, cache: KeyCache) -> None:
        self._model, self._cache = model, cache
        self._state = replace(state, blocks=tuple(self._narrowed(block) for block in state.blocks))

    @torch.inference_mode()
    def __call__(self, token: int) -> Tensor:
        ids = torch.tensor([[token]], device=self._model.emb.weight.device)
        logits, self._state = self._model.decode(ids, self._state, self._cache)
        return logits[0, 0]

    def _narrowed(self, block: BlockState) -> BlockState:
        """As the model's own type carries it."""
        names = ("att_shift", "ffn_shift", "keys", "values")
        parts = {name: getattr(block, name) for name in names}
        dtype = self._model.emb.weight.dtype
        return replace(block, **{name: part.to(dtype) for name, part in parts.items() if part is not None})


@torch.inference_mode()
def against_float32(
    model: LanguageModel, cache: KeyCache, question: Tensor, steps: int, forms: dict[str, Callable[[ModelState], Step]]
) -> dict[str, dict[str, Any]]:
    """`Side.row` of plain PyTorch and of every form (made of a state), over `steps` tokens after question [1, t]."""
    truth = copy.deepcopy(model).float()
    exact = KeyCache(cache.ids, cache.keys.float(), cache.chain_starts, form="materialised")
    logits, state = truth.decode(question, None, exact)
    tokens, expected, step = [int(logits[0, -1].argmax())], [], Plainly(truth, state, exact)
    for _ in range(steps):
        expected.append(step(tokens[-1]))
        tokens.append(int(expected[-1].argmax()))
    del truth, exact, step
    plain: list[Tensor] = []
    rows = {}
    sides = {
        "plain PyTorch": lambda state: Plainly(model, state, KeyCache(*_parts(cache), form="materialised")),
        **forms,
    }
    for name, make in sides.items():
        take, side = make(state), Side()
        found = [take(token).clone() for token in tokens[:steps]]
        plain = plain or found
        for logits in zip(found, expected, plain, strict=True):
            side.add(*logits)
        rows[name] = side.row()
    return rows


def _parts(cache: KeyCache) -> tuple[Tensor, Tensor, Tensor]:
    return cache.ids, cache.keys, cache.chain_starts
