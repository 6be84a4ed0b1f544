"""GOLD attention in Triton against the plain form: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    # Read by Triton when it is first imported.
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")

from gfqa.kernels.gold_attention import triton as form
from gfqa.kernels.gold_attention.reference import LayerMemory, gold_attention
from gfqa.kernels.gold_attention.triton_memory import SortedMemory, plain_attention, sort_memory, unsorted
from gfqa.kernels.testing import relative_error

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.usefixtures("poisoned_empty")
FLOAT32 = (torch.float32, torch.float32)


def make_memory(length: int, heads: int = 2, size: int = 32, bigrams: int = 0, seed: int = 0) -> LayerMemory:
    """Random keys and values; few bigrams of many tokens and many of one, as in text."""
    draw = torch.Generator().manual_seed(seed)
    bigrams = bigrams or max(1, length // 4)
    # Squaring draws low numbers often.
    bigram = (torch.rand(length, generator=draw) ** 3 * bigrams).long()
    keys, values = (torch.randn(heads, n, size, generator=draw) for n in (length, bigrams))
    return LayerMemory(keys.to(DEVICE), values.to(DEVICE), bigram.to(DEVICE))


def make_queries(
    batch: int, new: int, own: int, dtype: torch.dtype = torch.float32, heads: int = 2, size: int = 32
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, own keys, own values, laid out as the model lays them out: heads side by side in each token's row."""
    draw = torch.Generator().manual_seed(7)
    rows = [torch.randn(batch, n, heads, size, generator=draw).to(DEVICE, dtype) for n in (new, own, own)]
    # Queries that look at some keys much more than at others.
    return 3 * rows[0].transpose(1, 2), rows[1].transpose(1, 2), rows[2].transpose(1, 2)


def errors(inputs: tuple[torch.Tensor, ...], memory: SortedMemory) -> dict[str, float]:
    """Relative errors of the output and of the mass; the plain form reads the same numbers in float32."""
    out, mass = form.gold_attention(*inputs, memory, want_mass=True)
    expected, expected_mass = plain_attention(*(x.float() for x in inputs), memory, want_mass=True)
    assert out.shape == expected.shape
    assert out.dtype == inputs[0].dtype
    assert mass is not None and expected_mass is not None and mass.shape == expected_mass.shape  # noqa: PT018
    return {"out": relative_error(out, expected), "mass": relative_error(mass, expected_mass)}


@pytest.mark.parametrize("length", [0, 1, 15, 63, 64, 65, 256, 257, 1000])
def test_one_query_at_any_length(length: int) -> None:
    memory = sort_memory(make_memory(length), *FLOAT32)
    assert max(errors(make_queries(1, 1, 3), memory).values()) < 1e-5


@pytest.mark.parametrize("length", [0, 1, 15, 63, 64, 65, 300])
def test_several_queries_at_any_length(length: int) -> None:
    memory = sort_memory(make_memory(length, heads=1), *FLOAT32)
    assert max(errors(make_queries(1, 3, 5, heads=1), memory).values()) < 1e-5


@pytest.mark.parametrize(("batch", "new", "own"), [(1, 1, 400), (3, 1, 1), (2, 33, 40), (1, 65, 65)])
def test_agrees_for_any_number_of_queries(batch: int, new: int, own: int) -> None:
    memory = sort_memory(make_memory(70, heads=1), *FLOAT32)
    assert max(errors(make_queries(batch, new, own, heads=1), memory).values()) < 1e-5


@pytest.mark.parametrize("new", [1, 17])
@pytest.mark.parametrize(
    ("dtype", "key_dtype", "value_dtype"),
    [
        (torch.float32, torch.int8, torch.bfloat16),
        (torch.float32, torch.bfloat16, torch.int8),
        (torch.bfloat16, torch.int8, torch.int8),
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
    ],
)
def test_stored_forms(new: int, dtype: torch.dtype, key_dtype: torch.dtype, value_dtype: torch.dtype) -> None:
    """Narrow products and a narrow output show; what is stored is the same for both forms."""
    memory = sort_memory(make_memory(130, heads=1), key_dtype, value_dtype)
    found = errors(make_queries(1, new, new, dtype, heads=1), memory)
    # The interpreter truncates to bfloat16 where a GPU rounds.
    bound = 2e-3 if dtype == torch.float32 else 1e-2
    assert max(found.values()) < (bound if DEVICE == "cuda" else 2 * bound)


