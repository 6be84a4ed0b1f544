"""One token through the model (one chain), fused to few launches: `reference` defines them, `triton` is the form for a GPU.

Both modules have the same functions; `launches` picks.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from torch import Tensor

from gfqa.kernels.gold_attention import runs_triton


@dataclass
class Fusing:
    """What shares a launch, each by itself; all combinations compute the same.

    mix, query: the low-rank mix with the products it is for, in Finch blocks and of GOLD's queries, narrow ones. out: a Finch
    block's recurrence with its output matrix. gold: attention with its query's norm, and its merge with the output matrix.
    """

    mix: bool = True
    out: bool = True
    query: bool = True
    gold: bool = True


FUSING = Fusing()


def launches(x: Tensor) -> ModuleType:
    """The functions for tensors like x: Triton's on a GPU or in Triton's interpreter, else plain PyTorch."""
    if runs_triton(x):
        # Imported on use: a platform without Triton still has the plain form.
        from gfqa.kernels.decode_step import triton

        return triton
    from gfqa.kernels.decode_step import reference

    return reference
