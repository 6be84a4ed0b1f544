"""Work on long tensors span by span, each span in one thread.

torch's own threads split every operation and wait for each other after it; where another process holds a core, each of
thousands of waits costs a time slice. Here a thread keeps its span, its tiles stay in its core's cache, and nobody waits
before the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_ALONE = threading.Lock()
"""The number of torch's threads belongs to the whole process, so one piece of work at a time changes it."""


def each_span(n: int, size: int, work: Callable[[slice], None]) -> None:
    """Call work(span) for the spans of `size` that cover range(n), in any order, as torch's number of threads allows.

    work runs under the caller's grad and inference modes, which torch keeps by thread. A single span is left to torch's
    own threads.
    """
    spans = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    threads = torch.get_num_threads()
    if threads == 1 or len(spans) < 2:
        for span in spans:
            work(span)
        return
    inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def run(span: slice) -> None:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            work(span)

    with _ALONE:
        try:
            with ThreadPoolExecutor(min(threads, len(spans)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                for _ in pool.map(run, spans):
                    pass
        finally:
            torch.set_num_threads(threads)
