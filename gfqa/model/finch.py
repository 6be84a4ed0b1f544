"""Finch, the RWKV-6 time mix (arXiv 2404.05892): data-dependent token shift and decay, per-head group norm, gate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfqa.kernels.wkv6 import finch_wkv
from gfqa.model.config import ModelConfig
from gfqa.model.layers import last_token, linear, parameter, previous_token
from gfqa.model.state import BlockState


def shift_lora(x: Tensor, delta: Tensor, mix: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """The data-dependent part of the shift: x, delta [B, T, C], w1 [C, G*inner], w2 [G, inner, C] -> [G, B, T, C]."""
    hidden = torch.tanh((x + delta * mix) @ w1)
    hidden = hidden.unflatten(-1, (w2.shape[0], -1))
    return torch.einsum("btgi,gic->gbtc", hidden, w2.to(hidden.dtype))


class FinchTimeMix(nn.Module):
    """y_t = r_t (S + u k_t v_t), S <- a_t S + k_t v_t; W_o(group_norm(y) * silu(g))."""

    time_maa_x: nn.Parameter
    time_maa_w: nn.Parameter
    time_maa_k: nn.Parameter
    time_maa_v: nn.Parameter
    time_maa_r: nn.Parameter
    time_maa_g: nn.Parameter

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, inner = config.n_embd, config.lora.shift
        self.n_head, self.floor = config.n_head, config.decay_floor
        for name in ("x", "w", "k", "v", "r", "g"):
            self.register_parameter(f"time_maa_{name}", parameter(1, 1, c))
        self.time_maa_w1 = parameter(c, 5 * inner)
        self.time_maa_w2 = parameter(5, inner, c)
        self.time_decay = parameter(1, 1, c)
        self.time_decay_w1 = parameter(c, config.lora.decay)
        self.time_decay_w2 = parameter(config.lora.decay, c)
        self.time_faaaa = parameter(self.n_head, config.head_size)
        self.receptance = linear(c, c)
        self.key = linear(c, c)
        self.value = linear(c, c)
        self.gate = linear(c, c)
        self.output = linear(c, c)
        self.ln_x = nn.GroupNorm(self.n_head, c, eps=1e-5 * config.head_size_divisor**2)

    def forward(self, x: Tensor, state: BlockState, starts: Tensor | None) -> tuple[Tensor, BlockState]:
        """x [B, T, C] -> (output [B, T, C], state with wkv and att_shift)."""
        delta = previous_token(x, state.att_shift, starts) - x
        mix = shift_lora(x, delta, self.time_maa_x, self.time_maa_w1, self.time_maa_w2)
        x_w = x + delta * (self.time_maa_w + mix[0])
        x_k = x + delta * (self.time_maa_k + mix[1])
        x_v = x + delta * (self.time_maa_v + mix[2])
        x_r = x + delta * (self.time_maa_r + mix[3])
        x_g = x + delta * (self.time_maa_g + mix[4])
        heads = (self.n_head, -1)
        y, wkv = finch_wkv(
            self.receptance(x_r).unflatten(-1, heads),
            self.key(x_k).unflatten(-1, heads),
            self.value(x_v).unflatten(-1, heads),
            (torch.tanh(x_w @ self.time_decay_w1) @ self.time_decay_w2).unflatten(-1, heads),
            self.time_decay.view(heads),
            self.time_faaaa.float(),
            state.wkv,
            starts=starts,
            floor=self.floor,
        )
        normed = self.ln_x(y.flatten(-2).flatten(0, 1)).view_as(x)
        out = self.output(normed.to(x.dtype) * F.silu(self.gate(x_g)))
        return out, BlockState(wkv=wkv, att_shift=last_token(x, state.att_shift), ffn_shift=state.ffn_shift)
