"""What has come is never lost to an error about what has not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from feeds import open_feed
from feeds.base import Feed, FeedSpec, Poll, Throttled, Unreachable, Unsupported
from feeds.ccxt import CcxtFeed, markets

from . import bodies
from .conftest import OpenFeed
from .test_hostile_answers import hang
from .venue import Answer, Request, Venue


def row(id_: str, symbol: str, **more: Any) -> dict[str, Any]:
    base, _, rest = symbol.partition("/")
    quote, _, settle = rest.partition(":")
    kind = "swap" if settle else "spot"
    return {
        "id": id_, "symbol": symbol, "base": base, "quote": quote, "settle": settle or None, "baseId": base,
        "quoteId": quote, "settleId": settle or None, "type": kind, kind: True, "active": True,
        "contract": bool(settle), "contractSize": 1 if settle else None, "linear": bool(settle) or None,
    } | more  # fmt: skip


def listing(exchange_id: str, venue: Venue, *rows: dict[str, Any]) -> Feed:
    """A feed that knows these markets."""
    feed = open_feed(FeedSpec(exchange_id, base_url=venue.base_url))
    assert isinstance(feed, CcxtFeed)
    client = feed._client
    client.set_markets([client.safe_market_structure() | each for each in rows])
    feed._install(markets.pack(client, keep_info=False))
    client.rateLimit = 1
    return feed


def lasts(poll: Poll) -> dict[str, float | None]:
    return {quote.symbol: quote.last for quote in poll.quotes}


def parts(poll: Poll) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(part.part, part.kind, part.symbols) for part in poll.missing]


# -- kinds and coins -------------------------------------------------------------------------------------------------


def deribit(request: Request) -> Answer:
    coin = parse_qs(urlsplit(request.target).query)["currency"][0]
    last = {"BTC": 65000.0, "ETH": 3500.0}[coin]
    ticker = {
        "instrument_name": f"{coin}-PERPETUAL", "base_currency": coin, "quote_currency": "USD", "last": last,
        "bid_price": last - 0.5, "ask_price": last + 0.5, "creation_timestamp": bodies.NOW_MS,
    }  # fmt: skip
    return Answer({"jsonrpc": "2.0", "result": [ticker]})


DERIBIT = (row("BTC-PERPETUAL", "BTC/USD:BTC"), row("ETH-PERPETUAL", "ETH/USD:ETH"))


def test_deribit_is_asked_coin_by_coin(venue: Venue) -> None:
    venue.answers["/get_book_summary_by_currency"] = deribit
    feed = listing("deribit", venue, *DERIBIT)
    for _ in range(2):
        venue.requests.clear()

        poll = feed.fetch_quotes(["BTC/USD:BTC", "ETH/USD:ETH"], deadline_seconds=5)

        assert lasts(poll) == {"BTC/USD:BTC": 65000.0, "ETH/USD:ETH": 3500.0}
        assert poll.missing == ()
        assert len(venue.requests) == 2


def test_one_coins_broken_answer_costs_that_coin(venue: Venue) -> None:
    venue.answers["/get_book_summary_by_currency"] = lambda request: (
        Answer(b"<html>") if "currency=ETH" in request.target else deribit(request)
    )
    feed = listing("deribit", venue, *DERIBIT)

    poll = feed.fetch_quotes(["BTC/USD:BTC", "ETH/USD:ETH"], deadline_seconds=5)

    assert lasts(poll) == {"BTC/USD:BTC": 65000.0}
    assert parts(poll) == [("swap linear", "bad_reply", ("ETH/USD:ETH",))]
    assert "HTML" in poll.missing[0].reason


WOO = (row("SPOT_BTC_USDT", "BTC/USDT"), row("PERP_BTC_USDT", "BTC/USDT:USDT"))
WOO_SWAP = {
    "symbol": "PERP_BTC_USDT", "24hClose": "56727.32", "24hOpen": "57760.84", "24hHigh": "57760.84",
    "24hLow": "56608.03", "24hVolume": "10", "24hAmount": "567273.2",
}  # fmt: skip


def test_woos_perpetuals_are_kept_though_its_spot_cannot_be_asked_for(venue: Venue) -> None:
    venue.answers["/futures"] = Answer({"success": True, "data": {"rows": [WOO_SWAP]}, "rows": [WOO_SWAP]})
    feed = listing("woo", venue, *WOO)
    for _ in range(2):
        venue.requests.clear()

        poll = feed.fetch_quotes(["BTC/USDT", "BTC/USDT:USDT"], deadline_seconds=5)

        assert lasts(poll) == {"BTC/USDT:USDT": 56727.32}
        assert parts(poll) == [("spot", "unsupported", ("BTC/USDT",))]
        assert len(venue.requests) == 1


def test_a_kind_that_nothing_gives_is_unsupported_where_nothing_else_is_wanted(venue: Venue) -> None:
    feed = listing("woo", venue, *WOO)
    venue.answers["/futures"] = Answer({"success": True, "data": {"rows": []}, "rows": []})

    with pytest.raises(Unsupported):
        feed.fetch_quotes(["BTC/USDT"], deadline_seconds=5)


BITRUE_ROW = {
    "symbol": "BTCUSDT", "lastPrice": "73369.84", "bidPrice": "73369.83", "askPrice": "73369.84", "closeTime": 0
}  # fmt: skip


def test_bitrues_spot_is_kept_and_its_perpetuals_are_asked_one_by_one(venue: Venue) -> None:
    venue.answers["/api/v1/ticker/24hr"] = Answer([BITRUE_ROW])
    swap = {"high": "66000", "vol": "1", "last": "65001", "low": "1", "buy": "65000", "sell": "65002", "rose": "0"}
    venue.answers["/fapi/v1/ticker"] = Answer(swap)
    feed = listing("bitrue", venue, row("BTCUSDT", "BTC/USDT"), row("E-BTC-USDT", "BTC/USDT:USDT"))

    poll = feed.fetch_quotes(["BTC/USDT", "BTC/USDT:USDT"], deadline_seconds=5)

    assert lasts(poll) == {"BTC/USDT": 73369.84, "BTC/USDT:USDT": 65001.0}
    assert poll.missing == ()


CRYPTOCOM = (
    row("BTC_USDT", "BTC/USDT"), row("BTCUSD-PERP", "BTC/USD:USD"), row("ETHUSD-PERP", "ETH/USD:USD")
)  # fmt: skip


def cryptocom(request: Request) -> Answer:
    asked = parse_qs(urlsplit(request.target).query).get("instrument_name", ["BTC_USDT"])[0]
    ticker = {"i": asked, "h": "66000", "l": "64000", "a": "65000", "v": "12", "b": "64999", "k": "65001", "t": 1}
    return Answer({"id": -1, "method": "public/get-tickers", "code": 0, "result": {"data": [ticker]}})


def test_cryptocoms_perpetuals_are_asked_one_by_one_when_the_list_lacks_them(venue: Venue) -> None:
    venue.answers["/public/get-tickers"] = cryptocom
    feed = listing("cryptocom", venue, *CRYPTOCOM)

    poll = feed.fetch_quotes([each["symbol"] for each in CRYPTOCOM], deadline_seconds=5)

    assert lasts(poll) == dict.fromkeys(("BTC/USDT", "BTC/USD:USD", "ETH/USD:USD"), 65000.0)
    assert poll.missing == ()


# -- what ends the asking keeps what came ------------------------------------------------------------------------------


def hyperliquid(venue: Venue, spot: Answer) -> None:
    def info(request: Request) -> Answer:
        return spot if orjson.loads(request.body)["type"] == "spotMetaAndAssetCtxs" else Answer(bodies.HYPERLIQUID_SWAP)

    venue.answers["/info"] = info


FAILURES: dict[str, tuple[Answer, str]] = {
    "out of order": (Answer(b"upstream error", status=502), "unreachable"),
    "a page of HTML": (Answer(b"<html>"), "bad_reply"),
    "another shape": (Answer({"universe": []}), "bad_reply"),
    "too many requests": (Answer(b"slow down", status=429), "throttled"),
    "no answer": (Answer(play=hang), "unreachable"),
}
SYMBOLS = ("PURR/USDC", "BTC/USDC:USDC", "ETH/USDC:USDC")


@pytest.mark.parametrize(("answer", "kind"), FAILURES.values(), ids=FAILURES.keys())
def test_one_surface_that_fails_costs_its_own_markets(answer: Answer, kind: str, venue: Venue, warm: OpenFeed) -> None:
    hyperliquid(venue, answer)

    poll = warm("hyperliquid").fetch_quotes(SYMBOLS, deadline_seconds=2)

    assert lasts(poll) == {"BTC/USDC:USDC": 65000.5, "ETH/USDC:USDC": 3500.25}
    assert parts(poll) == [("spot", kind, ("PURR/USDC",))]


def test_a_surface_that_names_the_end_of_its_outage_is_left_alone_until_then(venue: Venue, warm: OpenFeed) -> None:
    hyperliquid(venue, Answer(b"maintenance", status=503, headers={"Retry-After": "0.4"}))
    feed = warm("hyperliquid")
    asked = []
    for wait in (0.0, 0.0, 0.5):
        time.sleep(wait)
        venue.requests.clear()
        poll = feed.fetch_quotes(SYMBOLS, deadline_seconds=2)
        assert parts(poll) == [("spot", "unreachable", ("PURR/USDC",))]
        asked.append(len(venue.requests))

    assert asked == [2, 1, 2]


def test_surfaces_that_all_fail_are_the_first_ones_error(venue: Venue, warm: OpenFeed) -> None:
    venue.answers["/info"] = Answer(b"upstream error", status=502)

    with pytest.raises(Unreachable) as caught:
        warm("hyperliquid").fetch_quotes(SYMBOLS, deadline_seconds=2)

    assert caught.value.status == 502


def test_a_surface_that_nobody_wants_is_not_asked_for(venue: Venue, warm: OpenFeed) -> None:
    poll = warm("hyperliquid").fetch_quotes(["PURR/USDC"], deadline_seconds=2)

    assert lasts(poll) == {"PURR/USDC": 0.2001}
    assert len(venue.requests) == 1


class Notebook:
    """A gate that lets everything through and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Throttled] = []

    def __call__(self) -> bool:
        return True

    def ask(self, cost: float, *, seconds_left: float) -> float:
        return 0.0

    def heed(self, error: Throttled) -> None:
        self.told.append(error)


