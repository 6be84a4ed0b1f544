"""Decode steps for answers: one `DecodeStep` a memory, made for its first answer and loaded with the state of each later one.

Making a step costs more than it saves in a few tokens: its sixteen kernels are compiled in a process that never did, or read
from Triton's cache. So the first answer over a memory is read without one, unless it may be long, and a command that asks once
never makes one. Capturing a graph costs too, so the first tokens of a step are read without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

import torch

from gfqa.kernels.gold_attention import LatentTokens, SortedMemory
from gfqa.model.decode_graph import DecodeStep
from gfqa.model.state import ModelState

if TYPE_CHECKING:
    from gfqa.model.key_cache import KeyCache
    from gfqa.model.language_model import LanguageModel

CAPTURE_AFTER = 8
"""Tokens over a memory, of one answer or of several, that are read before the step is captured."""
AT_ONCE = 512
"""Room for so many tokens makes a step for the first answer over a memory; compiling one takes as long as some thousand."""
SMALLEST_CAPACITY = 1024
"""Own tokens that buffers have room for at least: a longer chain needs new ones, and a new graph."""

_steps: WeakKeyDictionary[KeyCache, DecodeStep] = WeakKeyDictionary()
_asked: WeakSet[KeyCache] = WeakSet()


def answer_steps(model: LanguageModel, cache: KeyCache, state: ModelState | None, room: int) -> DecodeStep | None:
    """A step that continues `state` over `cache` for `room` tokens, or None where `LanguageModel.decode` has to do it.

    The next call for the same cache takes the step over: an answer is finished before another begins.
    """
    config, device = model.config, model.emb.weight.device
    if not (state is not None and state.length and state.ids is not None and len(state.ids) == 1):
        return None
    if room < 2 or not steps_pay(device) or config.tmix not in ("x060", "x060c2") or config.rope is not None:
        return None
    layers = [layer for layer in cache.layers(model) if isinstance(layer, SortedMemory | LatentTokens)]
    if len(layers) != config.n_gold or not layers:
        return None
    first = cache not in _asked
    _asked.add(cache)
    if first and room < AT_ONCE:
        return None
    step = _steps.get(cache)
    if step is not None and step.model is model and step.capacity >= state.length + room:
        step.load(state)
        return step
    capacity = max(SMALLEST_CAPACITY, 1 << (state.length + room - 1).bit_length())
    step = DecodeStep(model, state, layers, capacity - state.length, capture_after=CAPTURE_AFTER)
    _steps[cache] = step
    return step


def steps_pay(device: torch.device) -> bool:
    """Whether a step in place is quicker: on a GPU, where a token's time is that of its launches."""
    return device.type == "cuda"
