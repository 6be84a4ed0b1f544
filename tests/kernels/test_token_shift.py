"""The Triton token shift against plain PyTorch: on a GPU where there is one, else in Triton's interpreter on the CPU."""

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
from gfqa.kernels.token_shift import ddlerp, lerp

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.usefixtures("poisoned_empty")


def tensors(length: int, width: int = 80, groups: int = 5, inner: int = 16) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(length)
    shapes = {"x": (2, length, width), "before": (2, width), "mix": (1, 1, width), "w1": (width, groups * inner)}
    shapes |= {"w2": (groups, inner, width), "mixes": (groups, 1, 1, width)}
    return {name: torch.randn(shape, generator=generator).to(DEVICE) for name, shape in shapes.items()}


def starts_of(length: int) -> Tensor:
    """Chains begin at the very first token of the second row, and at odd places."""
    starts = torch.zeros(2, length, dtype=torch.bool, device=DEVICE)
    starts[1, 0] = True
    starts[0, 7::13] = True
    return starts


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("length", [1, 15, 63, 64, 65, 200])
def test_agrees_at_any_length(length: int, carried: bool) -> None:
    given = tensors(length)
    before, starts = (given["before"], starts_of(length)) if carried else (None, None)
    mixes = list(given["mixes"])
    for form, arguments in ((lerp, (mixes,)), (ddlerp, (given["mix"], given["w1"] * 0.1, given["w2"] * 0.1, mixes))):
        expected, found = (
            form(given["x"], before, starts, *arguments, backend=backend)  # type: ignore[operator]
            for backend in ("reference", "triton")
        )
        assert len(expected) == len(found) == 5
        for theirs, ours in zip(expected, found, strict=True):
            assert ours.shape == theirs.shape
            assert relative_error(ours, theirs) < 1e-5


def test_bfloat16_stays_near() -> None:
    given = {name: tensor.bfloat16() for name, tensor in tensors(70).items()}
    arguments = (given["mix"], given["w1"] * 0.1, given["w2"] * 0.1, list(given["mixes"]))
    exact = tuple([m.double() for m in x] if isinstance(x, list) else x.double() for x in arguments)
    expected = ddlerp(given["x"].double(), given["before"].double(), None, *exact, backend="reference")  # type: ignore[arg-type]
    found = ddlerp(given["x"], given["before"], None, *arguments, backend="triton")
    for theirs, ours in zip(expected, found, strict=True):
        assert ours.dtype == torch.bfloat16
        assert relative_error(ours, theirs) < (1e-2 if DEVICE == "cuda" else 2e-2)


def test_large_activations_saturate() -> None:
    given = tensors(20)
    arguments = (given["mix"], given["w1"] * 1e4, given["w2"], list(given["mixes"]))
    expected = ddlerp(given["x"], None, None, *arguments, backend="reference")
    found = ddlerp(given["x"], None, None, *arguments, backend="triton")
    assert max(relative_error(a, b) for a, b in zip(found, expected, strict=True)) < 1e-5


def test_no_tokens_are_no_output() -> None:
    given = tensors(0)
    for backend in ("reference", "triton"):
        assert [x.shape for x in lerp(given["x"], None, None, list(given["mixes"]), backend=backend)] == [
            (2, 0, 80)
        ] * 5


def test_gradients_take_the_plain_form() -> None:
    given = tensors(5)
    x = given["x"].requires_grad_()
    sum(out.sum() for out in lerp(x, None, None, list(given["mixes"]))).backward()  # type: ignore[union-attr]
    assert x.grad is not None
