from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from queue import Empty

import pytest
import redis
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import PeriodicTask
from kombu.transport.redis import Channel

from collectors.models import Watermark
from collectors.polling import schedule
from lib import clock, processes, valkey
from marketmon import health
from tests.world import beat_was_seen

pytestmark = pytest.mark.django_db(transaction=True)  # the probes look through connections of their own


@pytest.fixture(autouse=True)
def _live_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    valkey.client().delete(processes.KEY)
    monkeypatch.setattr(processes, "_mine", "worker:here:1")
    processes.say()


@pytest.fixture
def no_valkey(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    refused = redis.Redis(host="127.0.0.1", port=1)
    monkeypatch.setattr(valkey, "client", lambda: refused)
    yield
    refused.close()


@pytest.fixture
def no_database() -> Iterator[None]:
    """From the moment somebody has signed in."""
    old = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": "1"}
    yield
    connection.settings_dict |= old


@pytest.mark.parametrize("route", ["/health", "/health/", "/live", "/live/"])
def test_a_sound_system_is_ok(client: Client, route: str) -> None:
    response = client.get(route)

    assert response.status_code == 200
    assert list(response.json()) == ["status", "timestamp"]
    assert response.json()["status"] == "ok"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", response.json()["timestamp"])
    assert response["Cache-Control"] == "no-store"


def test_health_without_valkey_is_500(client: Client, no_valkey: None) -> None:
    response = client.get("/health")

    assert response.status_code == 500
    assert response.json()["status"] == "error"


def test_health_without_database_is_500_and_live_is_not(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(health, "check_database", refuse)

    assert client.get("/health").status_code == 500
    assert client.get("/live").status_code == 200


@pytest.mark.parametrize(("route", "status"), [("/live", 200), ("/health", 500)])
def test_a_browser_is_answered_without_database_too(
    client: Client, monkeypatch: pytest.MonkeyPatch, route: str, status: int
) -> None:
    monkeypatch.setattr(health, "check_database", lambda: 1 / 0)
    old = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": "1"}
    try:
        response = client.get(route, headers={"Accept": "text/html"})
    finally:
        connection.settings_dict |= old

    assert response.status_code == status


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize(("route", "status"), [("/live", 200), ("/health", 500), ("/ready", 503)])
def test_somebody_signed_in_is_answered_without_database_too(
    operator: Client, no_database: None, route: str, status: int, accept: str
) -> None:
    """The session was read before anything else, to know who might change something: 503 from all three."""
    response = operator.get(route, headers={"Accept": accept})

    assert response.status_code == status
    if route == "/ready":
        assert response.json()["services"]["database"] == "not ready"


def test_probes_ask_for_no_session(operator: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert operator.get("/live").status_code == 200

    assert not queries.captured_queries


def test_health_with_a_read_only_database_is_500(client: Client) -> None:
    """A collector that cannot store is not well, whatever can still be read."""
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        response = client.get("/health")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')

    assert response.status_code == 500
    assert client.get("/health").status_code == 200


def test_a_part_that_hangs_is_given_up_after_two_seconds(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(health, "check_database", lambda: released.wait(20) and None)
    started = time.monotonic()

    response = client.get("/health")

    released.set()
    assert response.status_code == 500
    assert 1.9 < time.monotonic() - started < 3


@pytest.mark.parametrize("seconds_ago", [0, 58])
def test_ready_when_all_parts_are(client: Client, seconds_ago: float) -> None:
    beat_was_seen(seconds_ago)

    response = client.get("/ready")

    parts = dict.fromkeys(("database", "redis", "broker", "beat", "pulse", "worker", "clock", "notifier"), "ready")
    assert response.json() == {"ready": True, "services": parts}
    assert response.status_code == 200


def test_not_ready_when_beat_is_silent(client: Client) -> None:
    beat_was_seen(61)

    response = client.get("/ready/")

    assert response.status_code == 503
    assert response.json()["ready"] is False
    assert response.json()["services"]["beat"] == "not ready"
    assert response.json()["services"]["database"] == "ready"


@pytest.mark.parametrize("wrong", [{"name": "job:sync"}, {}], ids=["one row", "all rows"])
def test_not_ready_when_the_schedule_is_switched_off(client: Client, wrong: dict[str, str]) -> None:
    beat_was_seen(0)
    PeriodicTask.objects.filter(**wrong).update(enabled=False)

    assert client.get("/ready").json()["services"]["beat"] == "not ready"


@pytest.mark.parametrize(("seconds_ago", "word"), [(140, "ready"), (151, "not ready")])
def test_not_ready_when_beat_sends_nothing(client: Client, seconds_ago: float, word: str) -> None:
    beat_was_seen(0)
    sent_at = clock.now() - timedelta(seconds=seconds_ago)
    Watermark.objects.update_or_create(name=schedule.SENT_CURSOR, defaults={"reached_at": sent_at})

    assert client.get("/ready").json()["services"]["beat"] == word


def test_the_broker_is_asked_by_a_message_and_not_by_everybody(client: Client) -> None:
    valkey.client().delete(health.BROKER_KEY)
    pushed = lambda: int(valkey.client().info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"])  # noqa: E731

    left_before = set(valkey.client().keys(f"{health.PROBE_KEY}:*"))  # by a test whose broker gave nothing back

    before = pushed()
    words = [client.get("/ready").json()["services"]["broker"] for _ in range(3)]

    assert words == ["ready"] * 3
    assert pushed() - before == 1
    left = set(valkey.client().keys(f"{health.PROBE_KEY}:*")) - left_before
    assert left == {health.BROKER_KEY.encode()}


def test_a_broker_that_takes_and_gives_nothing_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers PING may still be of no use: a cluster, one without memory, one whose queue is lost."""
    valkey.client().delete(health.BROKER_KEY)
    monkeypatch.setattr(Channel, "_get", lambda *_: (_ for _ in ()).throw(Empty))

    assert client.get("/ready").json()["services"]["broker"] == "not ready"


def test_those_who_ask_together_share_one_answer(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(health.USABLE, "good_for_seconds", 60.0)
    monkeypatch.setattr(health, "check_database", lambda: asked.append(1))
    health.USABLE.forget()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Client().get("/health").status_code, range(24)))

    health.USABLE.forget()
    assert (found, len(asked)) == ([200] * 24, 1)


def test_not_ready_when_beat_never_ran(client: Client) -> None:
    assert client.get("/ready").json()["services"]["beat"] == "not ready"


@pytest.mark.parametrize("ahead_seconds", [30, 3600])
def test_not_ready_when_beat_was_seen_in_the_future(client: Client, ahead_seconds: float) -> None:
    beat_was_seen(-ahead_seconds)

    assert client.get("/ready").json()["services"]["beat"] == "not ready"


def test_not_ready_when_the_pulse_is_silent(client: Client) -> None:
    beat_was_seen(0, pulse_seconds_ago=31)

    assert client.get("/ready").json()["services"]["pulse"] == "not ready"


def test_not_ready_without_a_worker(client: Client) -> None:
    beat_was_seen(0)
    processes.leave()

    response = client.get("/ready")

    assert response.status_code == 503
    assert [name for name, word in response.json()["services"].items() if word != "ready"] == ["worker"]


def test_not_ready_while_a_clock_is_wrong(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    beat_was_seen(0)
    monkeypatch.setattr(clock, "state", lambda: clock.ClockState(7.0, True, False, False))
    processes.say()
    monkeypatch.undo()

    response = client.get("/ready")

    assert [name for name, word in response.json()["services"].items() if word != "ready"] == ["clock"]


def test_not_ready_without_valkey(client: Client, no_valkey: None) -> None:
    beat_was_seen(0)

    response = client.get("/ready")

    assert response.status_code == 503
    assert response.json()["services"]["redis"] == "not ready"


@pytest.mark.parametrize("route", ["/health", "/live", "/ready"])
def test_probes_are_read_only(client: Client, route: str) -> None:
    assert client.head(route).status_code in (200, 503)
    assert client.post(route).status_code == 405
    assert client.post(route)["Allow"] == "GET, HEAD"
