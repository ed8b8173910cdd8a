"""Gates before real requests to the sandbox, over a real Valkey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
import requests

from collectors import backfill, rate_limits
from collectors.gaps import sweep
from collectors.history import partitions
from collectors.models import Gap, Pipeline, Run, Worker
from collectors.polling import poll as ingest
from collectors.rate_limits import Priority, counting, gate
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange, Market
from feeds import open_feed
from feeds.base import Superseded, Throttled
from feeds.request_gate import HeldBack
from feeds.streams import open_stream
from lib import clock, valkey
from operations import commands
from tests.sandbox_client import Sandbox

UNITS = 10


@pytest.fixture
def luno(sandbox: Sandbox, transactional_db: None) -> Iterator[Exchange]:
    """Collected once; 10 requests in 20 s are its limit."""
    partitions.ensure(clock.now())
    gate._memory_of.cache_clear()
    requests.delete(f"{sandbox.url}/_sandbox/requests", timeout=5).raise_for_status()
    commands.create("luno", by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER)
    Exchange.objects.update(budget_units=UNITS, budget_seconds=20)
    assert ingest.collect_once("luno", now=clock.now()) == "stored"
    return Exchange.objects.get()


def open_gate(exchange: Exchange, priority: Priority = Priority.LIVE, **more: Any) -> rate_limits.RequestGate:
    return rate_limits.open_gate(exchange, open_feed(exchange.feed_spec()).capabilities, priority=priority, **more)


def used(exchange: Exchange) -> float:
    return sum(float(units) for units in valkey.client().hvals(gate.line_of(exchange).key))


def poll() -> str:
    Worker.objects.update(cycle_started_at=None)
    return ingest.collect_once("luno", now=clock.now())


def fill_up(exchange: Exchange, priority: Priority = Priority.LIVE) -> int:
    """How many more this priority may send at once."""
    mine, sent = open_gate(exchange, priority), 0
    while True:
        try:
            if mine.ask(1.0, seconds_left=0.0) == 0:
                sent += 1
        except HeldBack:
            return sent


def test_every_request_is_counted_also_those_of_a_market_list(luno: Exchange, sandbox: Sandbox) -> None:
    assert used(luno) == len(sandbox.requests_of("luno")) == 2


def test_threads_that_ask_at_once_get_the_limit_and_no_more(luno: Exchange) -> None:
    valkey.client().flushdb()
    with ThreadPoolExecutor(8) as pool:
        sent = sum(pool.map(lambda _: fill_up(luno), range(8)))

    assert sent == 9  # of 10, nine tenths are used


def test_lower_priorities_leave_room_for_live_ones(luno: Exchange) -> None:
    valkey.client().flushdb()
    sent = {priority: fill_up(luno, priority) for priority in reversed(Priority)}

    assert sent == {Priority.IMPORT: 2, Priority.BACKFILL: 2, Priority.CHECK: 2, Priority.SHADOW: 1, Priority.LIVE: 2}


def test_each_outgoing_address_has_its_own_books(luno: Exchange, settings: Any) -> None:
    fill_up(luno)
    proxied = Exchange(id="luno", proxy="http://user:word@proxy.example:3128", budget_units=UNITS)
    assert gate.line_of(proxied).address == "proxy.example:3128"
    settings.OUTGOING_ADDRESS = "10.0.0.7"

    assert open_gate(luno).ask(1.0, seconds_left=0.0) == 0


def test_a_poll_that_we_hold_back_is_not_the_exchanges_failure(luno: Exchange, settings: Any) -> None:
    settings.POLL_DEADLINE_SECONDS = 0.5
    fill_up(luno)
    outcomes = [poll() for _ in range(4)]

    worker = Worker.objects.get()
    assert outcomes == ["held_back"] * 4
    assert (worker.strikes, worker.retry_at) == (0, None)
    assert "held back by us" in worker.last_error
    assert "the limit of luno over direct, 10 in 20 s, has no room in time" in Run.objects.latest("pk").error


def test_a_silence_because_of_it_is_no_exchange_outage(luno: Exchange, settings: Any) -> None:
    settings.POLL_DEADLINE_SECONDS = 0.5
    fill_up(luno)
    poll()
    later = clock.now() + timedelta(seconds=31)
    sweep.run(later)

    gaps = Gap.objects.all()
    assert {gap.cause for gap in gaps} == {"rate limited"}


def test_a_request_waits_for_room_within_its_deadline(luno: Exchange) -> None:
    Exchange.objects.update(budget_units=3, budget_seconds=0.5)
    luno.refresh_from_db()
    valkey.client().flushdb()
    assert fill_up(luno) == 2

    began = time.monotonic()

    assert poll() == "stored"
    assert 0.3 < time.monotonic() - began < 4


def test_a_refusal_is_told_to_all_and_written_down(luno: Exchange, sandbox: Sandbox) -> None:
    sandbox.fault("luno", "status", params={"code": 429, "retry_after": 40})
    feed = open_feed(luno.feed_spec())
    before = clock.now()
    with pytest.raises(Throttled):
        feed.ping(deadline_seconds=5, may_call=open_gate(luno, Priority.CHECK))
    asked = len(sandbox.requests_of("luno"))

    with pytest.raises(HeldBack, match="luno over direct has asked for") as held:
        feed.ping(deadline_seconds=5, may_call=open_gate(luno))

    assert held.value.pause_seconds == pytest.approx(40, abs=2)
    assert len(sandbox.requests_of("luno")) == asked
    assert Worker.objects.get().retry_at >= before + timedelta(seconds=40)
    assert poll() == ingest.SKIPPED
    valkey.client().flushdb()  # the books are lost, the pause is not
    assert poll() == ingest.SKIPPED


def test_bans_that_name_no_end_double_their_pause(luno: Exchange) -> None:
    mine, paused = open_gate(luno), []
    for _ in range(5):
        mine.heed(Throttled("banned", banned=True))
        mine.heed(Throttled("banned", banned=True))  # another request of the same ban
        paused.append(round(valkey.client().pttl(gate.line_of(luno).pause_key) / 1000))
        valkey.client().delete(gate.line_of(luno).pause_key)

    assert paused == [300, 600, 1200, 2400, 3600]

    rate_limits.lift_pause(luno)
    mine.heed(Throttled("banned", banned=True))
    assert round(valkey.client().pttl(gate.line_of(luno).pause_key) / 1000) == 300


def test_a_pause_heard_while_a_poll_is_under_way_ends_it_with_the_exchanges_own_time(luno: Exchange) -> None:
    open_gate(luno).pause(30)
    began = clock.now()

    assert poll() == "held_back"

    assert timedelta(seconds=25) < Worker.objects.get().retry_at - began < timedelta(seconds=40)


def test_a_shorter_pause_does_not_end_a_longer_one(luno: Exchange) -> None:
    open_gate(luno).pause(30)
    open_gate(luno).pause(1)

    with pytest.raises(HeldBack) as held:
        open_gate(luno).ask(1.0, seconds_left=5.0)
    assert held.value.pause_seconds > 20


def test_backfill_that_is_held_back_leaves_its_gap_due(luno: Exchange, sandbox: Sandbox) -> None:
    fill_up(luno)
    began = clock.now()
    minute = (began - timedelta(minutes=20)).replace(second=5)  # luno gives candles only to those with a key
    gap = Gap.objects.create(
        pipeline=Pipeline.objects.first(), started_at=minute, ended_at=minute + timedelta(seconds=40),
        missed_count=4, detected_at=began,
    )  # fmt: skip
    asked = len(sandbox.requests_of("luno"))

    assert backfill.fill("luno", clock=clock.now, seconds=3) == 0

    gap.refresh_from_db()
    assert (gap.attempts, gap.next_try_at) == (0, None)
    assert luno.backfill.paused_until > began
    assert len(sandbox.requests_of("luno")) == asked


def test_a_check_that_is_held_back_says_so(luno: Exchange, sandbox: Sandbox) -> None:
    open_gate(luno).pause(30)

    report = commands.check("luno", occasion="test", now=clock.now())

    health = report.finding("health")
    assert (health.result, "held back by us" in health.reason) == ("skipped", True)


def test_an_operators_verb_ends_a_wait(luno: Exchange) -> None:
    fill_up(luno)
    mine = open_gate(luno, generation=Worker.objects.get().generation)
    with ThreadPoolExecutor(1) as pool:
        symbols = list(Market.objects.values_list("symbol", flat=True))
        call = pool.submit(
            lambda: open_feed(luno.feed_spec()).fetch_quotes(symbols, deadline_seconds=30, may_call=mine)
        )
        commands.restart("luno", by="test", now=clock.now())
        with pytest.raises(Superseded):
            call.result(timeout=3)


def test_a_handshake_is_counted_and_a_pause_of_handshakes_leaves_polls_alone(luno: Exchange, sandbox: Sandbox) -> None:
    kraken = Exchange(id="kraken", base_url=SANDBOX_PLACEHOLDER)
    feed = open_feed(kraken.feed_spec())
    listed = feed.load_markets(deadline_seconds=10)
    dials = rate_limits.open_dial_gate(kraken, feed.capabilities)
    sandbox.fault("kraken", "status", path="ws.kraken", params={"code": 429, "retry_after": 30})

    asyncio.run(_dial(kraken, dials, feed, listed[0].symbol))
    asyncio.run(_dial(kraken, dials, feed, listed[0].symbol))

    opened = [row for row in sandbox.requests_of("kraken") if row["method"] == "OPEN"]
    assert [row["status"] for row in opened] == [429]
    assert used(kraken) == 1
    assert open_gate(kraken).ask(1.0, seconds_left=0.0) == 0
    with pytest.raises(HeldBack):
        dials.ask(1.0, seconds_left=1.0)


async def _dial(exchange: Exchange, dials: rate_limits.RequestGate, feed: Any, symbol: str) -> None:
    from feeds.ccxt import markets

    stream = open_stream(exchange.feed_spec(), gate=dials)
    stream.install_markets(markets.pack(feed._client, keep_info=False))
    await stream.subscribe([symbol])
    async with asyncio.timeout(60):
        while not stream.is_broken:
            await asyncio.sleep(0.02)
    await stream.close()


def test_asking_costs_less_than_a_millisecond(luno: Exchange) -> None:
    Exchange.objects.update(budget_units=100_000, budget_seconds=60)
    luno.refresh_from_db()
    mine = open_gate(luno)
    took = []
    for _ in range(300):
        began = time.perf_counter()
        mine.ask(1.0, seconds_left=1.0)
        took.append(time.perf_counter() - began)

    assert min(took) < 0.001  # the quickest: this machine is shared


def test_books_that_are_lost_are_begun_with_what_a_process_knows(luno: Exchange, monkeypatch: Any) -> None:
    """Valkey was away and comes back empty."""
    fill_up(luno)
    line, memory = gate.line_of(luno), gate._memory()
    with monkeypatch.context() as away:
        away.setattr(counting, "take", _refuse)
        with pytest.raises(HeldBack):
            open_gate(luno).ask(1.0, seconds_left=0.0)
    memory.valkey.forget()
    valkey.client().delete(line.key)

    with pytest.raises(HeldBack):
        open_gate(luno).ask(1.0, seconds_left=0.0)
    assert memory.began_at is None


def _refuse(*_: object, **__: object) -> None:
    raise redis.ConnectionError("away")


def test_what_a_process_sent_in_an_outage_is_counted_after_it(luno: Exchange, monkeypatch: Any) -> None:
    Exchange.objects.update(budget_units=100, budget_seconds=20)
    luno.refresh_from_db()
    mine, memory, before = open_gate(luno), gate._memory(), used(luno)
    mine.ask(1.0, seconds_left=0.0)
    with monkeypatch.context() as away:
        away.setattr(counting, "take", _refuse)
        assert [mine.ask(1.0, seconds_left=0.0) for _ in range(3)] == [0, 0, 0]
    memory.valkey.forget()

    mine.ask(1.0, seconds_left=0.0)

    assert used(luno) == before + 5
    assert (memory.began_at, list(memory.page(gate.line_of(luno).key).grants)) == (None, [])
