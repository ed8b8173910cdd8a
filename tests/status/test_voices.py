"""An exchange of the sandbox that answers old, frozen or absurd data: every voice says so, and no rate has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.test import Client

from board import public
from collectors.history import partitions
from collectors.models import Pipeline, Worker
from collectors.polling import market_list
from incidents.signs import reading
from lib import clock
from tests.sandbox_client import Sandbox
from tests.world import onboard_and_poll, poll

HOUR = 3600.0


@pytest.fixture
def zar(transactional_db: None, sandbox: Sandbox, settings: Any) -> Iterator[None]:
    """Two exchanges with BTC/ZAR, polled once, on a sandbox that is put right again."""
    settings.POLL_DEADLINE_SECONDS = 10.0
    market_list._known.clear()
    partitions.ensure(clock.now())
    sandbox.reset()
    sandbox.heal()
    assert [onboard_and_poll(each) for each in ("luno", "valr")] == ["stored", "stored"]
    yield
    sandbox.reset()
    sandbox.heal()


def rate(client: Client, key: str) -> dict[str, Any]:
    answer = client.get("/v1/rates/live", {"pairs": "BTCZAR"}, headers={"X-API-Key": key})
    assert answer.status_code == 200, answer.content
    (entry,) = answer.json()["rates"]
    return dict(entry)


def used(entry: dict[str, Any]) -> list[str]:
    return [source["exchange"] for source in entry["sources"]]


def pipeline(client: Client) -> dict[str, Any]:
    (row,) = client.get("/api/v1/pipelines/", {"exchange": "luno", "symbol": "BTC/ZAR"}).json()["results"]
    return dict(row)


def test_an_answer_of_an_hour_ago_is_fresh_nowhere(
    zar: None, sandbox: Sandbox, client: Client, key_of: Callable[..., str], settings: Any
) -> None:
    settings.STATUS_BODY_MAX_AGE_SECONDS = 0
    sandbox.set_clock("luno", offset_seconds=-HOUR)
    assert poll("luno") == "stored"
    now, free, pro = clock.now(), key_of("free"), key_of("pro")

    entry = rate(client, free)
    assert (used(entry), entry["excluded"]) == (["valr"], ["luno"])
    (left_out,) = entry["excluded_details"]
    assert (left_out["reason"], left_out["age_seconds"] >= HOUR) == ("old", True)

    row = pipeline(client)
    assert (row["is_old"], row["is_frozen"], row["exchange_age_seconds"] >= HOUR) == (True, False, True)
    assert "old by its own time" in row["reason"]

    (of_source,) = client.get(
        "/v1/status/pipelines", {"source": "luno", "symbol": "BTC"}, headers={"X-API-Key": pro}
    ).json()["data"]
    assert (of_source["status"], of_source["delay_seconds"] >= HOUR) == ("down", True)

    workers = client.get("/api/v1/market/workers/status").json()["workers"]
    assert workers["luno"]["last_update"] < workers["valr"]["last_update"][:-4]
    assert workers["luno"]["last_update"] < f"{now - timedelta(minutes=59):%Y-%m-%dT%H:%M:%SZ}"

    public.forget()
    luno = public.read(now).find("luno")
    assert luno is not None
    assert (luno.state, luno.words[:11]) == ("degraded", "Data is old")

    (source,) = [each for each in reading.read(now).sources if each.worker.pk == "luno"]
    assert (source.condition.state, source.condition.cause, source.signs.fresh) == ("degraded", "old", 0)

    metrics = client.get("/metrics").content.decode()
    assert 'marketmon_answers_old{exchange="luno",kind="spot"} 1.0' in metrics
    assert 'marketmon_pipelines{exchange="luno",status="healthy"} 0.0' in metrics

    sandbox.reset()
    assert poll("luno") == "stored"
    assert used(rate(client, free)) == ["luno", "valr"]
    assert Worker.objects.get(pk="luno").old_answers == {}


def test_an_answer_that_a_cache_has_held_is_old_without_a_stamp(
    transactional_db: None, sandbox: Sandbox, settings: Any
) -> None:
    """Kraken stamps no ticker."""
    settings.POLL_DEADLINE_SECONDS = 10.0
    partitions.ensure(clock.now())
    assert onboard_and_poll("kraken") == "stored"
    body = requests.get(f"{sandbox.url}/api.kraken.com/0/public/Ticker", timeout=5).text
    sandbox.fault("kraken", "body", path="Ticker", params={"body": body, "headers": {"Age": "900"}})
    try:
        assert poll("kraken") == "stored"
    finally:
        sandbox.heal()

    (told,) = Worker.objects.get(pk="kraken").old_answers.values()
    assert (told["lag_seconds"], told["reason"]) == (900.0, "a cache has held the exchange's answer for 900 s")


def test_a_source_that_is_wrong_by_a_thousand_makes_no_rate(
    zar: None, sandbox: Sandbox, client: Client, key_of: Callable[..., str]
) -> None:
    market = Pipeline.objects.get(market__exchange="luno", market__symbol="BTC/ZAR")
    for name, share in (("last", 1.0), ("bid", 0.999), ("ask", 1.001)):
        price = (market.last or 0.0) * 1000 * share
        sandbox.fault("luno", "override", params={"symbol": "BTC/ZAR", "field": name, "value": price})
    key = key_of("free")

    assert poll("luno") == "stored"
    alone = rate(client, key)
    assert (used(alone), [each["reason"] for each in alone["excluded_details"]]) == (["valr"], ["unconfirmed"])
    assert pipeline(client)["is_unconfirmed"]

    assert poll("luno") == "stored"
    entry = rate(client, key)
    assert (entry["vwap"], entry["conflict"], used(entry)) == (None, True, ["luno", "valr"])


def test_a_frozen_source_is_in_no_rate_and_every_voice_names_it(
    zar: None, client: Client, key_of: Callable[..., str]
) -> None:
    now = clock.now()
    Pipeline.objects.filter(market__exchange="luno").update(frozen=True, changed_at=now - timedelta(minutes=11))

    entry = rate(client, key_of("free"))
    assert (used(entry), entry["excluded_details"][0]["reason"]) == (["valr"], "frozen")
    row = pipeline(client)
    assert (row["is_frozen"], row["frozen"], "have not changed" in row["reason"]) == (True, True, True)

    public.forget()
    luno = public.read(now).find("luno")
    assert luno is not None
    assert (luno.state, luno.words[:20]) == ("degraded", "Data does not change")
    (source,) = [each for each in reading.read(now).sources if each.worker.pk == "luno"]
    assert (source.condition.state, source.condition.cause) == ("degraded", "frozen")
    assert "frozen in" in source.condition.why
