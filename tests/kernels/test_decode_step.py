"""The fused launches of a decode step in Triton against plain PyTorch: every tensor they write, float32 and bfloat16."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    # Read by Triton when it is first imported.
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton")

from gfqa.kernels.decode_step import launches, reference, triton
from gfqa.kernels.decode_step.early import begins_early
from gfqa.kernels.gold_attention.reference import LayerMemory
from gfqa.kernels.gold_attention.triton import own_shares
from gfqa.kernels.gold_attention.triton_memory import sort_memory
from gfqa.kernels.testing import relative_error

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FLOAT, EPS = torch.float32, 1e-5
SIZES = [(32, 16), (48, 16), (768, 64)] if DEVICE == "cuda" else [(32, 16), (48, 16)]


class Draw:
    """Tensors of one test; `w` are weights in the type under test, `f` float32 vectors."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.generator, self.dtype = torch.Generator().manual_seed(5), dtype

    def f(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator).to(DEVICE)

    def w(self, *shape: int) -> torch.Tensor:
        return (0.3 * self.f(*shape)).to(self.dtype)

    def out(self, *shape: int, dtype: torch.dtype = FLOAT) -> torch.Tensor:
        return torch.full(shape, float("nan"), device=DEVICE, dtype=dtype)

    def norm(self, *shape: int) -> tuple[torch.Tensor, torch.Tensor, float]:
        return self.w(*shape) + 1, self.w(*shape), EPS


def length() -> torch.Tensor:
    return torch.tensor([4], dtype=torch.int32, device=DEVICE)


def embed(d: Draw, c: int, n: int) -> list[Any]:
    table, ids = d.w(9, c), torch.zeros(7, dtype=torch.long, device=DEVICE)
    kept = [d.w(c) for _ in range(2)]
    scale = None if n == c // 2 else d.out(1)
    return [torch.tensor([3], device=DEVICE), table, d.norm(c), d.out(c), d.out(c), kept[0], d.out(c, dtype=d.dtype),
            kept[1], d.out(c, dtype=d.dtype), ids, length(), scale, 1000, 0.16]  # fmt: skip


def mixing(d: Draw, c: int, groups: int) -> list[Any]:
    return [d.f(c), d.w(c), d.norm(c), d.w(c), d.w(6 * groups, c), d.w(groups, c), d.w(groups, 6, c)]


def finch_products(d: Draw, c: int, n: int) -> list[Any]:
    value = d.w(c, c)
    matrices = (d.w(c, c), d.w(c, c), value, value, d.w(12, c), d.w(10, c))
    return [*mixing(d, c, 5), matrices, (0, 1, 2, 4, 3), d.out(c), d.out(4 * c + 22)]


def gated_products(d: Draw, c: int, n: int) -> list[Any]:
    matrices = (*(d.w(c, c) for _ in range(4)), d.w(12, c), None)
    return [*mixing(d, c, 5), matrices, (3, 1, 2, 4, 0), d.out(c), d.out(4 * c + 12)]


