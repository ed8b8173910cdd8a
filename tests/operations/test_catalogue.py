"""The two cache keys, read as a plain Redis client reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from django.test import Client

from collectors.polling import market_list
from exchanges import catalogue
from exchanges.models import Exchange, Market
from lib import clock, valkey
from operations import commands
from tests.operations.conftest import Make

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG, SUPPORTED = "/api/v1/exchanges/config", "/api/v1/exchanges/supported"


@pytest.fixture
def plain(settings: Any) -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)


def by() -> dict[str, Any]:
    return {"by": "test", "now": clock.now()}


def test_the_bare_keys_hold_the_bodies_for_their_time(make: Make, operator: Client, plain: redis.Redis) -> None:
    make("kraken")

    config, supported = operator.get(CONFIG), operator.get(SUPPORTED)

    assert json.loads(plain.get("exchange:config")) == config.json()
    assert json.loads(plain.get("exchange:supported")) == supported.json() == {"exchanges": ["kraken"], "count": 1}
    assert 3590 <= plain.ttl("exchange:config") <= 3600
    assert 1790 <= plain.ttl("exchange:supported") <= 1800


def test_the_config_is_as_documented(make: Make, operator: Client) -> None:
    make("kraken", capabilities={"fetchTickers": True}, timeframes=["1m"])
    make("luno")
    commands.blacklist("luno", **by())

    body = operator.get(f"{CONFIG}/").json()

    assert list(body) == ["exchanges", "config", "activeExchanges", "availableExchanges", "timestamp"]
    assert body["exchanges"] == [
        {
            "id": "kraken",
            "name": "kraken",
            "has": {"fetchTickers": True},
            "timeframes": ["1m"],
            "active_pairs": [],
            "status": "stopped",
            "blacklisted": False,
        }
    ]
    assert body["config"] == {"blacklistedExchanges": ["luno"]}
    assert body["activeExchanges"] == ["kraken"]
    assert "binance" in body["availableExchanges"]


def test_an_empty_list_is_never_cached(operator: Client, plain: redis.Redis) -> None:
    assert operator.get(SUPPORTED).json() == {"exchanges": [], "count": 0}

    assert plain.get("exchange:supported") is None


CHANGES = {
    "blacklist": lambda: commands.blacklist("kraken", **by()),
    "disable": lambda: commands.disable("kraken", **by()),
    "remove": lambda: commands.remove("kraken", **by()),
    "add": lambda: commands.create("luno", **by()),
    "rename": lambda: commands.configure("kraken", {"name": "Kraken Pro"}, **by()),
    "a market": lambda: _blacklist_a_market(),
}


def _blacklist_a_market() -> None:
    with market_list.changing("kraken", now=clock.now()):
        Market.objects.filter(exchange="kraken").update(blacklisted=True)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_drops_both_keys(make: Make, operator: Client, plain: redis.Redis, change: str) -> None:
    make("kraken")
    operator.get(CONFIG)
    operator.get(SUPPORTED)
    assert plain.exists("exchange:config", "exchange:supported") == 2

    CHANGES[change]()

    assert plain.exists("exchange:config", "exchange:supported") == 0


def test_after_flushall_the_answers_are_right_again(make: Make, operator: Client, plain: redis.Redis) -> None:
    make("kraken")
    before = operator.get(SUPPORTED).json()

    plain.flushall()

    assert operator.get(SUPPORTED).json() == before
    assert json.loads(plain.get("exchange:supported")) == before


def test_without_valkey_they_are_served_uncached(make: Make, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make("kraken")
    nowhere = redis.Redis(port=1, socket_connect_timeout=0.2)
    monkeypatch.setattr(valkey, "client", lambda: nowhere)

    assert operator.get(SUPPORTED).json() == {"exchanges": ["kraken"], "count": 1}
    assert operator.get(CONFIG).status_code == 200


def test_a_change_that_could_not_reach_valkey_does_not_live_on_there(make: Make, operator: Client) -> None:
    make("kraken")
    operator.get(SUPPORTED)

    Exchange.objects.filter(pk="kraken").update(blacklisted=True)  # as if the drop had been lost

    assert operator.get(SUPPORTED).json() == {"exchanges": [], "count": 0}


def test_a_body_made_before_a_change_is_not_stored_after_it(
    make: Make, plain: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("kraken")
    make("luno")
    render = catalogue.render_supported

    def render_slowly() -> Any:
        body = render()
        commands.blacklist("luno", **by())
        return body

    monkeypatch.setattr(catalogue, "render_supported", render_slowly)
    catalogue.supported()

    assert plain.get("exchange:supported") is None
