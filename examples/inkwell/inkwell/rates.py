"""Exchange rates, fetched once in a while and kept in memory."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable

MAX_AGE_HOURS = 48
MAX_REPLY_BYTES = 200_000


class RatesTooOld(RuntimeError):
    """No rates have been fetched within the last 48 hours."""


class UnknownCurrency(KeyError):
    """A currency that the bank does not list."""


def fetch_rates(url: str, timeout: float = 4.5) -> dict[str, float]:
    """Download today's rates. `timeout` is in seconds and holds for connecting and for reading."""
    with urllib.request.urlopen(url, timeout=timeout) as reply:
        data = json.loads(reply.read(MAX_REPLY_BYTES))
    return {name: float(rate) for name, rate in data["rates"].items()}


class RateTable:
    """Rates that refresh themselves. Safe to be used by several threads.

    fetch: a function without arguments that gives the rates; by default nothing is ever fetched.
    clock: seconds that only grow, replaced in the tests.
    """

    def __init__(
        self,
        fetch: Callable[[], dict[str, float]] = dict,
        refresh_minutes: int = 90,
        base: str = "EUR",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._refresh_seconds = refresh_minutes * 60
        self._base = base
        self._clock = clock
        self._rates: dict[str, float] = {}
        self._fetched_at: float | None = None
        self._lock = threading.Lock()

    def convert(self, cents: int, currency: str) -> int:
        """The same amount in another currency, rounded to whole cents."""
        if currency == self._base:
            return cents
        with self._lock:
            self._refresh()
            if currency not in self._rates:
                raise UnknownCurrency(currency)
            return round(cents * self._rates[currency])

    def _refresh(self) -> None:
        now = self._clock()
        if self._fetched_at is not None and now - self._fetched_at < self._refresh_seconds:
            return
        try:
            self._rates = self._fetch()
            self._fetched_at = now
        except (OSError, ValueError, KeyError):
            # The bank cannot be reached: yesterday's rates are better than none.
            if self._fetched_at is None or now - self._fetched_at > MAX_AGE_HOURS * 3600:
                raise RatesTooOld("no exchange rates for 48 hours") from None
