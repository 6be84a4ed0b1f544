"""The language model: Finch layers read in linear time, GOLD layers attend over everything read.

`model(ids, state)` is the plain forward pass of one chain. `prefill` runs the Finch half only and gives the compressed keys;
`decode` continues a chain that also attends over a memory of other chains. `prefill_chained` and `resume` do the same for
the chained layout, where the whole corpus is one chain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gfqa.errors import ModelError, NotCacheable
from gfqa.kernels.gold_attention import GoldMemory
from gfqa.model.channel_mix import CHANNEL_MIXES
from gfqa.model.config import ModelConfig
from gfqa.model.finch import FinchTimeMix
from gfqa.model.finch_c2 import FinchC2TimeMix
from gfqa.model.gold import GoldInputs, GoldTimeMix
from gfqa.model.gptalpha import GPTAlphaTimeMix
from gfqa.model.key_cache import KeyCache
from gfqa.model.layers import linear, previous_token, rms
from gfqa.model.llama import LlamaTimeMix
from gfqa.model.pointer import Pointer
from gfqa.model.state import BlockState, ModelState, empty_state

TIME_MIXES: dict[str, type[nn.Module]] = {
    "x060": FinchTimeMix,
    "x060c2": FinchC2TimeMix,
    "gold": GoldTimeMix,
    "gptalpha": GPTAlphaTimeMix,
    "llama": LlamaTimeMix,
}


class Block(nn.Module):
    """x += att(LN1 x); x += ffn(LN2 x), or both from the same x with `parallel`. Block 0 also owns ln0."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(config.n_embd)
        self.ln1 = nn.LayerNorm(config.n_embd)
        self.ln2 = nn.LayerNorm(config.n_embd)
        self.att = TIME_MIXES[config.time_mix(layer)](config)
        self.ffn = CHANNEL_MIXES[config.channel_mix(layer)](config)
        self.parallel = bool(config.parallel)

    def forward(
        self, x: Tensor, state: BlockState, starts: Tensor | None = None, *gold: object
    ) -> tuple[Tensor, BlockState]:
        """x [B, T, C] and the block's state -> both after T tokens; `gold` is what a GOLD time mix needs besides."""
        if gold:
            out, new = self.att(self.ln1(x), state, *gold)
        else:
            out, new = self.att(self.ln1(x), state, starts)
        mixed = x + out
        ffn, shift = self.ffn(self.ln2(x if self.parallel else mixed), state.ffn_shift, starts)
        return mixed + ffn, replace(new, ffn_shift=shift)