def test_a_wish_to_wait_is_heeded_though_the_rest_is_stored(venue: Venue, warm: OpenFeed) -> None:
    hyperliquid(venue, Answer(b"slow down", status=429, headers={"Retry-After": "7"}))
    gate = Notebook()

    warm("hyperliquid").fetch_quotes(SYMBOLS, deadline_seconds=2, may_call=gate)

    assert [error.retry_after_seconds for error in gate.told] == [7.0]


def test_a_kind_that_hangs_costs_itself_and_not_the_deadline(venue: Venue) -> None:
    venue.answers["/get_book_summary_by_currency"] = lambda request: (
        Answer(play=hang) if "currency=ETH" in request.target else deribit(request)
    )
    feed = listing("deribit", venue, *DERIBIT)
    began = time.monotonic()

    poll = feed.fetch_quotes(["BTC/USD:BTC", "ETH/USD:ETH"], deadline_seconds=1.5)

    assert time.monotonic() - began < 1.6
    assert lasts(poll) == {"BTC/USD:BTC": 65000.0}
    assert parts(poll) == [("swap linear", "unreachable", ("ETH/USD:ETH",))]


ONE_BY_ONE = [row(f"{coin}-USD", f"{coin}/USD") for coin in bodies.COINS]


def tickers_of(venue: Venue, failing: Callable[[], Answer]) -> Feed:
    """Gemini's tickers one by one, the third of which fails."""
    ticker = {"symbol": "X", "open": "1", "high": "3", "low": "1", "close": "2", "changes": [], "bid": "1", "ask": "3"}
    feed = listing("gemini", venue, *ONE_BY_ONE)
    assert isinstance(feed, CcxtFeed)
    feed._client.has["fetchTickers"] = False

    def answer(request: Request) -> Answer:
        return failing() if "SOL" in request.target.upper() else Answer(ticker)

    venue.answers |= {f"/{coin}-USD": answer for coin in bodies.COINS}
    venue.answers |= {f"/{coin}-USD".lower(): answer for coin in bodies.COINS}
    return feed


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (lambda: Answer(b"gone", status=502), "unreachable"),
        (lambda: Answer(b"slow down", status=429), "throttled"),
        (lambda: Answer(play=hang), "held_back"),
    ],
)
def test_an_end_halfway_keeps_the_first_half(failing: Callable[[], Answer], kind: str, venue: Venue) -> None:
    feed = tickers_of(venue, failing)

    poll = feed.fetch_quotes([each["symbol"] for each in ONE_BY_ONE], deadline_seconds=1.0)

    assert sorted(lasts(poll)) == ["BTC/USD", "DOGE/USD", "ETH/USD"]
    assert parts(poll) == [("", kind, ("SOL/USD", "XRP/USD"))]


