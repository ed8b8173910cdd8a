"""Order books and trades as streams tell them: what has changed since the second that was told last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sandbox.market import Book, Market, Trade
from sandbox.streams.base import Subscriptions, Topic
from sandbox.view import View

NOTHING = "0"
TOLD_AT_FIRST = 10  # trades, where a venue begins with those of before
MOST_TOLD = 1000

Levels = list[tuple[Any, str]]


EMPTY = Book([], [])


class Change(NamedTuple):
    """A change from the book of one second (None: nothing was told before) to that of a later one."""

    before: int | None
    second: int
    bids: Levels
    asks: Levels
    book: Book


def change(view: View, subscriptions: Subscriptions, topic: Topic, market: Market, depth: int) -> Change | None:
    """Returns what changed; None in a second that was told already; everything, at first."""
    if subscriptions.told_at.get(topic) == view.second:
        return None
    before = subscriptions.told_before(topic, view.second)
    book, old = view.book(market, depth), subscriptions.told.get(topic, EMPTY)
    subscriptions.told[topic] = book
    return Change(before, view.second, _differences(old.bids, book.bids), _differences(old.asks, book.asks), book)


def trades(view: View, subscriptions: Subscriptions, topic: Topic, market: Market, *, at_first: int) -> Iterator[Trade]:
    """Returns the trades since the second that was told last, oldest first."""
    if subscriptions.told_at.get(topic) == view.second:
        return iter(())
    before = subscriptions.told_before(topic, view.second)
    first = view.second - at_first if before is None else before
    return view.trades(market, MOST_TOLD, first=first + 1, oldest_first=True)


def _differences(before: Levels, now: Levels) -> Levels:
    known, wanted = dict(before), dict(now)
    gone = [(price, NOTHING) for price in known if price not in wanted]
    return gone + [(price, amount) for price, amount in wanted.items() if known.get(price) != amount]
