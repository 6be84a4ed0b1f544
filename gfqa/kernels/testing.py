"""Helpers for comparing forms of one operation."""

from __future__ import annotations

from torch import Tensor


def relative_error(actual: Tensor, expected: Tensor, floor: float = 1e-12) -> float:
    """Root-mean-square of the difference over that of the expected values (at least `floor`); NaN stays NaN."""
    difference = (actual.detach().double() - expected.detach().double()).square().mean().sqrt()
    scale = expected.detach().double().square().mean().sqrt().clamp(min=floor)
    return float(difference / scale) if expected.numel() else 0.0
