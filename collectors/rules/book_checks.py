"""Why an order book is not stored. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from feeds.base import BOOK_MAY_REST_SECONDS, OrderBook, RejectedRow

FUTURE_SECONDS = 60.0  # an exchange's clock may be ahead of ours by so much
EXCERPT_LEVELS = 3
EXCERPT_CHARACTERS = 200


def fault_of(book: OrderBook, *, now: float) -> str:
    """Returns why a book is not stored; empty for a sound one. Of a thin market one side may be all there is."""
    if not book.bids and not book.asks:
        return "empty: neither bids nor asks"
    for name, levels, direction in (("bids", book.bids, -1), ("asks", book.asks, 1)):
        if fault := _fault_of_side(name, levels, direction):
            return fault
    if book.bids and book.asks and book.bids[0][0] >= book.asks[0][0]:
        return f"crossed: bid {book.bids[0][0]!r} is not below ask {book.asks[0][0]!r}"
    if book.exchange_at is not None and book.exchange_at > now + FUTURE_SECONDS:
        return "stamped in the future"
    if book.exchange_at is not None and book.exchange_at < now - BOOK_MAY_REST_SECONDS:
        return f"{(now - book.exchange_at) / 86_400:.1f} days old by its own stamp"
    return ""


def put_aside(symbol: str, book: OrderBook, fault: str) -> RejectedRow:
    excerpt = f"bids {book.bids[:EXCERPT_LEVELS]!r} asks {book.asks[:EXCERPT_LEVELS]!r}"
    return RejectedRow(symbol, fault, excerpt[:EXCERPT_CHARACTERS])


def _fault_of_side(name: str, levels: Sequence[tuple[float, float]], direction: int) -> str:
    if not all(math.isfinite(value) and value > 0 for level in levels for value in level):
        return f"{name} have a price or amount that is no positive number"
    if any((following[0] - level[0]) * direction <= 0 for level, following in pairwise(levels)):
        return f"{name} are not in order"
    return ""
