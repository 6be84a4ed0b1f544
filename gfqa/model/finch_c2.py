"""Finch-C2, GoldFinch's recurrent layer (arXiv 2407.12077, section 3): no gate, keys scaled by one minus the decay,
a second data-dependent value that replaces the bonus, layer norm over the whole width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gfqa.kernels.token_shift import ddlerp
from gfqa.kernels.wkv6 import finch_wkv
from gfqa.model.config import ModelConfig
from gfqa.model.layers import last_token, linear, parameter
from gfqa.model.state import BlockState


class FinchC2TimeMix(nn.Module):
    """W_o LN(wkv(r, k (1 - a), v) + v2); the ablation switches are `use_one_minus_w` and `use_v2`."""

    time_maa_x: nn.Parameter
    time_maa_r: nn.Parameter
    time_maa_k: nn.Parameter
    time_maa_v: nn.Parameter
    time_maa_w: nn.Parameter
    time_maa_v2: nn.Parameter

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, inner = config.n_embd, config.lora.shift
        self.n_head, self.floor = config.n_head, config.decay_floor
        self.use_one_minus_w, self.use_v2 = bool(config.use_one_minus_w), bool(config.use_v2)
        for name in ("x", "r", "k", "v", "w", "v2"):
            self.register_parameter(f"time_maa_{name}", parameter(1, 1, c))
        self.time_maa_w1 = parameter(c, 5 * inner)
        self.time_maa_w2 = parameter(5, inner, c)
        self.time_decay = parameter(1, 1, c)
        self.time_decay_w1 = parameter(c, config.lora.decay)
        self.time_decay_w2 = parameter(config.lora.decay, c)
        self.time_value2_w1 = parameter(c, config.lora.value2)
        self.time_value2_w2 = parameter(config.lora.value2, c)
        self.time_faaaa = parameter(self.n_head, config.head_size)
        self.receptance = linear(c, c)
        self.key = linear(c, c)
        self.value = linear(c, c)
        self.output = linear(c, c)
        self.ln_x = nn.LayerNorm(c)

    def forward(self, x: Tensor, state: BlockState, starts: Tensor | None) -> tuple[Tensor, BlockState]:
        """x [B, T, C] -> (output [B, T, C], state with wkv and att_shift)."""
        mixes = (self.time_maa_r, self.time_maa_k, self.time_maa_v, self.time_maa_w, self.time_maa_v2)
        x_r, x_k, x_v, x_w, x_v2 = ddlerp(
            x, state.att_shift, starts, self.time_maa_x, self.time_maa_w1, self.time_maa_w2, mixes
        )
        heads = (self.n_head, -1)
        y, wkv = finch_wkv(
            self.receptance(x_r).unflatten(-1, heads),
            self.key(x_k).unflatten(-1, heads),
            self.value(x_v).unflatten(-1, heads),
            (torch.tanh(x_w @ self.time_decay_w1) @ self.time_decay_w2).unflatten(-1, heads),
            self.time_decay.view(heads),
            None if self.use_v2 else self.time_faaaa.float(),
            state.wkv,
            starts=starts,
            floor=self.floor,
            scale_keys=self.use_one_minus_w,
        )
        y = y.flatten(-2)
        if self.use_v2:
            y = y + self.value(x_v2) + torch.tanh(x_v2 @ self.time_value2_w1) @ self.time_value2_w2
        out = self.output(self.ln_x(y))
        return out, BlockState(wkv=wkv, att_shift=last_token(x, state.att_shift), ffn_shift=state.ffn_shift)
