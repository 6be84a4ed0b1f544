"""What an order is, and the states it goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

MAX_QUANTITY = 5000
MIN_BOOKLET_PAGES = 8


class Product(Enum):
    POSTER = "poster"
    POSTCARD = "postcard"
    BOOKLET = "booklet"


class State(Enum):
    """An order is received, then printing, then printed; or it is cancelled before a press has started it."""

    RECEIVED = "received"
    PRINTING = "printing"
    PRINTED = "printed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class InvalidOrder(ValueError):
    """An order that cannot be accepted. The message is shown to the customer."""


@dataclass(frozen=True)
class Order:
    """One order of one product. Prices are kept in cents of the shop's own currency."""

    customer: str
    product: Product
    quantity: int
    country: str = "PT"
    pages: int = 0
    express: bool = False
    received: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        if not self.customer.strip():
            raise InvalidOrder("the customer is missing")
        if not 1 <= self.quantity <= MAX_QUANTITY:
            raise InvalidOrder(f"the quantity must be between 1 and {MAX_QUANTITY}")
        if self.product is Product.BOOKLET:
            if self.pages < MIN_BOOKLET_PAGES:
                raise InvalidOrder(f"a booklet has at least {MIN_BOOKLET_PAGES} pages")
            if self.pages % 4:
                raise InvalidOrder("the number of pages must be a multiple of four")
        elif self.pages:
            raise InvalidOrder("only booklets have pages")


def parse_order(data: dict[str, object]) -> Order:
    """Make an Order from a JSON object; InvalidOrder when a key is unknown or a value is of the wrong type."""
    types = {"customer": str, "product": str, "quantity": int, "country": str, "pages": int, "express": bool}
    for key, value in data.items():
        if key not in types:
            raise InvalidOrder(f"unknown key {key}")
        if not isinstance(value, types[key]):
            raise InvalidOrder(f"{key} must be of type {types[key].__name__}")
    for key in ("customer", "product", "quantity"):
        if key not in data:
            raise InvalidOrder(f"{key} is missing")
    try:
        product = Product(data["product"])
    except ValueError:
        raise InvalidOrder(f"{data['product']} is not a product of this shop") from None
    return Order(**{**data, "product": product})
