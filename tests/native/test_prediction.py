"""Kalshi's and Polymarket's rows as chances: what no one bids or asks is no price, and names last."""

from __future__ import annotations

import time
from typing import Any

import pytest

from collectors.rules import quote_checks
from exchanges.sources import source_label
from feeds import known_exchange_ids, open_feed
from feeds.base import FeedSpec, Quote
from feeds.ccxt import prediction
from feeds.ccxt.lazy import client_class
from feeds.ccxt.prediction import PredictionMarket, name
from tests.feeds.venue import Answer, Request, Venue

TICKER = "KXBTCD-30DEC3117-T99999.99"
KALSHI_MARKET: dict[str, Any] = {
    "ticker": TICKER,
    "event_ticker": "KXBTCD-30DEC3117",
    "subtitle": "$100,000 or above",
    "close_time": "2030-12-31T22:00:00Z",
    "status": "active",
    "yes_bid_dollars": "0.4000",
    "yes_ask_dollars": "0.4200",
    "no_bid_dollars": "0.5800",
    "no_ask_dollars": "0.6000",
    "last_price_dollars": "0.4100",
    "volume_24h_fp": "100.00",
    "updated_time": "2026-04-09T10:32:47.890506Z",
}
YES, NO = f"BTC/USD:{TICKER}-YES", f"BTC/USD:{TICKER}-NO"


@pytest.fixture
def kalshi(venue: Venue) -> Any:
    """Gives the quotes of one market that a test changes."""

    def ask(**changes: Any) -> dict[str, Quote]:
        def answer(request: Request) -> Answer:
            if "tickers=" in request.target:
                return Answer({"markets": [KALSHI_MARKET | changes], "cursor": ""})
            is_bitcoin = "series_ticker=KXBTCD&" in request.target
            return Answer({"markets": [KALSHI_MARKET] if is_bitcoin else [], "cursor": ""})

        venue.answers["/trade-api/v2/markets"] = answer
        feed = open_feed(FeedSpec("kalshi", base_url=venue.base_url))
        poll = feed.fetch_quotes([YES, NO], deadline_seconds=8)
        assert poll.prices_are_chances
        return {quote.symbol: quote for quote in poll.quotes}

    return ask


def test_one_row_gives_both_outcomes(kalshi: Any) -> None:
    quotes = kalshi()

    assert (quotes[YES].last, quotes[YES].bid, quotes[YES].ask) == (0.41, 0.40, 0.42)
    assert (quotes[NO].last, quotes[NO].bid, quotes[NO].ask) == (0.59, 0.58, 0.60)


def test_nobody_bids_zero_and_nobody_asks_a_whole_dollar(kalshi: Any) -> None:
    quotes = kalshi(
        yes_bid_dollars="0.0000", yes_ask_dollars="0.0100", no_bid_dollars="0.9900", no_ask_dollars="1.0000"
    )

    assert (quotes[YES].bid, quotes[YES].ask) == (None, 0.01)
    assert (quotes[NO].bid, quotes[NO].ask) == (0.99, None)


def test_a_contract_that_was_never_traded_has_no_last_price(kalshi: Any) -> None:
    quotes = kalshi(last_price_dollars="0.0000")

    assert quotes[YES].last is None
    assert quotes[NO].last is None
    assert quote_checks.chance_fault(quotes[YES]) == ""


def test_a_contracts_own_time_is_not_its_quotes(kalshi: Any) -> None:
    assert kalshi()[YES].exchange_at is None


def test_a_market_that_closes_within_the_hour_is_not_listed() -> None:
    client = client_class("kalshi")()
    rows = [KALSHI_MARKET, KALSHI_MARKET | {"close_time": "2026-01-01T00:00:00Z"}, KALSHI_MARKET | {"status": "closed"}]

    found = [prediction._kalshi_question(client, row, "BTC") for row in rows]

    assert [question is not None for question in found] == [True, False, False]


def polymarket_row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "500", "question": "q", "conditionId": "0x" + "ab" * 32, "slug": "will-bitcoin-be-above-100k",
        "endDate": "2030-12-31T12:00:00Z", "outcomes": '["Yes", "No"]', "clobTokenIds": '["111", "222"]',
        "active": True, "closed": False, "acceptingOrders": True, "enableOrderBook": True, "volume24hr": 1.0,
    }  # fmt: skip
    return row | changes


@pytest.mark.parametrize(
    ("changes", "is_listed"),
    [
        ({}, True),
        ({"endDate": "2026-01-01T12:00:00Z"}, True),  # the venue says that it is open
        ({"endDate": "2026-01-01T12:00:00Z", "acceptingOrders": False}, False),
        ({"endDate": "2026-01-01T12:00:00Z", "acceptingOrders": None}, False),
        ({"acceptingOrders": None}, True),
        ({"acceptingOrders": False}, False),
        ({"closed": True}, False),
        ({"active": False}, False),
        ({"endDate": None}, True),
        ({"endDate": "soon"}, True),
        ({"endDate": "soon", "acceptingOrders": None}, False),
    ],
)
def test_polymarkets_flags_go_before_its_dates(changes: dict[str, Any], is_listed: bool) -> None:
    event = {"id": "100", "slug": "btc", "title": "btc", "markets": [polymarket_row(**changes)]}

    found = list(prediction._polymarket_of(client_class("polymarket")(), [event], "BTC"))

    assert bool(found) is is_listed


