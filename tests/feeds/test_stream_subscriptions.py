"""What a stream asks an exchange for: over one socket of a loopback server that hears everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from feeds.base import FeedSpec
from feeds.ccxt.stream import CcxtStream
from feeds.ccxt.subscriptions import NotStreamed, forget_learned
from feeds.streams import can_stream

SPOT = ["BTC/USDT", "ETH/USDT"]
SWAP = ["BTC/USDT:USDT", "ETH/USDT:USDT"]
SEVERAL = {"bybit", "mexc", "kucoin", "binanceus", "binancecoinm", "blofin"}


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    yield
    for exchange_id in SEVERAL:
        forget_learned(exchange_id)


class Exchange:
    """Hears what is sent to it. `answer` gives the frames that follow a message."""

    def __init__(self, answer: Callable[[str, Any], list[Any]] | None = None) -> None:
        self.answer = answer or (lambda path, message: [])
        self.heard: list[tuple[str, Any]] = []
        self.url = ""

    def topics(self) -> list[str]:
        return [topic for _, message in self.heard for topic in message.get("args") or message.get("params") or ()]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Exchange]:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return self._rest(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                content = json.loads(message.data)
                self.heard.append((request.path, content))
                for frame in self.answer(request.path, content):
                    await socket.send_json(frame)
        return socket

    def _rest(self, request: web.Request) -> web.StreamResponse:
        """Kucoin's, which gives the address of its socket."""
        if "bullet" not in request.path:
            return web.json_response({}, status=404)
        server = {"endpoint": self.url.replace("http", "ws", 1), "pingInterval": 18000, "pingTimeout": 10000}
        return web.json_response({"code": "200000", "data": {"token": "T", "instanceServers": [server]}})


def market(symbol: str, **more: Any) -> dict[str, Any]:
    base, _, rest = symbol.partition("/")
    quote, _, settle = rest.partition(":")
    row: dict[str, Any] = {
        "id": f"{base}{quote}", "lowercaseId": f"{base}{quote}".lower(), "symbol": symbol, "base": base,
        "quote": quote, "baseId": base, "quoteId": quote, "settle": settle or None, "settleId": settle or None,
        "type": "swap" if settle else "spot", "active": True, "contract": bool(settle), "spot": not settle,
        "swap": bool(settle), "future": False, "option": False, "linear": settle == quote if settle else None,
        "inverse": settle != quote if settle else None, "contractSize": 1 if settle else None,
    }  # fmt: skip
    return row | more


def listening(exchange_id: str, url: str, symbols: list[str]) -> CcxtStream:
    stream = CcxtStream(FeedSpec(exchange_id, base_url=url))
    client = stream._client
    client.set_markets([client.safe_market_structure() | market(symbol) for symbol in symbols])
    client.rateLimit = 1
    return stream


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.01)


def test_a_client_that_begins_with_a_task_of_its_own_subscribes() -> None:
    async def live() -> list[tuple[str, Any]]:
        async with Exchange().running() as exchange:
            stream = listening("kucoin", exchange.url, SPOT)
            try:
                await stream.subscribe(SPOT)
                await until(lambda: bool(exchange.heard or stream.is_broken))
                assert stream.complaint == ""
            finally:
                await stream.close()
            return exchange.heard

    ((_, message),) = asyncio.run(live())
    assert message["type"] == "subscribe"


def test_a_client_that_has_never_dialled_asks_for_no_pause() -> None:
    async def live() -> float:
        stream = listening("mexc", "http://127.0.0.1:9", SPOT)
        await stream.subscribe(SPOT)
        await asyncio.sleep(0)
        pause = stream.dial_pause_seconds
        await stream.close()
        return pause

    assert asyncio.run(live()) == 0.0


def asked_of(exchange_id: str, symbols: list[str], *, enough: int, exchange: Exchange | None = None) -> Exchange:
    """The exchange, after `enough` messages, or the pause in which no more came."""
    exchange = exchange or Exchange()

    async def live() -> None:
        async with exchange.running():
            stream = listening(exchange_id, exchange.url, symbols)
            try:
                await stream.subscribe(symbols)
                await until(lambda: len(exchange.heard) >= enough)
                await asyncio.sleep(0.2)
                assert not stream.is_broken, stream.complaint
            finally:
                await stream.close()

    asyncio.run(live())
    return exchange


