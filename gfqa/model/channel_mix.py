"""Channel mixes: RWKV-6's squared-ReLU with a receptance gate, and Llama's SwiGLU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfqa.kernels.token_shift import lerp
from gfqa.model.config import ModelConfig
from gfqa.model.layers import last_token, linear, parameter


class FinchChannelMix(nn.Module):
    """sigmoid(W_r x_r) * W_v relu(W_k x_k)^2 with token-shifted inputs (RWKV-6)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.n_embd
        self.time_maa_k = parameter(1, 1, c)
        self.time_maa_r = parameter(1, 1, c)
        self.key = linear(c, config.ffn_width)
        self.receptance = linear(c, c)
        self.value = linear(config.ffn_width, c)

    def forward(self, x: Tensor, shift: Tensor | None, starts: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x [B, T, C], shift [B, C] or None -> (output [B, T, C], new shift)."""
        x_k, x_r = lerp(x, shift, starts, (self.time_maa_k, self.time_maa_r))
        hidden = torch.relu(self.key(x_k)).square()
        gate = torch.sigmoid(self.receptance(x_r))
        return gate * self.value(hidden), last_token(x, shift)


class LlamaChannelMix(nn.Module):
    """W2(silu(W1 x) * W3 x), hidden width 8C/3 rounded down to 32; `dim_ffn` is ignored as in the reference."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.n_embd
        hidden = c * 4 * 2 // 3 // 32 * 32
        self.w1 = linear(c, hidden)
        self.w2 = linear(hidden, c)
        self.w3 = linear(c, hidden)

    def forward(self, x: Tensor, shift: Tensor | None, starts: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """x [B, T, C] -> (output [B, T, C], None): it carries no state."""
        return self.w2(F.silu(self.w1(x)) * self.w3(x)), None


CHANNEL_MIXES: dict[str, type[FinchChannelMix] | type[LlamaChannelMix]] = {
    "x060": FinchChannelMix,
    "llama": LlamaChannelMix,
}
