"""PredictionFeed: outcomes of questions about crypto as markets, through ccxt's prediction classes.

ccxt signs, paces and parses; this module says which questions are collected and how they are named. ccxt's own loading
of markets is not used: it crashes on a full first page of Polymarket, and takes any thousand of Kalshi's.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from feeds.base import (
    BOOK_MAY_REST_SECONDS,
    BadReply,
    FeedSpec,
    MarketCache,
    Poll,
    Trade,
    TradePage,
    TradeSpan,
    Unsupported,
)
from feeds.ccxt import markets
from feeds.ccxt.feed import CcxtFeed
from feeds.loop import Call, current_call
from feeds.shared.field_maps import FieldMap, Row, Values
from feeds.shared.identity import tell_apart
from feeds.shared.numbers import number
from feeds.shared.quotes import QuoteBatch, read_rows
from feeds.shared.rejections import name_of, reject
from lib import clock

MOST_MARKETS = 300  # by volume of 24 hours; both venues have thousands, most of them never traded
# A market that ends before the next list would leave a silence that is nobody's fault.
SHORTEST_LIFE_SECONDS = 2 * 3600
PAGES = 3
SYMBOL_CHARACTERS = 100
NO_LEVELS: Mapping[str, Any] = {"bids": (), "asks": ()}
KALSHI_TICKERS_A_CALL = 100
POLYMARKET_TOKENS_A_CALL = 100

# Kalshi's series of crypto prices, and what they are about
SERIES = {
    "KXBTC": "BTC", "KXBTCD": "BTC", "KXBTCMAXY": "BTC", "KXBTCMINY": "BTC",
    "KXETH": "ETH", "KXETHD": "ETH", "KXETHMAXY": "ETH", "KXETHMINY": "ETH",
    "KXSOLE": "SOL", "KXSOLD": "SOL", "KXXRP": "XRP", "KXXRPD": "XRP", "KXDOGE": "DOGE", "KXDOGED": "DOGE",
}  # fmt: skip
# Polymarket's tags, likewise; a question's own words come first
TAGS = {"bitcoin": "BTC", "ethereum": "ETH", "solana": "SOL", "xrp": "XRP", "dogecoin": "DOGE"}
WORDS = {
    "bitcoin": "BTC", "btc": "BTC", "ethereum": "ETH", "eth": "ETH", "solana": "SOL", "sol": "SOL", "xrp": "XRP",
    "dogecoin": "DOGE", "doge": "DOGE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PredictionMarket:
    """A market with its outcomes as ccxt has parsed them. `stem` is the exchange's lasting name for it."""

    stem: str
    base: str
    quote: str
    volume: float
    outcomes: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class PredictionExchange:
    """The API of one exchange: `end_name` is the parameter that ends a span of candles, `is_derived` says of an
    outcome's id whether the exchange gives its history as the other outcome's."""

    end_name: str
    list_questions: Callable[[Any], Awaitable[list[PredictionMarket]]]
    fetch: Callable[[Any, QuoteBatch], Awaitable[None]]
    is_derived: Callable[[str], bool]


