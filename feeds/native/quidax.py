"""Quidax, Nigeria: every answer in an envelope whose `status` counts, also with HTTP 200; about a call a second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from feeds import waits
from feeds.base import BadReply, Candle, FeedError, Listing, OrderBook, Throttled, Trade, Unreachable, Unsupported
from feeds.loop import Call
from feeds.native.feed import NativeFeed, candle, is_name, levels, rows_of, trade
from feeds.native.http import Headers
from feeds.shared.field_maps import FieldMap, Row, Values
from feeds.shared.halt_words import halt_of
from feeds.shared.numbers import number
from feeds.shared.quotes import QuoteBatch, read_rows
from lib import clock

API = "https://app.quidax.io/api/v1"
MOST_BARS = 10_000
MOST_LEVELS = 200
# Words in a refusal's message, and what they mean to a caller
REFUSALS: Mapping[str, type[FeedError]] = {
    "too many requests": Throttled,
    "rate limit": Throttled,
    "maintenance": Unreachable,
    "unavailable": Unreachable,
    "not exist": Unsupported,
    "not found": Unsupported,
}


class QuidaxFeed(NativeFeed):
    name = "Quidax"
    has = dict.fromkeys(
        ("spot", "fetchMarkets", "fetchTickers", "fetchTicker", "fetchOHLCV", "fetchTrades", "fetchOrderBook"), True
    )
    timeframes = {
        "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14_400, "6h": 21_600,
        "12h": 43_200, "1d": 86_400, "3d": 259_200, "1w": 604_800,
    }  # fmt: skip
    rate_limit_ms = 1000.0

    def explain(self, status: int, headers: Headers, content: Any) -> FeedError | None:
        """Returns the error of {"status":"error","message":"Market does not exist","data":null}, sent even with 200."""
        if not isinstance(content, dict) or content.get("status") == "success" or status in (401, 403, 429, 451):
            return None
        message = str(content.get("message"))[:200]
        kind = next((kind for words, kind in REFUSALS.items() if words in message.lower()), None)
        if kind is None and status >= 300:
            return None
        wait = waits.read(status, headers, message, now=clock.unix(), is_limit=kind is Throttled)
        said = f"Quidax says {str(content.get('status'))[:20]!r}: {message}"
        return (kind or BadReply)(said, retry_after_seconds=wait.seconds)

    async def read_markets(self) -> Iterable[Listing]:
        return _listings(rows_of(await self._data("markets"), "markets"))

    async def read_quotes(self, batch: QuoteBatch, wanted: Mapping[str, Listing]) -> None:
        data = await self._data("markets/tickers")
        if not isinstance(data, dict):
            raise BadReply(f"expected tickers by market, got {type(data).__name__}")
        symbols = {market.venue_id: symbol for symbol, market in wanted.items()}
        read_rows(batch, _tickers(data), TICKER, symbols)

    async def read_candles(
        self, market: Listing, period: int, since: float | None, limit: int | None
    ) -> Iterable[Candle]:
        span = {"limit": min(limit or MOST_BARS, MOST_BARS), "timestamp": None if since is None else int(since)}
        reply = await self._data(f"markets/{market.venue_id}/k", {"period": period // 60, **span})
        return _candles(rows_of(reply, "candles"))

    async def read_trades(self, market: Listing, since: float | None, limit: int | None) -> Iterable[Trade]:
        return _trades(rows_of(await self._data(f"trades/{market.venue_id}"), "trades"))

    async def read_order_book(self, market: Listing, depth: int, call: Call) -> OrderBook:
        """Reads {"timestamp":1795000000,"asks":[["87105893.0","0.5"]],"bids":[["86627766.0","0.4"]]}, either order."""
        data = await self._data(f"markets/{market.venue_id}/depth", {"limit": min(depth, MOST_LEVELS)})
        (bids, odd_bids), (asks, odd_asks) = (
            levels(((level[0], level[1]) for level in data[name]), depth, is_bid=name == "bids")
            for name in ("bids", "asks")
        )
        at = number(data.get("timestamp"))
        return OrderBook(bids, asks, at, call.answered_at, repaired=odd_bids + odd_asks)

    async def prove_alive(self) -> None:
        rows_of(await self._data("markets"), "markets")

    async def _data(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        content = await self.http.get(f"{API}/{path}", parameters)
        if not isinstance(content, dict) or "data" not in content:
            raise BadReply("Quidax answered without its envelope")
        return content["data"]


# [{"id":"btcngn","name":"BTC/NGN","base_unit":"btc","quote_unit":"ngn"}]
def _listings(rows: Iterable[Any]) -> Iterator[Listing]:
    for row in rows:
        if not isinstance(row, dict):
            continue
        id_, base, quote = row.get("id"), row.get("base_unit"), row.get("quote_unit")
        if is_name(id_) and is_name(base) and is_name(quote):
            base, quote = str(base).upper(), str(quote).upper()
            halt = halt_of(row, is_active=None)
            yield Listing(f"{base}/{quote}", base, quote, "spot", str(id_), active=not halt, halt=halt)


# {"btcngn":{"at":1795000000,"market":"btcngn","ticker":{"buy":"86627766.0","sell":"87105893.0","low":"85000000.0",
#   "high":"88000000.0","open":"86000000.0","last":"86808440.0","vol":"1.2345"}}}
def _tickers(data: Mapping[str, Any]) -> Iterable[Row]:
    return data.items()


def _values(row: Any) -> Values:
    at, get = number(row.get("at")), row["ticker"].get
    return (
        get("last"),
        get("buy"),
        get("sell"),
        get("high"),
        get("low"),
        get("vol"),
        None,
        None if at is None else at * 1000,
    )


TICKER = FieldMap([], _values)


# [[1794999960,86800000.0,86850000.0,86790000.0,86808440.0,0.01]]
def _candles(rows: Iterable[Any]) -> Iterator[Candle]:
    for row in rows:
        if found := candle(row[0], row[1:5], row[5]):
            yield found


# [{"trade_id":12345,"price":"86808440.0","base_volume":"0.001","timestamp":1795000000,"type":"buy"}]
def _trades(rows: Iterable[Any]) -> Iterator[Trade]:
    for row in rows:
        get = row.get
        if found := trade(get("trade_id"), get("timestamp"), get("price"), get("base_volume"), get("type")):
            yield found
