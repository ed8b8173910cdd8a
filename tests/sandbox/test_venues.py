"""The unmodified ccxt client against every venue: what it parses is what the price function says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import ccxt.async_support
import pytest

from sandbox import prices
from sandbox.venues import VENUES
from tests.sandbox.conftest import Running

BULK = {
    "binance": "/api/v3/ticker/24hr",
    "binanceusdm": "/fapi/v1/ticker/24hr",
    "bitstamp": "/api/v2/ticker",
    "bitvavo": "/v2/ticker/24h",
    "coinbase": "/brokerage/market/products",
    "hyperliquid": "type=metaAndAssetCtxs",
    "kraken": "/0/public/Ticker",
    "luno": "/api/1/tickers",
    "mexc": "/api/v3/ticker/24hr",
}
FIRST = {
    "binance": "BTC/USDT",
    "binanceusdm": "BTC/USDT:USDT",
    "bitstamp": "BTC/USD",
    "bitvavo": "BTC/EUR",
    "coinbase": "BTC/USD",
    "hyperliquid": "BTC/USDC:USDC",
    "kraken": "BTC/USD",
    "luno": "BTC/ZAR",
    "mexc": "BTC/USDT",
}
WITHOUT_SIDES = {"binanceusdm", "coinbase"}  # their bulk tickers have no bid and ask
OPTIONS: dict[str, dict[str, Any]] = {
    "binance": {"options": {"fetchMarkets": {"types": ["spot"]}}},
    "luno": {"apiKey": "any", "secret": "any"},  # candles want one
}


def rebase(urls: Any, base: str) -> Any:
    if isinstance(urls, dict):
        return {name: rebase(url, base) for name, url in urls.items()}
    return f"{base}/{urls.partition('://')[2]}" if isinstance(urls, str) else urls


class Clients:
    """One client per address and venue, its markets loaded once."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._clients: dict[tuple[str, str], Any] = {}

    def ask(self, base_url: str, venue: str, question: Callable[[Any], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await question(await self._client(base_url, venue))

        return self._runner.run(run())

    def close(self) -> None:
        async def run() -> None:
            await asyncio.gather(*(client.close() for client in self._clients.values()))

        self._runner.run(run())
        self._runner.close()

    async def _client(self, base_url: str, venue: str) -> Any:
        if (base_url, venue) not in self._clients:
            client = getattr(ccxt.async_support, venue)({"enableRateLimit": False, **OPTIONS.get(venue, {})})
            client.urls["api"] = rebase(client.urls["api"], base_url)
            await client.load_markets()
            self._clients[base_url, venue] = client
        return self._clients[base_url, venue]


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    clients.close()


async def markets_of(client: Any) -> Any:
    return client.markets  # loaded by now


@pytest.mark.parametrize("venue", BULK)
def test_markets_are_listed_with_one_halted(sandbox: Running, clients: Clients, venue: str) -> None:
    markets = clients.ask(sandbox.url, venue, markets_of)
    listed = next(one for one in sandbox.control("venues") if one["id"] == venue)
    assert set(markets) == {*listed["symbols"], *listed["halted"]}
    assert [symbol for symbol, market in markets.items() if market["active"] is False] == listed["halted"]
    assert len(listed["symbols"]) == VENUES[venue].size


@pytest.mark.parametrize("venue", BULK)
def test_tickers_hold_the_prices_of_the_second_they_were_served(sandbox: Running, clients: Clients, venue: str) -> None:
    tickers = clients.ask(sandbox.url, venue, lambda client: client.fetch_tickers())
    second = sandbox.log(venue, BULK[venue])[-1]["second"]
    listed = next(one for one in sandbox.control("venues") if one["id"] == venue)
    priced = {symbol: ticker for symbol, ticker in tickers.items() if ticker["last"] is not None}
    assert set(priced) == set(listed["symbols"])
    for symbol, ticker in priced.items():
        if venue != "hyperliquid" or symbol.endswith(":USDC"):  # its spot markets are another request
            assert ticker["last"] == prices.price(venue, symbol, second)
        if ticker["bid"] is not None:
            assert ticker["bid"] < ticker["last"] < ticker["ask"]
    assert (tickers[FIRST[venue]]["bid"] is None) is (venue in WITHOUT_SIDES)


@pytest.mark.parametrize("venue", BULK)
def test_one_ticker_and_the_book_agree(sandbox: Running, clients: Clients, venue: str) -> None:
    sandbox.control("clocks", {"exchange": venue, "clock": "price", "frozen": True})

    async def both(client: Any) -> Any:
        return await client.fetch_ticker(FIRST[venue]), await client.fetch_order_book(FIRST[venue], 5)

    ticker, book = clients.ask(sandbox.url, venue, both)
    second = sandbox.log(venue)[-1]["second"]
    bid, offer = prices.sides(venue, FIRST[venue], second)
    assert ticker["last"] == prices.price(venue, FIRST[venue], second)
    assert ticker["bid"] in (bid, None)
    assert (book["bids"][0][0], book["asks"][0][0]) == (bid, offer)
    assert len(book["bids"]) >= 5
    assert sorted((level[0] for level in book["bids"]), reverse=True) == [level[0] for level in book["bids"]]


@pytest.mark.parametrize("venue", BULK)
def test_candles_agree_with_prices_and_stay(sandbox: Running, clients: Clients, venue: str) -> None:
    since = (int(time.time()) // 60 - 10) * 60_000

    async def twice(client: Any) -> Any:
        return [await client.fetch_ohlcv(FIRST[venue], "1m", since, 5) for _ in range(2)]

    candles, again = clients.ask(sandbox.url, venue, twice)
    assert candles == again
    assert [candle[0] for candle in candles] == [since + 60_000 * n for n in range(5)]
    for start, first, high, low, close, volume in candles:
        assert first == prices.price(venue, FIRST[venue], start // 1000)
        assert close == prices.price(venue, FIRST[venue], start // 1000 + 60)
        assert low <= first <= high
        assert volume > 0


@pytest.mark.parametrize("venue", [venue for venue in BULK if venue != "hyperliquid"])
def test_trades_happened_at_the_prices_of_their_seconds(sandbox: Running, clients: Clients, venue: str) -> None:
    trades = clients.ask(sandbox.url, venue, lambda client: client.fetch_trades(FIRST[venue], limit=20))
    assert len(trades) == 20
    assert len({trade["id"] for trade in trades}) == 20
    for trade in trades:
        assert trade["price"] == prices.price(venue, FIRST[venue], trade["timestamp"] // 1000)
        assert trade["amount"] > 0


def test_hyperliquid_has_recent_trades_of_its_own(sandbox: Running) -> None:
    """ccxt only knows a wallet's."""
    trades = sandbox.post("/api.hyperliquid.xyz/info", {"type": "recentTrades", "coin": "BTC"}).content
    for trade in trades:
        assert float(trade["px"]) == prices.price("hyperliquid", "BTC/USDC:USDC", trade["time"] // 1000)


@pytest.mark.parametrize("venue", [venue for venue in BULK if venue not in ("luno", "bitstamp")])
def test_venue_time_comes_from_its_stamp_clock(sandbox: Running, clients: Clients, venue: str) -> None:
    sandbox.control("clocks", {"exchange": venue, "clock": "stamp", "offset_seconds": 120})
    told = clients.ask(sandbox.url, venue, lambda client: client.fetch_time())
    assert told / 1000 - time.time() == pytest.approx(120, abs=3)


@pytest.mark.parametrize("venue", ["binance", "binanceusdm", "hyperliquid", "kraken", "mexc"])
def test_status_is_fine(sandbox: Running, clients: Clients, venue: str) -> None:
    assert clients.ask(sandbox.url, venue, lambda client: client.fetch_status())["status"] == "ok"


@pytest.mark.parametrize("venue", BULK)
def test_a_clone_has_its_own_prices_and_log(sandbox: Running, clients: Clients, venue: str) -> None:
    name = f"clone-{venue}"
    tickers = clients.ask(f"{sandbox.url}/{name}", venue, lambda client: client.fetch_tickers([FIRST[venue]]))
    second = sandbox.log(name, BULK[venue].partition("?")[0])[-1]["second"]
    assert tickers[FIRST[venue]]["last"] == prices.price(name, FIRST[venue], second)
    assert sandbox.log(venue) == []