# -- what nobody needs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 500, 403])
def test_a_currency_list_that_nobody_needs_does_not_cost_the_market_list(status: int, venue: Venue) -> None:
    from .test_identity import gate

    feed = gate(venue, ["BTC_USDT"], ["BTC_USDT"])
    venue.answers["/spot/currencies"] = Answer({"label": "NOT_FOUND"}, status=status)

    assert [market.symbol for market in feed.load_markets(deadline_seconds=5)] == ["BTC/USDT"]


def test_a_wish_to_wait_at_the_currency_list_is_heeded(venue: Venue) -> None:
    from .test_identity import gate

    feed = gate(venue, ["BTC_USDT"], ["BTC_USDT"])
    venue.answers["/spot/currencies"] = Answer({"label": "TOO_MANY_REQUESTS"}, status=429)

    with pytest.raises(Throttled):
        feed.load_markets(deadline_seconds=5)


def test_a_page_of_html_is_asked_for_once(venue: Venue) -> None:
    venue.answers = {
        "/exchange.gemini.com/": Answer(b"<html><script>currencyData is elsewhere</script></html>"),
        "/v1/symbols": Answer(["btcusd"]),
        "/v1/symbols/details/btcusd": Answer(
            {"symbol": "BTCUSD", "base_currency": "BTC", "quote_currency": "USD", "tick_size": 1e-08,
             "quote_increment": 0.01, "min_order_size": "0.00001", "status": "open", "product_type": "spot"}
        ),
    }  # fmt: skip
    feed = open_feed(FeedSpec("gemini", base_url=venue.base_url))

    listed = feed.load_markets(deadline_seconds=8)

    assert [market.symbol for market in listed] == ["BTC/USD"]
    assert sum("exchange.gemini.com" in path for path in venue.paths()) == 1