def test_each_kind_has_its_own_subscription_and_each_topic_comes_once() -> None:
    exchange = asked_of("bybit", SPOT + SWAP + ["BTC/USD:BTC"], enough=3)

    asked = {path.rpartition("/")[2]: message["args"] for path, message in exchange.heard}
    assert asked == {
        "spot": ["tickers.BTCUSDT", "tickers.ETHUSDT"],
        "linear": ["tickers.BTCUSDT", "tickers.ETHUSDT"],
        "inverse": ["tickers.BTCUSD"],
    }


def bybit(most: int, *, refused: str = "") -> Callable[[str, Any], list[Any]]:
    """Takes so many topics in one request, and none with `refused`; what it takes it pushes once."""

    def answer(path: str, message: Any) -> list[Any]:
        topics, reply = message.get("args", ()), {"req_id": message.get("req_id"), "op": message.get("op")}
        if len(topics) > most or refused in topics:
            return [reply | {"success": False, "ret_msg": f"args size >{most}", "conn_id": "c"}]
        return [reply | {"success": True, "ret_msg": "subscribe", "conn_id": "c"}, *map(ticker, topics)]

    def ticker(topic: str) -> Any:
        data = {"symbol": topic.partition(".")[2], "lastPrice": "100", "highPrice24h": "110", "lowPrice24h": "90",
                "prevPrice24h": "99", "volume24h": "10", "turnover24h": "1000", "price24hPcnt": "0.01"}  # fmt: skip
        return {"topic": topic, "ts": 1_795_000_000_000, "type": "snapshot", "cs": 1, "data": data}

    return answer


def heard_of(symbols: list[str], exchange: Exchange, *, missing: int = 0) -> tuple[set[str], list[frozenset[str]]]:
    """What came of these, and the groups that silence is judged by."""

    async def live() -> tuple[set[str], list[frozenset[str]]]:
        async with exchange.running():
            stream, came = listening("bybit", exchange.url, symbols), set[str]()

            def has_all() -> bool:
                came.update(quote.symbol for quote in stream.drain())
                return len(came) >= len(symbols) - missing or stream.is_broken

            try:
                await stream.subscribe(symbols)
                await until(has_all)
                await asyncio.sleep(0.2)
                assert not stream.is_broken, stream.complaint
                return came, stream.groups
            finally:
                await stream.close()

    return asyncio.run(live())


def test_a_size_that_is_refused_is_halved_and_remembered() -> None:
    symbols, exchange = [f"C{number:02}/USDT" for number in range(30)], Exchange(bybit(most=10))

    came, groups = heard_of(symbols, exchange)
    assert came == set(symbols)
    assert groups == [frozenset(symbols)]  # a few markets may be quiet for long
    assert [len(message["args"]) for _, message in exchange.heard] == [30, 15, 15, 8, 7, 8, 7]

    exchange.heard.clear()
    heard_of(symbols, exchange)
    assert max(len(message["args"]) for _, message in exchange.heard) <= 10


def test_a_market_that_is_refused_does_not_cost_the_others() -> None:
    symbols = [f"C{number:02}/USDT" for number in range(120)]
    exchange = Exchange(bybit(most=100, refused="tickers.C103USDT"))

    came, _ = heard_of(symbols, exchange, missing=1)
    assert came == set(symbols) - {"C103/USDT"}

    exchange.heard.clear()
    heard_of(symbols, exchange, missing=1)
    assert max(len(message["args"]) for _, message in exchange.heard) == 50


