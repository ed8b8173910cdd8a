"""Who listens to what, and what is said about it: no process, no websocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, connection
from django.test import Client

from collectors.models import Stream, Switch, Worker
from collectors.polling import transports
from collectors.streaming import ownership
from collectors.streaming.timeline import Timeline
from exchanges.models import Exchange
from lib import clock
from operations import commands

pytestmark = pytest.mark.django_db
US, OTHER = "here:1", "there:2"


@pytest.fixture
def now() -> datetime:
    return clock.now()


def add(exchange_id: str, now: datetime, **fields: Any) -> Exchange:
    exchange = commands.create(exchange_id, by="test", now=now, **fields)
    Worker.objects.filter(pk=exchange_id).update(markets_loaded_at=now)
    return exchange


def switches() -> list[tuple[str, str, str]]:
    return list(Switch.objects.order_by("id").values_list("exchange_id", "to_transport", "reason"))


def expire(exchange_id: str, now: datetime) -> datetime:
    ended_at = now - timedelta(seconds=3)
    Stream.objects.filter(pk=exchange_id).update(
        is_delivering=True, since=now - timedelta(hours=1), held_until=ended_at
    )
    return ended_at


def test_an_exchange_that_nobody_configured_is_listened_to_where_it_can_be(now: datetime):
    for exchange_id in ("kraken", "valr", "luno", "chainlink"):
        assert add(exchange_id, now).transport == "auto"

    assert ownership.wishes().keys() == {"kraken", "valr"}


def test_who_claims_after_a_process_vanished_writes_its_end_down(now: datetime):
    add("kraken", now)
    assert ownership.claim(US, ["kraken"], most=5, seconds=10) == ["kraken"]
    assert ownership.claim(OTHER, ["kraken"], most=5, seconds=10) == []
    ended_at = expire("kraken", now)

    assert ownership.claim(OTHER, ["kraken"], most=5, seconds=10) == ["kraken"]

    assert switches() == [("kraken", "poll", ownership.VANISHED)]
    assert Switch.objects.get().happened_at == ended_at
    assert ownership.renew(US, ["kraken"], seconds=10) == set()


@pytest.mark.parametrize(
    ("change", "word"),
    [({}, "poll"), ({"transport": "poll"}, "poll"), ({"transport": "stream"}, "none"), ({"blacklisted": True}, "none")],
    ids=["handed over", "set to poll", "only a stream is wanted", "blacklisted"],
)
def test_the_end_of_a_stream_is_a_switch_with_its_reason(now: datetime, change: dict[str, Any], word: str):
    add("kraken", now)
    ownership.claim(US, ["kraken"], most=1, seconds=10)
    Stream.objects.update(is_delivering=True)
    Exchange.objects.update(**change)

    ownership.release(US, "kraken", reason="an operator's change")
    ownership.release(US, "kraken", reason="again")

    assert switches() == [("kraken", word, "an operator's change")]


def state_of(exchange_id: str, now: datetime) -> tuple[str, str]:
    used = transports.in_use(Exchange.objects.select_related("stream").get(pk=exchange_id), now)
    return used.word, used.why


def test_the_transport_in_use_is_what_happens_not_what_is_wished(now: datetime):
    add("luno", now)
    add("kraken", now)
    assert state_of("luno", now) == ("poll", "no websocket of this exchange is supported")
    assert state_of("kraken", now) == ("poll", "no stream process has run yet")

    ownership.claim(US, ["kraken"], most=1, seconds=10)
    assert state_of("kraken", now) == ("poll", "the stream has not proven itself yet")
    Stream.objects.update(is_delivering=True)
    assert state_of("kraken", now) == ("stream", "it delivers")
    Exchange.objects.filter(pk="kraken").update(transport="stream")
    expire("kraken", now)
    assert state_of("kraken", now) == ("none", "the process that listened is gone")
    Exchange.objects.filter(pk="kraken").update(blacklisted=True)
    assert state_of("kraken", now) == ("none", "not collected")


def test_the_workers_api_and_its_admin_page_say_the_transport(now: datetime, client: Client, admin_client: Client):
    add("kraken", now)
    ownership.claim(US, ["kraken"], most=1, seconds=10)
    Stream.objects.update(is_delivering=True, since=now, reason="delivers again")

    public, staff = (caller.get("/api/v1/workers/kraken/").json() for caller in (client, admin_client))

    assert public["transport"] == "stream"
    assert datetime.fromisoformat(public["transport_since"]) == now
    assert "transport_reason" not in public
    assert staff["transport_reason"] == "delivers again"
    page = admin_client.get("/admin/collectors/worker/").content.decode()
    assert "delivers again" in page


def test_a_lease_from_a_clock_that_was_set_back_is_not_waited_for(now: datetime):
    add("kraken", now)
    ownership.claim(US, ["kraken"], most=1, seconds=10)
    Stream.objects.update(held_until=now + timedelta(hours=2))

    assert ownership.claim(OTHER, ["kraken"], most=1, seconds=10) == ["kraken"]


@pytest.mark.django_db(transaction=True)
def test_a_switch_that_the_database_did_not_take_is_written_down_when_it_does(now: datetime):
    add("kraken", now)
    ownership.claim(US, ["kraken"], most=1, seconds=10)
    wish = ownership.wishes()["kraken"]
    is_away = True

    async def do(work: Callable[..., None], *arguments: Any) -> None:
        if is_away:
            raise InterfaceError("connection already closed")
        await asyncio.to_thread(in_a_thread, work, arguments)

    async def live() -> None:
        nonlocal is_away
        timeline = Timeline(do, US)
        await timeline.note(wish, is_delivering=True, reason="")
        await timeline.note(wish, is_delivering=False, reason="silence")
        is_away = False
        await timeline.tell(wish)
        await timeline.tell(wish)

    asyncio.run(live())

    assert switches() == [("kraken", "stream", ""), ("kraken", "poll", "silence")]
    first, second = Switch.objects.order_by("id")
    assert now <= first.happened_at <= second.happened_at == Stream.objects.get().since


def in_a_thread(work: Callable[..., None], arguments: Sequence[Any]) -> None:
    try:
        work(*arguments)
    finally:
        connection.close()
