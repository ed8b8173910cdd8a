"""A row belongs to a market by the exchange's own id, on every way in."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import permutations
from typing import Any

import orjson
import pytest

from feeds import open_feed
from feeds.base import BadReply, Feed, FeedSpec, Quote
from feeds.shared.identity import foreign_id, is_another, tell_apart
from feeds.shared.quotes import newer

from . import bodies
from .conftest import MarketsInMemory, OpenFeed
from .venue import Answer, Request, Venue


def opened(exchange_id: str, venue: Venue) -> Feed:
    return open_feed(FeedSpec(exchange_id, base_url=venue.base_url), market_cache=MarketsInMemory())


# -- names and places that are no ids -------------------------------------------------------------------------------


def spot_answer(pairs: dict[str, tuple[int, int]], *, order: list[int] | None = None) -> list[Any]:
    """Hyperliquid's, with tokens at 0, 1, 3, 4, 5 and each pair's price eleven times its number."""
    tokens = [
        {"name": name, "index": index, "szDecimals": 2, "weiDecimals": 8, "tokenId": hex(index), "isCanonical": True}
        for name, index in (("USDC", 0), ("PURR", 1), ("AAA", 3), ("BBB", 4), ("CCC", 5))
    ]
    universe = [
        {"name": name, "tokens": [token, 0], "index": index, "isCanonical": False}
        for name, (token, index) in pairs.items()
    ]
    contexts = [
        {"coin": name, "dayNtlVlm": "1000.0", "markPx": str(11.0 * index), "midPx": str(11.0 * index), "prevDayPx": "1"}
        for name, (_, index) in pairs.items()
    ]
    places = order or list(range(len(contexts)))
    return [{"tokens": tokens, "universe": universe}, [contexts[place] for place in places]]


PAIRS = {"PURR/USDC": (1, 0), "@1": (3, 1), "@2": (4, 2), "@3": (5, 3)}
RIGHT = {"AAA/USDC": 11.0, "BBB/USDC": 22.0, "CCC/USDC": 33.0}


def hyperliquid(venue: Venue, spot: Any, swap: Any = None) -> Feed:
    def info(request: Request) -> Answer:
        answers = {"spotMetaAndAssetCtxs": spot, "metaAndAssetCtxs": swap or bodies.HYPERLIQUID_SWAP}
        return Answer(answers.get(orjson.loads(request.body)["type"], [None]))

    venue.answers["/info"] = info
    return opened("hyperliquid", venue)


def lasts(feed: Feed, symbols: Any) -> dict[str, float | None]:
    return {quote.symbol: quote.last for quote in feed.fetch_quotes(symbols, deadline_seconds=5).quotes}


def test_a_token_list_with_holes_names_every_pair_rightly(venue: Venue) -> None:
    feed = hyperliquid(venue, spot_answer(PAIRS))

    listed = {market.venue_id: market.symbol for market in feed.load_markets(deadline_seconds=5)}

    assert {id_: listed[id_] for id_ in ("@1", "@2", "@3")} == {"@1": "AAA/USDC", "@2": "BBB/USDC", "@3": "CCC/USDC"}
    assert lasts(feed, RIGHT) == RIGHT


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 0, 3, 2]])
def test_contexts_in_another_order_still_belong_to_the_coin_that_they_name(order: list[int], venue: Venue) -> None:
    feed = hyperliquid(venue, spot_answer(PAIRS, order=order))

    assert lasts(feed, RIGHT) == RIGHT


def test_a_coin_that_moves_in_the_list_keeps_its_price(venue: Venue) -> None:
    """The list in hand is of before: the place is another coin's by now."""
    feed = hyperliquid(venue, bodies.HYPERLIQUID_SPOT)
    feed.load_markets(deadline_seconds=5)
    meta, contexts = bodies.HYPERLIQUID_SWAP
    new = {"szDecimals": 1, "name": "NEW", "maxLeverage": 3, "marginTableId": 1}
    moved = [
        {**meta, "universe": [new, *reversed(meta["universe"])]},
        [{**contexts[0], "midPx": "7.0"}, *reversed(contexts)],
    ]
    feed = hyperliquid(venue, bodies.HYPERLIQUID_SPOT, moved)

    answer = feed.fetch_quotes(["BTC/USDC:USDC", "ETH/USDC:USDC"], deadline_seconds=5)

    assert {quote.symbol: quote.last for quote in answer.quotes} == {"BTC/USDC:USDC": 65000.5, "ETH/USDC:USDC": 3500.25}
    assert (answer.unknown_count, answer.unknown_ids) == (1, ("NEW",))


