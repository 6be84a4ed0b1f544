"""GOLD, GoldFinch's attention layer (arXiv 2407.12077, section 3): no key and no value matrix. Keys come from the
decompressed key cache, values from the token embeddings alone, both through a token shift and a low-rank pair.

o_t = rms(embedding_t); kappa_t is the decompressed key. The value of a token depends only on (id_{t-1}, id_t), its key on
those and (c_{t-1}, c_t); nothing depends on the query, so keys and values of cached tokens are computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gfqa.kernels.gold_attention import GoldMemory, gold_attention
from gfqa.model.config import ModelConfig
from gfqa.model.layers import last_token, linear, parameter, previous_token, rotate, split_heads
from gfqa.model.state import BlockState

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass
class GoldInputs:
    """What a GOLD layer needs beside the residual stream, the same for every layer of one call.

    o, o_previous, kappa, kappa_previous: [B, T, C] of the tokens whose keys and values are new.
    query_scale: [B, T] float32 factor on the queries, or None.
    """

    o: Tensor
    o_previous: Tensor
    kappa: Tensor
    kappa_previous: Tensor
    query_scale: Tensor | None = None
    first_position: int = 0


class GoldTimeMix(nn.Module):
    """W_o LN_x(softmax attention of LN_q(W_q x_q) over the keys and values of cached and own tokens)."""

    time_maa_x: nn.Parameter
    time_maa_q: nn.Parameter
    time_maa_v_cache: nn.Parameter
    time_maa_k: nn.Parameter
    time_maa_v: nn.Parameter

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, inner = config.n_embd, config.gold_lora
        self.n_head, self.rope = config.n_head, config.rope
        for name in ("x", "q", "v_cache", "k", "v"):
            self.register_parameter(f"time_maa_{name}", parameter(1, 1, c))
        self.time_maa_q_w1 = parameter(c, config.lora.query)
        self.time_maa_q_w2 = parameter(config.lora.query, c)
        self.time_maa_kv_w1 = parameter(c, 2 * config.lora.key_value)
        self.time_maa_kv_w2 = parameter(2, config.lora.key_value, c)
        self.time_key_w1 = parameter(c, inner)
        self.time_key_w2 = parameter(inner, c)
        self.time_value_w1 = parameter(c, inner)
        self.time_value_w2 = parameter(inner, c)
        self.query = linear(c, c)
        self.output = linear(c, c)
        self.ln_q = nn.LayerNorm(c)
        self.ln_k = nn.LayerNorm(c)
        self.ln_v = nn.LayerNorm(c)
        self.ln_x = nn.LayerNorm(c)

    def queries(self, x: Tensor, shift: Tensor | None, starts: Tensor | None = None) -> Tensor:
        """LN_q(W_q x_q) of LN1 of the stream, [B, T, C]."""
        delta = previous_token(x, shift, starts) - x
        mix = torch.tanh((x + delta * self.time_maa_x) @ self.time_maa_q_w1) @ self.time_maa_q_w2
        return self.ln_q(self.query(x + delta * (self.time_maa_q + mix)))

    def _mix(self, o: Tensor, delta: Tensor, which: int) -> Tensor:
        inner = self.time_maa_kv_w2.shape[1]
        w1 = self.time_maa_kv_w1[:, which * inner : (which + 1) * inner]
        return torch.tanh((o + delta * self.time_maa_v_cache) @ w1) @ self.time_maa_kv_w2[which]

    def keys(self, o: Tensor, o_previous: Tensor, kappa: Tensor, kappa_previous: Tensor) -> Tensor:
        """Keys [..., C] before RoPE; every argument [..., C]."""
        mixed = kappa + (kappa_previous - kappa) * (self.time_maa_k + self._mix(o, o_previous - o, 0))
        return self.ln_k(mixed + torch.tanh(mixed @ self.time_key_w1) @ self.time_key_w2)

    def values(self, o: Tensor, o_previous: Tensor) -> Tensor:
        """Values [..., C], a function of the token and the one before it."""
        delta = o_previous - o
        mixed = o + delta * (self.time_maa_v + self._mix(o, delta, 1))
        return self.ln_v(mixed + torch.tanh(mixed @ self.time_value_w1) @ self.time_value_w2)

    def forward(
        self,
        x: Tensor,
        state: BlockState,
        inputs: GoldInputs,
        memory: GoldMemory | None,
        attention: list[Tensor] | None,
    ) -> tuple[Tensor, BlockState]:
        """x [B, T, C] -> (output [B, T, C], state with the chain's own keys and values).

        Attends over `memory` (other chains, unordered) and causally over the chain's own tokens. `attention` collects the
        mass [B, H, S] of the last token on the memory. x may be only the last of the tokens of `inputs`.
        """
        q = split_heads(self.queries(x, state.att_shift), self.n_head)
        new_keys = self.keys(inputs.o, inputs.o_previous, inputs.kappa, inputs.kappa_previous)
        new_values = self.values(inputs.o, inputs.o_previous)
        keys = new_keys if state.keys is None else torch.cat((state.keys, new_keys), dim=1)
        values = new_values if state.values is None else torch.cat((state.values, new_values), dim=1)
        k = split_heads(keys, self.n_head)
        if self.rope is not None:
            q = rotate(q, self.rope, inputs.first_position + keys.shape[1] - x.shape[1])
            k = rotate(k, self.rope, inputs.first_position)
        if inputs.query_scale is not None:
            q = q * inputs.query_scale[:, None, -x.shape[1] :, None].to(q.dtype)
        out, mass = gold_attention(q, k, split_heads(values, self.n_head), memory, want_mass=attention is not None)
        if attention is not None and mass is not None:
            attention.append(mass)
        out = self.output(self.ln_x(out.transpose(1, 2).flatten(-2)))
        return out, BlockState(None, last_token(x, state.att_shift), state.ffn_shift, keys, values)

    def train_forward(self, x: Tensor, starts: Tensor | None, inputs: GoldInputs, attend: Attend) -> Tensor:
        """Packed rows: x [B, Tq, C] are the last Tq of the T positions of `inputs`; `attend` masks. -> [B, Tq, C]."""
        q = split_heads(self.queries(x, None, starts), self.n_head)
        if inputs.query_scale is not None:
            q = q * inputs.query_scale[:, None, :, None].to(q.dtype)
        k = split_heads(self.keys(inputs.o, inputs.o_previous, inputs.kappa, inputs.kappa_previous), self.n_head)
        v = split_heads(self.values(inputs.o, inputs.o_previous), self.n_head)
        return self.output(self.ln_x(attend(q, k, v).transpose(1, 2).flatten(-2)))
