"""The chunked form against the token-by-token definition, and the definition against the formula written out."""

from __future__ import annotations

import pytest
import torch

from gfqa.kernels.testing import relative_error
from gfqa.kernels.wkv6 import chunked, wkv6
from tests.kernels.wkv6_cases import DECAYS, errors, make_case, results

LENGTHS = (1, 2, 15, 63, 64, 65, 130)


def test_reference_is_the_formula() -> None:
    """Every output is a sum over earlier tokens, written here without a state."""
    case = make_case((1, 6, 1, 4), bonus=True, state=False)
    r, k, v, log_decay, u = (case[name].double() for name in ("r", "k", "v", "log_decay", "u"))  # type: ignore[union-attr]
    y, last = wkv6(r, k, v, log_decay, u, backend="reference")
    for t in range(6):
        expected = (r[0, t, 0] * u[0] * k[0, t, 0]).sum() * v[0, t, 0]
        for j in range(t):
            way = log_decay[0, j + 1 : t, 0].sum(0).exp()
            expected = expected + (r[0, t, 0] * way * k[0, j, 0]).sum() * v[0, j, 0]
        torch.testing.assert_close(y[0, t, 0], expected)
    way = log_decay[0, :, 0].flip(0).cumsum(0).flip(0)[1:]
    expected = v[0, :, 0].T @ (k[0, :, 0] * torch.cat([way, torch.zeros(1, 4, dtype=way.dtype)]).exp())
    torch.testing.assert_close(last[0, 0], expected)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("length", LENGTHS)
def test_chunked_agrees(length: int, decay: str) -> None:
    for bonus, starts in ((False, False), (True, True)):
        case = make_case((2, length, 2, 16), decay=decay, bonus=bonus, starts=starts)
        assert max(errors(case, "chunked").values()) < 1e-5


@pytest.mark.parametrize("decay", ["bounded", "mixed"])
def test_chunked_agrees_across_segments(decay: str) -> None:
    length = 2 * chunked.SEGMENT - 24
    case = make_case((1, length, 1, 16), decay=decay, starts=True, bonus=True)
    assert max(errors(case, "chunked").values()) < 1e-5


@pytest.mark.parametrize("floor", [-1.0, -6.0, -1e4])
def test_floor_changes_no_result(floor: float) -> None:
    case = make_case((1, 100, 2, 16))
    case["log_decay"] = case["log_decay"] * -floor  # type: ignore[operator]
    assert max(errors(case, "chunked", floor=floor).values()) < 1e-5


def test_chunked_bfloat16_stays_near() -> None:
    case = make_case((1, 130, 2, 16), dtype=torch.bfloat16)
    found = results(case, "chunked")
    assert found["y"].dtype == torch.bfloat16
    assert found["final state"].dtype == torch.float32
    assert max(errors(case, "chunked").values()) < 4e-3


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("split", [0, 1, 63, 64, 70, 129, 130])
def test_state_hands_over_anywhere(backend: str, split: int) -> None:
    case = make_case((1, 130, 2, 16), decay="mixed")
    r, k, v, log_decay, state = (case[name] for name in ("r", "k", "v", "log_decay", "state"))
    given = state.clone()  # type: ignore[union-attr]
    whole, last = wkv6(r, k, v, log_decay, None, state, backend=backend)  # type: ignore[arg-type]
    parts = []
    for piece in (slice(0, split), slice(split, None)):
        arguments = [x[:, piece] for x in (r, k, v, log_decay)]  # type: ignore[index]
        y, state = wkv6(*arguments, None, state, backend=backend)
        parts.append(y)
    assert relative_error(torch.cat(parts, 1), whole) < 1e-5
    assert state is not None
    assert relative_error(state, last) < 1e-5
    assert torch.equal(case["state"], given)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_a_start_is_a_fresh_state(backend: str) -> None:
    case = make_case((1, 100, 1, 16))
    r, k, v, log_decay = (case[name] for name in ("r", "k", "v", "log_decay"))
    starts = torch.zeros(1, 100, dtype=torch.bool)
    starts[:, 64] = True
    y, last = wkv6(r, k, v, log_decay, None, case["state"], starts=starts, backend=backend)  # type: ignore[arg-type]
    alone = wkv6(*(x[:, 64:] for x in (r, k, v, log_decay)), backend=backend)  # type: ignore[index]
    assert relative_error(y[:, 64:], alone[0]) < 1e-6
    assert relative_error(last, alone[1]) < 1e-6


def test_no_tokens_pass_the_state_on() -> None:
    case = make_case((2, 0, 2, 16))
    for backend in ("reference", "chunked"):
        arguments = [case[name] for name in ("r", "k", "v", "log_decay", "u", "state")]
        y, last = wkv6(*arguments, backend=backend)  # type: ignore[arg-type]
        assert y.shape == (2, 0, 2, 16)
        assert torch.equal(last, case["state"])  # type: ignore[arg-type]
        assert last is not case["state"]


def test_misuse_is_refused() -> None:
    case = make_case((1, 100, 1, 16))
    arguments = [case[name] for name in ("r", "k", "v", "log_decay")]
    starts = torch.zeros(1, 100, dtype=torch.bool)
    starts[:, 65] = True
    with pytest.raises(ValueError, match="token 65"):
        wkv6(*arguments, starts=starts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cuda"):
        wkv6(*arguments, backend="cuda")  # type: ignore[arg-type]
