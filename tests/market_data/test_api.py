"""The lists of books, trades, funding rates and holes: newest first, page by page, and what they refuse."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from collectors import retention
from collectors.history import partitions
from collectors.market_data import store, turns
from collectors.models import Worker
from collectors.models.market_data import (
    DepthRun,
    DepthSeries,
    FundingSnapshot,
    OrderBookSnapshot,
    PublicTrade,
    TradeHole,
)
from collectors.rules import trade_rows
from exchanges.models import Exchange, Market
from feeds.base import FundingRate, OrderBook, Superseded
from lib import clock
from operations import commands
from tests.gaps.test_races import in_thread, until_somebody_waits
from tests.world import add_exchange, add_market

PLACES = ("orderbooks", "trades", "funding")
BOOK = OrderBook(((99.0, 1.5), (98.0, 2.5)), ((101.0, 0.1), (102.0, 0.3)), None, 0.0, 7)


class World:
    """Two exchanges with two markets each; binance's are the first. Seconds count from midnight of today."""

    def __init__(self) -> None:
        self.midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        self.markets = [self._market(exchange, base) for exchange in ("binance", "kraken") for base in ("BTC", "ETH")]

    def _market(self, exchange_id: str, base: str) -> Market:
        exchange = Exchange.objects.filter(pk=exchange_id).first() or add_exchange(exchange_id, since=self.midnight)
        return add_market(exchange, base, since=self.midnight)

    def turn(self, market: Market) -> turns.RequestSlot:
        return turns.RequestSlot(market.exchange, 1, 5.0)

    def at(self, second: float) -> float:
        return self.midnight.timestamp() + second

    def series(self, market: Market, kind: str) -> DepthSeries:
        found, _ = DepthSeries.objects.get_or_create(
            exchange=market.exchange, kind=kind, market=market, defaults={"next_at": self.midnight}
        )
        return found

    def fill(self, count: int = 5) -> None:
        """A row of each kind for every market in each second."""
        for second in range(count):
            at = self.at(second)
            for number, market in enumerate(self.markets):
                turn = self.turn(market)
                store.save_book(turn, self.series(market, "books"), BOOK._replace(received_at=at))
                row = trade_rows.TradeRow(f"{second}", None, at, 100.0 + number, 0.1, "buy")
                page, now = trade_rows.Sorted((row,)), datetime.fromtimestamp(at, UTC)
                store.save_trades(turn, self.series(market, "trades"), page, received_at=at, now=now)
                rate = FundingRate(market.symbol, 0.0001, 28_800.0, at + 60, 100.1, 100.2, at, at)
                store.save_funding(turn, [rate], {market.symbol: market.pk})


@pytest.fixture
def world(transactional_db: None) -> World:
    partitions.ensure(clock.now())
    return World()


def ask(client: Client, place: str, **query: object) -> list[dict]:
    answer = client.get(f"/api/v1/{place}/", query)
    assert answer.status_code == 200, answer.content
    return list(answer.json()["results"])


def test_a_book_is_told_with_both_sides_best_first(client, world):
    world.fill(1)

    [told] = ask(client, "orderbooks", exchange="kraken", symbol="BTC/USD")

    assert told | {"id": 0} == {
        "id": 0,
        "pipeline": world.markets[2].pk,
        "exchange": "kraken",
        "symbol": "BTC/USD",
        "received_at": world.midnight.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "exchange_at": None,
        "sequence": 7,
        "bids": [[99.0, 1.5], [98.0, 2.5]],
        "asks": [[101.0, 0.1], [102.0, 0.3]],
    }


def test_a_trade_and_a_funding_rate_are_told_in_full(client, world):
    world.fill(1)

    [trade] = ask(client, "trades", exchange="binance", symbol="ETH/USD")
    [rate] = ask(client, "funding", exchange="binance", symbol="ETH/USD")

    assert (trade["trade_id"], trade["price"], trade["amount"], trade["side"]) == ("0", 101.0, 0.1, "buy")
    assert trade["is_filled"] is False
    assert (rate["rate"], rate["interval_seconds"], rate["mark_price"]) == (0.0001, 28_800.0, 100.1)
    assert rate["index_price"] == 100.2
    assert datetime.fromisoformat(rate["next_at"]) == world.midnight + timedelta(seconds=60)