def test_fewer_contexts_than_coins_are_no_prices_at_all(venue: Venue) -> None:
    feed = hyperliquid(venue, bodies.HYPERLIQUID_SPOT)
    feed.load_markets(deadline_seconds=5)
    meta, contexts = bodies.HYPERLIQUID_SWAP
    feed = hyperliquid(venue, bodies.HYPERLIQUID_SPOT, [meta, contexts[1:]])

    answer = feed.fetch_quotes(["BTC/USDC:USDC", "PURR/USDC"], deadline_seconds=5)

    assert [quote.symbol for quote in answer.quotes] == ["PURR/USDC"]
    assert [(part.part, part.kind, part.symbols) for part in answer.missing] == [
        ("swap", "bad_reply", ("BTC/USDC:USDC",))
    ]


# -- two ids of one name --------------------------------------------------------------------------------------------


def gate_pair(id_: str) -> dict[str, Any]:
    base, quote = id_.split("_")
    return {
        "id": id_, "base": base, "base_name": base, "quote": quote, "quote_name": "Tether", "fee": "0.2",
        "amount_precision": 2, "precision": 5, "trade_status": "tradable", "sell_start": 1, "buy_start": 1,
        "type": "normal",
    }  # fmt: skip


def gate_ticker(id_: str, last: str) -> dict[str, Any]:
    return {"currency_pair": id_, "last": last, "lowest_ask": last, "highest_bid": last, "base_volume": "10"}


GATE_LASTS = {"BOX_USDT": "0.0123", "DEFIBOX_USDT": "0.45", "BTC_USDT": "65000"}
EMPTY = (
    "/margin/currency_pairs", "/spot/currencies", "/futures/usdt/contracts", "/futures/btc/contracts",
    "/delivery/usdt/contracts", "/delivery/btc/contracts", "/options/underlyings", "/earn/uni/currencies",
)  # fmt: skip


def gate(venue: Venue, listed: Any, answered: Any) -> Feed:
    venue.answers |= {path: Answer([]) for path in EMPTY}
    venue.answers["/spot/currency_pairs"] = Answer([gate_pair(id_) for id_ in listed])
    venue.answers["/spot/tickers"] = Answer([gate_ticker(id_, GATE_LASTS[id_]) for id_ in answered])
    return opened("gate", venue)


@pytest.mark.parametrize("listed", list(permutations(GATE_LASTS)))
@pytest.mark.parametrize("answered", [tuple(GATE_LASTS), tuple(reversed(GATE_LASTS))])
def test_two_ids_of_one_name_are_two_markets_in_whatever_order(listed: Any, answered: Any, venue: Venue) -> None:
    feed = gate(venue, listed, answered)

    symbols = {market.venue_id: market.symbol for market in feed.load_markets(deadline_seconds=5)}

    assert symbols == {
        "BOX_USDT": "DEFIBOX/USDT#BOX_USDT", "DEFIBOX_USDT": "DEFIBOX/USDT", "BTC_USDT": "BTC/USDT"
    }  # fmt: skip
    assert lasts(feed, symbols.values()) == {symbols[id_]: float(last) for id_, last in GATE_LASTS.items()}


def test_an_id_that_is_not_listed_is_unknown_though_its_name_is(venue: Venue) -> None:
    feed = gate(venue, ["DEFIBOX_USDT", "BTC_USDT"], GATE_LASTS)
    feed.load_markets(deadline_seconds=5)

    answer = feed.fetch_quotes(["DEFIBOX/USDT", "BTC/USDT"], deadline_seconds=5)

    assert {quote.symbol: quote.last for quote in answer.quotes} == {"DEFIBOX/USDT": 0.45, "BTC/USDT": 65000.0}
    assert (answer.unknown_count, answer.unknown_ids) == (1, ("BOX_USDT",))