# -- funding ---------------------------------------------------------------------------------------------------------


def okx_funding(id_: str, hours: float, **changes: Any) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {
        "fundingRate": "0.0001", "fundingTime": str(now + 3_600_000), "instId": id_, "instType": "SWAP",
        "nextFundingTime": str(int(now + 3_600_000 * (1 + hours))), "nextFundingRate": "", "ts": str(now),
    } | changes  # fmt: skip


OKX = (row("BTC-USDT-SWAP", "BTC/USDT:USDT"), row("ETH-USDT-SWAP", "ETH/USDT:USDT"))


@pytest.mark.parametrize(("hours", "seconds"), [(8, 28_800.0), (6, 21_600.0), (2, 7200.0), (0, None)])
def test_one_markets_odd_interval_costs_no_rate(hours: float, seconds: float | None, venue: Venue) -> None:
    rows = [okx_funding("BTC-USDT-SWAP", 8), okx_funding("ETH-USDT-SWAP", hours)]
    venue.answers["/public/funding-rate"] = Answer({"code": "0", "data": rows})
    feed = listing("okx", venue, *OKX)

    rates = {rate.symbol: rate for rate in feed.fetch_funding([each["symbol"] for each in OKX], deadline_seconds=5)}

    assert rates["BTC/USDT:USDT"].interval_seconds == 28_800.0
    assert rates["ETH/USDT:USDT"].rate == 0.0001
    assert rates["ETH/USDT:USDT"].interval_seconds == seconds


def test_one_rate_that_does_not_parse_costs_itself(venue: Venue) -> None:
    rows = [okx_funding("BTC-USDT-SWAP", 8), okx_funding("ETH-USDT-SWAP", 8, fundingRate=[1]), 5]
    venue.answers["/public/funding-rate"] = Answer({"code": "0", "data": rows})
    feed = listing("okx", venue, *OKX)

    rates = feed.fetch_funding([each["symbol"] for each in OKX], deadline_seconds=5)

    assert [rate.symbol for rate in rates] == ["BTC/USDT:USDT"]


def coinmate_row(last: str) -> dict[str, str]:
    return {"last": last, "high": last, "low": last, "amount": "5", "bid": last, "ask": last, "timestamp": "1795000000"}


def test_a_row_of_a_market_that_was_just_listed_does_not_cost_the_others(venue: Venue) -> None:
    """ccxt looks each row's id up in the list, and raises for one that it does not have."""
    rows = {"AAA_CZK": coinmate_row("1.5"), "NEW_CZK": coinmate_row("7"), "BBB_CZK": coinmate_row("2.5")}
    venue.answers = {"/tickerAll": Answer({"error": False, "errorMessage": None, "data": rows})}
    known = [
        {"id": f"{base}_CZK", "symbol": f"{base}/CZK", "base": base, "quote": "CZK", "type": "spot", "spot": True,
         "active": True}
        for base in ("AAA", "BBB")
    ]  # fmt: skip
    feed = listing("coinmate", venue, *known)

    poll = feed.fetch_quotes(["AAA/CZK", "BBB/CZK"], deadline_seconds=5)

    assert lasts(poll) == {"AAA/CZK": 1.5, "BBB/CZK": 2.5}
    assert (poll.missing, poll.unknown_ids) == ((), ("NEW_CZK",))
