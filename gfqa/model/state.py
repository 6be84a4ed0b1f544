"""What a model carries from one call to the next: explicit, immutable, float32 where it accumulates.

No call changes the state it was given; every call returns a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class BlockState:
    """One block's state.

    wkv: [B, H, N, N] float32, value channel first, key channel second (Finch and Finch-C2 only).
    att_shift, ffn_shift: [B, C], the last token's LN1(x) and LN2(x).
    keys, values: [B, t, C], this block's own attention keys and values (GOLD, GPTAlpha, Llama); before RoPE.
    """

    wkv: Tensor | None = None
    att_shift: Tensor | None = None
    ffn_shift: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None


@dataclass(frozen=True)
class ModelState:
    """The state of a chain after its tokens.

    blocks: one BlockState a layer; a Finch-half state (from `prefill`) has only the Finch layers' filled.
    ids: [B, t] int64 and compressed_keys: [B, t, key_width], the chain's own tokens that GOLD attends over.
    previous_id [B], previous_key [B, key_width]: the token before the first of `ids`, where the chain did not begin
    with it (the resumed tail of the chained layout); None means the chain began there, with the zero vector before it.
    position: tokens of the chain before `ids`.
    """

    blocks: tuple[BlockState, ...]
    ids: Tensor | None = None
    compressed_keys: Tensor | None = None
    previous_id: Tensor | None = None
    previous_key: Tensor | None = None
    position: int = 0

    @property
    def length(self) -> int:
        """Tokens of the chain so far that the state itself holds."""
        return 0 if self.ids is None else self.ids.shape[1]

    def rows(self, index: Tensor) -> ModelState:
        """The chains number `index` [n] (int64) of the batch, in that order; one may be named several times."""
        blocks = tuple(replace(block, **_rows(block, index)) for block in self.blocks)
        return replace(self, blocks=blocks, **_rows(self, index))

    def with_block(self, layer: int, block: BlockState) -> ModelState:
        return replace(self, blocks=(*self.blocks[:layer], block, *self.blocks[layer + 1 :]))


def empty_state(n_layer: int) -> ModelState:
    """The zero state every chain begins with."""
    return ModelState(blocks=(BlockState(),) * n_layer)


def _rows(part: BlockState | ModelState, index: Tensor) -> dict[str, Any]:
    values = ((field.name, getattr(part, field.name)) for field in fields(part))
    return {name: value[index] for name, value in values if isinstance(value, Tensor)}
