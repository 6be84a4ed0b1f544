"""Prefill segment by segment: all lower layers over a few thousand tokens before the next ones, memory constant in length.

A segment's activations stay in a GPU's cache, and on a GPU whole segments are replayed as one CUDA graph with fixed buffers:
the first runs plainly, which warms everything up, the second is captured. On the CPU the same code runs uncaptured.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gfqa.errors import NotCacheable
from gfqa.kernels.wkv6 import CHUNK
from gfqa.model.language_model import LanguageModel
from gfqa.model.state import BlockState, empty_state

ACTIVATION_BYTES = 16 << 20
"""About what one activation of a segment takes on a GPU: a few of them fit into an H200's L2 cache of 50 MB."""

Finish = Callable[[Tensor], tuple[Tensor, ...]]


def segment_tokens(width: int) -> int:
    """Tokens of a segment on a GPU for a model width: a power of two from 4,096 to 32,768."""
    fitting = max(1, ACTIVATION_BYTES // (2 * width))
    return min(max(1 << (fitting.bit_length() - 1), 4096), 32768)


class SegmentReader:
    """One stream of tokens, read in pieces of at most `tokens` (a multiple of 64); the state stays inside.

    A stream is one chain, or many of which each begins at a multiple of 64 tokens (`starts`). Call under inference mode.
    finish: what becomes of the compressed keys [t, key_width] float32 while they are on the device, e.g. quantisation.
    Raises NotCacheable for a model with attention layers that keep every key.
    """

    def __init__(self, model: LanguageModel, tokens: int, finish: Finish = lambda keys: (keys,)) -> None:
        config, weight = model.config, model.emb.weight
        if any(config.time_mix(layer) in ("gptalpha", "llama") for layer in range(config.n_layer)):
            raise NotCacheable("This model has attention layers that keep every key: it cannot be ingested.")
        if tokens % CHUNK or tokens <= 0:
            raise ValueError(f"segments are a multiple of {CHUNK} tokens, not {tokens}")
        self.tokens = tokens
        self._model, self._finish = model, finish
        self._ids = torch.zeros(1, tokens, dtype=torch.long, device=weight.device)
        self._starts = torch.zeros(1, tokens, dtype=torch.bool, device=weight.device)
        lower = config.n_layer - config.n_gold
        square = (1, config.n_head, config.head_size, config.head_size)
        self._blocks = tuple(
            BlockState(
                wkv=torch.zeros(square, dtype=torch.float32, device=weight.device),
                att_shift=weight.new_zeros(1, config.n_embd),
                ffn_shift=weight.new_zeros(1, config.n_embd) if config.channel_mix(layer) != "llama" else None,
            )
            for layer in range(lower)
        )
        self._tail = weight.new_zeros(2 * config.n_gold, config.n_embd)
        self._seen = 0
        self._warm = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: tuple[Tensor, ...] = ()

    def read(self, ids: Tensor, starts: Tensor | None = None) -> tuple[Tensor, ...]:
        """Continue the stream with ids [t] (t <= tokens, any device): `finish` of their keys.

        starts: bool [t], True at the first token of each chain. On a GPU the result may be overwritten by the next call.
        """
        count = len(ids)
        self._ids[0, :count].copy_(ids, non_blocking=True)
        if starts is None:
            self._starts.zero_()
        else:
            self._starts[0, :count].copy_(starts, non_blocking=True)
        self._seen += count
        if count < self.tokens or not self._ids.is_cuda or not self._warm:
            self._warm = self._warm or count == self.tokens
            return self._run(self._ids[:, :count], self._starts[:, :count])
        if self._graph is None:
            # Capturing runs nothing; the replay below does.
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = self._run(self._ids, self._starts)
        self._graph.replay()
        return self._outputs

    def reset(self) -> None:
        """Forget what was read: the next token begins a chain."""
        for tensor in self._tensors().values():
            tensor.zero_()
        self._tail.zero_()
        self._seen = 0

    def restore(self, snapshot: dict[str, Tensor] | None) -> None:
        """Continue from a snapshot (as `LanguageModel.prefill_chained` gives them), or from nothing."""
        self.reset()
        if snapshot is None:
            return
        for name, tensor in self._tensors().items():
            tensor.copy_(snapshot[name].unsqueeze(0))
        tail = snapshot["tail"]
        self._seen = len(tail)
        self._tail[len(self._tail) - len(tail) :].copy_(tail)

    def snapshot(self) -> dict[str, Tensor]:
        """The state after what was read, float32 copies: what `LanguageModel.prefill_chained` gives, name by name."""
        after = {name: tensor[0].float().clone() for name, tensor in self._tensors().items()}
        after["tail"] = self._tail[max(len(self._tail) - self._seen, 0) :].float().clone()
        return after

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"block.{layer}.{name}": tensor
            for layer, block in enumerate(self._blocks)
            for name, tensor in (("wkv", block.wkv), ("att_shift", block.att_shift), ("ffn_shift", block.ffn_shift))
            if tensor is not None
        }

    def _run(self, ids: Tensor, starts: Tensor) -> tuple[Tensor, ...]:
        """Read ids [1, t] from the buffers' state and leave the state after them there."""
        model, gold = self._model, self._model.config.n_gold
        state = empty_state(model.config.n_layer)
        for layer, block in enumerate(self._blocks):
            state = state.with_block(layer, block)
        x, after = model.lower_half(model.embed(ids), state, starts)
        for old, new in zip(self._blocks, after, strict=True):
            for kept, value in ((old.wkv, new.wkv), (old.att_shift, new.att_shift), (old.ffn_shift, new.ffn_shift)):
                if kept is not None and value is not None:
                    kept.copy_(value)
        if not gold:
            return self._finish(x.new_zeros(ids.shape[1], 0, dtype=torch.float32))
        self._tail.copy_(torch.cat((self._tail, x[0]))[-len(self._tail) :])
        return self._finish(model.w_kv_cache_a(x)[0].float())