class PredictionFeed(CcxtFeed):
    """The feed of Kalshi or Polymarket. One market is one outcome: BTC/USD:KXBTCD-30DEC3117-T99999.99-YES."""

    def __init__(self, spec: FeedSpec, market_cache: MarketCache | None = None) -> None:
        self._venue = VENUES[spec.exchange_id]
        super().__init__(spec, market_cache)

    async def _load_packed(self) -> bytes:
        questions = await self._venue.list_questions(self._client)
        largest = sorted(questions, key=lambda question: -question.volume)[:MOST_MARKETS]
        rows = {row["id"]: row for question in largest for row in _rows(question)}
        if not rows:
            raise BadReply(f"{self.spec.exchange_id} listed no question about crypto")
        return markets.pack_rows(tell_apart(list(rows.values())))

    def _install(self, packed: bytes) -> None:
        """Gives ccxt the outcomes under our symbols, so that it needs no request to find out what one is."""
        super()._install(packed)
        client = self._client
        client.outcomes = {symbol: market["outcome"] for symbol, market in client.markets.items()}
        client.outcomes_by_id = {outcome["outcomeId"]: outcome for outcome in client.outcomes.values()}

    async def _trades(self, symbol: str, since: float | None, limit: int | None) -> tuple[Trade, ...]:
        return self._turned(symbol, await super()._trades(symbol, since, limit))

    async def _trade_page(self, call: Call, symbol: str, span: TradeSpan | None, limit: int) -> TradePage:
        page = await super()._trade_page(call, symbol, span, limit)
        return page._replace(trades=self._turned(symbol, page.trades))

    def _turned(self, symbol: str, trades: tuple[Trade, ...]) -> tuple[Trade, ...]:
        """Returns the trades with No's prices: ccxt gives Yes's whatever was asked for; it turns sides round itself."""
        if not self._is_derived(symbol):
            return trades
        return tuple(trade._replace(price=_rest(trade.price)) for trade in trades)

    def _is_derived(self, symbol: str) -> bool:
        market = self._client.markets.get(symbol)
        return market is not None and self._venue.is_derived(market["id"])

    async def _fetch_bars(self, symbol: str, timeframe: str, since: float | None, limit: int | None) -> Any:
        bars = await self._yes_bars(symbol, timeframe, since, limit)
        return [_turned_bar(bar) for bar in bars] if self._is_derived(symbol) else bars

    async def _yes_bars(self, symbol: str, timeframe: str, since: float | None, limit: int | None) -> Any:
        """Returns the bars from the first on; ccxt would keep the newest, also where the first were asked for."""
        if since is None or limit is None:
            return await super()._fetch_bars(symbol, timeframe, since, limit)
        end = int(since) + limit * self._client.parse_timeframe(timeframe)
        span = {self._venue.end_name: end}
        bars = await self._client.fetch_ohlcv(symbol, timeframe, int(since * 1000), None, span)
        return bars[:limit]

    async def _fetch(self, call: Call, symbols: Collection[str]) -> Poll:
        if not symbols:
            return Poll((), 0)
        known = self._client.markets
        batch = QuoteBatch(
            call, {symbol: known[symbol] for symbol in symbols if symbol in known}, self._client.markets_by_id
        )
        if not batch.wanted:
            raise Unsupported(f"{self.spec.exchange_id} lists none of the {len(symbols)} wanted outcomes")
        await self._venue.fetch(self._client, batch)
        return replace(batch.poll(), prices_are_chances=True)


def _rows(question: PredictionMarket) -> Iterator[dict[str, Any]]:
    for outcome in question.outcomes:
        id_ = outcome["outcomeId"]
        symbol = name(question, label=str(outcome.get("label") or ""), outcome_id=id_)
        known = {"outcomeId": id_, "outcome": symbol, "market": question.stem, "label": outcome.get("label")}
        yield {
            "id": id_,
            "symbol": symbol,
            "base": question.base,
            "quote": question.quote,
            "type": "prediction",
            "active": outcome.get("active") is not False,
            "outcome": known | {"info": outcome["info"]},
        }


def name(question: PredictionMarket, *, label: str, outcome_id: str) -> str:
    """Returns a lasting, printable name of at most 100 characters; the end of its id tells shortened ones apart."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "", question.stem)
    ending = "-" + (re.sub(r"[^A-Z0-9]+", "_", label.upper()).strip("_") or outcome_id[-8:])[:30]
    pair = f"{question.base}/{question.quote}:"
    room = SYMBOL_CHARACTERS - len(pair) - len(ending)
    return pair + (stem if len(stem) <= room else f"{stem[: room - 9]}-{outcome_id[-8:]}") + ending


def _lives(close_at: object) -> bool:
    try:
        stamp = _unix_seconds(close_at)
    except ValueError:
        return False
    return stamp is None or stamp - clock.unix() > SHORTEST_LIFE_SECONDS


def _is_open(row: Mapping[str, Any]) -> bool:
    """Says whether a market is open. Polymarket's flag goes before its date: a market that still takes orders is
    open, however long ago it should have ended. A date that is near counts where no flag says so."""
    if row.get("closed") is True or row.get("acceptingOrders") is False:
        return False
    end = row.get("endDate")
    return _lives(end) or (row.get("acceptingOrders") is True and _is_past(end))


def _is_past(moment: object) -> bool:
    try:
        stamp = _unix_seconds(moment)
    except ValueError:
        return True  # no date to go by
    return stamp is not None and stamp <= clock.unix()


def _unix_seconds(stamp: object) -> float | None:
    if not stamp:
        return None
    at = datetime.fromisoformat(str(stamp))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _volume(value: object) -> float:
    try:
        return number(value) or 0.0
    except ValueError:
        return 0.0


def _chunks(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (values[begin : begin + size] for begin in range(0, len(values), size))


def _symbols(batch: QuoteBatch) -> dict[str, str]:
    return {market["id"]: symbol for symbol, market in batch.wanted.items()}


def _complement(price: object) -> float | None:
    """Returns the price of a No whose Yes was traded at this price."""
    value = number(price)
    return _rest(value) if value else None


def _rest(chance: float) -> float:
    return round(1 - chance, 6)


def _turned_bar(bar: Sequence[Any]) -> list[Any]:
    """Returns the other outcome's bar: the lowest price of the one outcome is the highest of the other."""
    opened_at, first, high, low, last, volume = bar
    prices = (None if price is None else _rest(price) for price in (first, low, high, last))
    return [opened_at, *prices, volume]