def book_levels(*prices: str) -> list[dict[str, str]]:
    return [{"price": price, "size": "5"} for price in prices]


@pytest.mark.parametrize("bids", [("0.39", "0.40"), ("0.40", "0.39")])
@pytest.mark.parametrize("asks", [("0.43", "0.42"), ("0.42", "0.43")])
def test_the_best_prices_are_the_best_wherever_they_stand(bids: tuple[str, str], asks: tuple[str, str]) -> None:
    dead = [{"price": "0.41", "size": "0"}]
    row = {"last": "0.41", "bids": [*book_levels(*bids), *dead], "asks": [*book_levels(*asks), *dead]}

    values = prediction._polymarket_values(row | {"timestamp": "1795000000000"})

    assert values == (0.41, 0.40, 0.42, None, None, None, None, "1795000000000")


@pytest.mark.parametrize(
    ("days", "best"), [(0.0, (0.01, 0.99)), (3.0, (None, None))], ids=["of now", "of three days ago"]
)
def test_a_book_that_was_forgotten_is_no_offer(days: float, best: tuple[float | None, float | None]) -> None:
    stamp = str(int((time.time() - days * 86_400) * 1000))
    book = {"asset_id": "1", "bids": book_levels("0.01"), "asks": book_levels("0.99"), "timestamp": stamp}

    ((_, row),) = prediction._polymarket_rows([book], [{"token_id": "1", "price": "0.41"}])

    assert prediction._polymarket_values(row)[:3] == (0.41, *best)


@pytest.mark.parametrize(
    ("quote", "fault"),
    [
        ((0.5, 0.01, 0.03), ""),  # traded last week, worth nothing now
        ((None, 0.4, 0.42), ""),
        ((0.41, None, None), ""),
        ((1.0, 0.99, None), ""),
        ((1.01, 0.99, None), "a chance above 1"),
        ((41.0, 40.0, 42.0), "a chance above 1"),  # cents
        ((0.4, 0.43, 0.42), "bid above ask"),
        ((-0.1, None, None), "last is not a positive number"),
        ((None, 0.4, None), "no price"),
    ],
)
def test_a_chance_is_judged_as_one(quote: tuple[float | None, float | None, float | None], fault: str) -> None:
    last, bid, ask = quote

    assert quote_checks.chance_fault(Quote("x", last, bid, ask, None, None, None, None, None, 1.8e9)) == fault


NAMES = {
    "as it is": ("will-btc-be-above-100k", "Yes", "BTC/USDC:will-btc-be-above-100k-YES"),
    "a label with spaces": ("who-wins", "J. D. Vance", "BTC/USDC:who-wins-J_D_VANCE"),
    "odd letters go": ("will-btc\u200b-é-rise/fall", "No", "BTC/USDC:will-btc--risefall-NO"),
    "a label without letters": ("who", "↑", "BTC/USDC:who-22222222"),
}


@pytest.mark.parametrize("case", NAMES)
def test_an_outcomes_name(case: str) -> None:
    stem, label, expected = NAMES[case]

    assert name(PredictionMarket(stem, "BTC", "USDC", 0, ()), label=label, outcome_id="1" * 60 + "2" * 17) == expected


def test_a_long_name_is_cut_and_still_told_apart() -> None:
    question = PredictionMarket("will-" * 40, "BTC", "USDC", 0, ())
    one, other = (name(question, label="Yes", outcome_id=f"{digit}" * 77) for digit in (1, 2))

    assert one != other
    assert len(one) == len(other) == 100
    assert one.endswith("11111111-YES")


def test_what_the_documents_call_polymarket_is_the_prediction_venue() -> None:
    assert client_class("polymarket").__module__ == "ccxt.prediction.polymarket"
    assert client_class("polymarket_perpetuals").__module__ == "ccxt.async_support.polymarket"
    assert {"polymarket", "polymarket_perpetuals", "kalshi", "chainlink", "valr", "quidax"} <= known_exchange_ids()


@pytest.mark.parametrize(
    ("exchange_id", "kind", "kinds", "label"),
    [
        ("binance", "spot", {"spot"}, "binance_spot"),
        ("binanceusdm", "swap", {"swap"}, "binance_futures"),
        ("hyperliquid", "swap", {"spot", "swap"}, "hyperliquid"),
        ("luno", "spot", {"spot"}, "luno"),
        ("valr", "spot", {"spot"}, "valr"),
        ("quidax", "spot", {"spot"}, "quidax"),
        ("polymarket", "prediction", {"prediction"}, "polymarket"),
        ("kalshi", "prediction", {"prediction"}, "kalshi"),
        ("chainlink", "spot", {"spot"}, "chainlink"),
    ],
)
def test_sources_have_the_documents_names(exchange_id: str, kind: str, kinds: set[str], label: str) -> None:
    assert source_label(exchange_id, kind, kinds) == label
