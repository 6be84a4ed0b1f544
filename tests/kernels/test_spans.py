"""Work on spans in threads."""

from __future__ import annotations

import pytest
import torch

from gfqa.kernels.spans import each_span


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


@pytest.mark.parametrize("n", [0, 1, 10, 11, 95])
def test_spans_cover_everything_once_in_the_callers_modes(n, threads):
    counts, modes = torch.zeros(n, dtype=torch.int64), set()

    def work(span):
        counts[span] += 1
        modes.add((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))

    with torch.no_grad():
        each_span(n, 10, work)
    assert (counts == 1).all()
    assert modes == ({(False, False)} if n else set())
    assert torch.get_num_threads() == threads


def test_a_failure_is_raised_and_the_threads_are_as_before(threads):
    def work(span):
        if span.start == 20:
            raise ValueError("twenty")

    with pytest.raises(ValueError, match="twenty"):
        each_span(100, 10, work)
    assert torch.get_num_threads() == threads
