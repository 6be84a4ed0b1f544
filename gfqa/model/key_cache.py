"""The compressed key cache in memory: token ids and one key of width C / ratio per token, and what GOLD layers derive.

Storage forms of keys: float32, bfloat16, or int8 with one float16 scale per token. `rounded` applies a form's rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfqa.kernels.gold_attention import GoldMemory, LayerMemory, Scores
from gfqa.model.gold_memory import Tokens, exact_memory, latent_memory, quantised_memory
from gfqa.model.gold_plan import choose_form, form_bytes, kernels_take
from gfqa.model.gpu_memory import distinct_tokens, sorted_memory
from gfqa.model.gpu_memory import latent_memory as latent_tokens
from gfqa.model.layers import rms, rotate

if TYPE_CHECKING:
    from gfqa.model.language_model import LanguageModel

MAKERS: dict[str, Callable[[LanguageModel, Tokens, Tensor], list[Scores]]] = {
    "float32": exact_memory,
    "int8": quantised_memory,
    "latent": latent_memory,
    "latent16": partial(latent_memory, held=torch.bfloat16),
}
GPU_MAKERS: dict[str, Callable[..., Sequence[GoldMemory]]] = {"sorted": sorted_memory, "latent8": latent_tokens}
PREPARE_CHUNK = 16384
FLOAT32_MEMORY_BYTES = 4 << 30
"""Above this, or above the budget, materialised keys are held in bfloat16."""


def quantise_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Keys [..., key_width] to (int8 of the same shape, float16 scale [...]); a key is about int8 * scale.

    The scale is rounded to float16 before the division, so that the stored pair reproduces the rounding exactly.
    """
    peak = keys.float().abs().amax(dim=-1)
    # The smallest normal float16 keeps a zero key from dividing by zero; the clamp holds a rounded-down scale in range.
    scale = (peak / 127).clamp(min=6.2e-5).to(torch.float16)
    codes = torch.round(keys.float() / scale.float().unsqueeze(-1)).clamp(-127, 127).to(torch.int8)
    return codes, scale


def dequantise_keys(codes: Tensor, scale: Tensor) -> Tensor:
    """(int8 [..., key_width], float16 [...]) to float32 keys."""
    return codes.float() * scale.float().unsqueeze(-1)


def rounded(keys: Tensor, key_dtype: str) -> Tensor:
    """Keys as they come back from the storage form `key_dtype` (int8, bfloat16, float32), float32."""
    if key_dtype == "int8":
        return dequantise_keys(*quantise_keys(keys))
    return keys.to(torch.bfloat16).float() if key_dtype == "bfloat16" else keys.float()


class KeyCache:
    """Cached tokens of other chains: the memory that GOLD layers attend over.

    ids [S] int64, keys [S, key_width] float32 or, with scales [S] float16, int8, chain_starts [n] int64 ascending: the first
    token of each chain, whose predecessor is the zero vector. Without RoPE the order of chains does not matter. What the layers
    attend over is derived once, at the first use, and kept, in the form that `plan` chooses: memory_budget bounds its bytes
    (None: no bound), and `form` names one instead. `layers` raises ModelError where no form fits.
    """

    def __init__(
        self,
        ids: Tensor,
        keys: Tensor,
        chain_starts: Tensor,
        *,
        scales: Tensor | None = None,
        memory_budget: int | None = None,
        form: str | None = None,
    ) -> None:
        if ids.dim() != 1 or keys.dim() != 2 or len(ids) != len(keys):
            raise ValueError(f"ids {tuple(ids.shape)} and keys {tuple(keys.shape)} do not belong together")
        self.ids, self.chain_starts = ids.long(), chain_starts.long()
        self.codes, self.scales = keys, scales
        self.memory_budget, self.form = memory_budget, form
        self._prepared: Sequence[GoldMemory] | None = None

    @classmethod
    def empty(cls, key_width: int, device: str | torch.device = "cpu") -> KeyCache:
        nothing = torch.zeros(0, dtype=torch.long, device=device)
        return cls(nothing, torch.zeros(0, key_width, device=device), nothing)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def keys(self) -> Tensor:
        """The compressed keys as numbers, [S, key_width]; made anew where codes and scales are held."""
        return self.codes if self.scales is None else dequantise_keys(self.codes, self.scales)

    def part(self, rows: slice | Tensor, chain_starts: Tensor) -> KeyCache:
        """The cache of some of the tokens, whose chains begin at `chain_starts` among them."""
        return KeyCache(
            self.ids[rows],
            self.codes[rows],
            chain_starts,
            scales=None if self.scales is None else self.scales[rows],
            memory_budget=self.memory_budget,
            form=self.form,
        )

    def layers(self, model: LanguageModel) -> Sequence[GoldMemory]:
        """What each GOLD layer attends over, for the one model this cache is used with."""
        if self._prepared is None:
            self._prepared = _prepare(model, self)
        return self._prepared

    def prepared_bytes(self) -> int:
        """Bytes that `layers` holds for the layers, 0 before its first use."""
        return sum(layer.memory_bytes() for layer in self._prepared or [])