def _offer(price: object) -> float | None:
    """Returns the offer, or None for a whole dollar: then there is no one to bid for the other outcome."""
    value = number(price)
    return None if value is None or value in (0.0, 1.0) else value


# Kalshi -------------------------------------------------------------------------------------------------------------


async def _kalshi_questions(client: Any) -> list[PredictionMarket]:
    found = []
    for series, base in SERIES.items():
        cursor = ""
        for _ in range(PAGES):
            query = {"series_ticker": series, "status": "open", "limit": 1000} | ({"cursor": cursor} if cursor else {})
            reply = await client.kalshiPublicGetMarkets(query)
            rows = reply["markets"]
            found += [question for row in rows if (question := _kalshi_question(client, row, base)) is not None]
            cursor = reply.get("cursor") or ""
            if not cursor or not rows:
                break
    return found


# {"ticker":"KXBTCD-30DEC3117-T99999.99","event_ticker":"KXBTCD-30DEC3117","close_time":"2030-12-31T22:00:00Z",
#  "status":"active","volume_24h_fp":"100.00"}
def _kalshi_question(client: Any, row: Any, base: str) -> PredictionMarket | None:
    market = client.parse_market(row)
    if market is None or not market["active"] or not _lives(row.get("close_time")):
        return None
    wanted = ("ticker", "seriesTicker", "outcomeLabel")
    outcomes = tuple(
        {**outcome, "info": {key: outcome["info"].get(key) for key in wanted}} for outcome in market["outcomes"]
    )
    return PredictionMarket(market["id"], base, "USD", _volume(row.get("volume_24h_fp")), outcomes)


async def _kalshi_fetch(client: Any, batch: QuoteBatch) -> None:
    symbols = _symbols(batch)
    tickers = sorted({id_.removesuffix("-NO") for id_ in symbols})
    for chunk in _chunks(tickers, KALSHI_TICKERS_A_CALL):
        reply = await client.kalshiPublicGetMarkets({"tickers": ",".join(chunk), "limit": KALSHI_TICKERS_A_CALL})
        read_rows(batch, _kalshi_rows(reply), KALSHI, symbols)


# {"markets":[{"ticker":"KXBTCD-30DEC3117-T99999.99","status":"active","yes_bid_dollars":"0.4000",
#  "yes_ask_dollars":"0.4200","no_bid_dollars":"0.5800","no_ask_dollars":"0.6000","last_price_dollars":"0.4100",
#  "volume_24h_fp":"100.00","updated_time":"2026-04-09T10:32:47.890506Z"}],"cursor":""}
def _kalshi_rows(reply: Any) -> Iterator[Row]:
    """Yields two outcomes a market. One that no longer trades has no price worth storing."""
    for row in reply["markets"]:
        if not isinstance(row, dict):
            yield None, row
        elif row.get("status") in ("active", "open"):
            yield row.get("ticker"), {"side": "yes"} | row
            yield f"{row.get('ticker')}-NO", {"side": "no"} | row


def _kalshi_values(row: Any) -> Values:
    get, side = row.get, row["side"]
    last = get("last_price_dollars")
    return (
        (number(last) or None) if side == "yes" else _complement(last),
        get(f"{side}_bid_dollars"),
        _offer(get(f"{side}_ask_dollars")),
        None,
        None,
        get("volume_24h_fp"),
        None,
        None,  # `updated_time` is when the contract was changed, not its quote: it may be months old
    )


KALSHI = FieldMap([], _kalshi_values)


# Polymarket ---------------------------------------------------------------------------------------------------------


async def _polymarket_questions(client: Any) -> list[PredictionMarket]:
    """Returns the questions by tag, most traded events first. A page is 100 events, whatever is asked for."""
    found: dict[str, PredictionMarket] = {}
    for tag, base in TAGS.items():
        for page in range(PAGES):
            query = {"tag_slug": tag, "active": True, "closed": False, "limit": 100, "offset": 100 * page}
            events = await client.gammaPublicGetEvents(query | {"order": "volume24hr", "ascending": False})
            if not isinstance(events, list):
                raise BadReply(f"expected a list of events, got {type(events).__name__}")
            for question in _polymarket_of(client, events, base):
                found.setdefault(question.stem, question)
            if len(events) < 100:
                break
    return list(found.values())