def test_an_id_of_our_own_making_is_not_told_as_the_exchanges(client, world):
    market = world.markets[0]
    page = trade_rows.Sorted((trade_rows.TradeRow("~1.0:2.0", None, world.at(0), 1.0, 2.0, None),))
    store.save_trades(
        world.turn(market), world.series(market, "trades"), page, received_at=world.at(0), now=world.midnight
    )

    assert ask(client, "trades")[0]["trade_id"] is None


@pytest.mark.parametrize("place", PLACES)
def test_pages_follow_each_other_newest_first_without_a_row_twice(client, world, place):
    world.fill(5)

    found, url = [], f"/api/v1/{place}?limit=3"
    while url:
        page = client.get(url).json()
        found += page["results"]
        url = page["next"]

    column = "traded_at" if place == "trades" else "received_at"
    assert len(found) == len({row["id"] for row in found}) == 20
    assert [row[column] for row in found] == sorted((row[column] for row in found), reverse=True)


@pytest.mark.parametrize("place", PLACES)
def test_a_span_holds_its_start_and_not_its_end(client, world, place):
    world.fill(5)
    span = {name: (world.midnight + timedelta(seconds=n)).isoformat() for name, n in (("from", 1), ("to", 3))}

    found = ask(client, place, exchange="binance", symbol="BTC/USD", **span)

    column = "traded_at" if place == "trades" else "received_at"
    assert [datetime.fromisoformat(row[column]).second for row in found] == [2, 1]


@pytest.mark.parametrize("place", PLACES)
def test_unknown_names_find_nothing(client, world, place):
    world.fill(1)

    assert ask(client, place, exchange="nowhere") == []
    assert ask(client, place, symbol="NOPE/USD") == []
    assert len(ask(client, place, symbol="BTC/USD")) == 2


@pytest.mark.parametrize("place", [*PLACES, "trades/holes"])
@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z",
        "limit=0",
        "limit=1001",
        "ordering=price",
        "cursor=nonsense",
    ],
)
def test_what_cannot_be_meant_is_refused(client, world, place, query):
    answer = client.get(f"/api/v1/{place}?{query}")

    assert answer.status_code == 400
    assert set(answer.json()) >= {"error"}


@pytest.mark.parametrize("place", [*PLACES, "trades/holes"])
def test_with_and_without_slash_for_programs_and_people(client, world, place):
    world.fill(1)

    plain = client.get(f"/api/v1/{place}")
    slashed = client.get(f"/api/v1/{place}/")
    page = client.get(f"/api/v1/{place}/", HTTP_ACCEPT="text/html")

    assert plain.json() == slashed.json()
    assert (page.status_code, page["Content-Type"].partition(";")[0]) == (200, "text/html")
    assert client.post(f"/api/v1/{place}/").status_code == 405


@pytest.mark.parametrize("place", PLACES)
def test_a_page_costs_the_same_queries_for_any_number(client, world, place):
    world.fill(3)
    counts = []
    for limit in (1, 12):
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/api/v1/{place}?limit={limit}&exchange=binance")
        counts.append(len(queries))

    assert counts[0] == counts[1] <= 5  # two of them read; the others limit their time