def test_a_kind_that_is_not_pushed_is_said_to_be_so_and_the_rest_comes() -> None:
    async def live() -> tuple[list[Any], str, list[frozenset[str]]]:
        async with Exchange().running() as exchange:
            stream = listening("mexc", exchange.url, SPOT + SWAP)
            try:
                await stream.subscribe(SPOT + SWAP)
                await until(lambda: bool(exchange.heard))
                assert not stream.is_broken, stream.complaint
                return [message["method"] for _, message in exchange.heard], stream.unstreamed, stream.groups
            finally:
                await stream.close()

    asked, unstreamed, groups = asyncio.run(live())
    assert asked == ["sub.tickers"]
    assert unstreamed == "spot: mexc watchTickers does not support spot markets"
    assert groups == [frozenset(SWAP)]
    assert can_stream("mexc")


def test_an_exchange_that_pushes_nothing_that_is_wanted_is_known_not_to_stream_it() -> None:
    async def live() -> None:
        stream = listening("mexc", "http://127.0.0.1:9", SPOT + SWAP)
        try:
            await stream.subscribe(SPOT)
            await until(lambda: stream.is_broken)
            await stream.close()
            with pytest.raises(NotStreamed, match="does not support spot markets"):
                await stream.subscribe(SPOT)
            assert stream._client.session is None
            assert not can_stream("mexc")
            await stream.subscribe(SPOT + SWAP)
            assert can_stream("mexc")
        finally:
            await stream.close()

    assert can_stream("mexc")
    asyncio.run(live())


@pytest.mark.parametrize("exchange_id", ["binance", "binanceus", "binanceusdm", "binancecoinm"])
def test_a_whole_family_is_asked_for_tickers_with_bid_and_ask(exchange_id: str) -> None:
    symbol = {"binanceusdm": "BTC/USDT:USDT", "binancecoinm": "BTC/USD:BTC"}.get(exchange_id, "BTC/USDT")

    exchange = asked_of(exchange_id, [symbol], enough=1)

    assert [topic.rpartition("@")[2] for topic in exchange.topics()] == ["ticker"]


def test_a_whole_family_counts_trades_as_its_requests_do() -> None:
    async def live(exchange_id: str, symbol: str) -> list[str]:
        async with Exchange().running() as exchange:
            stream = listening(exchange_id, exchange.url, [symbol])
            try:
                await stream.subscribe([symbol])
                stream.depth.want([], [symbol])
                stream.depth.ask(silence_seconds=60, pause_seconds=60, longest_pause_seconds=60)
                await until(lambda: len(exchange.topics()) > 1)
                return [topic.rpartition("@")[2] for topic in exchange.topics()]
            finally:
                await stream.close()

    asked = {"binanceus": "BTC/USDT", "binancecoinm": "BTC/USD:BTC"}
    for exchange_id, symbol in asked.items():
        assert "aggTrade" in asyncio.run(live(exchange_id, symbol))


def test_a_channel_of_all_markets_is_asked_for_once() -> None:
    symbols = [f"C{number:03}/USDC:USDC" for number in range(250)]

    exchange = asked_of("paradex", [*symbols, "BTC/USD:BTC"], enough=1)

    assert [message["params"] for _, message in exchange.heard] == [{"channel": "markets_summary"}]


def test_what_cannot_be_asked_for_beside_the_others_is_left_to_requests_once() -> None:
    """cex takes trades of one market a client; ccxt refuses the second before a word is sent."""
    pauses = {"silence_seconds": 60.0, "pause_seconds": 0.0, "longest_pause_seconds": 0.0}

    async def ask() -> list[int]:
        async with Exchange().running() as exchange:
            stream = listening("cex", exchange.url, SPOT)
            asked: list[int] = []
            original = stream._client.watch_trades

            async def counted(symbol: str, *arguments: Any) -> Any:
                asked.append(SPOT.index(symbol))
                return await original(symbol, *arguments)

            stream._client.watch_trades = counted
            try:
                await stream.subscribe(SPOT)
                for _ in range(20):
                    stream.depth.want([], SPOT)
                    stream.depth.ask(**pauses)
                    await asyncio.sleep(0.02)
            finally:
                await stream.close()
            return asked

    asked = asyncio.run(ask())

    assert asked.count(1) == 1
    assert 0 in asked
