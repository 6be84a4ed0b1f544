"""Prices: unit prices, discounts, shipping and tax. All amounts are whole cents."""

from __future__ import annotations

from dataclasses import dataclass

from inkwell.models import Order, Product

POSTER_CENTS = 420
POSTCARD_CENTS = 35
BOOKLET_PAGE_CENTS = 9
BOOKLET_BINDING_CENTS = 150

TAX_PERCENT = 23
EXPRESS_SURCHARGE_PERCENT = 40
SMALL_ORDER_FEE_CENTS = 500
SMALL_ORDER_LIMIT_CENTS = 2000

# From this many pieces on, this many percent are taken off.
DISCOUNT_STEPS = ((1000, 18), (250, 12), (50, 5))
MAX_DISCOUNT_PERCENT = 25
LOYALTY_PERCENT = 7
LOYALTY_ORDERS = 10

SHIPPING_CENTS = {"PT": 390, "ES": 590, "FR": 890, "DE": 890}
SHIPPING_ELSEWHERE_CENTS = 1490


@dataclass(frozen=True)
class Quote:
    """A price and how it comes about. `total` is what the customer pays."""

    goods: int
    discount: int
    surcharge: int
    shipping: int
    tax: int

    @property
    def total(self) -> int:
        return self.goods - self.discount + self.surcharge + self.shipping + self.tax


def unit_price(order: Order) -> int:
    """Cents for one piece of the order's product."""
    if order.product is Product.POSTER:
        return POSTER_CENTS
    if order.product is Product.POSTCARD:
        return POSTCARD_CENTS
    return BOOKLET_BINDING_CENTS + order.pages * BOOKLET_PAGE_CENTS


def discount_percent(quantity: int, past_orders: int = 0) -> int:
    """Percent off for a quantity, and for customers who have ordered at least ten times before."""
    percent = next((percent for least, percent in DISCOUNT_STEPS if quantity >= least), 0)
    if past_orders >= LOYALTY_ORDERS:
        percent += LOYALTY_PERCENT
    return min(percent, MAX_DISCOUNT_PERCENT)


def compute_discount(goods: int, quantity: int, past_orders: int = 0) -> int:
    """The discount in cents, rounded down so that an invoice is never too low."""
    return goods * discount_percent(quantity, past_orders) // 100


def shipping_cost(country: str, goods: int) -> int:
    """Cents for one parcel. Orders above 150 euros travel free of charge inside Portugal."""
    if country == "PT" and goods > 15000:
        return 0
    return SHIPPING_CENTS.get(country, SHIPPING_ELSEWHERE_CENTS)


def quote(order: Order, past_orders: int = 0) -> Quote:
    """Price an order: goods, discount, surcharge, shipping and tax, in this sequence."""
    goods = unit_price(order) * order.quantity
    discount = compute_discount(goods, order.quantity, past_orders)
    surcharge = 0
    if goods < SMALL_ORDER_LIMIT_CENTS:
        surcharge += SMALL_ORDER_FEE_CENTS
    if order.express:
        surcharge += goods * EXPRESS_SURCHARGE_PERCENT // 100
    shipping = shipping_cost(order.country, goods)
    taxed = goods - discount + surcharge + shipping
    return Quote(goods, discount, surcharge, shipping, (taxed * TAX_PERCENT + 50) // 100)
