"""Kraken's order books, checked against the checksum in each of their messages, before ccxt reads them.

ccxt's own check needs the digits as they were on the wire, and its Python parser has made numbers of them by then. A
book that matched its checksum at first and no longer does has missed a change: it is doubted, and begins anew. One that
does not match at first is not checked: whatever is wrong there, it is no missed change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

CHECKED_LEVELS = 10  # of each side, whatever was subscribed to
MARK = '"book"'
Read = Callable[[Any], None]
Side = dict[float, tuple[str, str]]  # price and amount, as texts, by price


@dataclass(slots=True)
class ChecksumBook:
    """The digits of one market's levels, best or not. `is_checked`: it began as its checksum says."""

    asks: Side = field(default_factory=dict)
    bids: Side = field(default_factory=dict)
    is_checked: bool = False

    def change(self, row: Mapping[str, Any], depth: int) -> None:
        """Applies a row's changes. Levels beyond the subscription's depth are dropped: no changes of them are sent."""
        for side, levels, is_bid in ((self.asks, row.get("asks"), False), (self.bids, row.get("bids"), True)):
            for level in levels or ():
                price = float(level["price"])
                if float(level["qty"]):
                    side[price] = level["price"], level["qty"]
                else:
                    side.pop(price, None)
            for price in _ordered(side, is_bid=is_bid)[depth:]:
                del side[price]

    def checksum(self) -> int:
        asks, bids = _ordered(self.asks, is_bid=False), _ordered(self.bids, is_bid=True)
        best = [*(self.asks[price] for price in asks[:CHECKED_LEVELS]),
                *(self.bids[price] for price in bids[:CHECKED_LEVELS])]  # fmt: skip
        return crc32("".join(_digits(text) for level in best for text in level).encode())


def with_checks(client: Any, read: Read, depth: int) -> Read:
    """Returns what reads a connection's frames: `read` itself where the exchange sends no checksums. What does not
    match is noted in the client's `doubted` and not read, as are the changes of a book that is no longer there."""
    if client.id != "kraken":
        return read
    books: dict[str, ChecksumBook] = {}

    def read_frame(data: Any) -> None:
        frame = json.loads(data, parse_float=str, parse_int=str) if MARK in data else None
        is_book = isinstance(frame, dict) and frame.get("channel") == "book"
        if not is_book or _is_sound(client, books, frame, depth):
            read(data)

    return read_frame


# {"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":64987.0,"qty":1.20000000}],"asks":[],
#  "checksum":2114181697,"timestamp":"2026-11-20T10:00:00.000000Z"}]}, of a book's beginning with the type "snapshot"
def _is_sound(client: Any, books: dict[str, ChecksumBook], frame: Any, depth: int) -> bool:
    row, is_first = frame["data"][0], frame["type"] == "snapshot"
    symbol, told = row["symbol"], row.get("checksum")
    if is_first:
        book = books[symbol] = ChecksumBook()
    elif symbol in books and symbol in client.orderbooks:
        book = books[symbol]
    else:
        return symbol not in client.markets  # a market that is not listed is left to ccxt's own error
    book.change(row, depth)
    if told is None:
        return True
    matches = book.checksum() == int(told)
    if is_first:
        book.is_checked = matches
    elif book.is_checked and not matches:
        del books[symbol]
        client.doubt(symbol, "its book is not what its checksum says")
        return False
    return True


def _ordered(prices: Iterable[float], *, is_bid: bool) -> list[float]:
    return sorted(prices, reverse=is_bid)


def _digits(text: str) -> str:
    return text.replace(".", "").lstrip("0")
