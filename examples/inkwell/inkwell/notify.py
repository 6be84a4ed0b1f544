"""E-mails to customers."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from email.message import EmailMessage

from inkwell.storage import StoredOrder

SMTP_TIMEOUT_SECONDS = 20
PICKUP_DAYS = 14


def send_by_smtp(message: EmailMessage, host: str, port: int) -> None:
    """Deliver one message, encrypted."""
    with smtplib.SMTP(host, port, timeout=SMTP_TIMEOUT_SECONDS) as server:
        server.starttls()
        server.send_message(message)


class Notifier:
    """Writes the messages; `send` delivers them. A message that cannot be delivered never stops a press."""

    def __init__(self, sender: str, send: Callable[[EmailMessage], None]) -> None:
        self._sender = sender
        self._send = send
        self.undelivered: list[EmailMessage] = []

    def order_printed(self, order: StoredOrder) -> None:
        text = (
            f"Your order {order.number} of {order.quantity} {order.product}s is printed.\n"
            f"You can collect it within {PICKUP_DAYS} days.\n"
        )
        self._deliver(order, f"Order {order.number} is ready", text)

    def order_failed(self, order: StoredOrder) -> None:
        text = f"We are sorry: your order {order.number} could not be printed. You will not be charged.\n"
        self._deliver(order, f"Order {order.number} has failed", text)

    def _deliver(self, order: StoredOrder, subject: str, text: str) -> None:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = f"{order.customer}@customers.inkwell.example"
        message["Subject"] = subject
        message.set_content(text)
        try:
            self._send(message)
        except OSError:
            self.undelivered.append(message)
