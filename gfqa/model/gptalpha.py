"""GPTAlpha (arXiv 2407.12077, section 4): a transformer layer with RWKV-6's token shift and normed q, k and v."""

from __future__ import annotations

from torch import Tensor, nn

from gfqa.kernels.token_shift.reference import shift_lora
from gfqa.model.attention import attend_own
from gfqa.model.config import ModelConfig
from gfqa.model.layers import last_token, linear, parameter, previous_token
from gfqa.model.state import BlockState


class GPTAlphaTimeMix(nn.Module):
    """W_o LN_x(softmax attention of LN(q), LN(k), LN(v)); the state holds k and v after their norms, before RoPE."""

    time_maa_x: nn.Parameter
    time_maa_r: nn.Parameter
    time_maa_k: nn.Parameter
    time_maa_v: nn.Parameter

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, inner = config.n_embd, config.lora.shift
        self.n_head, self.rope = config.n_head, config.rope
        for name in ("x", "r", "k", "v"):
            self.register_parameter(f"time_maa_{name}", parameter(1, 1, c))
        self.time_maa_w1 = parameter(c, 3 * inner)
        self.time_maa_w2 = parameter(3, inner, c)
        self.query = linear(c, c)
        self.key = linear(c, c)
        self.value = linear(c, c)
        self.output = linear(c, c)
        self.ln_r = nn.LayerNorm(c)
        self.ln_k = nn.LayerNorm(c)
        self.ln_v = nn.LayerNorm(c)
        self.ln_x = nn.LayerNorm(c)

    def forward(self, x: Tensor, state: BlockState, starts: Tensor | None) -> tuple[Tensor, BlockState]:
        """x [B, T, C] -> (output [B, T, C], state with keys and values of the whole chain)."""
        delta = previous_token(x, state.att_shift, starts) - x
        mix = shift_lora(x, delta, self.time_maa_x, self.time_maa_w1, self.time_maa_w2)
        q = self.ln_r(self.query(x + delta * (self.time_maa_r + mix[0])))
        k = self.ln_k(self.key(x + delta * (self.time_maa_k + mix[1])))
        v = self.ln_v(self.value(x + delta * (self.time_maa_v + mix[2])))
        out, keys, values = attend_own(q, k, v, state, self.n_head, self.rope)
        shift = last_token(x, state.att_shift)
        return self.output(self.ln_x(out)), BlockState(None, shift, state.ffn_shift, keys, values)
