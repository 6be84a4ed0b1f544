"""In which form the memory of GOLD layers is held: by device, length and the bytes it may take.

On the CPU there are float32 keys, int8 keys (about a quarter), and the latent form that holds no keys, exact or with bfloat16
latents (least, and slower a token). A bfloat16 model on a GPU may hold int8 keys sorted by bigram, or int8 latents (half, and
slower), unless GFQA_GPU_KERNELS=0. Everything else on a GPU, a model with RoPE and other types hold the keys of `LayerMemory`.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from gfqa.errors import ModelError

if TYPE_CHECKING:
    from gfqa.model.config import ModelConfig

FORMS = ("materialised", "float32", "int8", "latent", "latent16", "sorted", "latent8")
SORTED_HEADS = (32, 64, 128)
"""Head sizes that the kernels over int8 keys take."""
SHORT_MEMORY = 8192
"""Up to so many tokens float32 keys are the quickest: rounding them costs more than it saves in a few steps."""


def choose_form(
    config: ModelConfig, n_tokens: int, n_bigrams: int, dtype: torch.dtype, device: torch.device, budget: int | None
) -> str:
    """The quickest of FORMS within `budget` bytes; None means half of the machine's memory.

    Raises ModelError where none fits a given budget.
    """
    if config.rope is not None:
        order = ["materialised"]
    elif device.type == "cuda":
        order = ["sorted", "latent8"] if kernels_take(config, dtype) else ["materialised"]
    elif dtype not in (torch.float32, torch.float64):
        order = ["materialised"]
    elif n_tokens <= SHORT_MEMORY:
        order = ["float32", "int8", "latent16"]
    elif integer_products_are_fast():
        order = ["int8", "latent16"]
    else:
        order = ["float32", "latent", "latent16"]
    bound = budget if budget is not None else _half_of_memory(device)
    needed = {form: form_bytes(form, config, n_tokens, n_bigrams, dtype) for form in order}
    for form in order:
        if needed[form] <= bound:
            return form
    if budget is None:
        return min(order, key=needed.__getitem__)
    raise ModelError(
        f"The memory of {n_tokens:,} tokens takes at least {_megabytes(min(needed.values()))}, "
        f"more than the budget of {_megabytes(budget)}.",
        hint="Allow more with --memory-budget, or ask fewer documents.",
    )


def form_bytes(form: str, config: ModelConfig, n_tokens: int, n_bigrams: int, dtype: torch.dtype) -> int:
    """Bytes of a form's tensors, temporary ones not counted."""
    size, width, layers = dtype.itemsize, config.n_embd, config.n_gold
    # shared: what all layers have in common, where each token's bigram is and the latent forms' scaled keys.
    shared = 16
    if form == "materialised":
        token, bigram = width * 2, width * size
    elif form == "float32":
        token, bigram = width * size, width * size
    elif form == "int8":
        token, bigram = width + 4, width * 2
    elif form == "sorted":
        # Keys and values with a float16 scale a head.
        token = bigram = width + 2 * config.n_head
    elif form == "latent8":
        # tau, mean and deviation; both compressed keys as int8 with two float32 numbers each.
        token, bigram = config.gold_lora + 8, width * 2 + 2 * _whole(config.lora.key_value)
        shared = 2 * (config.key_width + 8) + 24
    else:
        held = size if form == "latent" else 2
        token, bigram = config.gold_lora * held + 2 * size, width * held + config.lora.key_value * size
        shared += 2 * (config.key_width + 1) * size + 8
    return n_tokens * (layers * token + shared) + n_bigrams * layers * bigram


def kernels_take(config: ModelConfig, dtype: torch.dtype) -> bool:
    """Whether Triton's kernels serve such a model on a GPU.

    GFQA_GPU_KERNELS=0 turns them off. Their fused step is nearer to float32 than plain PyTorch in bfloat16, see
    docs/benchmarks.md.
    """
    fits = dtype == torch.bfloat16 and config.head_size in SORTED_HEADS and config.rope is None and _compiles()
    return fits and os.environ.get("GFQA_GPU_KERNELS") != "0" and find_spec("triton") is not None


def _compiles() -> bool:
    """Whether the kernels compile for the GPU that is there: NVIDIA's from compute capability 8.0 on."""
    there = torch.cuda.is_available()
    return torch.version.hip is None and (not there or torch.cuda.get_device_capability() >= (8, 0))


def integer_products_are_fast() -> bool:
    """Whether this processor multiplies int8 in one instruction; without it torch's product is a plain loop."""
    return bool(torch.cpu._is_vnni_supported())


def _half_of_memory(device: torch.device) -> int:
    if device.type == "cuda":
        # What is free is not asked for: that waits for the driver.
        return int(torch.cuda.get_device_properties(device).total_memory) // 2
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 4 << 30  # A system that does not say.


def _whole(mixes: int) -> int:
    """Parts of the mix with room for whole groups of 4."""
    return -(-mixes // 4) * 4


def _megabytes(n: int) -> str:
    return f"{-(-n // 1_000_000):,} MB"