@torch.no_grad()
def _prepare(model: LanguageModel, cache: KeyCache) -> Sequence[GoldMemory]:
    weight, n = model.emb.weight, len(cache)
    if n == 0:
        return []
    on_gpu = weight.device.type == "cuda"
    if cache.form in GPU_MAKERS or (on_gpu and cache.form is None and kernels_take(model.config, weight.dtype)):
        distinct = distinct_tokens(model, cache)
        form = cache.form or choose_form(
            model.config, n, len(distinct.pairs), weight.dtype, weight.device, cache.memory_budget
        )
        return GPU_MAKERS[form](model, cache, tokens=distinct)
    if cache.form != "materialised" and weight.device.type == "cpu" and model.config.rope is None:
        tokens = Tokens.of(cache.ids.cpu(), cache.chain_starts.cpu(), model.config.vocab_size)
        form = cache.form or choose_form(
            model.config, n, len(tokens.first), weight.dtype, weight.device, cache.memory_budget
        )
        if form != "materialised":
            return MAKERS[form](model, tokens, cache.keys.cpu())
    return _materialised(model, cache)


@torch.no_grad()
def _materialised(model: LanguageModel, cache: KeyCache) -> list[LayerMemory]:
    device, dtype = model.emb.weight.device, model.emb.weight.dtype
    ids, keys = cache.ids.to(device), cache.keys.to(device=device, dtype=dtype)
    config, n = model.config, len(cache.ids)
    begins = torch.zeros(n, dtype=torch.bool, device=device)
    begins[cache.chain_starts.to(device)] = True
    # Bigrams: the predecessor of a chain's first token is the zero vector, written as id -1.
    before = torch.where(begins, -1, torch.cat((ids[:1], ids[:-1])))
    codes = (before + 1) * config.vocab_size + ids
    unique, bigram = torch.unique(codes, return_inverse=True)
    choose_form(config, n, len(unique), dtype, device, cache.memory_budget)  # Raises where it does not fit.
    bound = min(FLOAT32_MEMORY_BYTES, cache.memory_budget or FLOAT32_MEMORY_BYTES)
    if form_bytes("float32", config, n, len(unique), torch.float32) > bound and dtype == torch.float32:
        held = torch.bfloat16
    else:
        held = dtype
    heads = (config.n_head, config.head_size)
    stacks: list[list[Tensor]] = [[] for _ in range(config.n_gold)]
    for start in range(0, n, PREPARE_CHUNK):
        # One token of overlap gives each chunk's first token its predecessor.
        low = max(start - 1, 0)
        part = slice(low, min(start + PREPARE_CHUNK, n))
        e = model.embed(ids[part].unsqueeze(0))
        kappa = model.decompress(e, keys[part].unsqueeze(0))[0]
        o = rms(e)[0]
        keep = ~begins[part][start - low :].unsqueeze(-1)
        shifted = [_predecessors(t, start - low) * keep for t in (o, kappa)]
        for stack, layer in zip(stacks, model.gold_layers(), strict=True):
            k = layer.keys(o[start - low :], shifted[0], kappa[start - low :], shifted[1])
            k = k.squeeze(0).unflatten(-1, heads).transpose(0, 1)
            if config.rope is not None:
                k = rotate(k.unsqueeze(0), config.rope, start)[0]
            stack.append(k.to(held))
    memories = []
    for stack, layer in zip(stacks, model.gold_layers(), strict=True):
        values = _bigram_values(model, layer, unique).unflatten(-1, heads).transpose(0, 1)
        all_keys = torch.cat(stack, dim=1) if stack else torch.zeros(heads[0], 0, heads[1], device=device)
        memories.append(LayerMemory(all_keys, values, bigram))
    return memories


def _predecessors(x: Tensor, skip: int) -> Tensor:
    """Rows before x[skip:], with the zero vector before row 0."""
    return x[:-1] if skip else torch.cat((torch.zeros_like(x[:1]), x[:-1]))


def _bigram_values(model: LanguageModel, layer: torch.nn.Module, codes: Tensor) -> Tensor:
    """Values [U, C] of the distinct (previous id + 1) * V + id codes."""
    vocab = model.config.vocab_size
    parts = []
    for start in range(0, len(codes), PREPARE_CHUNK):
        code = codes[start : start + PREPARE_CHUNK]
        before = code // vocab - 1
        o = rms(model.embed(code % vocab))
        o_before = rms(model.embed(before.clamp(min=0))) * (before >= 0).unsqueeze(-1)
        parts.append(layer.values(o, o_before).view(len(code), -1))  # type: ignore[operator]
    return torch.cat(parts) if parts else torch.zeros(0, model.config.n_embd, device=codes.device)