def test_holes_are_told_by_state(client, world):
    for number, state in enumerate(("open", "filled")):
        TradeHole.objects.create(
            pipeline_id=world.markets[0].pk, first_number=number, last_number=number, missing_count=1, state=state,
            started_at=world.midnight, ended_at=clock.now(), detected_at=clock.now(),
        )  # fmt: skip

    assert [row["first_number"] for row in ask(client, "trades/holes", state="filled")] == [1]
    assert len(ask(client, "trades/holes", exchange="binance")) == 2


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "setting", "days"),
    [
        (OrderBookSnapshot, "ORDERBOOK_RETENTION_DAYS", 2),
        (PublicTrade, "TRADE_RETENTION_DAYS", 3),
        (FundingSnapshot, "FUNDING_RETENTION_DAYS", 4),
    ],
)
def test_each_history_is_dropped_by_its_own_days(world, settings, model, setting, days):
    for name in ("ORDERBOOK_RETENTION_DAYS", "TRADE_RETENTION_DAYS", "FUNDING_RETENTION_DAYS"):
        setattr(settings, name, days if name == setting else 50)
    world.fill(1)
    others = {OrderBookSnapshot, PublicTrade, FundingSnapshot} - {model}

    retention.prune(retention.KEPT, world.midnight + timedelta(days=days, hours=23))
    assert model.objects.count() == 4
    retention.prune(retention.KEPT, world.midnight + timedelta(days=days + 1))

    assert model.objects.count() == 0
    assert [other.objects.count() for other in others] == [4, 4]
    partitions.ensure(clock.now())


def test_old_runs_and_old_holes_are_pruned(world):
    old, now = clock.now() - timedelta(days=365), clock.now()
    for moment in (old, now):
        DepthRun.objects.create(
            exchange_id="binance", kind="books", started_at=moment, duration_ms=1, outcome="stored"
        )  # fmt: skip
        TradeHole.objects.create(
            pipeline_id=world.markets[0].pk, started_at=moment, ended_at=moment, detected_at=moment
        )  # fmt: skip

    retention.run(now)

    assert DepthRun.objects.get().started_at == now
    assert TradeHole.objects.get().started_at == now


def test_nothing_is_stored_under_a_generation_that_is_over(world):
    market = world.markets[0]
    turn, series = world.turn(market), world.series(market, "books")
    Worker.objects.filter(pk="binance").update(generation=2)

    with pytest.raises(Superseded):
        store.save_book(turn, series, BOOK._replace(received_at=world.at(1)))

    assert OrderBookSnapshot.objects.count() == 0


def test_a_stop_waits_for_the_row_that_is_just_being_stored_and_none_follows_it(world):
    """Else the row would be committed some milliseconds after the stop that was answered."""
    market = world.markets[0]
    turn, series = world.turn(market), world.series(market, "books")
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            store.save_book(turn, series, BOOK._replace(received_at=world.at(1)))
            stop = in_thread(pool, lambda: commands.disable("binance", by="test", now=clock.now()))
            until_somebody_waits()
            assert not stop.done()
        stop.result()

    with pytest.raises(Superseded):
        store.save_book(turn, series, BOOK._replace(received_at=world.at(2)))
    assert OrderBookSnapshot.objects.count() == 1


def test_a_row_that_waits_for_a_restart_is_not_stored(world):
    """The restart changes the worker's row alone: what was read before the wait would still allow it."""
    market = world.markets[0]
    turn, series = world.turn(market), world.series(market, "books")
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            commands.restart("binance", by="test", now=clock.now())
            saved = in_thread(pool, lambda: store.save_book(turn, series, BOOK._replace(received_at=world.at(1))))
            until_somebody_waits()
        with pytest.raises(Superseded):
            saved.result()

    assert OrderBookSnapshot.objects.count() == 0


# --- settings -------------------------------------------------------------------------------------------------------


def test_operators_set_it_by_the_api(client, world):
    headers = {"X-Admin-Key": django_settings.ADMIN_API_KEY}
    wanted = {"books": {"top": 2}, "funding": {}}

    answer = client.patch(
        "/api/v1/exchanges/binance/settings", {"depth": wanted}, headers=headers, content_type="application/json"
    )
    refused = client.patch(
        "/api/v1/exchanges/binance/settings",
        {"depth": {"books": {}}},
        headers=headers,
        content_type="application/json",
    )

    assert answer.status_code == 200, answer.content
    assert Exchange.objects.get(pk="binance").depth == wanted
    assert refused.status_code == 400
