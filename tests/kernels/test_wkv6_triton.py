"""The Triton form against the definition: on a GPU where there is one, else in Triton's interpreter on the CPU."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    # Read by Triton when it is first imported, which happens inside the first call below.
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")

from gfqa.kernels.testing import relative_error
from gfqa.kernels.wkv6 import register_operators, wkv6
from tests.kernels.wkv6_cases import DECAYS, errors, make_case, results

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.usefixtures("poisoned_empty")


@pytest.mark.parametrize("decay", DECAYS)
def test_agrees_for_any_decay(decay: str) -> None:
    case = make_case((1, 67, 1, 16), decay=decay, bonus=True, device=DEVICE)
    assert max(errors(case, "triton").values()) < 1e-5


@pytest.mark.parametrize("length", [1, 15, 63, 64, 65, 130])
def test_agrees_at_any_length(length: int) -> None:
    case = make_case((1, length, 2, 16), device=DEVICE)
    assert max(errors(case, "triton", floor=-1.0).values()) < 1e-5


def test_agrees_unbounded_over_chunks() -> None:
    case = make_case((1, 130, 1, 16), decay="mixed", state=False, device=DEVICE)
    assert max(errors(case, "triton").values()) < 1e-5


@pytest.mark.parametrize("bonus", [False, True])
def test_starts_cut_states_and_gradients(bonus: bool) -> None:
    case = make_case((2, 250, 1, 16), bonus=bonus, starts=True, device=DEVICE)
    assert max(errors(case, "triton", floor=-1.0).values()) < 1e-5


def test_scan_over_more_chunks_than_a_group() -> None:
    case = make_case((1, 17 * 64 + 3, 1, 16), starts=True, device=DEVICE)
    assert max(errors(case, "triton", floor=-1.0).values()) < 1e-5


@pytest.mark.parametrize("size", [32, 64])
def test_agrees_for_larger_heads(size: int) -> None:
    case = make_case((1, 70, 1, size), bonus=True, device=DEVICE)
    assert max(errors(case, "triton", floor=-1.0).values()) < 1e-5


@pytest.mark.parametrize("floor", [-1.0, None])
def test_bfloat16_stays_near(floor: float | None) -> None:
    case = make_case((1, 130, 1, 16), bonus=True, dtype=torch.bfloat16, device=DEVICE)
    found = results(case, "triton", floor)
    assert found["y"].dtype == found["d r"].dtype == torch.bfloat16
    assert found["final state"].dtype == found["d log_decay"].dtype == torch.float32
    # The interpreter truncates to bfloat16 where a GPU rounds, which doubles the error and biases it.
    assert max(errors(case, "triton", floor).values()) < (1e-2 if DEVICE == "cuda" else 2.5e-2)


def test_state_hands_over_and_is_left_alone() -> None:
    case = make_case((1, 100, 2, 16), device=DEVICE)
    r, k, v, log_decay, given = (case[name] for name in ("r", "k", "v", "log_decay", "state"))
    kept = given.clone()  # type: ignore[union-attr]
    whole, last = wkv6(r, k, v, log_decay, None, given, floor=-1.0, backend="triton")  # type: ignore[arg-type]
    parts, state = [], given
    for piece in (slice(0, 30), slice(30, 100)):
        arguments = [x[:, piece] for x in (r, k, v, log_decay)]  # type: ignore[index]
        y, state = wkv6(*arguments, None, state, floor=-1.0, backend="triton")
        parts.append(y)
    assert state is not None
    assert relative_error(torch.cat(parts, 1), whole) < 1e-5
    assert relative_error(state, last) < 1e-5
    assert torch.equal(given, kept)  # type: ignore[arg-type]


def test_operators_are_sound() -> None:
    """torch's own checks of the operator: shapes without data, autograd registration, no aliasing."""
    case = make_case((1, 20, 1, 16), bonus=True, device=DEVICE)
    case["state"] = None
    arguments = [case[name] for name in ("r", "k", "v", "log_decay", "u", "state", "starts")]
    tensors = [x.requires_grad_() if x is not None else None for x in arguments]
    wkv6(*tensors[:5], backend="triton")  # type: ignore[arg-type]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.gfqa.wkv6_forward, (*tensors, True), test_utils=checks)


def test_unfit_inputs_are_refused() -> None:
    case = make_case((1, 4, 1, 8), device=DEVICE)
    arguments = [case[name] for name in ("r", "k", "v", "log_decay")]
    with pytest.raises(ValueError, match="of 8"):
        wkv6(*arguments, backend="triton")  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("floor", [-1.0, None])
def test_agrees_at_full_size(dtype: torch.dtype, floor: float | None) -> None:
    case = make_case((2, 1000, 3, 64), bonus=True, starts=True, dtype=dtype, device="cuda")
    assert max(errors(case, "triton", floor).values()) < (1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.gpu
def test_compiles() -> None:
    case = make_case((1, 200, 2, 64), device="cuda")
    arguments = [case[name] for name in ("r", "k", "v", "log_decay")]
    register_operators()
    compiled = torch.compile(lambda *x: wkv6(*x, floor=-1.0), fullgraph=True)
    assert relative_error(compiled(*arguments)[0], wkv6(*arguments, backend="reference")[0]) < 1e-5  # type: ignore[arg-type]
