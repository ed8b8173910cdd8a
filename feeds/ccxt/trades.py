"""Public trades through ccxt: the newest page, or a span of numbers or time where the exchange still has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

from feeds import errors
from feeds.base import RejectedRow, Trade, TradePage, TradeSpan, Unsupported

EXCERPT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class TradeReader:
    """An exchange's count of its trades, and the way to ask for earlier ones: by `number` under that parameter, by
    `since`, or by `span` (both ends). `side_of` gives the taker's side of a raw row where ccxt reads it wrongly."""

    is_numbered: bool = False
    resumes_by: str = ""
    number_name: str = ""
    side_of: Callable[[Any], str | None] | None = None


def _side_by_maker(row: Any) -> str | None:
    """Returns the taker's side: if the buyer has made the offer, the taker has sold."""
    is_buyer_maker = row.get("isBuyerMaker") if isinstance(row, dict) else None
    return None if is_buyer_maker is None else "sell" if is_buyer_maker else "buy"


UNKNOWN = TradeReader()
TAPES: Mapping[str, TradeReader] = {
    "binance": TradeReader(is_numbered=True, resumes_by="number", number_name="fromId"),  # aggregate trades, per symbol
    "binanceusdm": TradeReader(is_numbered=True, resumes_by="number", number_name="fromId"),
    "coinbase": TradeReader(is_numbered=True, resumes_by="span"),
    "kraken": TradeReader(is_numbered=True, resumes_by="since"),  # "a sequence number, unique per book"
    "coinsph": TradeReader(side_of=_side_by_maker),
    "luno": TradeReader(resumes_by="since"),  # its sequence counts the book's events
}


async def fetch(client: Any, symbol: str, span: TradeSpan | None, limit: int, *, answered_at: Any) -> TradePage:
    """Returns a page of trades; `answered_at` is asked after the answer has come."""
    tape = TAPES.get(client.id, UNKNOWN)
    if span is None:
        rows = await _newest(client, symbol, limit)
    else:
        rows = await _again(client, symbol, span, limit, tape)
    trades, rejected = read(rows, tape)
    return TradePage(trades, answered_at(), tape.is_numbered, rejected)


async def _newest(client: Any, symbol: str, limit: int) -> Any:
    if client.id != "hyperliquid":
        return await client.fetch_trades(symbol, None, limit)
    # ccxt's fetch_trades there is the fills of a wallet; the venue's public ones are ten at a time.
    market = client.market(symbol)
    rows = await client.publicPostInfo({"type": "recentTrades", "coin": market["baseName" if market["swap"] else "id"]})
    return client.parse_trades(rows, market, None, limit)


async def _again(client: Any, symbol: str, span: TradeSpan, limit: int, tape: TradeReader) -> Any:
    since, until = floor(span.since) * 1000, ceil(span.until + 0.001) * 1000
    if tape.resumes_by == "number" and span.first_number is not None:
        return await client.fetch_trades(symbol, None, limit, {tape.number_name: span.first_number})
    if tape.resumes_by == "since":
        return await client.fetch_trades(symbol, since, limit)
    if tape.resumes_by == "span":
        return await client.fetch_trades(symbol, since, limit, {"until": until})
    raise Unsupported(f"{client.id} cannot be asked for trades of before")


async def newest(client: Any, symbol: str, since: int | None, limit: int | None) -> tuple[Trade, ...]:
    """Returns trades since a moment in milliseconds, or the newest."""
    rows = await client.fetch_trades(symbol, since, limit)
    return read(rows, replace(TAPES.get(client.id, UNKNOWN), is_numbered=False))[0]


def read(rows: Any, tape: TradeReader = UNKNOWN) -> tuple[tuple[Trade, ...], tuple[RejectedRow, ...]]:
    """Returns trades, oldest first, and rejected rows: those without a number for time, price or amount. Where the
    exchange counts its trades such a row keeps its number, as one that was delivered: its values are not numbers."""
    trades, rejected = [], []
    for row in rows:
        id_, at, price, amount = (row.get(name) for name in ("id", "timestamp", "price", "amount"))
        if not all(map(_is_number, (at, price, amount))):
            if tape.is_numbered and id_ is not None:
                at, price, amount = (value if _is_number(value) else math.nan for value in (at, price, amount))
            else:
                reason = "no time, price or amount that is a number"
                rejected.append(RejectedRow(str(row.get("symbol"))[:100], reason, _brief(row)))
                continue
        side = row.get("side") if tape.side_of is None else tape.side_of(row.get("info"))
        side = side if side in ("buy", "sell") else None
        trades.append(Trade(None if id_ is None else str(id_), at / 1000, float(price), float(amount), side))
    trades.sort(key=lambda trade: trade.traded_at if trade.traded_at > 0 else math.inf)
    return tuple(trades), tuple(rejected)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _brief(row: Any) -> str:
    return errors.shorten(
        repr({key: row.get(key) for key in ("id", "timestamp", "price", "amount")}), EXCERPT_CHARACTERS
    )