def test_coinbases_aliases_have_prices_of_their_own(venue: Venue) -> None:
    products = bodies.coinbase_products()["products"]
    alias = {**products[0], "product_id": "BTC-USDC", "quote_currency_id": "USDC", "alias": "BTC-USD", "price": "65010"}
    original = {**products[0], "alias_to": ["BTC-USDC"]}
    venue.answers["/market/products"] = Answer({"products": [alias, original]})
    feed = opened("coinbase", venue)
    feed.load_markets(deadline_seconds=5)

    assert lasts(feed, ["BTC/USD", "BTC/USDC"]) == {"BTC/USD": 65000.0, "BTC/USDC": 65010.0}


@pytest.mark.parametrize("seed", range(20))
def test_names_do_not_depend_on_the_order_of_a_list(seed: int) -> None:
    rows = [{"id": id_, "symbol": "DEFIBOX/USDT"} for id_ in ("BOX_USDT", "DEFIBOX_USDT", "XBOX_USDT")]
    rows += [{"id": id_, "symbol": "A/B:C"} for id_ in ("2", "1")] + [{"id": "same", "symbol": "S/T"}] * 2
    random.Random(seed).shuffle(rows)

    named = {row["id"]: row["symbol"] for row in tell_apart([dict(row) for row in rows])}

    assert named == {
        "DEFIBOX_USDT": "DEFIBOX/USDT", "BOX_USDT": "DEFIBOX/USDT#BOX_USDT", "XBOX_USDT": "DEFIBOX/USDT#XBOX_USDT",
        "1": "A/B:C", "2": "A/B:C#2", "same": "S/T",
    }  # fmt: skip


# -- answers about another market -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "is_other"),
    [("BOX_USDT", "DEFIBOX_USDT", True), ("btc_usdt", "BTC_USDT", False), ("BTC_USDT", "BTCUSDT", False)],
)
def test_ids_of_one_form_that_differ_are_two_markets(one: str, other: str, is_other: bool) -> None:
    assert is_another(one, other, "_") is is_other


MARKET, KNOWN = {"id": "BTC-USDT", "alias": "BTC-USD"}, dict.fromkeys(("BTC-USDT", "ETH-USDT", "BTC-USD"))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"symbol": "ETH-USDT"}, "ETH-USDT"),
        ({"result": {"symbol": "ETH-USDT", "list": []}}, "ETH-USDT"),
        ({"data": [{"instId": "ETH-USDT", "px": "1"}]}, "ETH-USDT"),
        ([{"symbol": "ETH-USDT"}], "ETH-USDT"),
        ({"symbol": "BTC-USDT"}, ""),
        ({"product_id": "BTC-USD"}, ""),  # the alias that it trades as
        ({"symbol": "btcusdt"}, ""),  # another form of the same
        ({"symbol": ["ETH-USDT"]}, ""),
        ([[1, 2, 3]], ""),
        (None, ""),
    ],
)
def test_an_answer_that_names_another_listed_market_is_found_out(answer: Any, found: str) -> None:
    assert foreign_id(answer, MARKET, KNOWN) == found


PAGES: dict[str, Callable[[Feed], object]] = {
    "trades": lambda feed: feed.fetch_trade_page("BTC/USDT", span=None, limit=10, deadline_seconds=5),
    "books": lambda feed: feed.fetch_order_book("BTC/USDT", depth=5, deadline_seconds=5),
}


@pytest.mark.parametrize("ask", PAGES.values(), ids=PAGES.keys())
def test_another_markets_page_is_a_bad_reply(ask: Callable[[Feed], object], venue: Venue, warm: OpenFeed) -> None:
    venue.answers["/api/v3/aggTrades"] = Answer([{"symbol": "ETHUSDT", "a": 1, "p": "3500", "q": "1", "T": 1}])
    venue.answers["/api/v3/depth"] = Answer({"symbol": "ETHUSDT", "lastUpdateId": 1, "bids": [], "asks": []})
    feed = warm("binance")

    with pytest.raises(BadReply, match="asked for BTCUSDT and answered for ETHUSDT"):
        ask(feed)


def test_of_two_rows_with_equal_values_that_which_tells_a_time_is_kept() -> None:
    timed = Quote("A/USD", 1.0, 0.9, 1.1, None, None, 5.0, None, 100.0, 101.0)
    untimed = timed._replace(exchange_at=None)

    assert newer(timed, untimed) is newer(untimed, timed) is timed
    assert newer(timed, timed._replace(exchange_at=99.0)) is timed
    assert newer(timed, untimed._replace(last=2.0)) is None
