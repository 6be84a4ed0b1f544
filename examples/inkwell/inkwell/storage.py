"""Orders in a SQLite file. One connection, guarded by a lock."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass

from inkwell.models import Order, State

SCHEMA_VERSION = 4
FAILED_JOBS_KEPT_DAYS = 30

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    customer TEXT NOT NULL,
    product TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    pages INTEGER NOT NULL,
    country TEXT NOT NULL,
    express INTEGER NOT NULL,
    received TEXT NOT NULL,
    state TEXT NOT NULL,
    total_cents INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_by_customer ON orders (customer);
"""


class OrderNotFound(KeyError):
    """There is no order of this number."""


class CannotCancel(RuntimeError):
    """The order has been started by a press, or is finished."""


@dataclass(frozen=True)
class StoredOrder:
    number: int
    customer: str
    product: str
    quantity: int
    state: State
    total_cents: int


class OrderStore:
    """All orders. Every method is one transaction."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        with self._database:
            self._database.executescript(_SCHEMA)
            self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def add(self, order: Order, total_cents: int) -> int:
        """Store a new order in the state received and return its number. Numbers start at 1 and are never reused."""
        row = (
            order.customer,
            order.product.value,
            order.quantity,
            order.pages,
            order.country,
            int(order.express),
            order.received.isoformat(),
            State.RECEIVED.value,
            total_cents,
        )
        with self._lock, self._database:
            columns = "customer, product, quantity, pages, country, express, received, state, total_cents"
            cursor = self._database.execute(f"INSERT INTO orders ({columns}) VALUES (?,?,?,?,?,?,?,?,?)", row)
            return int(cursor.lastrowid or 0)

    def get(self, number: int) -> StoredOrder:
        with self._lock:
            row = self._database.execute(
                "SELECT number, customer, product, quantity, state, total_cents FROM orders WHERE number = ?", (number,)
            ).fetchone()
        if row is None:
            raise OrderNotFound(number)
        return StoredOrder(row[0], row[1], row[2], row[3], State(row[4]), row[5])

    def count_for(self, customer: str) -> int:
        """How many orders of a customer were printed; only these count for the loyalty discount."""
        with self._lock:
            row = self._database.execute(
                "SELECT COUNT(*) FROM orders WHERE customer = ? AND state = ?", (customer, State.PRINTED.value)
            ).fetchone()
        return int(row[0])

    def set_state(self, number: int, state: State) -> None:
        with self._lock, self._database:
            changed = self._database.execute("UPDATE orders SET state = ? WHERE number = ?", (state.value, number))
        if changed.rowcount == 0:
            raise OrderNotFound(number)

    def cancel(self, number: int) -> None:
        """Cancel an order that no press has started yet."""
        if self.get(number).state is not State.RECEIVED:
            raise CannotCancel(f"order {number} is already {self.get(number).state.value}")
        self.set_state(number, State.CANCELLED)
