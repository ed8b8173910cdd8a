"""Order books through ccxt: as many levels as are wanted, the exchange's stamp and its sequence number."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feeds.base import BadReply, OrderBook
from feeds.shared.book_repair import repaired

# Venues that answer an error to any other number of levels, or ignore it.
LEVELS: Mapping[str, tuple[int, ...]] = {
    "binanceusdm": (5, 10, 20, 50, 100, 500, 1000),
    "binancecoinm": (5, 10, 20, 50, 100, 500, 1000),
    "bitfinex": (25, 100),
    "htx": (5, 10, 20),
    "kucoin": (20, 100),
    "kucoinfutures": (20, 100),
    "luno": (100,),
}


@dataclass(slots=True)
class Reach:
    """The limits of a book that has followed its changes since it began: lower bids and higher asks are known only
    if they have changed. `most` levels of a side are kept."""

    most: int
    lowest_bid: float = -math.inf
    highest_ask: float = math.inf

    def shorten(self, book: Any) -> None:
        """Limits what is known to the levels of a book that was cut off at `most`, or was asked for with so many."""
        bids, asks = book["bids"], book["asks"]
        if len(bids) >= self.most:
            self.lowest_bid = max(self.lowest_bid, bids[-1][0])
        if len(asks) >= self.most:
            self.highest_ask = min(self.highest_ask, asks[-1][0])

    def covers(self, book: Any, depth: int) -> bool:
        """Says whether no level is missing among the `depth` best."""
        bids, asks = book["bids"][:depth], book["asks"][:depth]
        return _is_whole(bids, depth, -self.lowest_bid, sign=-1) and _is_whole(asks, depth, self.highest_ask, sign=1)


def _is_whole(levels: Sequence[Any], depth: int, limit: float, *, sign: int) -> bool:
    return limit == math.inf or (len(levels) == depth and sign * levels[-1][0] <= limit)


async def fetch(client: Any, symbol: str, depth: int, *, answered_at: Any) -> OrderBook:
    """Returns the order book; `answered_at` is asked after the answer has come."""
    book = await client.fetch_order_book(symbol, levels_to_ask(client.id, depth))
    return read(book, depth, answered_at())


def levels_to_ask(exchange_id: str, depth: int) -> int:
    """Returns the next larger number of levels that the exchange takes."""
    allowed = LEVELS.get(exchange_id)
    return depth if allowed is None else allowed[min(bisect_left(allowed, depth), len(allowed) - 1)]


def read(book: Any, depth: int, received_at: float) -> OrderBook:
    """Returns ccxt's book as ours. A level that is no number stays one: judging is not the feed's business."""
    (bids, odd_bids), (asks, odd_asks) = (repaired(_levels(book[side]), depth) for side in ("bids", "asks"))
    stamp, sequence = book.get("timestamp"), book.get("nonce")
    if not bids and not asks and stamp is None and sequence is None:
        raise BadReply("an order book without levels, time or sequence")
    at = None if stamp is None else stamp / 1000
    return OrderBook(bids, asks, at, received_at, _whole(sequence), odd_bids + odd_asks)


def _levels(levels: Any) -> Iterable[tuple[float, float]]:
    return ((_number(level[0]), _number(level[1])) for level in levels)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**63 else None
