"""A market list is downloaded once, shared, and costs little memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from feeds import close_feeds, open_feed
from feeds.base import BadReply, FeedSpec, Listing, Unreachable
from feeds.ccxt import markets
from feeds.ccxt.feed import build_client
from feeds.deadlines import digest_of

from .bodies import binance_markets
from .conftest import MarketsInMemory
from .test_values import plain_client
from .venue import Answer, Venue

LIST = "/api.binance.com/api/v3/exchangeInfo"
BTC = ["BTC/USDT"]


def test_only_the_first_poll_downloads_the_list(venue: Venue) -> None:
    feed = open_feed(FeedSpec("binance", base_url=venue.base_url))

    for _ in range(3):
        feed.fetch_quotes(BTC, deadline_seconds=5)

    assert venue.paths().count(LIST) == 1
    assert [path for path in venue.paths() if "Info" in path] == [LIST]  # spot only: no futures hosts


def test_another_process_takes_the_list_from_the_cache(venue: Venue) -> None:
    cache, spec = MarketsInMemory(), FeedSpec("binance", base_url=venue.base_url)
    open_feed(spec, market_cache=cache).fetch_quotes(BTC, deadline_seconds=5)
    close_feeds()  # as good as a new process: nothing is in memory

    open_feed(spec, market_cache=cache).fetch_quotes(BTC, deadline_seconds=5)

    assert venue.paths().count(LIST) == 1
    assert cache.ttls == [3 * 3600]


def test_asking_for_the_list_asks_the_venue_and_shares_the_new_one(venue: Venue) -> None:
    cache, spec = MarketsInMemory(), FeedSpec("binance", base_url=venue.base_url)
    assert len(open_feed(spec, market_cache=cache).load_markets(deadline_seconds=5)) == 5
    changed = binance_markets()
    changed["symbols"] = changed["symbols"][:3]
    changed["symbols"][0]["status"] = "BREAK"
    venue.answers["/api/v3/exchangeInfo"] = Answer(changed)

    listings = open_feed(spec, market_cache=cache).load_markets(deadline_seconds=5)

    assert [(listing.venue_id, listing.active) for listing in listings] == [
        ("BTCUSDT", False),
        ("ETHUSDT", True),
        ("SOLUSDT", True),
    ]
    assert len(orjson.loads(next(iter(cache.values.values())))["markets"]) == 3


def without_doge(packed: bytes) -> bytes:
    content = orjson.loads(packed)
    content["markets"] = [market for market in content["markets"] if market["base"] != "DOGE"]
    return orjson.dumps(content)


def test_a_list_is_recalled_when_another_one_is_to_be_gone_by_and_never_because_it_is_old(venue: Venue) -> None:
    cache, spec = MarketsInMemory(), FeedSpec("binance", base_url=venue.base_url)
    feed: Any = open_feed(spec, market_cache=cache)
    feed.fetch_quotes(BTC, deadline_seconds=5)
    key, old = next(iter(cache.values.items()))
    cache.values[key] = new = without_doge(old)

    open_feed(replace(spec, markets_digest=digest_of(old))).fetch_quotes(BTC, deadline_seconds=5)
    assert "DOGE/USDT" in feed._client.markets

    assert open_feed(replace(spec, markets_digest=digest_of(new))) is feed
    feed.fetch_quotes(BTC, deadline_seconds=5)
    assert "DOGE/USDT" not in feed._client.markets
    assert feed.recall_markets()
    assert venue.paths().count(LIST) == 1


def test_a_list_that_is_not_in_the_cache_is_said_to_be_missing_and_the_one_in_hand_kept(venue: Venue) -> None:
    cache, spec = MarketsInMemory(), FeedSpec("binance", base_url=venue.base_url)
    open_feed(spec, market_cache=cache).fetch_quotes(BTC, deadline_seconds=5)
    cache.values.clear()

    feed = open_feed(replace(spec, markets_digest="of another list"))

    assert not feed.recall_markets()
    assert feed.fetch_quotes(BTC, deadline_seconds=5).quotes
    assert venue.paths().count(LIST) == 1


def test_a_list_is_neither_used_nor_shared_before_it_is_accepted(venue: Venue) -> None:
    cache, spec = MarketsInMemory(), FeedSpec("binance", base_url=venue.base_url)
    feed: Any = open_feed(spec, market_cache=cache)
    feed.load_markets(deadline_seconds=5)
    shared = dict(cache.values)
    venue.answers["/api/v3/exchangeInfo"] = Answer(binance_markets() | {"symbols": binance_markets()["symbols"][:1]})

    def refuse(listings: Sequence[Listing], digest: str) -> None:
        assert (len(listings), digest in (digest_of(packed) for packed in shared.values())) == (1, False)
        raise BadReply("too short")

    with pytest.raises(BadReply, match="too short"):
        feed.load_markets(deadline_seconds=5, accept=refuse)
    assert (len(feed._client.markets), cache.values) == (5, shared)

    digests = []
    feed.load_markets(deadline_seconds=5, accept=lambda _, digest: digests.append(digest))
    assert len(feed._client.markets) == 1
    assert digests == [digest_of(packed) for packed in cache.values.values()]


def test_a_list_that_a_process_needed_at_once_is_shared_only_where_all_go_by_it(venue: Venue) -> None:
    cache, spec = MarketsInMemory(), FeedSpec("binance", base_url=venue.base_url, markets_digest="of another list")

    assert open_feed(spec, market_cache=cache).fetch_quotes(BTC, deadline_seconds=5).quotes

    assert cache.values == {}


FAILED_REFRESHES: dict[str, Answer] = {
    "an error": Answer(b"", status=500),
    "no markets": Answer({"symbols": []}),
    "an empty object": Answer({}),
    "rows that are none": Answer({"symbols": [None, 5, {}]}),
}


@pytest.mark.parametrize("answer", FAILED_REFRESHES.values(), ids=FAILED_REFRESHES.keys())
def test_a_failed_refresh_keeps_the_old_list(answer: Answer, venue: Venue) -> None:
    feed = open_feed(FeedSpec("binance", base_url=venue.base_url))
    feed.load_markets(deadline_seconds=5)
    venue.answers["/api/v3/exchangeInfo"] = answer
    with pytest.raises((Unreachable, BadReply)):
        feed.load_markets(deadline_seconds=5)

    assert feed.fetch_quotes(BTC, deadline_seconds=5).quotes


def test_a_list_spoiled_in_the_cache_is_downloaded_again(venue: Venue) -> None:
    cache, spec = MarketsInMemory(), FeedSpec("binance", base_url=venue.base_url)
    open_feed(spec, market_cache=cache).load_markets(deadline_seconds=5)
    close_feeds()
    cache.values = dict.fromkeys(cache.values, b'{"markets":[{}]')

    assert open_feed(spec, market_cache=cache).fetch_quotes(BTC, deadline_seconds=5).quotes
    assert venue.paths().count(LIST) == 2


def test_two_base_urls_do_not_share_a_list(venue: Venue) -> None:
    cache = MarketsInMemory()
    for base_url in (venue.base_url, venue.base_url + "/mirror"):
        open_feed(FeedSpec("binance", base_url=base_url), market_cache=cache).load_markets(deadline_seconds=5)

    assert len(cache.values) == 2


HOSTILE_NAMES = {
    "a name of one megabyte": "X" * 1_000_000,
    "a line break": "BTC\nUSDT",
    "an escape code": "BTC\x1b[31m",
    "empty": "",
    "a direction mark": "BTC\u202e",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
def test_a_market_with_a_hostile_name_is_not_listed(name: str, venue: Venue) -> None:
    content = binance_markets()
    content["symbols"][0] |= {"symbol": name, "baseAsset": name}
    venue.answers["/api/v3/exchangeInfo"] = Answer(content)

    listings = open_feed(FeedSpec("binance", base_url=venue.base_url)).load_markets(deadline_seconds=5)

    assert {listing.base for listing in listings} == {"ETH", "SOL", "XRP", "DOGE"}


def test_a_packed_list_serves_like_the_original(venue: Venue) -> None:
    for exchange_id in ("kraken", "binanceusdm", "hyperliquid"):
        loaded: Any = open_feed(FeedSpec(exchange_id, base_url=venue.base_url))
        loaded.load_markets(deadline_seconds=10)
        plain = plain_client(exchange_id, venue.base_url)
        theirs = asyncio.run(_load(plain))

        ours = loaded._client.markets
        assert ours.keys() == theirs.keys()
        assert loaded._client.ids == plain.ids
        assert loaded._client.symbols == plain.symbols
        for symbol, market in ours.items():
            assert {name: market[name] for name in COMPARED} == {name: theirs[symbol].get(name) for name in COMPARED}


COMPARED = ("id", "base", "quote", "settle", "type", "active", "contract", "linear", "inverse", "contractSize", "taker")


async def _load(client: Any) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = await client.load_markets()
        return loaded
    finally:
        await client.close()


def test_markets_take_less_than_half_of_plain_ccxts_memory() -> None:
    rows = binance_markets()["symbols"][0]
    raw = [orjson.dumps(rows | {"symbol": f"C{n}USDT", "baseAsset": f"C{n}"}) for n in range(500)]
    plain = plain_client("binance")
    plain.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}  # what fetch_markets would set
    lean = build_client(FeedSpec("binance"))

    plain_bytes = _bytes_of(lambda: plain.set_markets([plain.parse_market(orjson.loads(row)) for row in raw]))
    packed = markets.pack(plain, keep_info=False)
    lean_bytes = _bytes_of(lambda: markets.install(lean, packed))

    assert len(lean.markets) == len(plain.markets) == 500
    assert lean_bytes < 0.5 * plain_bytes, (lean_bytes, plain_bytes)


def _bytes_of(work: Callable[[], object]) -> int:
    """What it leaves, at least: the thread of the feeds may be busy with what a test before has given up."""
    found = []
    for _ in range(3):
        tracemalloc.start()
        work()
        found.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    return min(found)


def test_ccxt_is_imported_one_venue_at_a_time() -> None:
    code = (
        "import sys\n"
        "from feeds import open_feed\n"
        "from feeds.base import FeedSpec\n"
        "open_feed(FeedSpec('kraken'))\n"
        "print(sum(name.startswith('ccxt.async_support.') and name.count('.') == 2 for name in sys.modules))\n"
    )
    assert int(_python(code)) <= 3


EVERY_CLASS = """
import importlib
from feeds.ccxt import lazy
for exchange_id in sorted(lazy.known_classes()):
    assert isinstance(lazy.client_class(exchange_id), type), exchange_id
import ccxt, ccxt.async_support, ccxt.pro
for name in lazy.listed_in("ccxt.pro"):
    assert isinstance(getattr(ccxt.pro, name), type), name
assert issubclass(ccxt.RateLimitExceeded, ccxt.NetworkError) and ccxt.async_support.Exchange and ccxt.Precise
assert ccxt.exchanges == list(lazy.listed_in("ccxt"))
print(len(lazy.known_classes()), type(ccxt).__name__)
"""


@pytest.mark.parametrize(("setting", "module_class"), [("1", "_StandIn"), ("0", "module")])
def test_every_class_of_ccxt_imports(setting: str, module_class: str) -> None:
    count, found = _python(EVERY_CLASS, CCXT_LAZY=setting).split()

    assert int(count) >= 113
    assert found == module_class


def _python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()
