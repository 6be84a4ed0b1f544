"""The latent form of GOLD attention in Triton: against keys made from the latents, and those against the layer itself."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    # Read by Triton when it is first imported.
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")

from gfqa.kernels.gold_attention import latent_tokens as latents
from gfqa.kernels.gold_attention import triton_latent as form
from gfqa.kernels.gold_attention.reference import LayerMemory
from gfqa.kernels.testing import relative_error

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.usefixtures("poisoned_empty")
EPSILON = 1e-5


def make_layer(
    length: int, heads: int = 2, size: int = 16, width: int = 6, dtype: torch.dtype = torch.float32, chains: int = 2
) -> tuple[latents.LatentTokens, LayerMemory]:
    """A random layer's latents over `chains` chains of ids, and its keys and values made token by token.

    dtype: of the stored compressed keys and tau; int8 keys are rounded before both forms see them.
    """
    draw = torch.Generator().manual_seed(length)
    c, vocab, lora, mixes = heads * size, 7, 8, 3

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw)

    ids = torch.randint(vocab, (length,), generator=draw)
    before = torch.arange(length) - 1
    before[:: max(1, -(-length // chains))] = -1
    codes = torch.where(before < 0, -1, ids[before.clamp(min=0)]) * vocab + ids
    found, bigram = torch.unique(codes, return_inverse=True)
    pairs = torch.stack((torch.where(found < 0, vocab, found // vocab), found % vocab), dim=1)
    unigram = torch.cat((normal(vocab, c), torch.zeros(1, c)))
    keys, w_c = normal(length, width), normal(c, width)
    if dtype == torch.int8:
        scale = keys.abs().amax(-1, keepdim=True) / 127
        keys = torch.round(keys / scale) * scale
    mix, mix_w, z = torch.rand(c, generator=draw), 0.3 * normal(mixes, c), torch.tanh(normal(len(found), mixes))
    inner, outer = normal(c, lora) * c**-0.5, normal(lora, c)
    gain, bias = 1 + 0.3 * normal(c), normal(c)
    values = normal(heads, len(found), size)

    raw = unigram[ids] + keys @ w_c.t()
    kappa = raw / (raw.norm(dim=-1, keepdim=True) * c**-0.5 + 1e-8)
    kappa_before = kappa[before.clamp(min=0)] * (before >= 0).unsqueeze(-1)
    mixed = kappa + (kappa_before - kappa) * (mix + z @ mix_w)[bigram]
    key = mixed + torch.tanh(mixed @ inner) @ outer
    key = torch.nn.functional.layer_norm(key, (c,), gain, bias, EPSILON)
    plain = LayerMemory(key.unflatten(-1, (heads, size)).transpose(0, 1), values, bigram)

    moved = [x.to(DEVICE) for x in (unigram, pairs, bigram, keys, before, w_c)]
    shared = latents.shared_tokens(*moved, dtype)  # type: ignore[arg-type]
    values, z, mix, mix_w, inner, outer, gain, bias = (
        x.to(DEVICE) for x in (values, z, mix, mix_w, inner, outer, gain, bias)
    )
    memory = latents.latent_tokens(
        shared, values, z, mix, mix_w, (inner, outer), (gain, bias, EPSILON), dtype, torch.float32
    )
    return memory, LayerMemory(*(x.to(DEVICE) for x in (plain.keys, plain.values, plain.bigram)))


def make_queries(new: int, own: int, heads: int = 2, size: int = 16, batch: int = 1) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(7)
    rows = [torch.randn(batch, n, heads, size, generator=draw).to(DEVICE) for n in (new, own, own)]
    return 2 * rows[0].transpose(1, 2), rows[1].transpose(1, 2), rows[2].transpose(1, 2)


def errors(inputs: tuple[torch.Tensor, ...], memory: latents.LatentTokens) -> dict[str, float]:
    out, mass = form.latent_attention(*inputs, memory, want_mass=True)
    expected, expected_mass = latents.plain_attention(*inputs, memory, want_mass=True)
    assert mass is not None
    assert expected_mass is not None
    return {"out": relative_error(out, expected), "mass": relative_error(mass, expected_mass)}


@pytest.mark.parametrize("length", [1, 15, 65, 300])
def test_latents_hold_the_layers_keys(length: int) -> None:
    """Keys made from float32 latents are the layer's; from int8 latents of int8 keys only tau is rounded."""
    for dtype, bound in ((torch.float32, 1e-5), (torch.int8, 1e-2)):
        memory, plain = make_layer(length, dtype=dtype)
        found = latents.widened(memory)
        assert relative_error(found.keys, plain.keys) < bound
        assert torch.equal(found.values[:, found.bigram], plain.values[:, plain.bigram])


@pytest.mark.parametrize("length", [1, 15, 63, 64, 65, 129, 1000])
def test_agrees_at_any_length(length: int) -> None:
    memory, _ = make_layer(length)
    assert max(errors(make_queries(1, 3), memory).values()) < 1e-5


def test_several_rows_and_questions() -> None:
    memory, _ = make_layer(70)
    assert max(errors(make_queries(2, 5, batch=2), memory).values()) < 1e-5


def test_more_heads_than_one_program_takes() -> None:
    memory, _ = make_layer(40, heads=18)
    assert max(errors(make_queries(1, 2, heads=18), memory).values()) < 1e-5


def test_int8_latents() -> None:
    """The products' operands are float16; latents of one byte are themselves exact in it."""
    memory, _ = make_layer(200, dtype=torch.int8)
    assert memory.tau.dtype == memory.shared.c.dtype == torch.int8
    assert max(errors(make_queries(1, 3), memory).values()) < 1e-2


def test_empty_memory() -> None:
    memory, _ = make_layer(3)
    nothing = torch.zeros(0, dtype=torch.long, device=DEVICE)
    t = memory.shared
    empty = latents.shared_tokens(t.unigram, nothing.view(0, 2), nothing, t.c[:0], nothing, t.w_c, torch.float32)
    parts = ((memory.lora.t(), memory.lora), (memory.gain, memory.bias, EPSILON))
    empty_layer = latents.latent_tokens(
        empty,
        memory.values[:, :0],
        memory.z[:0],
        memory.mix[0],
        memory.mix[1:],
        *parts,
        torch.float32,
        torch.float32,
    )
    assert max(errors(make_queries(1, 4), empty_layer).values()) < 1e-5


@pytest.mark.gpu
def test_agrees_at_full_size() -> None:
    memory, _ = make_layer(50_003, heads=12, size=64, width=48, dtype=torch.int8)
    assert max(errors(make_queries(1, 70, heads=12, size=64), memory).values()) < 1e-2
