"""The Triton forward without gradients, and its fused form, against the definition in float64: one error a tensor."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

if not torch.cuda.is_available():
    # Read by Triton when it is first imported, which happens inside the first call below.
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")

from gfqa.kernels.testing import relative_error
from gfqa.kernels.wkv6 import finch_wkv, wkv6
from tests.kernels.wkv6_cases import make_case

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# The interpreter truncates to bfloat16 where a GPU rounds, which doubles the error and biases it.
BFLOAT16 = 5e-3 if DEVICE == "cuda" else 2e-2
pytestmark = pytest.mark.usefixtures("poisoned_empty")

NAMES = ("r", "k", "v", "log_decay", "u", "state")


def read_errors(case: dict[str, Tensor | None], floor: float | None = None) -> dict[str, float]:
    """Relative RMS error of y and of the final state."""
    exact = {n: x.double() if x is not None and x.is_floating_point() else x for n, x in case.items()}
    expected = wkv6(*(exact[n] for n in NAMES), starts=case["starts"], backend="reference")  # type: ignore[arg-type]
    with torch.no_grad():
        found = wkv6(*(case[n] for n in NAMES), starts=case["starts"], floor=floor, backend="triton")  # type: ignore[arg-type]
    assert found[0].dtype == case["v"].dtype  # type: ignore[union-attr]
    assert found[1].dtype == torch.float32
    return {n: relative_error(x, y, floor=1e-3) for n, x, y in zip(("y", "final state"), found, expected, strict=True)}


@pytest.mark.parametrize("floor", [-1.0, None])
@pytest.mark.parametrize("length", [1, 15, 63, 64, 65, 1000])
def test_agrees_at_any_length(length: int, floor: float | None) -> None:
    case = make_case((1, length, 1, 16), device=DEVICE)
    assert max(read_errors(case, floor).values()) < 1e-5


@pytest.mark.parametrize("decay", ["mixed", "vanishing", "none", "resetting", "infinite"])
def test_agrees_for_any_decay(decay: str) -> None:
    case = make_case((1, 200, 1, 16), decay=decay, bonus=True, device=DEVICE)
    assert max(read_errors(case).values()) < 1e-5


@pytest.mark.parametrize("floor", [-1.0, None])
def test_bfloat16_stays_near(floor: float | None) -> None:
    case = make_case((1, 300, 1, 32), dtype=torch.bfloat16, bonus=True, device=DEVICE)
    assert max(read_errors(case, floor).values()) < BFLOAT16


def test_bfloat16_stays_near_for_extreme_decays() -> None:
    case = make_case((1, 130, 1, 16), decay="mixed", dtype=torch.bfloat16, device=DEVICE)
    assert max(read_errors(case).values()) < BFLOAT16


@pytest.mark.parametrize("heads", [1, 4])  # cut into spans, and every head a program of its own
def test_starts_cut_spans(heads: int) -> None:
    case = make_case((2, 330, heads, 16), starts=True, device=DEVICE)
    assert max(read_errors(case, -1.0).values()) < 1e-5


def test_chunks_of_32_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    from gfqa.kernels.wkv6 import triton

    for name in ("span_update", "bounded_output", "any_output"):
        monkeypatch.setitem(triton.LAUNCH[name], "C", 32)
    case = make_case((1, 230, 1, 16), starts=True, device=DEVICE)
    for floor in (-1.0, None):
        assert max(read_errors(case, floor).values()) < 1e-5


def test_spans_fill_the_chip() -> None:
    from gfqa.kernels.wkv6.triton import _span

    for tokens, heads in ((65536, 12), (65536, 32), (8192, 96), (8192, 56), (1000, 12), (64, 7)):
        span = _span(tokens, heads, 132)
        chunks = -(-tokens // 64)
        programs = -(-chunks // span) * heads
        assert 1 <= span <= chunks
        assert programs >= 264 or span == 1, (tokens, heads, programs)
    assert _span(8192, 8 * 32, 132) == 128, "heads enough: one pass"


@pytest.mark.parametrize("scale_keys", [False, True])
@pytest.mark.parametrize("floor", [-1.0, None])
def test_fused_decay_and_keys(floor: float | None, scale_keys: bool) -> None:
    """From activations: slow channels (decays of e^-1e-5 and less) keep their keys."""
    case = make_case((2, 150, 2, 16), starts=True, device=DEVICE)
    generator = torch.Generator().manual_seed(3)
    bias = torch.linspace(-12, 2, 32).view(2, 16).to(DEVICE)
    w = torch.randn(2, 150, 2, 16, generator=generator).to(DEVICE)
    r, k, v, state = (case[n] for n in ("r", "k", "v", "state"))
    arguments = {"floor": floor, "scale_keys": scale_keys, "starts": case["starts"]}
    expected = finch_wkv(
        *(x.double() for x in (r, k, v, w, bias)),
        None,
        state.double(),
        **arguments,
        backend="reference",  # type: ignore[union-attr,arg-type]
    )
    found = finch_wkv(r, k, v, w, bias, None, state, **arguments, backend="triton")  # type: ignore[arg-type]
    assert relative_error(found[0], expected[0]) < 1e-5
    assert relative_error(found[1], expected[1]) < 1e-5
    if scale_keys:
        # What the slowest channels write, alone: as exact as the rest.
        alone = [finch_wkv(r, k, v, w, bias, **arguments, backend=b)[1][:, 0, :, :2] for b in ("triton", "reference")]  # type: ignore[arg-type]
        assert relative_error(*alone) < 1e-5


def test_fused_form_takes_bfloat16_activations() -> None:
    case = make_case((1, 100, 1, 16), dtype=torch.bfloat16, device=DEVICE)
    w = torch.randn(1, 100, 1, 16, generator=torch.Generator().manual_seed(4)).to(DEVICE, torch.bfloat16)
    bias = torch.linspace(-6, 0, 16).view(1, 16).to(DEVICE)
    arguments = [case[n] for n in ("r", "k", "v")]
    expected = finch_wkv(*(x.double() for x in (*arguments, w, bias)), floor=-1.0, scale_keys=True, backend="reference")  # type: ignore[union-attr]
    found = finch_wkv(*arguments, w, bias, floor=-1.0, scale_keys=True, backend="triton")  # type: ignore[arg-type]
    assert relative_error(found[0], expected[0]) < BFLOAT16
    assert relative_error(found[1], expected[1]) < BFLOAT16


def test_state_hands_over_without_gradients() -> None:
    case = make_case((1, 200, 1, 16), device=DEVICE)
    r, k, v, log_decay, given = (case[name] for name in ("r", "k", "v", "log_decay", "state"))
    kept = given.clone()  # type: ignore[union-attr]
    whole, last = wkv6(r, k, v, log_decay, None, given, floor=-1.0, backend="triton")  # type: ignore[arg-type]
    parts, state = [], given
    for piece in (slice(0, 0), slice(0, 64), slice(64, 129), slice(129, 200)):
        y, state = wkv6(*(x[:, piece] for x in (r, k, v, log_decay)), None, state, floor=-1.0, backend="triton")  # type: ignore[index]
        parts.append(y)
    assert state is not None
    assert relative_error(torch.cat(parts, 1), whole) < 1e-5
    assert relative_error(state, last) < 1e-5
    assert torch.equal(given, kept)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("floor", [-1.0, None])
@pytest.mark.parametrize("shape", [(2, 1000, 3, 64), (1, 20_000, 2, 64), (8, 300, 32, 64)])
def test_agrees_at_full_size(dtype: torch.dtype, floor: float | None, shape: tuple[int, int, int, int]) -> None:
    case = make_case(shape, bonus=True, starts=True, dtype=dtype, device="cuda")
    assert max(read_errors(case, floor).values()) < (1e-5 if dtype == torch.float32 else 5e-3)
