"""Finch, the RWKV-6 time mix (arXiv 2404.05892): data-dependent token shift and decay, per-head group norm, gate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfqa.kernels.token_shift import ddlerp
from gfqa.kernels.wkv6 import finch_wkv
from gfqa.model.config import ModelConfig
from gfqa.model.layers import last_token, linear, parameter
from gfqa.model.state import BlockState


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
        mixes = (self.time_maa_w, self.time_maa_k, self.time_maa_v, self.time_maa_r, self.time_maa_g)
        x_w, x_k, x_v, x_r, x_g = ddlerp(
            x, state.att_shift, starts, self.time_maa_x, self.time_maa_w1, self.time_maa_w2, mixes
        )
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
