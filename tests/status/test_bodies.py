"""What the pulse renders and the web hands out: the same bytes, never too old, never green for the dead."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.test import Client
from django.urls import reverse
from redis.backoff import NoBackoff
from redis.retry import Retry

from collectors.models import Pipeline
from collectors.status import published
from lib import clock, valkey
from tests.status.conftest import NOW, Venue


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    published.forget()
    yield
    published.forget()


@pytest.fixture
def luno(noon: Any, venue: Callable[..., Venue]) -> Venue:
    luno = venue("luno")
    for number in range(30):
        luno.market(f"C{number:02}", "NGN", age=5 + number)
    return luno


def ask(client: Client, key: str, path: str, **query: str) -> Any:
    return client.get(path, query, headers={"X-API-Key": key, "Accept-Encoding": "identity"})


@pytest.mark.usefixtures("luno")
@pytest.mark.parametrize(
    ("path", "query"),
    [("/v1/status/pipelines", {}), ("/v1/status/pairs", {}), ("/v1/status/pipelines", {"source": "luno"})],
    ids=str,
)
def test_the_pulses_body_is_the_webs_own(
    client: Client, key_of: Callable[..., str], path: str, query: dict[str, str]
) -> None:
    key = key_of("business")
    own = ask(client, key, path, **query).content

    published.publish(clock.now())
    Pipeline.objects.update(received_at=NOW)  # so that a new rendering would tell

    assert ask(client, key, path, **query).content == own


@pytest.mark.usefixtures("luno")
def test_gzip_for_those_who_take_it(client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("business")
    plain = ask(client, key, "/v1/status/pipelines")
    packed = [client.get("/v1/status/pipelines", headers={"X-API-Key": key, "Accept-Encoding": "gzip, br"})]
    published.publish(clock.now())
    packed.append(client.get("/v1/status/pipelines", headers={"X-API-Key": key, "Accept-Encoding": "br, gzip;q=0.5"}))

    assert "Content-Encoding" not in plain.headers
    assert [answer.headers["Content-Encoding"] for answer in packed] == ["gzip", "gzip"]
    assert [gzip.decompress(answer.content) for answer in packed] == [plain.content] * 2


@pytest.mark.usefixtures("luno")
def test_a_body_of_two_seconds_is_not_handed_out(noon: Any, client: Client, key_of: Callable[..., str]) -> None:
    key = key_of("business")
    published.publish(clock.now())
    Pipeline.objects.update(received_at=NOW)

    ages = []
    for _ in range(3):
        ages.append(ask(client, key, "/v1/status/pipelines").json()["data"][0]["delay_seconds"])
        noon.shift(1)

    assert ages == [5, 5, 2]


def test_a_body_does_not_outlive_its_edge_by_more_than_a_second(
    noon: Any, client: Client, venue: Callable[..., Venue], key_of: Callable[..., str]
) -> None:
    venue("luno").market("BTC", "NGN", age=59)
    key = key_of("business")
    published.publish(clock.now())

    noon.shift(timedelta(seconds=1.9))
    still = ask(client, key, "/v1/status/pipelines").json()["data"][0]["status"]
    published.publish(NOW + timedelta(seconds=0.5))
    published.forget()
    noon.shift(timedelta(seconds=0.1))
    later = ask(client, key, "/v1/status/pipelines").json()["data"][0]["status"]

    assert (still, later) == ("healthy", "degraded")


@pytest.mark.usefixtures("luno")
def test_without_valkey_the_web_renders_and_limits_by_itself(
    monkeypatch: pytest.MonkeyPatch, client: Client, key_of: Callable[..., str]
) -> None:
    from access import meter

    gone = redis.Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(valkey, "client", lambda: gone)
    meter.forget()
    key = key_of("free")
    try:
        answers = [ask(client, key, "/v1/status/pairs") for _ in range(12)]
    finally:
        meter.forget()

    assert [answer.status_code for answer in answers] == [200, 200] + [429] * 10
    assert len(answers[0].json()["pairs"]) == 30


@pytest.mark.usefixtures("luno")
def test_collection_switched_off_takes_the_bodies_away(
    settings: Any, client: Client, key_of: Callable[..., str]
) -> None:
    published.publish(clock.now())
    settings.COLLECTION_ENABLED = False
    published.publish(clock.now())

    assert valkey.client().exists(published.PIPELINES, published.PAIRS, published.SOURCES) == 0
    assert ask(client, key_of("business"), "/v1/status/pipelines").status_code == 503


def test_the_schema_describes_every_route(client: Client, db: None) -> None:
    paths = client.get(reverse("schema"), {"format": "json"}, headers={"Accept": "application/json"})
    text = paths.content.decode()

    for path in ("status", "status/pairs", "status/pipelines", "rates/live", "limits", "sources"):
        assert f"/v1/{path}" in text
    assert "BTCNGN" in text
    assert "binance_spot" in text
