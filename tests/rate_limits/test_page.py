"""What people see of the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from collectors.rate_limits import Priority, gate, open_dial_gate, open_gate
from collectors.rules.rate_limits import RateBudget
from exchanges.models import Exchange
from feeds import close_feeds, open_feed
from feeds.request_gate import HeldBack
from lib import valkey


@pytest.fixture
def kraken(db: None) -> Iterator[Exchange]:
    valkey.client().flushdb()
    gate._memory_of.cache_clear()
    yield Exchange.objects.create(id="kraken", budget_units=10, budget_seconds=60)
    close_feeds()


@pytest.fixture
def page(admin_user: User) -> Client:
    client = Client()
    client.force_login(admin_user)
    return client


def text(client: Client, where: str = "/admin/collectors/worker/ledger/") -> str:
    answer = client.get(where)
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_says_what_is_used_who_waits_and_what_was_held_back(kraken: Exchange, page: Client) -> None:
    able = open_feed(kraken.feed_spec()).capabilities
    for priority, cost in ((Priority.LIVE, 2.0), (Priority.BACKFILL, 1.5)):
        open_gate(kraken, able, priority=priority).ask(cost, seconds_left=0.0)
    with pytest.raises(HeldBack):
        open_gate(kraken, able, priority=Priority.BACKFILL).ask(3.0, seconds_left=0.0)
    open_gate(kraken, able, priority=Priority.LIVE).pause(40)
    open_dial_gate(kraken, able).pause(500)

    for shown in (text(page), text(page, "/admin/collectors/worker/ledger/rows/")):
        assert "3.5 of 10 in 60 s" in shown
        assert 'value="0.350"' in shown
        pauses = [int(seconds) for seconds in re.findall(r"(\d+) s left", shown)]
        assert pauses == [pytest.approx(40, abs=5), pytest.approx(500, abs=5)]
        assert "1 backfill" in shown


def test_nobody_was_asked_yet(kraken: Exchange, page: Client) -> None:
    assert "No request was made" in text(page)


def test_it_says_when_valkey_is_away(kraken: Exchange, page: Client, monkeypatch: Any) -> None:
    import redis

    away = redis.Redis.from_url("unix:///nowhere/valkey.sock")
    monkeypatch.setattr("collectors.rate_limits.view.valkey.client", lambda: away)

    assert "its own share of every limit" in text(page, "/admin/collectors/worker/ledger/rows/")


def test_strangers_see_nothing(kraken: Exchange, client: Client) -> None:
    assert client.get("/admin/collectors/worker/ledger/").status_code == 302
    assert client.get("/admin/collectors/worker/ledger/rows/").status_code == 403


def test_an_operator_sets_the_limit_on_the_exchanges_page(kraken: Exchange, page: Client) -> None:
    from lib import clock
    from operations import commands

    assert "budget_units" in text(page, "/admin/exchanges/exchange/kraken/change/")

    commands.configure("kraken", {"budget_units": 3.0, "budget_seconds": 2.0}, by="test", now=clock.now())

    kraken.refresh_from_db()
    able = open_feed(kraken.feed_spec()).capabilities
    assert open_gate(kraken, able, priority=Priority.LIVE).budget == RateBudget(3.0, 2.0)
