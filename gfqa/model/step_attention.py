"""The attention of a decode step's new token: over each GOLD layer's memory and the chain's own rows, its mass summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gfqa.kernels.decode_step import launches
from gfqa.kernels.gold_attention import LatentTokens, SortedMemory, latent_tokens, runs_triton, triton_memory
from gfqa.model.layers import split_heads

Norm = tuple[Tensor, Tensor, float]
Memory = SortedMemory | LatentTokens
Attend = Callable[..., tuple[Tensor, Tensor, Tensor]]
"""attend(q, own_keys, own_values, memory, want_logits=, own_length=) as `triton.attend`."""


class StepAttention:
    """own: [G, 2, room, C], each layer's keys and values of the chain, of which length [1] are in use.

    pooled [S] float32: the last token's mass, the mean over layers and heads, in the order of the sorted memory; total [S]:
    that of the tokens before it.
    """

    def __init__(
        self,
        layers: Sequence[Memory],
        own: Tensor,
        length: Tensor,
        n_head: int,
        want_mass: bool,
        attend: Attend | None = None,
    ) -> None:
        """attend: by default Triton's on a GPU and the plain one elsewhere."""
        self._layers, self._own, self._length, self._n_head = list(layers), own, length, n_head
        self._want_mass = want_mass
        # A memory with keys needs no attention of its own in a fused step: the launches of a step have one.
        self._scans = attend is None and isinstance(layers[0], SortedMemory)
        self._attend = attend or _attention(layers[0], own.device)
        self._logits = torch.zeros(0, device=own.device)
        self._zero, self._one = (torch.full((n_head, 1), fill, device=own.device) for fill in (0.0, 1.0))
        self.pooled, self.total = (torch.zeros(len(layers[0]), device=own.device) for _ in range(2))

    def __call__(self, number: int, q: Tensor) -> Tensor:
        """Layer `number`'s attention of q [1, H, 1, N], the same shape."""
        keys, values = (split_heads(rows.unsqueeze(0), self._n_head) for rows in self._own[number])
        out, totals, logits = self._attend(
            q, keys, values, self._layers[number], want_logits=self._want_mass, own_length=self._length
        )
        if self._want_mass:
            self._pool(number, logits, totals)
        return out

    def partials(self, number: int, raw: Tensor, norm: Norm, scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Layer `number`'s attention of the norm of raw [C] float32, times scale [1], as `gold_scan` leaves it.

        Whoever merges it calls `settle`.
        """
        run, memory = launches(raw), self._layers[number]
        if self._scans:
            assert isinstance(memory, SortedMemory)
            logits = raw.new_empty(self._n_head, len(memory)) if self._want_mass else None
            if logits is not None:
                self._logits = logits
            return run.gold_scan(raw, norm, scale, self._own[number], self._length, memory, logits)
        q = self._own.new_empty(1, self._n_head, 1, len(raw) // self._n_head)
        run.query_norm(raw, norm, scale, q.view(-1))
        # One partial result a head, already merged.
        return self._zero, self._one, self(number, q)[0].contiguous()

    def settle(self, number: int, totals: Tensor) -> None:
        """Pool the mass of the partial results just merged; totals [H]: logarithms (powers of two) of their sums."""
        if self._want_mass and self._scans:
            self._pool(number, self._logits.unsqueeze(0), totals.view(1, -1, 1))

    def mass(self, last: bool) -> Tensor:
        """[S], in the order of the cache, with or without the last token's."""
        mass = torch.empty_like(self.pooled)
        mass[self._layers[0].order] = self.total + self.pooled if last else self.total
        return mass

    def _pool(self, number: int, logits: Tensor, totals: Tensor) -> None:
        """Add one layer's mass to this token's; the token before it is settled at the first layer."""
        share, first = 1 / (self._n_head * len(self._layers)), number == 0
        if runs_triton(logits):
            from gfqa.kernels.gold_attention import triton

            triton.pool_mass(logits, totals, self.pooled, share, self.total if first else None)
        else:
            if first:
                self.total += self.pooled
                self.pooled.zero_()
            self.pooled += share * torch.exp2(logits - totals).sum(dim=(0, 1))


def _attention(memory: Memory, device: torch.device) -> Attend:
    """The attention of a kind of memory on a device."""
    if device.type != "cuda":
        return triton_memory.plain_attend if isinstance(memory, SortedMemory) else latent_tokens.plain_attend
    # Imported on use: a platform without Triton still has the plain form.
    from gfqa.kernels.gold_attention import triton, triton_latent

    return triton.attend if isinstance(memory, SortedMemory) else triton_latent.attend
