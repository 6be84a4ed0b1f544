"""The queue of print jobs: express jobs first, then first come, first served."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

ALARM_LENGTH = 200


@dataclass(order=True)
class Job:
    """One order waiting for a press. Jobs compare by urgency, then by age."""

    urgency: int
    sequence: int
    number: int = field(compare=False)
    product: str = field(compare=False)
    attempts: int = field(default=0, compare=False)
    not_before: float = field(default=0.0, compare=False)


class JobQueue:
    """A queue for several presses.

    max_attempts: how often a job is tried before it is given up.
    retry_delay: seconds before a failed job is tried again; the delay doubles after each failure.
    """

    def __init__(
        self, max_attempts: int = 5, retry_delay: float = 45.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_attempts = max_attempts
        self.retry_delay = retry_delay
        self._clock = clock
        self._jobs: list[Job] = []
        self._sequence = itertools.count(1)
        self._returned = itertools.count(-1, -1)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, number: int, product: str, express: bool = False) -> Job:
        """Add the job of an order at the end of the queue, or before all ordinary jobs when it is an express order."""
        with self._lock:
            job = Job(0 if express else 1, next(self._sequence), number, product)
            heapq.heappush(self._jobs, job)
        if len(self._jobs) > ALARM_LENGTH:
            print(f"ALARM the queue holds {len(self._jobs)} jobs")
        return job

    def take(self, products: frozenset[str]) -> Job | None:
        """The most urgent job among `products` that may run now, or None. The job leaves the queue."""
        with self._lock:
            ready = [j for j in self._jobs if j.product in products and j.not_before <= self._clock()]
            if not ready:
                return None
            job = min(ready)
            self._jobs.remove(job)
            heapq.heapify(self._jobs)
            return job

    def give_back(self, job: Job) -> None:
        """Put a job to the front of the queue, because its press was stopped. This is not a failure."""
        with self._lock:
            job.urgency, job.sequence = 0, next(self._returned)
            heapq.heappush(self._jobs, job)

    def retry(self, job: Job) -> bool:
        """Queue a failed job again after a delay. False when it has failed too often and was given up."""
        job.attempts += 1
        if job.attempts >= self.max_attempts:
            return False
        job.not_before = self._clock() + self.retry_delay * 2 ** (job.attempts - 1)
        with self._lock:
            heapq.heappush(self._jobs, job)
        return True

    def remove(self, number: int) -> bool:
        """Drop the job of a cancelled order. False when it is not waiting any more."""
        with self._lock:
            kept = [job for job in self._jobs if job.number != number]
            removed = len(kept) < len(self._jobs)
            self._jobs = kept
            heapq.heapify(self._jobs)
        return removed