# [{"id":"100","slug":"btc-above-100k","markets":[{"conditionId":"0x…","slug":"will-btc-be-above-100k",
#   "endDate":"2030-12-31T12:00:00Z","outcomes":"[\"Yes\", \"No\"]","clobTokenIds":"[\"1111…\", \"2222…\"]",
#   "active":true,"closed":false,"volume24hr":1234.5,"enableOrderBook":true}]}]
def _polymarket_of(client: Any, events: Iterable[Any], base: str) -> Iterator[PredictionMarket]:
    for event in events:
        try:
            parsed = client.parse_event_to_markets(event)
        except Exception as error:  # noqa: BLE001 - one poisoned event; ccxt's parsers raise whatever it makes them
            call = current_call.get()
            if call is not None:
                reject(call, name_of(event), error, event)
            continue
        for market in parsed:
            row = market["info"]
            if market["active"] and row.get("enableOrderBook") is not False and _is_open(row):
                info = {"conditionId": row.get("conditionId")}
                outcomes = tuple({**outcome, "info": info} for outcome in market["outcomes"])
                slug = str(row.get("slug") or market["id"])
                yield PredictionMarket(slug, _about(slug, base), "USDC", _volume(row.get("volume24hr")), outcomes)


def _about(slug: str, base: str) -> str:
    return next((WORDS[word] for word in slug.lower().split("-") if word in WORDS), base)


async def _polymarket_fetch(client: Any, batch: QuoteBatch) -> None:
    symbols = _symbols(batch)
    for chunk in _chunks(sorted(symbols), POLYMARKET_TOKENS_A_CALL):
        asked = [{"token_id": token} for token in chunk]
        books, trades = await asyncio.gather(
            client.clobPublicPostBooks(asked), client.clobPublicPostLastTradesPrices(asked)
        )
        read_rows(batch, _polymarket_rows(books, trades), POLYMARKET, symbols)


# books [{"asset_id":"1111…","timestamp":"1795000000000","bids":[{"price":"0.39","size":"100"},
#   {"price":"0.40","size":"50"}],"asks":[{"price":"0.43","size":"70"},{"price":"0.42","size":"30"}]}]
# trades [{"token_id":"1111…","price":"0.41","side":"BUY"}]
def _polymarket_rows(books: Any, trades: Any) -> Iterator[Row]:
    if not isinstance(books, list) or not isinstance(trades, list):
        raise BadReply("expected lists of books and of trades")
    last = {row.get("token_id"): row.get("price") for row in trades if isinstance(row, dict)}
    for book in books:
        if isinstance(book, dict):
            row = book | {"last": last.get(book.get("asset_id"))}
            yield book.get("asset_id"), {**row, **NO_LEVELS} if _is_days_old(book) else row
        else:
            yield None, book


def _is_days_old(book: Mapping[str, Any]) -> bool:
    """Says whether a book is one that the exchange has forgotten: bid 0.01 and ask 0.99, from days ago."""
    stamp = book.get("timestamp")
    try:
        return stamp is not None and 0 < float(stamp) < (time.time() - BOOK_MAY_REST_SECONDS) * 1000
    except (TypeError, ValueError):
        return False


def _polymarket_values(row: Any) -> Values:
    """Returns a token's values; the best are by price, in whatever order they come, and a last price of 0 is None."""
    bids, asks = (
        [number(level["price"]) for level in row.get(side) or () if _counts(level)] for side in ("bids", "asks")
    )
    best_bid = max((price for price in bids if price is not None), default=None)
    best_ask = min((price for price in asks if price is not None), default=None)
    return number(row["last"]) or None, best_bid, _offer(best_ask), None, None, None, None, row.get("timestamp")


def _counts(level: Mapping[str, Any]) -> bool:
    """Says whether a level has a size: one of none does not count."""
    return number(level.get("size")) != 0


POLYMARKET = FieldMap([], _polymarket_values)

VENUES: Mapping[str, PredictionExchange] = {
    "kalshi": PredictionExchange("end_ts", _kalshi_questions, _kalshi_fetch, lambda id_: id_.endswith("-NO")),
    "polymarket": PredictionExchange("endTs", _polymarket_questions, _polymarket_fetch, lambda id_: False),
}
