"""What GOLD decode is measured beside: one decode step of a Llama of the same width and depth over a static cache.

Keys and values of one layer lie as [Hkv, S, N] in bfloat16 or float8 e4m3. Attention is either torch's scaled dot product
(which picks FlashAttention, memory-efficient or cuDNN) or a split-K kernel; the faster one is reported. Grouped queries of
one key head are rows of one product, so no key is read twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gfqa.kernels.gold_attention import triton as form
from gfqa.kernels.gold_attention import triton_kernels as kernels

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""q [Hkv, G, N], keys and values [Hkv, S, N] -> [Hkv, G, N]: unmasked."""

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


def sdpa(backend: str) -> Attention:
    """torch's attention with one of its backends."""

    def attend(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        with sdpa_kernel(BACKENDS[backend]):
            return F.scaled_dot_product_attention(q[None], keys[None], values[None])[0]

    return attend


def split_k(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The project's own split-K kernel; keys and values of any type, multiplied in bfloat16."""
    heads, group, n = q.shape
    q, keys, values = q[None], keys[None], values[None]
    length = keys.shape[2]
    n_tiles = -(-length // form.OWN_TILE)
    tiles, parts = form.shares(n_tiles, heads, 6, q.device)
    partials = form.Partials.empty(heads * group, parts, n, q.device)
    kernels.own_kernel[(heads, parts, 1)](
        q, keys, values, q, partials.peaks, partials.sums, partials.outs, length, tiles, parts, form.logit_factor(n), group,
        heads, *q.stride()[:3], *keys.stride()[:3], *values.stride()[:3], N=n, TILE=form.OWN_TILE, ROWS=16, LENGTH=False,
        CAUSAL=False, DTYPE=kernels.tl.bfloat16, PRECISION=form.precision(), num_warps=4,
    )  # fmt: skip
    return form.merge(partials, q)[0][0]


def candidates(dtype: torch.dtype) -> dict[str, Attention]:
    """The attentions that take keys of a type."""
    if dtype == torch.bfloat16:
        return {**{name: sdpa(name) for name in BACKENDS}, "split-K": split_k}
    return {"split-K": split_k}


def plain(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The definition, in float32, head by head."""
    out = []
    for head in range(len(q)):
        logits = q[head].float() @ keys[head].float().t() * q.shape[-1] ** -0.5
        out.append(torch.softmax(logits, dim=-1) @ values[head].float())
    return torch.stack(out)


@dataclass
class LlamaStep:
    """One token through a Llama of `layers` layers with random weights: RMS-free layer norms, RoPE left out (it is cheap and
    would only slow the peer down), SwiGLU of 8C/3, logits. The cache is not grown: one key in a million changes no time."""

    width: int
    layers: int
    heads: int
    key_heads: int
    vocab: int
    device: str
    caches: list[tuple[Tensor, Tensor]]
    attention: Attention

    def __post_init__(self) -> None:
        c, inner, n = self.width, self.width * 8 // 3 // 32 * 32, self.width // self.heads

        def weight(*shape: int) -> Tensor:
            return torch.randn(shape, device=self.device, dtype=torch.bfloat16) * shape[-1] ** -0.5

        self.qkv = [weight((self.heads + 2 * self.key_heads) * n, c) for _ in range(self.layers)]
        self.out = [weight(c, c) for _ in range(self.layers)]
        self.up = [weight(2 * inner, c) for _ in range(self.layers)]
        self.down = [weight(c, inner) for _ in range(self.layers)]
        self.head = weight(self.vocab, c)
        self.x = torch.randn(1, c, device=self.device, dtype=torch.bfloat16)

    def __call__(self) -> Tensor:
        c, n = self.width, self.width // self.heads
        x = self.x
        for layer, (keys, values) in enumerate(self.caches):
            qkv = F.layer_norm(x, (c,)) @ self.qkv[layer].t()
            q = qkv[:, : self.heads * n].view(self.key_heads, self.heads // self.key_heads, n)
            x = x + self.attention(q, keys, values).reshape(1, c) @ self.out[layer].t()
            gate, up = (F.layer_norm(x, (c,)) @ self.up[layer].t()).chunk(2, dim=-1)
            x = x + (F.silu(gate) * up) @ self.down[layer].t()
        return F.layer_norm(x, (c,)) @ self.head.t()


def make_cache(key_heads: int, length: int, n: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Random keys and values [Hkv, S, N], made head by head so that nothing wider than the cache is held for long."""
    pair = []
    for _ in range(2):
        rows = torch.empty((key_heads, length, n), dtype=dtype, device=device)
        for head in range(key_heads):
            rows[head] = torch.randn(length, n, device=device, dtype=torch.bfloat16).to(dtype)
        pair.append(rows)
    return pair[0], pair[1]