def finch_state(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(4 * c + 22), (d.w(12, c), d.w(10, c)), d.f(c), d.f(c), d.norm(c), d.f(c // n, n, n), d.f(c), d.w(c),
            d.out(c), -1.0, True]  # fmt: skip


def gated_state(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(4 * c + 12), (d.w(12, c), None), d.f(c), d.w(c), d.norm(c), d.f(c // n, n, n), d.f(c), d.w(c),
            d.out(c), None, False]  # fmt: skip


def project(d: Draw, c: int, n: int) -> list[Any]:
    return [d.w(c) if n == c // 2 else d.f(c), d.norm(c), d.w(c, c), d.f(c)]


def project_plain(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(c), None, d.w(c, c), d.f(c)]


def channel_keys(d: Draw, c: int, n: int) -> list[Any]:
    heads = c // n
    shares = (d.f(heads, c), d.f(heads, 2).abs(), (d.f(c), d.f(c), EPS))
    return [d.f(c), shares, d.w(c), d.norm(c), (d.w(c), d.w(c)), (d.w(3 * c + 5, c), d.w(c, c)), d.out(c), d.out(c),
            d.out(3 * c + 5), d.out(c)]  # fmt: skip


def channel_keys_added(d: Draw, c: int, n: int) -> list[Any]:
    given = channel_keys(d, c, n)
    given[1], given[6] = None, given[0]
    return given


def channel_values(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(3 * c + 5), d.f(c), d.w(c, 3 * c + 5), d.f(c), d.f(c), d.out(c), d.out(c, dtype=d.dtype)]


def cache_key(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(c), d.f(c), d.w(c), d.w(c), (d.w(3, c), d.w(c, c + 3)), d.w(2, c), d.w(2, 10, c), torch.zeros(6, 3,
            device=DEVICE), length(), d.out(c), d.out(2, 10)]  # fmt: skip


def decompress(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(6, 3), length(), d.w(c, c + 3), d.f(c)]


def own_mixed(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(c), d.out(c, dtype=d.dtype), d.w(c), d.w(c), d.w(c), d.f(2, 10), d.w(2, 2, c), d.w(2, 2, 5, c),
            d.out(2, 2, c)]  # fmt: skip


def own_low(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(2, 2, c), d.w(2, 2, 7, c), d.out(2, 2, 7)]


def own_sums(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(2, 2, c), d.f(2, 2, 7), d.w(2, 2, 7, c)]


def own_rows(d: Draw, c: int, n: int) -> list[Any]:
    own = torch.zeros(2, 2, 6, c, device=DEVICE, dtype=d.dtype)
    return [d.f(2, 2, c), d.norm(2, 2, c), own, length()]


def query(d: Draw, c: int, n: int) -> list[Any]:
    given = mixing(d, c, 1)
    return [*given[:5], given[5][0], given[6][0], d.w(c, c), d.out(c), d.out(c)]


def query_norm(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(c), d.norm(c), d.f(1) if n == c // 2 else None, d.out(c, dtype=d.dtype)]


def gold_output(d: Draw, c: int, n: int) -> list[Any]:
    heads = c // n
    partials = (9 * d.f(heads, 5), d.f(heads, 5).exp(), d.f(heads, 5, n))
    return [partials, d.w(c), d.w(c, c), d.f(c), d.w(c), d.out(heads, c), d.out(heads, 2), d.out(heads)]


def logits(d: Draw, c: int, n: int) -> list[Any]:
    return [d.f(c), d.norm(c), d.w(37, c), d.out(37)]


CASES: dict[str, Callable[[Draw, int, int], list[Any]]] = {
    case.__name__: case
    for case in (
        embed, finch_products, gated_products, finch_state, gated_state, project, project_plain, channel_keys,
        channel_keys_added, channel_values, cache_key, decompress, own_mixed, own_low, own_sums, own_rows,
        query, query_norm, gold_output, logits,
    )
}  # fmt: skip
NAMES = {
    "gated_products": "finch_products",
    "gated_state": "finch_state",
    "project_plain": "project",
    "channel_keys_added": "channel_keys",
}


def copied(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(copied(part) for part in value)
    return value.clone() if isinstance(value, torch.Tensor) else value


def flat(values: list[Any]) -> list[torch.Tensor]:
    """Every tensor, those of tuples too."""
    parts: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, tuple):
            parts += flat(list(value))
        elif isinstance(value, torch.Tensor):
            parts.append(value)
    return parts


@pytest.mark.parametrize(("tile", "turns"), [(16384, 1), (256, 1), (256, 3)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_agrees(case: str, dtype: torch.dtype, size: tuple[int, int], tile: int, turns: int, monkeypatch: Any) -> None:
    """tile: with the small one a program has one row, else several, and the last program some beyond the end."""
    launch = triton.LAUNCH.reshaped(tile=tile, spread=5, turns=turns)
    monkeypatch.setattr(triton, "LAUNCH", replace(launch, sums_apart=size[0] == 48))
    given = CASES[case](Draw(dtype), *size)
    name = NAMES.get(case, case)
    expected, found = ([copied(value) for value in given] for _ in range(2))
    getattr(reference, name)(*expected)
    getattr(triton, name)(*found)
    written = 0
    for before, theirs, ours in zip(flat(given), flat(expected), flat(found), strict=True):
        written += not torch.equal(before.float().nan_to_num(7), theirs.float().nan_to_num(7))
        bound = 1e-2 if theirs.dtype == torch.bfloat16 else 1e-5
        assert relative_error(ours.float(), theirs.float()) < bound
    assert written


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("size", SIZES if DEVICE == "cuda" else [(64, 32), (48, 16)])
@pytest.mark.parametrize(("own", "room", "tokens"), [(3, 6, 700), (290, 400, 40), (1, 1, 0)])
def test_scan_agrees(own: int, room: int, tokens: int, size: tuple[int, int], stored: torch.dtype) -> None:
    """Of memories of several shares and of none, own keys of several shares; bigrams of one token and of many."""
    c, n = size
    heads, d = c // n, Draw(torch.bfloat16 if stored == torch.bfloat16 else FLOAT)
    if DEVICE == "cuda" and stored == torch.int8 and n < 32:
        pytest.skip("int8 keys take heads of size 32 or more on a GPU")
    bigram = (torch.rand(tokens, generator=d.generator) ** 3 * max(1, tokens // 4)).long().to(DEVICE)
    memory = sort_memory(LayerMemory(d.f(heads, tokens, n), d.f(heads, max(1, tokens // 4), n), bigram), stored, stored)
    given = [
        3 * d.f(c),
        d.norm(c),
        d.f(1),
        d.w(2, room, c),
        torch.tensor([own], dtype=torch.int32, device=DEVICE),
        memory,
    ]
    logits = [d.out(heads, tokens) for _ in range(2)]
    results = []
    for form, written in zip((reference, triton), logits, strict=True):
        partials = form.gold_scan(*given, written)
        parts, stats, totals = d.out(heads, c), d.out(heads, 2), d.out(heads)
        reference.gold_output(
            partials, torch.ones(c, device=DEVICE), torch.eye(c, device=DEVICE), d.f(c), d.f(c), parts, stats, totals
        )
        results.append((parts.sum(0), totals))
    bound = 2e-4 if stored == torch.int8 else 1e-5
    for found, expected in zip((*results[1], logits[1]), (*results[0], logits[0]), strict=True):
        assert not found.numel() or relative_error(found, expected) < bound
    given[2] = None
    peaks, _, _ = triton.gold_scan(*given, None)
    assert peaks.isfinite().all()


@pytest.mark.parametrize("c", [48, 80])
def test_sums_in_the_launch_that_takes_them(c: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At widths that are no power of two."""
    monkeypatch.setattr(triton, "LAUNCH", triton.LAUNCH.reshaped(spread=5))
    given = channel_keys(Draw(torch.bfloat16), c, 16)
    expected, found = ([copied(value) for value in given] for _ in range(2))
    reference.channel_keys(*expected)
    triton.channel_keys(*found)
    for theirs, ours in zip(flat(expected), flat(found), strict=True):
        assert relative_error(ours.float(), theirs.float()) < 1e-5


def test_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert launches(torch.zeros(1)) is reference
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert launches(torch.zeros(1)) is triton


class Driver:
    """A library that says its version, and whether it failed."""

    def __init__(self, version: int, failed: int) -> None:
        self.version, self.failed = version, failed

    def cuDriverGetVersion(self, where: Any) -> int:
        where._obj.value = self.version
        return self.failed


def test_launches_begin_early_where_the_driver_captures_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    device = torch.device("cuda", 0)

    def early(open_library: Any) -> bool:
        monkeypatch.setattr(ctypes, "CDLL", open_library)
        return bool(begins_early.__wrapped__(device))

    def missing(name: str) -> Any:
        raise OSError(name)

    assert early(lambda name: Driver(12040, 0))
    assert not early(lambda name: Driver(12020, 0))
    assert not early(lambda name: Driver(12040, 3))
    assert not early(lambda name: object())
    assert not early(missing)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert not early(lambda name: Driver(12040, 0))
    assert not begins_early.__wrapped__(torch.device("cpu"))


def test_room_of_own_keys_takes_no_share_of_the_memory() -> None:
    """The memory is read by as many programs with room for a long answer as with room for a short one."""
    c, heads, tokens, d = 64, 2, 4096, Draw(FLOAT)
    bigram = torch.arange(tokens, device=DEVICE) // 4
    memory = sort_memory(LayerMemory(d.f(heads, tokens, 32), d.f(heads, tokens // 4, 32), bigram), FLOAT, FLOAT)
    query, norm, length = d.f(c), d.norm(c), torch.ones(1, dtype=torch.int32, device=DEVICE)
    found = []
    for room in (64, 2048):
        partials = triton.gold_scan(query, norm, None, d.w(2, room, c), length, memory, None)
        found.append(partials[0].shape[1] - own_shares(room)[1])
    assert found[0] == found[1] > 1