class LanguageModel(nn.Module):
    """A model of the zoo. Shapes: B batch, T new tokens, S cached tokens, C width, V vocabulary."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Given its weight: the default initialisation costs seconds of imports on the meta device.
        self.emb = nn.Embedding(config.vocab_size, config.n_embd, _weight=torch.empty(config.vocab_size, config.n_embd))
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_out = nn.LayerNorm(config.n_embd)
        if not config.tie_embeddings:
            self.head = linear(config.n_embd, config.vocab_size)
        if config.n_gold:
            self.w_kv_cache_a = linear(config.n_embd, config.key_width)
            self.w_kv_cache_b = linear(config.key_width + config.n_embd, config.n_embd)
        if config.pointer_width:
            self.pointer = Pointer(config.n_embd, config.pointer_width)

    # Pieces

    def embed(self, ids: Tensor) -> Tensor:
        """LN0 of the embeddings: ids [...] -> [..., C]."""
        return self.blocks[0].ln0(self.emb(ids))  # type: ignore[operator]

    def decompress(self, e: Tensor, compressed: Tensor) -> Tensor:
        """kappa = rms(W_b [e ; c]): embeddings [..., C], compressed keys [..., key_width] -> [..., C]."""
        return rms(self.w_kv_cache_b(torch.cat((e, compressed.to(e.dtype)), dim=-1)))

    def gold_layers(self) -> list[GoldTimeMix]:
        """The GOLD time mixes, bottom first."""
        return [block.att for block in self.blocks if isinstance(block.att, GoldTimeMix)]

    def logits(self, x: Tensor) -> Tensor:
        """Stream [..., C] -> logits [..., V] float32."""
        weight = self.emb.weight if self.config.tie_embeddings else self.head.weight
        return nn.functional.linear(self.ln_out(x), weight).float()

    def lower_half(
        self, e: Tensor, state: ModelState, starts: Tensor | None = None
    ) -> tuple[Tensor, tuple[BlockState, ...]]:
        """All layers below the GOLD layers (every layer of a model without them): e [B, T, C] -> (x, their states)."""
        x, states = e, []
        for layer in range(self.config.n_layer - self.config.n_gold):
            x, block_state = self.blocks[layer](x, state.blocks[layer], starts)
            states.append(block_state)
        return x, tuple(states)

    # One chain

    def forward(self, ids: Tensor, state: ModelState | None = None) -> tuple[Tensor, ModelState]:
        """ids [B, T] of any integer type -> (logits [B, T, V] float32, the state after them). T may be 0."""
        return self._run(ids, state, None, None, last_only=False)

    def prefill(self, ids: Tensor, state: ModelState | None = None) -> tuple[Tensor, ModelState]:
        """Read ids [B, T] with the Finch half only: (compressed keys [B, T, key_width] float32, Finch-half state).

        Padding on the right changes nothing before it. Raises NotCacheable for a model without GOLD layers.
        """
        self._require_gold()
        state = state or empty_state(self.config.n_layer)
        x, blocks = self.lower_half(self.embed(ids.long()), state)
        rest = (BlockState(),) * self.config.n_gold
        return self.w_kv_cache_a(x).float(), ModelState(blocks=blocks + rest)

    def decode(
        self,
        ids: Tensor,
        state: ModelState | None,
        memory: KeyCache,
        attention: list[Tensor] | None = None,
        last_only: bool = False,
    ) -> tuple[Tensor, ModelState]:
        """Continue a chain with ids [B, T] whose GOLD layers also attend over `memory`, the other chains' tokens.

        Returns logits [B, T, V] ([B, 1, V] with `last_only`) float32 and the new state. Each GOLD layer appends to
        `attention` the probability mass [B, H, S] float32 of the last new token on the memory. `decode(ids, None, empty)`
        equals `model(ids)`. Raises NotCacheable for a model without GOLD layers.
        """
        self._require_gold()
        if len(memory):
            memory.layers(self)  # First: a GPU makes them while the lower half's launches are on their way.
        return self._run(ids, state, memory, attention, last_only)

    def _run(
        self,
        ids: Tensor,
        state: ModelState | None,
        memory: KeyCache | None,
        attention: list[Tensor] | None,
        last_only: bool,
    ) -> tuple[Tensor, ModelState]:
        ids = ids.long()
        state = state or empty_state(self.config.n_layer)
        e = self.embed(ids)
        x, blocks = self.lower_half(e, state)
        state = replace(state, blocks=blocks + state.blocks[len(blocks) :])
        if self.config.n_gold:
            compressed = self.w_kv_cache_a(x).float()
            x, state = self._upper_half(x, e, ids, compressed, state, memory, attention, last_only)
        else:
            state = replace(state, position=state.position + ids.shape[1])
        return self.logits(x[:, -1:] if last_only else x), state

    def _upper_half(
        self,
        x: Tensor,
        e: Tensor,
        ids: Tensor,
        compressed: Tensor,
        state: ModelState,
        memory: KeyCache | None,
        attention: list[Tensor] | None,
        last_only: bool = False,
    ) -> tuple[Tensor, ModelState]:
        """The GOLD layers over new tokens x [B, T, C], whose ids, embeddings and compressed keys are given.

        With `last_only` the output is right at the last position only, and has a few others before it.
        """
        config = self.config
        n_memory = len(memory) if memory is not None else 0
        o, kappa = rms(e), self.decompress(e, compressed)
        o_before, kappa_before = self._before(state)
        inputs = GoldInputs(
            o,
            previous_token(o, o_before),
            kappa,
            previous_token(kappa, kappa_before),
            self._query_scale(n_memory + state.length, ids),
            first_position=n_memory,
        )
        layers: Sequence[GoldMemory] = memory.layers(self) if memory is not None and n_memory else []
        states = list(state.blocks)
        for i, layer in enumerate(range(config.n_layer - config.n_gold, config.n_layer)):
            if last_only:
                # Keys and values do not come from the stream, so a block reaches back by its two token shifts only.
                x = x[:, -(2 * (config.n_layer - layer) + 1) :]
            x, states[layer] = self.blocks[layer](
                x, states[layer], None, inputs, layers[i] if layers else None, attention
            )
        if state.ids is not None and state.compressed_keys is not None:
            ids = torch.cat((state.ids, ids), dim=1)
            compressed = torch.cat((state.compressed_keys, compressed), dim=1)
        return x, replace(state, blocks=tuple(states), ids=ids, compressed_keys=compressed)

    def _before(self, state: ModelState) -> tuple[Tensor | None, Tensor | None]:
        """o and kappa of the token before the next one, [B, C]; None at the start of a chain."""
        if state.length and state.ids is not None and state.compressed_keys is not None:
            id_before, key_before = state.ids[:, -1], state.compressed_keys[:, -1]
        elif state.previous_id is not None and state.previous_key is not None:
            id_before, key_before = state.previous_id, state.previous_key
        else:
            return None, None
        e = self.embed(id_before)
        return rms(e), self.decompress(e, key_before)

    def _query_scale(self, n_before: int, ids: Tensor) -> Tensor | None:
        """log(visible keys) / log(length_scale) for each new token, [B, T] float32; None where the model has no scale."""
        if self.config.length_scale is None:
            return None
        visible = torch.arange(n_before + 1, n_before + ids.shape[1] + 1, device=ids.device, dtype=torch.float32)
        return query_scale(visible, self.config.length_scale).expand(ids.shape)

    # The chained layout

    def prefill_chained(
        self, ids: Tensor, snapshot: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Read ids [1, T] as the continuation of one chain: (compressed keys [T, key_width], snapshot after them).

        The snapshot holds float32 tensors: every lower layer's state and `tail` [min(2G, tokens), C], the lower half's
        output at the last positions, which `resume` needs because each GOLD block reaches back two tokens.
        """
        if any(self.config.time_mix(layer) in ("gptalpha", "llama") for layer in range(self.config.n_layer)):
            raise NotCacheable("This model has attention layers that keep every key: it cannot be ingested.")
        e = self.embed(ids.long())
        x, blocks = self.lower_half(e, self._state_of(snapshot))
        after = {
            f"block.{layer}.{name}": value[0].float()
            for layer, block in enumerate(blocks)
            for name, value in (("wkv", block.wkv), ("att_shift", block.att_shift), ("ffn_shift", block.ffn_shift))
            if value is not None
        }
        reach = 2 * self.config.n_gold
        tail = x[0].float()
        if snapshot is not None:
            tail = torch.cat((snapshot["tail"], tail))
        after["tail"] = tail[max(len(tail) - reach, 0) :]
        keys = self.w_kv_cache_a(x)[0].float() if reach else x.new_zeros(ids.shape[1], 0)
        return keys, after

    def resume(self, cache: KeyCache, snapshot: dict[str, Tensor]) -> tuple[ModelState, KeyCache]:
        """The state at the end of a chained corpus, and the memory that goes with it.

        cache: every token of the one chain, in order. The GOLD layers run over the tail, causally; the tail's keys become
        the chain's own, and the returned memory is the rest.
        """
        state = self._state_of(snapshot)
        tail = snapshot["tail"]
        n, n_tail = len(cache), len(tail)
        if not self.config.n_gold:
            return replace(state, position=n), KeyCache.empty(0, cache.ids.device)
        if n_tail != min(2 * self.config.n_gold, n):
            raise ModelError(f"The snapshot's tail has {n_tail} positions, which does not fit this model.")
        return self._resume_tail(cache, state, tail)

    def _resume_tail(self, cache: KeyCache, state: ModelState, tail: Tensor) -> tuple[ModelState, KeyCache]:
        n, n_tail = len(cache), len(tail)
        cut = n - n_tail
        memory = cache.part(slice(cut), cache.chain_starts[: 1 if cut else 0])
        device = self.emb.weight.device
        if cut:
            state = replace(
                state,
                previous_id=cache.ids[cut - 1 : cut].to(device),
                previous_key=cache.part(slice(cut - 1, cut), cache.chain_starts[:0]).keys.to(device),
            )
        ids = cache.ids[cut:].unsqueeze(0).to(device)
        keys = cache.part(slice(cut, None), cache.chain_starts[:0]).keys.unsqueeze(0).to(device)
        x = tail.unsqueeze(0).to(device=device, dtype=self.emb.weight.dtype)
        _, state = self._upper_half(x, self.embed(ids), ids, keys, state, memory, None)
        return state, memory

    def _state_of(self, snapshot: dict[str, Tensor] | None) -> ModelState:
        state = empty_state(self.config.n_layer)
        if snapshot is None:
            return state
        weight = self.emb.weight
        for layer in range(self.config.n_layer - self.config.n_gold):
            part = {
                name: snapshot[f"block.{layer}.{name}"].unsqueeze(0).to(weight.device)
                for name in ("wkv", "att_shift", "ffn_shift")
                if f"block.{layer}.{name}" in snapshot
            }
            state = state.with_block(layer, BlockState(**part))
        return state

    def _require_gold(self) -> None:
        if not self.config.n_gold:
            raise NotCacheable("This model has no GOLD layers, so it leaves no compressed keys to cache.")


def query_scale(visible: Tensor, reference: float) -> Tensor:
    """log(visible) / log(reference), held between 1/2 and 4: attention over more keys needs sharper logits."""
    return (visible.float().log() / math.log(reference)).clamp(0.5, 4.0)
