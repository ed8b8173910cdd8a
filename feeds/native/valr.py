"""VALR, South Africa: all pairs' summaries in one request; 30 public requests a minute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from feeds import waits
from feeds.base import (
    BadReply,
    Candle,
    FeedError,
    Listing,
    OrderBook,
    Throttled,
    Trade,
    TradeSpan,
    Unreachable,
    Unsupported,
)
from feeds.loop import Call
from feeds.native.feed import NativeFeed, candle, is_name, levels, rows_of, trade
from feeds.native.http import Headers
from feeds.shared.field_maps import FieldMap, Row, Values
from feeds.shared.halt_words import halt_of
from feeds.shared.quotes import QuoteBatch, read_rows
from lib import clock

API = "https://api.valr.com/v1/public"
LIMIT_RESETS_SECONDS = 60  # on the full minute
UNKNOWN_PAIR = -21
MOST_BARS = 300
MOST_TRADES = 100  # a request
MOST_PAGES = 5  # of 30 requests a minute
STAMP_STEP_SECONDS = 0.001


class ValrFeed(NativeFeed):
    name = "VALR"
    has = dict.fromkeys(
        ("spot", "fetchMarkets", "fetchTickers", "fetchTicker", "fetchOHLCV", "fetchTrades", "fetchOrderBook"), True
    )
    timeframes = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "6h": 21_600, "1d": 86_400}
    rate_limit_ms = 2000.0
    burst_calls = 5

    def explain(self, status: int, headers: Headers, content: Any) -> FeedError | None:
        if headers.get("x-valr-ratelimited", "").lower() == "true" or status == 429:
            now = clock.unix()
            told = waits.read(status, headers, str(content), now=now)
            until_reset = LIMIT_RESETS_SECONDS - now % LIMIT_RESETS_SECONDS
            seconds = until_reset if told.seconds is None else told.seconds
            remark = f" ({told.remark})" if told.remark else ""
            return Throttled(f"VALR's limit is reached{remark}", retry_after_seconds=seconds, banned=told.banned)
        if status >= 400 and isinstance(content, dict) and content.get("code") == UNKNOWN_PAIR:
            return Unsupported("VALR knows no such pair")
        return None

    async def read_markets(self) -> Iterable[Listing]:
        return _listings(rows_of(await self.http.get(f"{API}/pairs/SPOT"), "pairs"))

    async def read_quotes(self, batch: QuoteBatch, wanted: Mapping[str, Listing]) -> None:
        reply = rows_of(await self.http.get(f"{API}/marketsummary"), "summaries")
        read_rows(batch, _summaries(reply), SUMMARY, {market.venue_id: symbol for symbol, market in wanted.items()})

    async def read_candles(
        self, market: Listing, period: int, since: float | None, limit: int | None
    ) -> Iterable[Candle]:
        count = min(limit or MOST_BARS, MOST_BARS)
        span = {} if since is None else {"startTime": int(since), "endTime": int(since) + count * period - 1}
        reply = await self.http.get(
            f"{API}/{market.venue_id}/buckets", {"periodSeconds": period, "limit": count, **span}
        )
        return _candles(rows_of(reply, "buckets"))

    async def read_trades(self, market: Listing, since: float | None, limit: int | None) -> Iterable[Trade]:
        start = None if since is None else _iso(since)
        count = min(limit or MOST_TRADES, MOST_TRADES) if since is None else MOST_TRADES
        reply = await self.http.get(f"{API}/{market.venue_id}/trades", {"limit": count, "startTime": start})
        return _trades(rows_of(reply, "trades"))

    async def read_trades_of(self, market: Listing, span: TradeSpan) -> Iterable[Trade]:
        """Returns all trades of a span of time, read in pages that go back from its end."""
        asked = {"limit": MOST_TRADES, "startTime": _iso(span.since), "endTime": _iso(span.until + STAMP_STEP_SECONDS)}
        found: list[Trade] = []
        for skip in range(0, MOST_PAGES * MOST_TRADES, MOST_TRADES):
            page = rows_of(await self.http.get(f"{API}/{market.venue_id}/trades", {**asked, "skip": skip}), "trades")
            found += _trades(page)
            if len(page) < MOST_TRADES:
                return found
        raise Unsupported(f"VALR has over {MOST_PAGES * MOST_TRADES} trades there, and gives {MOST_TRADES} a request")

    async def read_order_book(self, market: Listing, depth: int, call: Call) -> OrderBook:
        reply = await self.http.get(f"{API}/{market.venue_id}/orderbook")
        return book_of(reply, depth, call.answered_at)

    async def prove_alive(self) -> None:
        """Asks for {"status":"online"}, which is "read-only" during maintenance. Raises Unreachable if not online."""
        word = (await self.http.get(f"{API}/status")).get("status")
        if word != "online":
            raise Unreachable(f"VALR says: {word}") if isinstance(word, str) else BadReply("VALR says nothing")


def unix_seconds(stamp: object) -> float | None:
    """Returns the stamp as Unix seconds; None for no stamp. Raises ValueError for what is no time."""
    if not stamp:
        return None
    at = datetime.fromisoformat(str(stamp))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


# [{"symbol":"BTCZAR","baseCurrency":"BTC","quoteCurrency":"ZAR","shortName":"BTC/ZAR","active":true,
#   "minBaseAmount":"0.0001","tickSize":"1","baseDecimalPlaces":"8","currencyPairType":"SPOT"}]
def _listings(rows: Iterable[Any]) -> Iterator[Listing]:
    for row in rows:
        if not isinstance(row, dict) or row.get("currencyPairType", "SPOT") != "SPOT":
            continue
        id_, base, quote = row.get("symbol"), row.get("baseCurrency"), row.get("quoteCurrency")
        if is_name(id_) and is_name(base) and is_name(quote):
            halt = halt_of(row, is_active=row.get("active"))
            yield Listing(f"{base}/{quote}", str(base), str(quote), "spot", str(id_), active=not halt, halt=halt)


# [{"currencyPair":"BTCZAR","askPrice":"1170500","bidPrice":"1170000","lastTradedPrice":"1170200",
#   "baseVolume":"12.34","quoteVolume":"14440000","highPrice":"1180000","lowPrice":"1160000",
#   "created":"2026-11-20T10:00:00.001Z"}]
def _summaries(rows: Iterable[Any]) -> Iterator[Row]:
    return ((row.get("currencyPair") if isinstance(row, dict) else None, row) for row in rows)


def _values(row: Any) -> Values:
    get = row.get
    stamp = unix_seconds(get("created"))
    return (
        get("lastTradedPrice"),
        get("bidPrice"),
        get("askPrice"),
        get("highPrice"),
        get("lowPrice"),
        get("baseVolume"),
        get("quoteVolume"),
        None if stamp is None else stamp * 1000,
    )


SUMMARY = FieldMap([], _values)


# [{"startTime":"2026-11-20T09:59:00Z","open":"1","high":"1","low":"1","close":"1","volume":"0"}] newest first
def _candles(rows: Iterable[Any]) -> Iterator[Candle]:
    for row in rows:
        prices = (row.get("open"), row.get("high"), row.get("low"), row.get("close"))
        if found := candle(unix_seconds(row.get("startTime")), prices, row.get("volume")):
            yield found


# [{"price":"1170200","quantity":"0.01","tradedAt":"2026-11-20T10:00:00.393Z","takerSide":"buy","id":"01976898-…"}]
def _trades(rows: Iterable[Any]) -> Iterator[Trade]:
    return (found for row in rows if (found := trade_of(row)))


def trade_of(row: Any) -> Trade | None:
    at = unix_seconds(row.get("tradedAt"))
    return trade(row.get("id"), at, row.get("price"), row.get("quantity"), row.get("takerSide"))


# {"Asks":[{"side":"sell","quantity":"0.99","price":"1170500","currencyPair":"BTCZAR","orderCount":1}],"Bids":[…],
#  "LastChange":"2026-11-20T10:00:00.470Z","SequenceNumber":2907775}, by websocket as by REST
def book_of(reply: Any, depth: int, received_at: float) -> OrderBook:
    (bids, odd_bids), (asks, odd_asks) = (
        levels(((row["price"], row["quantity"]) for row in reply[name]), depth, is_bid=name == "Bids")
        for name in ("Bids", "Asks")
    )
    sequence = reply.get("SequenceNumber")
    number = sequence if isinstance(sequence, int) and 0 <= sequence < 2**63 else None
    at = unix_seconds(reply.get("LastChange"))
    return OrderBook(bids, asks, at, received_at, number, odd_bids + odd_asks)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
