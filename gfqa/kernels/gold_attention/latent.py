"""The latent form of a GOLD layer's memory: no key is held, the query is absorbed instead. Exact, and small.

With E_t the unigram's part and c_t the compressed key of kappa_t = s_t (E_t + W_c c_t), g_b the mix of bigram b = (t-1, t),
affine in the bigram's z_b (r of about 32), and tau_t = tanh of the key LoRA's inside, the key before its layer norm is
    k''_t = (1 - g_b) kappa_t + g_b kappa_(t-1) + B tau_t.
A logit is linear in k'' up to the norm's mean and deviation, so q . k'' splits into q (1 - g_b) E_t and its like, contracted
with z_b once a bigram; (W_c^T q g_b) . c_t, a query of the compressed width; and (B^T q) . tau_t. Neither order nor position
enters, so tokens lie sorted by bigram and each bigram's absorbed query is made once.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gfqa.kernels.gold_attention.scan import Bigrams, padded

TILE = 8192
"""Tokens of one step of the scan."""


@dataclass(frozen=True)
class SharedLatents:
    """What all layers' latents have in common; tokens [S] sorted by bigram.

    unigram: [V', C], E of each distinct id, and a row of zeros for the predecessor of a chain's first token.
    first, second: [U] int64, each bigram's rows of `unigram`: its predecessor's and its own. bigram: [S] int64.
    c, c_before: [S, w], compressed keys times s; s, s_before: [S, 1]. w_c: [C, w].
    """

    unigram: Tensor
    first: Tensor
    second: Tensor
    bigram: Tensor
    c: Tensor
    c_before: Tensor
    s: Tensor
    s_before: Tensor
    w_c: Tensor


@dataclass(frozen=True)
class LatentMemory:
    """One layer. tau: [S, R]; mean, deviation: [S, 1] of k'', deviation its reciprocal; z: [U, r]. All sorted by bigram.

    mix: [C], mix_w: [r, C] with g_b = mix + z_b mix_w; lora: [R, C], the key LoRA's second matrix; gain, bias: [C] of the
    layer norm on keys.
    """

    shared: SharedLatents
    bigrams: Bigrams
    tau: Tensor
    mean: Tensor
    deviation: Tensor
    z: Tensor
    mix: Tensor
    mix_w: Tensor
    lora: Tensor
    gain: Tensor
    bias: Tensor

    def memory_bytes(self) -> int:
        held = (self.tau, self.mean, self.deviation, self.z, self.bigrams.values)
        return sum(t.numel() * t.element_size() for t in held)

    def logits(self, query: Tensor) -> Tensor:
        """See `Scores.logits`."""
        n_rows, n_head, width = query.shape
        shared, order = self.shared, self.bigrams.order
        # [H, R, N], the norm's gain folded in; its bias gives every token of a head the same logit.
        q = (query * self.gain.view(n_head, width)).transpose(0, 1)
        constant = (query * self.bias.view(n_head, width)).sum(dim=-1).t().flatten()
        sums = q.sum(dim=-1).flatten()
        mix, rank = self.mix.view(n_head, 1, width), len(self.mix_w)
        q_now, q_before = q * (1 - mix), q * mix
        # [H, R * r, N]: the mix's queries have one more axis r behind the row's.
        q_mix = (q.unsqueeze(2) * self.mix_w.view(rank, n_head, 1, width).permute(1, 2, 0, 3)).flatten(1, 2)
        w_c, unigram, columns = shared.w_c.t(), shared.unigram, (n_head * n_rows, rank)
        tau_query = _absorb(self.lora, q)
        c_now, c_before = _absorb(w_c, q_now), _absorb(w_c, q_before)
        c_mix = _absorb(w_c, q_mix).unflatten(1, columns).permute(2, 1, 0).flatten(1)
        e_now, e_before = _absorb(unigram, q_now), _absorb(unigram, q_before)
        e_mix = _absorb(unigram, q_mix).unflatten(1, columns)
        out = query.new_empty(padded(len(order)), n_head * n_rows)
        for start in range(0, len(order), TILE):
            tile = slice(start, min(start + TILE, len(order)))
            low, high = int(shared.bigram[tile][0]), int(shared.bigram[tile][-1]) + 1
            z, first, second = self.z[low:high], shared.first[low:high], shared.second[low:high]
            bigram = shared.bigram[tile] - low
            # Once a bigram: the unigrams' parts, and what the mix adds to the absorbed query.
            e1 = e_now[second] - (e_mix[second] @ z.unsqueeze(-1)).squeeze(-1)
            e2 = e_before[first] + (e_mix[first] @ z.unsqueeze(-1)).squeeze(-1)
            a = (z @ c_mix).unflatten(-1, (columns[0], -1))
            c, c_prev = shared.c[tile], shared.c_before[tile]
            dot = self.tau[tile].to(tau_query.dtype) @ tau_query
            dot += c @ c_now + c_prev @ c_before
            dot += (a[bigram] @ (c_prev - c).unsqueeze(-1)).squeeze(-1)
            dot += shared.s[tile] * e1[bigram] + shared.s_before[tile] * e2[bigram]
            out[order[tile]] = (dot - self.mean[tile] * sums) * self.deviation[tile] + constant
        return out


def _absorb(rows: Tensor, query: Tensor) -> Tensor:
    """rows [n, H * N] times query [H, R, N], head by head -> [n, H * R]."""
    n_head, _, width = query.shape
    by_head = rows.unflatten(-1, (n_head, width)).transpose(0, 1)
    return (by_head @ query.transpose(1, 2)).transpose(0, 1).flatten(1)
