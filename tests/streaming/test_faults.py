"""Each thing that a websocket can do wrong, on every venue at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from collectors.models import Run, Tick
from tests.streaming.conftest import INTERVAL_SECONDS, SILENCE_SECONDS, STREAMED, WEBSOCKETS, Site, at

pytestmark = [pytest.mark.system, pytest.mark.django_db, pytest.mark.timeout(90)]  # they only read
PACE_SECONDS = 2.0  # between two polls of binanceusdm: its tickers cost 40 units of 50 ms
SLACK_SECONDS = 2.0  # on a busy machine; the switch itself is a tick and two statements


@pytest.fixture
def listening(crowd: Site) -> Site:
    if not crowd.processes:
        crowd.start()
    crowd.sandbox.heal()
    crowd.wait_for_streams(*STREAMED, seconds=30)
    return crowd


# Where the first fault ends the connection and the second meets the next one, each exchange has its own first.
END = ("ws_close", {"count": 1})
BREAKING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "the venue closes": [("ws_close", {})],
    "the connection is reset": [("ws_reset", {})],
    "silence": [("ws_silence", {})],
    "pings unanswered": [("ws_no_pong", {})],
    "nothing but values that are none": [("override", {"params": {"field": "last", "raw": '"NaN"'}})],
    "subscriptions refused": [END, ("ws_refuse", {})],
    "subscriptions unanswered": [END, ("ws_no_answer", {})],
    "handshake 429": [END, ("status", {"params": {"code": 429, "retry_after": 2}})],
    "handshake 503": [END, ("status", {"params": {"code": 503}})],
    "handshake hangs": [END, ("hang", {})],
}


def test_a_stream_that_fails_is_polled_meanwhile_and_comes_back(listening: Site):
    """One after the other; the exchanges, side by side, at the pace of each."""
    with ThreadPoolExecutor(len(STREAMED)) as pool:
        for ended in [pool.submit(_go_through_all, listening, exchange) for exchange in STREAMED]:
            ended.result()


def _go_through_all(site: Site, exchange: str) -> None:
    try:
        for name, faults in BREAKING.items():
            _break_and_heal(site, exchange, name, faults)
    finally:
        connection.close()  # this thread's own


def _break_and_heal(site: Site, exchange: str, name: str, faults: Sequence[tuple[str, dict[str, Any]]]) -> None:
    began = time.time()
    ordered = [site.sandbox.fault(exchange, kind, path=WEBSOCKETS, **details) for kind, details in faults]
    site.wait_until(
        lambda: exchange in site.switched_to_polls(began),
        seconds=SILENCE_SECONDS + SLACK_SECONDS,
        what=f"{name}: {exchange} is polled",
    )
    polled_at = time.time()
    site.wait_until(
        lambda: site.rows(exchange, since=polled_at) > 0,
        seconds=2 * INTERVAL_SECONDS + PACE_SECONDS + SLACK_SECONDS,
        what=f"{name}: rows of {exchange}'s polls",
    )
    site.lift(ordered)
    site.wait_for_streams(exchange)
    assert site.simultaneous_connections(exchange, since=began - 1) == 0, name
    gaps = [gap for gap in site.gaps(exchange, since=began - 0.5) if gap.started_at < at(polled_at)]
    assert all(gap.ended_at is not None for gap in gaps), name
    causes = {gap.cause for gap in gaps}
    assert causes <= {"exchange outage", "our outage"}, name  # ours: a poll that came late, on a busy machine


def test_poisoned_frames_cost_nothing_but_themselves(listening: Site):
    site, began = listening, time.time()
    for kind in ("ws_broken", "ws_nan", "ws_unknown_symbol"):
        site.sandbox.fault("*", kind, path=WEBSOCKETS, for_seconds=SILENCE_SECONDS + 0.5)
    site.sandbox.fault("kraken", "ws_burst", path=WEBSOCKETS, count=1, params={"frames": 10_000})

    time.sleep(SILENCE_SECONDS + 0.7)

    assert site.switched_to_polls(began) == {}
    for exchange in STREAMED:
        assert site.rows(exchange, since=time.time() - 1.5) > 0
        assert site.connections(exchange, since=began) == []
    site.wait_until(lambda: overtaken("kraken", since=began) > 9_000, seconds=2, what="the burst is counted")


def overtaken(exchange_id: str, *, since: float) -> int:
    """Tickers that a newer one of the same market replaced in memory, as runs tell."""
    runs = Run.objects.filter(exchange_id=exchange_id, started_at__gt=at(since - 1), excerpt__contains="overtaken")
    return sum(int(excerpt.split()[0]) for excerpt in runs.values_list("excerpt", flat=True))


def test_a_stream_that_contradicts_a_poll_is_not_believed(listening: Site):
    """And it is not, for as long as it does: it goes on, but nothing of it is stored."""
    site, began = listening, time.time()
    site.sandbox.fault("kraken", "override", path="ws.kraken", params={"field": "last", "value": "64000.0"})

    site.wait_until(
        lambda: "kraken" in site.switched_to_polls(began), seconds=3 * INTERVAL_SECONDS + SLACK_SECONDS, what="a switch"
    )
    assert site.switched_to_polls(began).keys() == {"kraken"}
    time.sleep(4 * INTERVAL_SECONDS)
    assert site.switches("kraken")[-1][0] == "poll"

    site.sandbox.heal()
    site.wait_for_streams("kraken")
    assert [word for word, _ in site.switches("kraken", since=began)] == ["poll", "stream"]


def test_a_market_that_the_stream_says_nothing_of_is_polled_beside_it(listening: Site):
    site, began = listening, time.time()
    site.sandbox.fault("kraken", "drop_symbols", path="ws.kraken", params={"symbols": ["ETH/USD"]})
    time.sleep(SILENCE_SECONDS)
    quiet_at = time.time()
    time.sleep(4 * INTERVAL_SECONDS + SLACK_SECONDS)

    stored = Tick.objects.filter(received_at__gt=at(quiet_at), pipeline__market__symbol="ETH/USD")
    assert stored.filter(pipeline__market__exchange_id="kraken").count() >= 2
    assert "kraken" not in site.switched_to_polls(began)


def test_an_old_connection_is_replaced_by_one_that_has_proven_itself(crowd: Site):
    """No moment without a stream, and no word of a switch."""
    crowd.sandbox.heal()
    crowd.stop_all()
    crowd.start(STREAM_RECYCLE_SECONDS="2")
    crowd.wait_for_streams(*STREAMED, seconds=30)
    began = time.time()

    crowd.wait_until(
        lambda: all(len(crowd.connections(exchange, since=began)) >= 2 for exchange in STREAMED),
        seconds=12,
        what="every connection has been replaced twice",
    )

    assert {word for exchange in STREAMED for word, _ in crowd.switches(exchange, since=began)} == set()
    for exchange in STREAMED:
        assert crowd.longest_silence(exchange, since=began) < SILENCE_SECONDS
        assert len(crowd.open_connections(exchange)) <= 2
    crowd.stop_all()
