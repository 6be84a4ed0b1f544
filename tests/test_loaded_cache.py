"""What a store gives as what a model attends over: widened before it is sent to the device, or there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gfqa.cachestore import MemoryArrays
from gfqa.prefill import loaded_cache, sent_cache


@pytest.mark.parametrize("ids", [np.uint16, np.uint32])
@pytest.mark.parametrize(("key_dtype", "stored"), [("int8", np.int8), ("bfloat16", np.uint16), ("float32", np.float32)])
def test_numbers_are_the_same_wherever_they_are_widened(ids: type, key_dtype: str, stored: type) -> None:
    draw = np.random.default_rng(0)
    most = int(np.iinfo(ids).max)
    keys = draw.standard_normal((50, 6)).astype(np.float32)
    if key_dtype == "int8":
        keys = draw.integers(-127, 128, (50, 6), dtype=np.int8)
    elif key_dtype == "bfloat16":
        keys = (keys.view(np.uint32) >> 16).astype(np.uint16)
    arrays = MemoryArrays(
        ids=np.concatenate([[0, most], draw.integers(0, most, 48)]).astype(ids),
        keys=keys,
        scales=draw.random(50).astype(np.float16) if key_dtype == "int8" else None,
        chain_starts=np.array([0, 20]),
        chain_keys=("a", "b"),
    )
    plain, sent = loaded_cache(arrays, key_dtype, "cpu"), sent_cache(arrays, key_dtype, "cpu")
    assert plain.keys.dtype == sent.keys.dtype == torch.float32
    assert sent.codes.dtype == (torch.int8 if key_dtype == "int8" else torch.float32)
    for name in ("ids", "keys", "chain_starts"):
        assert torch.equal(getattr(plain, name), getattr(sent, name))
    half, rows = sent.part(slice(20, 50), torch.tensor([0])), torch.tensor([3, 4, 41])
    assert torch.equal(half.keys, plain.keys[20:])
    assert torch.equal(sent.part(rows, torch.tensor([0, 2])).keys, plain.keys[rows])
