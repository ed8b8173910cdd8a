"""An exchange that no file of ours names works by its ccxt id alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from exchanges.models import is_exchange_id
from feeds import close_feeds, known_exchange_ids, open_feed
from feeds.base import BadReply, Feed, FeedSpec, Unsupported
from feeds.ccxt.fields import FIELD_MAPS
from feeds.ccxt.lazy import RENAMED_BY_CCXT
from feeds.ccxt.quirks import QUIRKS

from .bodies import COINS, NOW_MS
from .conftest import MarketsInMemory
from .test_values import SHAPES
from .venue import Answer, Request, Venue


def okx_instrument(coin: str, kind: str) -> dict[str, Any]:
    contract = {"ctType": "linear", "ctVal": "0.01", "ctMult": "1", "settleCcy": "USDT", "uly": f"{coin}-USDT"}
    return {
        "instType": kind,
        "instId": f"{coin}-USDT-SWAP" if kind == "SWAP" else f"{coin}-USDT",
        "instFamily": f"{coin}-USDT" if kind == "SWAP" else "",
        "baseCcy": "" if kind == "SWAP" else coin,
        "quoteCcy": "" if kind == "SWAP" else "USDT",
        "settleCcy": "",
        "state": "live",
        "tickSz": "0.1",
        "lotSz": "0.00001",
        "minSz": "0.00001",
        "lever": "",
        "listTime": str(NOW_MS),
        "expTime": "",
        "category": "1",
    } | (contract if kind == "SWAP" else {})


def okx_ticker(coin: str, kind: str, **changes: Any) -> dict[str, Any]:
    instrument = f"{coin}-USDT-SWAP" if kind == "SWAP" else f"{coin}-USDT"
    return SHAPES["okx"] | {"instType": kind, "instId": instrument} | changes


def okx(request: Request) -> Answer:
    kind = "SWAP" if "instType=SWAP" in request.target else "SPOT"
    if kind == "SPOT" and "instType=SPOT" not in request.target:
        return Answer({"code": "0", "msg": "", "data": []})
    make = okx_instrument if "instruments" in request.target else okx_ticker
    return Answer({"code": "0", "msg": "", "data": [make(coin, kind) for coin in COINS]})


@pytest.fixture
def okx_feed(venue: Venue) -> Iterator[Feed]:
    venue.answers |= {"/public/instruments": okx, "/market/tickers": okx}
    venue.answers |= {"/asset/currencies": Answer({"code": "0", "data": []})}
    yield open_feed(FeedSpec("okx", base_url=venue.base_url), market_cache=MarketsInMemory())
    close_feeds()


def test_okx_stands_in_no_file_of_ours() -> None:
    assert "okx" not in QUIRKS
    assert "okx" not in FIELD_MAPS
    assert "okx" in known_exchange_ids()


def test_it_lists_its_markets_by_kind(okx_feed: Feed) -> None:
    listings = {listing.symbol: listing for listing in okx_feed.load_markets(deadline_seconds=10)}

    assert listings["BTC/USDT"].kind == "spot"
    assert listings["BTC/USDT:USDT"].kind == "swap"
    assert listings["BTC/USDT:USDT"].venue_id == "BTC-USDT-SWAP"
    assert listings["BTC/USDT"].active


def test_both_kinds_are_quoted_with_one_request_each(okx_feed: Feed, venue: Venue) -> None:
    symbols = [listing.symbol for listing in okx_feed.load_markets(deadline_seconds=10)]
    venue.requests.clear()

    answer = okx_feed.fetch_quotes(symbols, deadline_seconds=5)

    assert {quote.symbol for quote in answer.quotes} == set(symbols)
    assert answer.quotes[0].last == 65000.1
    assert len(venue.requests) == 2


def test_one_poisoned_row_costs_one_row(okx_feed: Feed, venue: Venue) -> None:
    okx_feed.load_markets(deadline_seconds=10)
    rows = [okx_ticker("BTC", "SPOT", last="abc"), *(okx_ticker(coin, "SPOT") for coin in COINS[1:]), None, 5]
    venue.answers["/market/tickers"] = Answer({"code": "0", "data": rows})

    answer = okx_feed.fetch_quotes([f"{coin}/USDT" for coin in COINS], deadline_seconds=5)

    assert len(answer.quotes) == 4
    assert answer.rejected[0].symbol == "BTC/USDT"
    assert "abc" in answer.rejected[0].reason


def test_values_that_only_quality_can_judge_come_through(okx_feed: Feed, venue: Venue) -> None:
    okx_feed.load_markets(deadline_seconds=10)
    venue.answers["/market/tickers"] = Answer(
        {"code": "0", "data": [okx_ticker("BTC", "SPOT", last="-5", bidPx="inf")]}
    )

    quote = okx_feed.fetch_quotes(["BTC/USDT"], deadline_seconds=5).quotes[0]

    assert quote.last == -5.0
    assert quote.bid == float("inf")


def test_a_market_it_does_not_list_is_unsupported_without_a_request(okx_feed: Feed, venue: Venue) -> None:
    okx_feed.load_markets(deadline_seconds=10)
    venue.requests.clear()

    with pytest.raises(Unsupported):
        okx_feed.fetch_quotes(["NOPE/USDT"], deadline_seconds=5)

    assert venue.requests == []


# bitbank answers for one market at a time ---------------------------------------------------------------------------

BITBANK_PAIR = {
    "base_asset": "btc",
    "quote_asset": "jpy",
    "maker_fee_rate_quote": "-0.0002",
    "taker_fee_rate_quote": "0.0012",
    "unit_amount": "0.0001",
    "limit_max_amount": "1000",
    "price_digits": 0,
    "amount_digits": 4,
    "is_enabled": True,
    "stop_order": False,
}


@pytest.fixture
def bitbank(venue: Venue) -> Iterator[Feed]:
    pairs = [BITBANK_PAIR | {"name": f"{c.lower()}_jpy", "base_asset": c.lower()} for c in COINS]
    venue.answers["/spot/pairs"] = Answer({"success": 1, "data": {"pairs": pairs}})
    ticker = {"sell": "101", "buy": "99", "high": "110", "low": "90", "last": "100", "vol": "5", "timestamp": NOW_MS}
    venue.answers["/ticker"] = Answer({"success": 1, "data": ticker})
    yield open_feed(FeedSpec("bitbank", base_url=venue.base_url))
    close_feeds()


JPY = [f"{coin}/JPY" for coin in COINS]


def test_without_a_bulk_answer_each_market_is_asked_for(bitbank: Feed, venue: Venue) -> None:
    answer = bitbank.fetch_quotes(JPY, deadline_seconds=8)

    assert {quote.symbol for quote in answer.quotes} == set(JPY)
    assert answer.answered_count == 5


def test_what_the_deadline_allows_is_returned_and_the_next_poll_goes_on_there(bitbank: Feed) -> None:
    bitbank.load_markets(deadline_seconds=5)
    bitbank._client.rateLimit = 250  # type: ignore[attr-defined]

    polls = [bitbank.fetch_quotes(JPY, deadline_seconds=0.45) for _ in range(4)]

    assert all(0 < len(poll.quotes) < 5 for poll in polls)
    assert {quote.symbol for poll in polls for quote in poll.quotes} == set(JPY)


def test_a_market_that_answers_nonsense_does_not_stop_the_others(bitbank: Feed, venue: Venue) -> None:
    bitbank.load_markets(deadline_seconds=5)
    good = venue.answers["/ticker"]
    venue.answers = {"/eth_jpy/ticker": Answer(b"<html>")} | venue.answers | {"/ticker": good}

    answer = bitbank.fetch_quotes(JPY, deadline_seconds=8)

    assert len(answer.quotes) == 4
    assert [row.symbol for row in answer.rejected] == ["ETH/JPY"]


def test_a_venue_that_lists_nothing_is_a_bad_reply(venue: Venue) -> None:
    venue.answers["/spot/pairs"] = Answer({"success": 1, "data": {"pairs": []}})

    with pytest.raises(BadReply):
        open_feed(FeedSpec("bitbank", base_url=venue.base_url)).load_markets(deadline_seconds=5)


@pytest.mark.parametrize(
    "text", ["os", "base", "__init__", "Exchange", "../kraken", "kraken\0", "", "KRAKEN", "prediction:", "pro"]
)
def test_free_text_never_reaches_an_attribute_lookup(text: str) -> None:
    assert text not in known_exchange_ids()
    with pytest.raises(KeyError):
        open_feed(FeedSpec(text))


def test_ids_that_no_route_can_carry_are_not_offered() -> None:
    assert [name for name in known_exchange_ids() if not is_exchange_id(name)] == []
    assert {"polymarket", "polymarket_perpetuals", "kalshi"} <= known_exchange_ids()


@pytest.mark.parametrize(("old", "new"), RENAMED_BY_CCXT.items())
def test_an_id_that_ccxt_has_renamed_says_so_and_names_the_new_one(old: str, new: str) -> None:
    assert old not in known_exchange_ids()
    assert new in known_exchange_ids()
    with pytest.raises(Unsupported, match=f"{old} is called {new} now"):
        open_feed(FeedSpec(old))


def test_an_id_that_is_gone_says_so() -> None:
    with pytest.raises(Unsupported, match="there is no exchange bittrex in ccxt"):
        open_feed(FeedSpec("bittrex"))


def test_a_key_that_is_needed_even_for_public_data_is_named_before() -> None:
    needed = {name: open_feed(FeedSpec(name)).capabilities.needs_credentials for name in ("alpaca", "mudrex", "kraken")}
    close_feeds()

    assert needed == {"alpaca": ("apiKey", "secret"), "mudrex": ("secret",), "kraken": ()}
