"""What operators and other collectors may count on while an exchange is listened to."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
from django.db import connection
from django.db.models import QuerySet

from collectors import backfill, lease
from collectors.gaps import invariants
from collectors.models import Gap, Run, Stream, Tick, Worker
from collectors.polling import poll, store
from collectors.rules.quote_checks import QuoteRow
from exchanges.models import Exchange
from lib import clock, valkey
from operations import commands
from tests.collectors.conftest import quote
from tests.streaming.conftest import INTERVAL_SECONDS, SILENCE_SECONDS, Site, sweeping

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


def test_what_is_stored_is_what_the_exchange_said(site: Site):
    site.add("binance")
    site.wait_for_streams("binance")
    began = time.time()
    site.wait_until(lambda: site.rows("binance", since=began) > 60, seconds=5, what="two batches")

    newest = Tick.objects.select_related("pipeline__market").order_by("-received_at")[:20]
    for tick in newest:
        symbol, second = tick.pipeline.market.symbol, int(tick.received_at.timestamp())
        said = {site.sandbox.price("binance", symbol, moment) for moment in (second - 1, second)}
        assert tick.last in said


def test_a_stream_without_bid_and_ask_is_completed_by_whole_rows_of_polls(site: Site):
    site.add("hyperliquid")
    site.wait_for_streams("hyperliquid")
    began = clock.now()
    mine = Tick.objects.filter(pipeline__market__exchange_id="hyperliquid", received_at__gt=began)

    site.wait_until(lambda: mine.filter(bid__isnull=False).exists(), seconds=8, what="a poll beside the stream")

    whole = mine.filter(bid__isnull=False).select_related("pipeline__market").first()
    second = int(whole.received_at.timestamp())
    assert whole.bid < whole.last < whole.ask
    assert whole.last in {site.sandbox.price("hyperliquid", whole.pipeline.market.symbol, second - n) for n in (0, 1)}
    assert mine.filter(bid__isnull=True).exists()
    said = Stream.objects.get(exchange_id="hyperliquid")
    assert said.is_delivering
    assert "does not bring bid, ask" in said.reason


def test_runs_say_their_transport_and_those_of_one_connection_share_an_id(site: Site):
    site.add("kraken")
    site.wait_for_streams("kraken")
    site.wait_until(lambda: _ids("kraken", "stream").count() >= 3, seconds=5, what="runs of the stream")
    site.sandbox.fault("kraken", "ws_silence")
    ended = Run.objects.filter(exchange_id="kraken", transport="stream").exclude(outcome="stored")
    site.wait_until(ended.exists, seconds=6, what="the stream's end")
    delivered = set(_ids("kraken", "stream").filter(started_at__lt=ended.get().started_at))
    polls = _ids("kraken", "poll").filter(started_at__gt=ended.get().started_at)
    site.wait_until(lambda: polls.count() >= 2, seconds=5, what="polls in the stream's place")

    found = [*delivered, *polls]

    assert delivered == {ended.get().correlation_id}
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in found)
    assert len({*found}) == len(found), "each poll has an id of its own"


def _ids(exchange_id: str, transport: str) -> QuerySet[Run, str]:
    runs = Run.objects.filter(exchange_id=exchange_id, transport=transport)
    return runs.values_list("correlation_id", flat=True)


def test_a_blacklist_ends_the_connection_and_every_row_within_a_second(site: Site):
    site.add("binance")
    site.wait_for_streams("binance")

    commands.blacklist("binance", by="test", now=clock.now(), reason="drill")
    stopped_at = time.time()
    site.wait_until(
        lambda: all(one["ended_at"] for one in site.connections("binance")), seconds=1.2, what="the connection's end"
    )
    time.sleep(1.0)

    assert site.rows("binance", since=stopped_at + 0.1) == 0
    assert site.sandbox.requests_of("binance", since=stopped_at + 1.2) == []

    commands.lift("binance", by="test", now=clock.now())
    site.wait_for_streams("binance")


def test_polls_are_kept_away_while_a_stream_delivers_and_polled_exchanges_are_left_alone(site: Site):
    site.add("binance")
    site.add("coinbase", transport="poll")
    site.wait_for_streams("binance")
    time.sleep(INTERVAL_SECONDS)

    assert poll.collect_once("binance", now=clock.now()) == "skipped"
    assert poll.collect_once("coinbase", now=clock.now()) == "stored"
    assert site.connections("coinbase") == []
    assert site.delivering() == {"binance"}


def test_a_reload_of_the_markets_gets_its_turn_and_new_markets_are_listened_to(site: Site):
    site.add("kraken")
    site.wait_for_streams("kraken")
    requests.post(
        f"{site.sandbox.url}/_sandbox/markets", json={"exchange": "kraken", "list": ["NEWCOIN/USD"]}, timeout=5
    ).raise_for_status()

    assert poll.refresh_markets("kraken", now=clock.now()) == "stored"

    newcomer = Tick.objects.filter(pipeline__market__symbol="NEWCOIN/USD")
    site.wait_until(newcomer.exists, seconds=4, what="rows of the new market")
    # The first of them may be of the poll beside the stream, which asks for new markets in the same moment.
    site.wait_until(lambda: len(site.subscriptions("kraken")) > 1, seconds=2, what="a second subscription")
    assert site.switches("kraken") == [("stream", "")]
    assert len(site.connections("kraken")) == 1
    second = site.subscriptions("kraken")[1]
    assert "NEWCOIN/USD" in second
    assert "BTC/USD" not in second


def test_what_others_store_while_a_stream_steps_aside_is_in_no_run_of_the_stream(site: Site):
    site.add("binance")
    site.wait_for_streams("binance")
    began = clock.now()
    permit = lease.wait_for("binance", patience_seconds=5, lease_seconds=5)
    assert permit is not None
    pipeline = Exchange.objects.get(pk="binance").markets.collected().first().pk
    started_at = clock.now()
    time.sleep(0.1)
    finished_at = clock.now()
    row = QuoteRow(pipeline, quote("BTC/USDT", received_at=finished_at.timestamp()))
    store.finish(permit, store.Cycle(
        started_at=started_at, finished_at=finished_at, outcome="stored", error_count=0, strikes=0, retry_at=None,
        status="running", accepted=[row],
    ))  # fmt: skip
    runs = Run.objects.filter(exchange_id="binance", started_at__gt=finished_at, outcome="stored")
    site.wait_until(runs.exists, seconds=5, what="a run of the stream after it")

    broken = [found.promise for found in invariants.check(since=began - timedelta(seconds=5)) if found.offences]
    assert "one collector at a time stores for an exchange" not in broken


def test_a_stream_that_steps_aside_for_long_is_not_taken_for_a_silent_one(site: Site):
    """Slow venues list their markets for longer than a stream may be silent."""
    site.add("kraken")
    site.wait_for_streams("kraken")
    site.sandbox.fault("kraken", "delay", path="AssetPairs", params={"seconds": 2 * SILENCE_SECONDS})

    for _ in range(2):
        assert poll.refresh_markets("kraken", now=clock.now()) == "stored"
        reloaded_at = time.time()
        site.wait_until(lambda: site.rows("kraken", since=reloaded_at) > 30, seconds=5, what="two batches")  # noqa: B023

    assert site.switches("kraken") == [("stream", "")]


def test_a_stream_that_falls_silent_while_it_steps_aside_is_blamed_for_the_silence(site: Site):
    site.add("kraken", intervals={"kraken": 0.5})
    site.wait_for_streams("kraken")
    began = time.time()
    site.sandbox.fault("kraken", "delay", path="AssetPairs", params={"seconds": 2 * SILENCE_SECONDS})
    with ThreadPoolExecutor(1) as pool:
        reloading = pool.submit(refresh_markets, "kraken")
        site.wait_until(lambda: has_asked(site, "kraken", "AssetPairs", since=began), seconds=3, what="the reload")
        site.sandbox.fault("kraken", "ws_silence", path="ws.kraken")
        assert reloading.result() == "stored"
    reloaded_at = time.time()
    site.wait_until(lambda: site.rows("kraken", since=reloaded_at) > 0, seconds=5, what="rows of polls")

    with sweeping():
        gaps = site.judged_gaps("kraken", since=began - 1, until=reloaded_at)
    assert {gap.cause for gap in gaps} == {"exchange outage"}, {gap.evidence for gap in gaps}


def refresh_markets(exchange_id: str) -> str:
    try:
        return poll.refresh_markets(exchange_id, now=clock.now())
    finally:
        connection.close()  # this thread's own


def test_a_stream_comes_back_without_the_market_list_that_valkey_has_lost(site: Site):
    site.add("binance")
    site.wait_for_streams("binance")
    site.wait_until(lambda: has_polled(site, "binance"), seconds=5, what="a poll beside the stream")
    valkey.client().flushdb()
    began = time.time()
    site.sandbox.fault("binance", "ws_close", path="stream.binance", count=1)

    site.wait_until(
        lambda: [word for word, _ in site.switches("binance", since=began)] == ["poll", "stream"],
        seconds=8,
        what="the stream's end and its return",
    )

    assert [
        one["path"] for one in site.sandbox.requests_of("binance", since=began) if "exchangeInfo" in one["path"]
    ] == []


def has_polled(site: Site, exchange_id: str) -> bool:
    return has_asked(site, exchange_id, "ticker")


def has_asked(site: Site, exchange_id: str, what: str, *, since: float = 0.0) -> bool:
    asked = site.sandbox.requests_of(exchange_id, since=since)
    return any(one["method"] == "GET" and what in one["path"] for one in asked)


def test_a_venue_that_asked_polls_to_wait_is_not_polled_beside_the_stream(site: Site):
    site.add("binance")
    site.wait_for_streams("binance")
    site.sandbox.fault("binance", "status", path="api.binance.com", params={"code": 429, "retry_after": 60})
    site.wait_until(
        lambda: Worker.objects.filter(pk="binance", retry_at__gt=clock.now()).exists(), seconds=6, what="the pause"
    )
    refused_at = time.time()
    time.sleep(3 * INTERVAL_SECONDS)

    asked = [one for one in site.sandbox.requests_of("binance", since=refused_at) if one["method"] == "GET"]
    assert asked == []
    assert site.delivering() == {"binance"}


def test_an_exchange_that_may_only_stream_says_why_nothing_comes(site: Site):
    site.add("binance", transport="stream")
    site.wait_for_streams("binance")
    site.sandbox.fault("binance", "ws_silence", path="stream.binance")

    site.wait_until(lambda: "binance" not in site.delivering(), seconds=4, what="silence is noticed")
    failed_at = time.time()
    worker = Worker.objects.get(pk="binance")
    site.wait_until(
        lambda: Worker.objects.get(pk="binance").error_count >= 3, seconds=8, what="three failures are recorded"
    )

    assert "no ticker" in worker.last_error
    assert site.rows("binance", since=failed_at) == 0
    assert Exchange.objects.get(pk="binance").transport == "stream"
    site.sandbox.heal()
    site.wait_for_streams("binance")
    site.wait_until(lambda: Worker.objects.get(pk="binance").error_count == 0, seconds=3, what="the worker recovers")
    with sweeping():
        gaps = site.judged_gaps("binance", since=0.0, until=time.time())
    assert {(gap.cause, gap.ended_at is not None) for gap in gaps} == {("exchange outage", True)}
    assert len(gaps) == Exchange.objects.get(pk="binance").markets.collected().count()


def test_what_is_missing_is_filled_while_a_stream_delivers(site: Site):
    site.add("binance")
    site.wait_for_streams("binance")
    market = Exchange.objects.get(pk="binance").markets.get(symbol="BTC/USDT")
    ended_at = clock.now() - timedelta(minutes=5)
    Gap.objects.create(
        pipeline_id=market.pk, started_at=ended_at - timedelta(minutes=10), ended_at=ended_at,
        missed_count=600, detected_at=ended_at,
    )  # fmt: skip

    backfill.plan(clock.now())
    backfill.fill("binance", clock=clock.now, seconds=6.0)

    assert Tick.objects.filter(pipeline_id=market.pk, origin__gt=0, received_at__lt=ended_at).exists()
    assert site.delivering() == {"binance"}
