from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson
import pytest

from feeds import close_feeds, open_feed
from feeds.base import Feed, FeedSpec

from . import bodies
from .venue import Answer, Request, Venue, open_venue

OpenFeed = Callable[[str], Feed]


class MarketsInMemory:
    """The market cache that Valkey is in production."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.ttls: list[int] = []

    def load(self, key: str) -> bytes | None:
        return self.values.get(key)

    def store(self, key: str, value: bytes, *, ttl_seconds: int) -> None:
        self.values[key] = value
        self.ttls.append(ttl_seconds)


def _hyperliquid(request: Request) -> Answer:
    answers = {"spotMetaAndAssetCtxs": bodies.HYPERLIQUID_SPOT, "metaAndAssetCtxs": bodies.HYPERLIQUID_SWAP}
    return Answer(answers.get(orjson.loads(request.body)["type"], [None]))


HAPPY: dict[str, Answer | Callable[[Request], Answer]] = {
    "/api/v3/exchangeInfo": Answer(bodies.binance_markets()),
    "/api/v3/ticker/24hr": Answer([bodies.binance_ticker(coin) for coin in bodies.COINS]),
    "/fapi/v1/exchangeInfo": Answer(bodies.binance_markets(futures=True)),
    "/fapi/v1/ticker/24hr": Answer([bodies.binance_ticker(coin, futures=True) for coin in bodies.COINS]),
    "/v2/currencies": Answer(bodies.COINBASE_FIAT),
    "/v2/currencies/crypto": Answer(bodies.COINBASE_CRYPTO),
    "/v2/exchange-rates": Answer({"data": {"currency": "USD", "rates": {"BTC": "0.0000154"}}}),
    "/market/products": Answer(bodies.coinbase_products()),
    "/public/Assets": Answer(bodies.KRAKEN_ASSETS),
    "/public/AssetPairs": Answer(bodies.KRAKEN_PAIRS),
    "/public/Ticker": Answer(bodies.KRAKEN_TICKERS),
    "/exchange/1/markets": Answer(bodies.LUNO_MARKETS),
    "/api/1/tickers": Answer(bodies.LUNO_TICKERS),
    "/info": _hyperliquid,
}


@pytest.fixture(scope="session")
def running_venue() -> Iterator[Venue]:
    with open_venue() as venue:
        yield venue


@pytest.fixture
def venue(running_venue: Venue) -> Iterator[Venue]:
    """Six exchanges at their best behaviour."""
    running_venue.answers = dict(HAPPY)
    running_venue.requests.clear()
    yield running_venue
    close_feeds()


@pytest.fixture(scope="session")
def market_lists(running_venue: Venue) -> MarketsInMemory:
    """Loaded once for the whole session, so that a test's requests are its own."""
    running_venue.answers = dict(HAPPY)
    cache = MarketsInMemory()
    for exchange_id in ("binance", "binanceusdm", "coinbase", "kraken", "luno", "hyperliquid"):
        open_feed(FeedSpec(exchange_id, base_url=running_venue.base_url), market_cache=cache).load_markets(
            deadline_seconds=10
        )
    close_feeds()
    return cache


@pytest.fixture
def warm(market_lists: MarketsInMemory, venue: Venue) -> OpenFeed:
    """Opens a feed that knows its markets already."""
    return lambda exchange_id: open_feed(FeedSpec(exchange_id, base_url=venue.base_url), market_cache=market_lists)
