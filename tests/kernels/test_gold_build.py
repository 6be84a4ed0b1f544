"""Keys and values of GOLD layers made by one kernel, against the plain form and against the layer itself."""

from __future__ import annotations

import dataclasses
import inspect
import os

import pytest
import torch

if not torch.cuda.is_available():
    # Read by Triton when it is first imported.
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")

from gfqa.kernels.gold_attention import build as plain
from gfqa.kernels.gold_attention import triton_build as form
from gfqa.kernels.testing import relative_error

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.usefixtures("poisoned_empty")

Case = tuple[torch.Tensor, plain.Pairs, plain.Mixer, plain.CompressedTokens]


def make_case(
    length: int, heads: int = 2, size: int = 32, width: int = 6, dtype: torch.dtype = torch.float32, chains: int = 2
) -> Case:
    """A random table, mixer and tokens of `chains` chains; dtype float32 has float keys, bfloat16 int8 keys with scales."""
    draw = torch.Generator().manual_seed(length)
    c, vocab, lora, mixes = heads * size, 7, 8, 3

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw).to(DEVICE, dtype)

    ids = torch.randint(vocab, (length,), generator=draw)
    before = torch.where(torch.arange(length) % max(1, -(-length // chains)) == 0, vocab, ids.roll(1))
    found, bigram = torch.unique(before * vocab + ids, return_inverse=True)
    bigram, order = torch.sort(bigram, stable=True)
    pairs = plain.Pairs((found // vocab).int().to(DEVICE), (found % vocab).int().to(DEVICE))
    table = torch.cat((normal(vocab, c), torch.zeros(1, c, device=DEVICE, dtype=dtype)))
    codes: torch.Tensor = normal(length, width)
    scales = None
    if dtype != torch.float32:
        codes = torch.randint(-127, 128, (length, width), generator=draw).to(DEVICE, torch.int8)
        scales = (0.02 * torch.rand(length, generator=draw)).to(DEVICE, torch.float16)
    tokens = plain.CompressedTokens(codes, scales, normal(c, width), bigram.int().to(DEVICE), order.to(DEVICE))
    mixer = plain.Mixer(
        z=torch.tanh(normal(len(found), mixes)),
        mix=normal(c).abs(),
        mix_w=normal(mixes, c),
        w1=normal(c, lora) * c**-0.5,
        w2=normal(lora, c),
        gain=1 + 0.3 * normal(c),
        bias=normal(c),
        epsilon=1e-5,
    )
    return table, pairs, mixer, tokens


def widened(rows: torch.Tensor, scales: torch.Tensor | None) -> torch.Tensor:
    return rows.float() if scales is None else rows.float() * scales.float().unsqueeze(-1)


@pytest.mark.parametrize("name", ["inverse_rms", "make_rows"])
def test_forms_share_a_signature(name: str) -> None:
    assert inspect.signature(getattr(form, name)) == inspect.signature(getattr(plain, name))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [1, 15, 63, 64, 65, 1000])
@pytest.mark.parametrize("chains", [1, 4])
def test_int8_keys_are_the_plain_form_s(length: int, dtype: torch.dtype, chains: int) -> None:
    table, pairs, mixer, tokens = make_case(length, dtype=dtype, chains=chains)
    s, expected_s = (side.inverse_rms(table, pairs, tokens) for side in (form, plain))
    torch.testing.assert_close(s, expected_s, rtol=1e-5, atol=0)
    keys, scales = form.make_rows(table, pairs, mixer, 2, torch.int8, tokens, s)
    expected, expected_scales = plain.make_rows(table, pairs, mixer, 2, torch.int8, tokens, expected_s)
    assert (keys.int() - expected.int()).abs().max() <= 1
    assert scales is not None
    assert expected_scales is not None
    # One step of float16 is up to 1e-3; operands rounded to float16 can make it two.
    assert relative_error(scales, expected_scales) < 6e-4
    torch.testing.assert_close(scales.float(), expected_scales.float(), rtol=2e-3, atol=0)
    # A code that is rounded the other way is off by 1 of 127.
    assert relative_error(widened(keys, scales), widened(expected, expected_scales)) < 4e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "size", "width"), [(7, 64, 28), (1, 128, 16), (3, 16, 3)])
def test_other_widths_and_float_keys(heads: int, size: int, width: int, dtype: torch.dtype) -> None:
    table, pairs, mixer, tokens = make_case(70, heads, size, width, dtype)
    tokens = dataclasses.replace(tokens, codes=tokens.codes.to(dtype))
    s = form.inverse_rms(table, pairs, tokens)
    keys, scales = form.make_rows(table, pairs, mixer, heads, dtype, tokens, s)
    expected, _ = plain.make_rows(table, pairs, mixer, heads, torch.float32, tokens, s)
    assert scales is None
    assert keys.dtype == dtype
    # The interpreter cuts bfloat16 off where a card rounds.
    assert relative_error(keys, expected) < (1e-5 if dtype == torch.float32 else 4e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("held", [torch.int8, torch.bfloat16])
def test_values_are_the_plain_form_s(dtype: torch.dtype, held: torch.dtype) -> None:
    table, pairs, mixer, _ = make_case(300, dtype=dtype)
    values, scales = form.make_rows(table, pairs, mixer, 2, held)
    expected, expected_scales = plain.make_rows(table, pairs, mixer, 2, held)
    assert relative_error(widened(values, scales), widened(expected, expected_scales)) < 5e-3
    if held == torch.int8:
        assert (values.int() - expected.int()).abs().max() <= 1


def test_no_tokens_give_no_rows() -> None:
    table, pairs, mixer, tokens = make_case(5)
    none = dataclasses.replace(tokens, bigram=tokens.bigram[:0], order=tokens.order[:0])
    keys, scales = form.make_rows(table, pairs, mixer, 2, torch.int8, none, form.inverse_rms(table, pairs, none))
    assert keys.shape == (2, 0, 32)
    assert scales is not None
    assert scales.shape == (2, 0)


def test_a_head_size_without_kernels_is_an_error() -> None:
    table, pairs, mixer, tokens = make_case(5)
    with pytest.raises(ValueError, match="heads of size"):
        form.make_rows(table, pairs, mixer, 8, torch.int8, tokens, form.inverse_rms(table, pairs, tokens))
