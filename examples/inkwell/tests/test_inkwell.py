"""Prices, the queue and the shop. Run with `python -m pytest` in the folder above."""

from __future__ import annotations

import pytest
from inkwell.jobs import JobQueue
from inkwell.models import InvalidOrder, Order, Product, State, parse_order
from inkwell.notify import Notifier
from inkwell.presses import PressRoom, shop_presses
from inkwell.pricing import compute_discount, discount_percent, quote, shipping_cost
from inkwell.rates import RatesTooOld, RateTable
from inkwell.server import Shop
from inkwell.storage import OrderStore


class Bench:
    """A shop without network, with a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[object] = []
        self.store, self.queue = OrderStore(), JobQueue(clock=lambda: self.now)
        self.room = PressRoom(shop_presses(), self.queue, self.store, Notifier("shop", self.sent.append))
        self.shop = Shop(self.store, self.queue, RateTable())

    def place(self, **more: object) -> int:
        status, reply = self.shop.place({"customer": "marta", "product": "poster", "quantity": 2, **more})
        assert status == 201
        return reply["number"]


def test_prices() -> None:
    assert [discount_percent(n) for n in (49, 50, 250, 1000)] == [0, 5, 12, 18]
    assert discount_percent(1000, past_orders=10) == 25
    assert compute_discount(1999, 50) == 99
    assert shipping_cost("PT", 15001) == 0
    assert shipping_cost("JP", 100) == 1490
    assert quote(Order("marta", Product.POSTER, 40)).total == 20664


def test_orders_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidOrder):
        Order("marta", Product.BOOKLET, 1, pages=10)
    with pytest.raises(InvalidOrder):
        parse_order({"customer": "marta", "product": "mug", "quantity": 1})


def test_express_orders_come_first() -> None:
    bench = Bench()
    bench.place()
    express = bench.place(express=True)
    assert bench.room.start_idle_presses()[0].number == express


def test_a_printed_order_is_announced_and_cannot_be_cancelled() -> None:
    bench = Bench()
    number = bench.place()
    bench.room.start_idle_presses()
    bench.room.confirm("bruno")
    assert bench.store.get(number).state is State.PRINTED
    assert len(bench.sent) == 1
    assert bench.shop.cancel(number)[0] == 409


def test_a_job_fails_after_five_jams() -> None:
    bench = Bench()
    number = bench.place()
    for _ in range(5):
        bench.room.start_idle_presses()
        bench.room.jam("bruno")
        bench.now += 10_000
    assert bench.store.get(number).state is State.FAILED


def test_without_rates_nothing_is_converted() -> None:
    def fail() -> dict[str, float]:
        raise OSError

    with pytest.raises(RatesTooOld):
        RateTable(fail).convert(100, "GBP")
