"""One market, however it is spelled; where several are, nobody guesses."""

from __future__ import annotations

import pytest

from collectors.history import names
from exchanges import symbols
from exchanges.symbols import AmbiguousSymbol, SpelledMarket
from lib import clock
from tests.world import add_exchange, add_market

SPOT = SpelledMarket(1, "bybit", "BTC/USDT", "BTC", "USDT", "spot", "BTCUSDT")
PERPETUAL = SpelledMarket(2, "bybit", "BTC/USDT:USDT", "BTC", "USDT", "swap", "BTCUSDT")
MARCH = SpelledMarket(3, "bybit", "BTC/USDT:USDT-260327", "BTC", "USDT", "future", "BTC-27MAR26")
JUNE = SpelledMarket(4, "bybit", "BTC/USDT:USDT-260626", "BTC", "USDT", "future", "BTC-26JUN26")
TWIN = SpelledMarket(5, "bybit", "BTC/USDT#9", "BTC", "USDT", "spot", "9")
OTHER = SpelledMarket(6, "bybit", "BTCU/SDT", "BTCU", "SDT", "spot", "BTCU-SDT")
ALL = (SPOT, PERPETUAL, MARCH, JUNE, TWIN)


@pytest.mark.parametrize("text", ["BTC/USDT", "btc/usdt", "BTC-USDT", "BTC_USDT", "BTCUSDT", "btcusdt", " BTC/USDT "])
def test_spot_is_meant_by_every_usual_spelling(text):
    assert symbols.choose(text, ALL) == SPOT


@pytest.mark.parametrize(
    ("text", "market"),
    [("BTC/USDT:USDT", PERPETUAL), ("btc-usdt-usdt", PERPETUAL), ("BTC-27MAR26", MARCH), ("BTC/USDT#9", TWIN)],
)
def test_a_whole_spelling_means_its_own_market(text, market):
    assert symbols.choose(text, ALL) == market


def test_the_only_derivative_of_a_pair_is_meant_by_the_pair():
    assert symbols.choose("BTCUSDT", [PERPETUAL._replace(venue_id="x")]) == PERPETUAL._replace(venue_id="x")
    assert symbols.choose("ETHUSDT", ALL) is None


@pytest.mark.parametrize(
    ("text", "markets", "candidates"),
    [
        ("BTCUSDT", [MARCH, JUNE], ("BTC/USDT:USDT-260327", "BTC/USDT:USDT-260626")),
        ("BTCUSDT", [SPOT, OTHER], ("BTC/USDT", "BTCU/SDT")),
    ],
)
def test_what_several_are_spelled_by_is_refused_with_all_of_them(text, markets, candidates):
    with pytest.raises(AmbiguousSymbol) as error:
        symbols.choose(text, markets)

    assert error.value.candidates == candidates
    assert all(name in str(error.value) for name in candidates)


@pytest.fixture
def listed(db):
    """Bybit with a spot market and two futures of one pair, kraken with the spot market."""
    bybit, kraken = (add_exchange(name, since=clock.now()) for name in ("bybit", "kraken"))
    futures = [add_market(bybit, "ETH", "USDT", since=clock.now(), kind="future", symbol=f"ETH/USDT:USDT-{day}",
                          venue_id=day) for day in ("260327", "260626")]  # fmt: skip
    spot = [add_market(exchange, "BTC", "USDT", since=clock.now()) for exchange in (bybit, kraken)]
    return spot, futures


def test_lists_take_any_spelling_on_one_exchange_or_all(client, listed):
    spot, _ = listed

    for route in ("pipelines", "markets"):
        both = client.get(f"/api/v1/{route}/", {"symbol": "btc-usdt"}).json()["results"]
        one = client.get(f"/api/v1/{route}/", {"symbol": "BTCUSDT", "exchange": "kraken"}).json()["results"]
        assert [row["id"] for row in both] == [market.pk for market in spot]
        assert [row["id"] for row in one] == [spot[1].pk]
    for route in ("gaps", "trades", "orderbooks", "funding", "trades/holes"):
        assert client.get(f"/api/v1/{route}/", {"symbol": "BTCUSDT"}).json()["results"] == []


@pytest.mark.parametrize("route", ["pipelines", "markets", "gaps", "trades"])
def test_an_ambiguous_symbol_is_refused_with_candidates(client, listed, route):
    refused = client.get(f"/api/v1/{route}/", {"symbol": "ETHUSDT"})

    assert refused.status_code == 400
    assert refused.json()["error"] == "ambiguous_symbol"
    assert refused.json()["candidates"] == ["ETH/USDT:USDT-260327", "ETH/USDT:USDT-260626"]


def test_badges_search_and_rates_take_any_spelling(client, admin_client, listed):
    for spelling in ("BTC-USDT", "btcusdt", "BTC_USDT"):
        badge = client.get(f"/badge/pair/{spelling}.svg")
        assert (badge.status_code, b"BTC/USDT" in badge.content) == (200, True)
        assert names.current().pair(spelling)[0] == "BTCUSDT"
    places = [admin_client.get("/board/search/", {"q": words}).headers["Location"] for words in ("BTC/USDT", "btcusdt")]
    assert places[0] == places[1]


@pytest.mark.parametrize(
    "path",
    ["exchanges/", "markets/", "workers/", "pipelines/", "runs/", "gaps/", "transitions/", "orderbooks/", "trades/",
     "trades/holes/", "funding/"],
)  # fmt: skip
def test_a_name_that_a_list_does_not_know_is_refused(client, db, path):
    refused = client.get(f"/api/v1/{path}", {"symbole": "BTC/USDT", "limit": "5"})

    assert refused.status_code == 400
    assert list(refused.json()["details"]) == ["symbole"]


def test_the_documents_routes_stay_lenient(client, db, settings):
    assert client.get("/api/v1/exchanges/supported", {"symbole": "x"}).status_code == 200
    assert client.get("/api/v1/market/workers/status", {"symbole": "x"}).status_code in (200, 503)
