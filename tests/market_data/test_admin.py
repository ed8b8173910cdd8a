"""The pages for people: what was stored, what is missing, what is asked for."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from collectors.models.market_data import DepthRun, TradeHole
from exchanges.models import Exchange
from lib import clock
from tests.market_data.test_api import World, world

__all__ = ["world"]
PAGES = ("orderbooksnapshot", "publictrade", "fundingsnapshot", "tradehole", "depthseries", "depthrun")


@pytest.fixture
def filled(world: World, client) -> World:
    world.fill(3)
    DepthRun.objects.create(
        exchange_id="binance",
        kind="books",
        started_at=clock.now(),
        duration_ms=12,
        outcome="bad_reply",
        error="crossed",
    )
    TradeHole.objects.create(
        pipeline_id=world.markets[0].pk, first_number=5, last_number=9, missing_count=5, started_at=world.midnight,
        ended_at=clock.now(), detected_at=clock.now(),
    )  # fmt: skip
    client.force_login(User.objects.create_superuser("olga", password="x"))
    return world


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_its_rows_and_finds_them(client, filled, page):
    whole = client.get(f"/admin/collectors/{page}/")
    of_one = client.get(f"/admin/collectors/{page}/?exchange=kraken")
    found = client.get(f"/admin/collectors/{page}/?q=ETH/")

    assert whole.status_code == of_one.status_code == found.status_code == 200
    assert "binance" in whole.content.decode()


@pytest.mark.parametrize("page", PAGES[:3])
def test_a_filter_by_exchange_leaves_the_others_out(client, filled, page):
    shown = client.get(f"/admin/collectors/{page}/?exchange=kraken").content.decode()

    assert "kraken:BTC/USD" in shown
    assert "binance:BTC/USD" not in shown


@pytest.mark.parametrize("page", PAGES)
def test_nobody_writes_there(client, filled, page):
    assert client.get(f"/admin/collectors/{page}/add/").status_code == 403


@pytest.mark.parametrize("page", PAGES[:3])
def test_more_rows_cost_no_more_queries(client, filled, page):
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/admin/collectors/{page}/")
        counts.append(len(queries))
        filled.midnight = filled.midnight.replace(hour=1)
        filled.fill(3)

    assert counts[0] == counts[1]


def test_the_exchanges_page_sets_what_is_collected(client, filled):
    page = client.get("/admin/exchanges/exchange/binance/change/")

    assert 'name="depth"' in page.content.decode()


def test_an_emptied_setting_means_nothing_but_tickers(client, filled):
    Exchange.objects.filter(pk="binance").update(depth={"funding": {}})
    form = client.get("/admin/exchanges/exchange/binance/change/").context["adminform"].form
    values = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    values = {name: value for name, value in values.items() if value not in (None, False)}
    values |= {"depth": "", "initial-depth": '{"funding": {}}'}

    answer = client.post("/admin/exchanges/exchange/binance/change/", values)

    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert Exchange.objects.get(pk="binance").depth == {}
