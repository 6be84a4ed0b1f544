"""Llama attention as the reference has it: RoPE, no token shift, no grouped keys, biased layer norms around it."""

from __future__ import annotations

from torch import Tensor, nn

from gfqa.model.attention import attend_own
from gfqa.model.config import ModelConfig
from gfqa.model.layers import linear
from gfqa.model.state import BlockState


class LlamaTimeMix(nn.Module):
    """W_o softmax attention of W_q x, W_k x, W_v x."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.n_embd
        self.n_head, self.rope = config.n_head, config.rope
        self.wq = linear(c, c)
        self.wk = linear(c, c)
        self.wv = linear(c, c)
        self.wo = linear(c, c)

    def forward(self, x: Tensor, state: BlockState, starts: Tensor | None) -> tuple[Tensor, BlockState]:
        """x [B, T, C] -> (output [B, T, C], state with keys and values of the whole chain)."""
        out, keys, values = attend_own(self.wq(x), self.wk(x), self.wv(x), state, self.n_head, self.rope)
        return self.wo(out), BlockState(None, None, state.ffn_shift, keys, values)
