"""One token through the model (one chain), fused to few launches: `reference` defines them, `triton` is the form for a GPU.

Both modules have the same functions; `launches` picks.
"""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from gfqa.kernels.gold_attention import runs_triton


def launches(x: Tensor) -> ModuleType:
    """The functions for tensors like x: Triton's on a GPU or in Triton's interpreter, else plain PyTorch."""
    if runs_triton(x):
        # Imported on use: a platform without Triton still has the plain form.
        from gfqa.kernels.decode_step import triton

        return triton
    from gfqa.kernels.decode_step import reference

    return reference