@pytest.mark.parametrize(("keys_first", "ahead"), [(True, True), (False, False)])
def test_two_digits_of_the_query_are_enough(keys_first: bool, ahead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 keys with one query: nothing is lost but what lies under 2^-15 of the query's largest channel."""
    monkeypatch.setattr(form.ONE, "keys_first", keys_first)
    monkeypatch.setattr(form.ONE, "ahead", ahead)
    memory = sort_memory(make_memory(300), torch.int8, torch.float32)
    found = errors(make_queries(1, 1, 3), memory)
    assert max(found.values()) < 5e-4


def test_int8_keys_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way to multiply int8 keys loses nothing."""
    monkeypatch.setattr(form.ONE, "integer", False)
    memory = sort_memory(make_memory(70), torch.int8, torch.float32)
    assert max(errors(make_queries(1, 1, 3), memory).values()) < 1e-5


def test_int8_memory_stays_near_the_plain_one() -> None:
    plain = make_memory(500, size=64)
    inputs = make_queries(1, 1, 3, size=64)
    expected, _ = gold_attention(*inputs, plain)
    for values in (torch.bfloat16, torch.int8):
        out, _ = form.gold_attention(*inputs, sort_memory(plain, torch.int8, values))
        assert relative_error(out, expected) < 3e-2


def test_sorting_loses_nothing() -> None:
    plain = make_memory(150)
    memory = sort_memory(plain, *FLOAT32)
    back = unsorted(memory)
    assert torch.equal(back.keys, plain.keys)
    assert torch.equal(back.values[:, back.bigram], plain.values[:, plain.bigram])
    assert (memory.bigram[1:] >= memory.bigram[:-1]).all()


@pytest.mark.parametrize("bigrams", [1, 300])
def test_one_bigram_and_only_different_ones(bigrams: int) -> None:
    plain = make_memory(300, bigrams=bigrams)
    if bigrams == 300:
        plain = LayerMemory(plain.keys, plain.values, torch.randperm(300).to(DEVICE))
    for new in (1, 2):
        found = errors(make_queries(1, new, new), sort_memory(plain, *FLOAT32))
        assert max(found.values()) < 1e-5


def test_large_logits_do_not_overflow() -> None:
    plain = make_memory(200)
    memory = sort_memory(LayerMemory(plain.keys * 300, plain.values, plain.bigram), *FLOAT32)
    for new in (1, 4):
        found = errors(make_queries(1, new, new), memory)
        assert max(found.values()) < 1e-3


@pytest.mark.parametrize("new", [1, 3])
def test_own_keys_in_a_buffer_with_room(new: int) -> None:
    """The length on the device decides what is seen; what lies beyond it is never read into the result."""
    memory = sort_memory(make_memory(100), *FLOAT32)
    q, keys, values = make_queries(2, new, 150)
    used = 77
    expected, _ = form.gold_attention(q, keys[:, :, :used], values[:, :, :used], memory)
    keys[:, :, used:], values[:, :, used:] = float("nan"), float("nan")
    length = torch.tensor([used], dtype=torch.int32, device=DEVICE)
    out, _ = form.gold_attention(q, keys, values, memory, own_length=length)
    assert relative_error(out, expected) < 1e-6


def test_pooled_mass_is_the_mass_in_sorted_order() -> None:
    memory = sort_memory(make_memory(90), *FLOAT32)
    inputs = make_queries(1, 1, 2)
    _, mass = form.gold_attention(*inputs, memory, want_mass=True)
    _, totals, logits = form.attend(*inputs, memory, want_logits=True)
    pooled = torch.full((90,), 2.0, device=DEVICE)
    form.pool_mass(logits, totals, pooled, 0.5)
    assert mass is not None
    assert torch.allclose(pooled, 2 + 0.5 * mass[0].sum(0)[memory.order], atol=1e-6)


def test_unfit_inputs_are_refused() -> None:
    memory = sort_memory(make_memory(10))
    with pytest.raises(ValueError, match="of 8"):
        form.gold_attention(*make_queries(1, 1, 1, size=8), memory)
    with pytest.raises(ValueError, match="do not belong together"):
        form.gold_attention(*make_queries(1, 4, 3), memory)
    with pytest.raises(ValueError, match="does not fit"):
        form.gold_attention(*make_queries(1, 1, 1, size=64), memory)


@pytest.mark.gpu
@pytest.mark.parametrize("key_dtype", [torch.bfloat16, torch.int8])
@pytest.mark.parametrize("new", [1, 4, 64])
def test_agrees_at_full_size(new: int, key_dtype: torch.dtype) -> None:
    memory = sort_memory(make_memory(100_003, heads=12, size=64), key_dtype)
    found = errors(make_queries(1, new, 200, torch.bfloat16, heads=12, size=64), memory)
    assert max(found.values()) < 1e-2
