"""One decode step with everything in place: the same launches on the same memory for every token, as one CUDA graph.

Where `LanguageModel.decode` returns new states of growing size, `DecodeStep` keeps them in buffers with room for the answer
and writes into those; another chain's state can be copied in, so that one graph serves every answer over a memory. On a GPU
the step is captured once and replayed; elsewhere the same code runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gfqa.kernels.wkv6 import register_operators
from gfqa.model.fused_step import Buffers, FusedStep, can_fuse
from gfqa.model.gold import GoldInputs, GoldTimeMix
from gfqa.model.language_model import LanguageModel, query_scale
from gfqa.model.layers import rms, split_heads
from gfqa.model.state import BlockState, ModelState
from gfqa.model.step_attention import Attend, Memory, StepAttention

SHIFTS, ROWS = ("att_shift", "ffn_shift"), ("keys", "values")
WARM_UP = 3
"""Steps before a capture: kernels are compiled and libraries make their workspaces outside the graph."""


class DecodeStep:
    """Continue a chain token by token over a memory that stays as it is.

    logits [V] float32 after a call is a buffer that the next call overwrites. mass [S] float32 sums, over the calls since the
    state was loaded, the mean over layers and heads of the probability on each memory token, in the order of the cache.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: LanguageModel,
        state: ModelState,
        layers: Sequence[Memory],
        room: int,
        *,
        want_mass: bool = True,
        attend: Attend | None = None,
        capture: bool | None = None,
        capture_after: int = 0,
        compiled: bool = False,
        fused: bool | None = None,
    ) -> None:
        """state: of a chain of one row (B = 1) with at least one token; layers: each GOLD layer's memory; room: new tokens.

        attend: the attention, by default Triton's on a GPU and the plain one elsewhere. capture: as a graph, by default on a
        GPU; capture_after: only once so many tokens were read. compiled: run blocks through torch.compile, which fuses their
        small operations. fused: run the launches of `FusedStep`, by default on a GPU for the models they compute.
        Raises ValueError for another kind of model than Finch and GOLD layers without RoPE, a state of several rows or of
        no token, or a wrong number of layers.
        """
        config = model.config
        if config.tmix not in ("x060", "x060c2"):
            raise ValueError(f"a decode step takes Finch layers below the GOLD layers, not {config.tmix}")
        if config.rope is not None or len(layers) != config.n_gold or not layers:
            raise ValueError(f"a model with {config.n_gold} GOLD layers cannot step over {len(layers)} memories")
        self.model, self._memory_tokens = model, len(layers[0])
        self.capacity = state.length + max(room, WARM_UP)
        self.device = model.emb.weight.device
        if fused is None:
            fused = self.device.type == "cuda" and not compiled
        fused = fused and can_fuse(config)
        # The fused launches work in float32; a shift that is rounded at every token is half of what they would be off by.
        self._blocks = self._buffers(torch.float32 if fused else model.emb.weight.dtype)
        width = config.n_embd
        self._o, self._kappa = (model.emb.weight.new_zeros(1, width) for _ in range(2))
        self._ids = torch.zeros((1, self.capacity), dtype=torch.long, device=self.device)
        self._compressed = torch.zeros((1, self.capacity, config.key_width), device=self.device)
        self._length = torch.zeros(1, dtype=torch.int32, device=self.device)
        self._token = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        self._attention = StepAttention(layers, self._own, self._length, config.n_head, want_mass, attend)
        self.logits = torch.zeros(config.vocab_size, device=self.device)
        parts: list[Callable[..., Any]] = [_finch_block, _before_attention, _after_attention]
        if compiled:
            register_operators()
            parts = [torch.compile(part, dynamic=False) for part in parts]
        self._finch_block, self._before_attention, self._after_attention = parts
        self._fused = FusedStep(model, self._shared(), self._attention, self._memory_tokens) if fused else None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._capture_after = capture_after if capture or (capture is None and self.device.type == "cuda") else None
        self._taken = 0
        self.load(state)
        self.left = room
        if self._capture_after == 0:
            self._capture()

    @torch.inference_mode()
    def __call__(self, token: int | Tensor) -> Tensor:
        """Read one more token, an id or a tensor of one id on the device: its logits [V]. ValueError when there is no room."""
        if self.left <= 0:
            raise ValueError("the decode step has no room for another token")
        self.left -= 1
        self._taken += 1
        if self._graph is None and self._capture_after is not None and self._taken > self._capture_after:
            self._capture()
        if isinstance(token, Tensor):
            self._token.copy_(token.view(1, 1))
        else:
            self._token.fill_(token)
        if self._graph is not None:
            self._graph.replay()
        else:
            self._step()
        return self.logits

    @torch.inference_mode()
    def mass(self, *, last: bool = True) -> Tensor:
        """[S] float32, see the class, with or without the last call's; zeros without want_mass."""
        return self._attention.mass(last)

    @torch.inference_mode()
    def load(self, state: ModelState) -> None:
        """Continue another chain: its state is copied, and left alone. ValueError where it is of no token or too long."""
        ids, keys, length = state.ids, state.compressed_keys, state.length
        if ids is None or keys is None or ids.shape[0] != 1 or not length:
            raise ValueError("a decode step continues one chain of at least one token")
        if length > self.capacity:
            raise ValueError(f"a decode step with room for {self.capacity} tokens cannot continue one of {length}")
        self._origin, self.left = state, self.capacity - length
        for buffer, block in zip(self._blocks, state.blocks, strict=True):
            for name in ("wkv", *SHIFTS, *ROWS):
                kept, part = getattr(buffer, name), getattr(block, name)
                if kept is not None:
                    (kept[:, :length] if name in ROWS else kept).copy_(part)
        self._ids[:, :length].copy_(ids)
        self._compressed[:, :length].copy_(keys)
        e = self.model.embed(ids[:, -1])
        self._o.copy_(rms(e))
        self._kappa.copy_(self.model.decompress(e, keys[:, -1]))
        self._length.fill_(length)
        self._attention.pooled.zero_()
        self._attention.total.zero_()

    @torch.inference_mode()
    def state(self) -> ModelState:
        """The chain's state after the tokens so far, its own copy: what `LanguageModel.decode` would have returned."""
        length, dtype = int(self._length), self.model.emb.weight.dtype

        def copied(part: Tensor | None, dtype: torch.dtype) -> Tensor | None:
            return None if part is None else part.to(dtype, copy=True)

        blocks = tuple(
            BlockState(
                copied(block.wkv, torch.float32),
                copied(block.att_shift, dtype),
                copied(block.ffn_shift, dtype),
                None if block.keys is None else block.keys[:, :length].clone(),
                None if block.values is None else block.values[:, :length].clone(),
            )
            for block in self._blocks
        )
        return replace(
            self._origin,
            blocks=blocks,
            ids=self._ids[:, :length].clone(),
            compressed_keys=self._compressed[:, :length].clone(),
        )

    def _buffers(self, shift_dtype: torch.dtype) -> list[BlockState]:
        """What each block carries: recurrent parts, and keys and values with room for `capacity` tokens."""
        config, weight = self.model.config, self.model.emb.weight
        square = (1, config.n_head, config.head_size, config.head_size)
        blocks = []
        self._own = weight.new_zeros(config.n_gold, 2, self.capacity, config.n_embd)
        for layer in range(config.n_layer):
            shift = weight.new_zeros(1, config.n_embd, dtype=shift_dtype)
            mixed = shift.clone() if config.channel_mix(layer) != "llama" else None
            if layer < config.n_layer - config.n_gold:
                blocks.append(BlockState(torch.zeros(square, device=self.device), shift, mixed))
            else:
                keys, values = self._own[layer - config.n_layer + config.n_gold].unsqueeze(1)
                blocks.append(BlockState(None, shift, mixed, keys, values))
        return blocks

    def _shared(self) -> Buffers:
        return Buffers(
            token=self._token, ids=self._ids, compressed=self._compressed, length=self._length, o=self._o,
            kappa=self._kappa, blocks=self._blocks, own=self._own, logits=self.logits,
        )  # fmt: skip

    def _step(self) -> None:
        if self._fused is not None:
            self._fused()
            return
        model, config = self.model, self.model.config
        e = model.embed(self._token)
        x = e
        for block, state in zip(model.blocks[: -config.n_gold], self._blocks):
            x, *new = self._finch_block(block, x, state.wkv, state.att_shift, state.ffn_shift)
            for old, part in zip((state.wkv, state.att_shift, state.ffn_shift), new, strict=True):
                if old is not None:
                    old.copy_(part)
        compressed = model.w_kv_cache_a(x).float()
        o, kappa = rms(e), model.decompress(e, compressed)
        place = self._length.long()
        self._ids.index_copy_(1, place, self._token)
        self._compressed.index_copy_(1, place, compressed)
        self._length += 1
        scale = None
        if config.length_scale is not None:
            scale = query_scale(self._length + self._memory_tokens, config.length_scale).view(1, 1)
        gold = GoldInputs(o, self._o.unsqueeze(1), kappa, self._kappa.unsqueeze(1), scale)
        for number, block in enumerate(model.blocks[-config.n_gold :]):
            x = self._gold_block(block, x, number, gold, place)
        self._o.copy_(o[:, 0])
        self._kappa.copy_(kappa[:, 0])
        self.logits.copy_(model.logits(x)[0, 0])

    def _gold_block(self, block: nn.Module, x: Tensor, number: int, inputs: GoldInputs, place: Tensor) -> Tensor:
        config = self.model.config
        state = self._blocks[config.n_layer - config.n_gold + number]
        assert state.keys is not None and state.values is not None  # noqa: PT018
        q, key, value, shift = self._before_attention(block, x, state.att_shift, inputs)
        state.keys.index_copy_(1, place, key)
        state.values.index_copy_(1, place, value)
        out = self._attention(number, split_heads(q, config.n_head))
        x, ffn_shift = self._after_attention(block, x, out, state.ffn_shift)
        for old, part in ((state.att_shift, shift), (state.ffn_shift, ffn_shift)):
            if old is not None:
                old.copy_(part)
        return x

    def _capture(self) -> None:
        """Run the step a few times and capture it; then the chain's state is put back."""
        kept = [tensor.clone() for tensor in self._state()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._step()
        for tensor, value in zip(self._state(), kept, strict=True):
            tensor.copy_(value)

    def _state(self) -> list[Tensor]:
        """Every tensor that a step changes and the next one reads; rows of keys beyond the length are not read."""
        parts = [part for block in self._blocks for part in (block.wkv, block.att_shift, block.ffn_shift)]
        kept = (self._o, self._kappa, self._length, self._attention.pooled, self._attention.total)
        return [*kept, *(part for part in parts if part is not None)]


def _finch_block(
    block: nn.Module, x: Tensor, wkv: Tensor | None, att_shift: Tensor | None, ffn_shift: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """One lower block over one token: (x, wkv, att_shift, ffn_shift)."""
    x, new = block(x, BlockState(wkv, att_shift, ffn_shift))
    return x, new.wkv, new.att_shift, new.ffn_shift


def _before_attention(
    block: Any, x: Tensor, shift: Tensor | None, inputs: GoldInputs
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A GOLD block up to its attention: scaled queries, new key and value [1, 1, C], the new shift [1, C]."""
    att = block.att
    assert isinstance(att, GoldTimeMix)
    z = block.ln1(x)
    q = att.queries(z, shift)
    if inputs.query_scale is not None:
        q = q * inputs.query_scale.unsqueeze(-1).to(q.dtype)
    key = att.keys(inputs.o, inputs.o_previous, inputs.kappa, inputs.kappa_previous)
    return q, key, att.values(inputs.o, inputs.o_previous), z[:, -1]


def _after_attention(block: Any, x: Tensor, out: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A GOLD block from its attention's output [1, H, 1, N] on: (x, ffn_shift)."""
    att = block.att
    assert isinstance(att, GoldTimeMix)
    mixed = x + att.output(att.ln_x(out.transpose(1, 2).flatten(-2)))
    ffn, shift = block.ffn(block.ln2(x if block.parallel else mixed), shift, None)
    return mixed + ffn, shift
