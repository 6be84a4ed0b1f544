"""The HTTP interface: JSON in, JSON out."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from inkwell.config import ServerConfig
from inkwell.jobs import JobQueue
from inkwell.models import InvalidOrder, parse_order
from inkwell.pricing import quote
from inkwell.rates import RatesTooOld, RateTable, UnknownCurrency
from inkwell.storage import CannotCancel, OrderNotFound, OrderStore

CURRENCY_BY_COUNTRY = {"GB": "GBP", "US": "USD", "CH": "CHF", "PL": "PLN"}


class Shop:
    """What the handlers work with. Each method answers one request with (status, reply)."""

    def __init__(self, store: OrderStore, queue: JobQueue, rates: RateTable) -> None:
        self._store = store
        self._queue = queue
        self._rates = rates

    def place(self, data: dict[str, object]) -> tuple[int, dict[str, object]]:
        """Accept an order. The reply holds its number, its price and the currency of the customer's country."""
        try:
            order = parse_order(data)
            price = quote(order, self._store.count_for(order.customer))
            currency = CURRENCY_BY_COUNTRY.get(order.country, "EUR")
            total = self._rates.convert(price.total, currency)
        except (InvalidOrder, UnknownCurrency) as error:
            return 422, {"error": str(error)}
        except RatesTooOld as error:
            return 503, {"error": str(error)}
        number = self._store.add(order, price.total)
        self._queue.put(number, order.product.value, order.express)
        return 201, {"number": number, "total_cents": total, "currency": currency}

    def show(self, number: int) -> tuple[int, dict[str, object]]:
        try:
            order = self._store.get(number)
        except OrderNotFound:
            return 404, {"error": f"there is no order {number}"}
        return 200, {"number": number, "state": order.state.value, "quantity": order.quantity}

    def cancel(self, number: int) -> tuple[int, dict[str, object]]:
        try:
            self._store.cancel(number)
        except OrderNotFound:
            return 404, {"error": f"there is no order {number}"}
        except CannotCancel as error:
            return 409, {"error": str(error)}
        self._queue.remove(number)
        return 200, {"number": number, "state": "cancelled"}

    def health(self) -> tuple[int, dict[str, object]]:
        return 200, {"status": "ok", "waiting": len(self._queue)}


def make_server(shop: Shop, config: ServerConfig) -> ThreadingHTTPServer:
    """A server that is bound to its port but not running yet."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "Inkwell"

        def do_GET(self) -> None:
            if self.path == "/health":
                self._reply(*shop.health())
            else:
                self._with_number(shop.show)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            if length > config.max_body_bytes:
                self._reply(413, {"error": "the request is too large"})
                return
            try:
                data = json.loads(self.rfile.read(length))
            except ValueError:
                data = None
            if self.path != "/orders" or not isinstance(data, dict):
                self._reply(400, {"error": "send a JSON object to /orders"})
                return
            self._reply(*shop.place(data))

        def do_DELETE(self) -> None:
            self._with_number(shop.cancel)

        def _with_number(self, action: object) -> None:
            start, _, number = self.path.rpartition("/")
            if start != "/orders" or not number.isdigit():
                self._reply(404, {"error": "unknown address"})
                return
            self._reply(*action(int(number)))

        def _reply(self, status: int, body: dict[str, object]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return ThreadingHTTPServer((config.host, config.port), Handler)
