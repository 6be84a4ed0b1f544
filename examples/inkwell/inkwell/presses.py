"""The presses of the shop, and which of them prints a job."""

from __future__ import annotations

from dataclasses import dataclass

from inkwell.jobs import Job, JobQueue
from inkwell.models import State
from inkwell.notify import Notifier
from inkwell.storage import OrderStore

POSTCARDS_PER_SHEET = 4
WARM_UP_SECONDS = 240


class UnknownPress(KeyError):
    """No press of this name."""


class PaperJam(RuntimeError):
    """The press has stopped by itself; the job can be tried again."""


@dataclass
class Press:
    """A machine. `sheets_per_minute` is its speed when it is warm."""

    name: str
    products: frozenset[str]
    sheets_per_minute: int
    stopped: bool = False
    current: Job | None = None

    def minutes_for(self, product: str, quantity: int) -> float:
        """How long a job takes, warming up included."""
        sheets = -(-quantity // POSTCARDS_PER_SHEET) if product == "postcard" else quantity
        return WARM_UP_SECONDS / 60 + sheets / self.sheets_per_minute


def shop_presses() -> dict[str, Press]:
    """The three presses in Porto."""
    return {
        "alba": Press("alba", frozenset({"poster", "postcard"}), sheets_per_minute=60),
        "bruno": Press("bruno", frozenset({"poster", "postcard"}), sheets_per_minute=85),
        "celia": Press("celia", frozenset({"booklet"}), sheets_per_minute=30),
    }


class PressRoom:
    """Takes jobs from the queue, starts them, and records how they end."""

    def __init__(self, presses: dict[str, Press], queue: JobQueue, store: OrderStore, notifier: Notifier) -> None:
        self.presses = presses
        self._queue = queue
        self._store = store
        self._notifier = notifier

    def start_idle_presses(self) -> list[Job]:
        """Give each free press its next job. The fastest press chooses first."""
        started = []
        for press in sorted(self.presses.values(), key=lambda p: -p.sheets_per_minute):
            if press.stopped or press.current is not None:
                continue
            job = self._queue.take(press.products)
            if job is not None:
                press.current = job
                self._store.set_state(job.number, State.PRINTING)
                started.append(job)
        return started

    def confirm(self, name: str) -> None:
        """The press reports that its job is printed."""
        press = self._press(name)
        job, press.current = press.current, None
        if job is not None:
            self._store.set_state(job.number, State.PRINTED)
            self._notifier.order_printed(self._store.get(job.number))

    def jam(self, name: str) -> None:
        """The press reports a paper jam: its job is tried again later, or fails for good."""
        press = self._press(name)
        job, press.current = press.current, None
        if job is not None and not self._queue.retry(job):
            self._store.set_state(job.number, State.FAILED)
            self._notifier.order_failed(self._store.get(job.number))

    def stop(self, name: str) -> None:
        """Take a press out of service. Its job goes back to the front of the queue."""
        press = self._press(name)
        press.stopped = True
        if press.current is not None:
            self._queue.give_back(press.current)
            press.current = None

    def resume(self, name: str) -> None:
        self._press(name).stopped = False

    def _press(self, name: str) -> Press:
        if name not in self.presses:
            raise UnknownPress(name)
        return self.presses[name]
