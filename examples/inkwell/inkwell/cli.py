"""The command line: `serve` starts the shop, `quote` prices an order, `press` stops or resumes a machine."""

from __future__ import annotations

import argparse
import functools
import threading
import time

from inkwell.config import Config, load_config
from inkwell.jobs import JobQueue
from inkwell.models import parse_order
from inkwell.notify import Notifier, send_by_smtp
from inkwell.presses import PressRoom, shop_presses
from inkwell.pricing import quote
from inkwell.rates import RateTable, fetch_rates
from inkwell.server import Shop, make_server
from inkwell.storage import OrderStore

PRESS_ROOM_INTERVAL_SECONDS = 2


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inkwell", description="Orders of a small print shop.")
    parser.add_argument("--config", help="a TOML file; by default inkwell.toml")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="start the server and the press room")
    price = commands.add_parser("quote", help="price an order without placing it")
    price.add_argument("product")
    price.add_argument("quantity", type=int)
    price.add_argument("--pages", type=int, default=0)
    price.add_argument("--country", default="PT")
    press = commands.add_parser("press", help="stop or resume a press")
    press.add_argument("name")
    press.add_argument("--stop", action="store_true")
    return parser


def serve(config: Config) -> None:
    """Run until interrupted: the server in this thread, the press room in another."""
    store = OrderStore(config.storage.path)
    queue = JobQueue(config.queue.max_attempts, config.queue.retry_delay_seconds)
    rates = RateTable(functools.partial(fetch_rates, config.rates.url), config.rates.refresh_minutes, config.rates.base)
    send = functools.partial(send_by_smtp, host=config.notify.smtp_host, port=config.notify.smtp_port)
    room = PressRoom(shop_presses(), queue, store, Notifier(config.notify.sender, send))

    def run_presses() -> None:
        while True:
            room.start_idle_presses()
            time.sleep(PRESS_ROOM_INTERVAL_SECONDS)

    threading.Thread(target=run_presses, daemon=True).start()
    make_server(Shop(store, queue, rates), config.server).serve_forever()


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    if options.command == "serve":
        serve(load_config(options.config))
    elif options.command == "quote":
        data = {"customer": "quote", "product": options.product, "quantity": options.quantity}
        price = quote(parse_order({**data, "country": options.country, "pages": options.pages}))
        print(f"{price.total / 100:.2f} EUR, of which {price.tax / 100:.2f} are tax")
    else:
        print(f"{options.name} is {'stopped' if options.stop else 'running'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
