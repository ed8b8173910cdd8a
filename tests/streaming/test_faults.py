"""What can go wrong with a connection or with a process that listens, on every venue at once."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from collectors.models import Pipeline, Run, RunTransport, Tick
from collectors.rules.gaps import GAP_INTERVALS
from exchanges.models import Exchange
from tests.streaming.conftest import (
    LEASE_MARGIN_SECONDS,
    LEASE_SECONDS,
    PACES,
    SILENCE_SECONDS,
    STREAMED,
    WEBSOCKETS,
    Site,
    at,
)

pytestmark = [pytest.mark.system, pytest.mark.django_db, pytest.mark.timeout(90)]  # they only read
TAKE_OVER_SECONDS = LEASE_SECONDS + LEASE_MARGIN_SECONDS + 5.0
SLACK_SECONDS = 2.0  # on a busy machine; the switch itself is a tick and two statements


@pytest.fixture
def listening(crowd: Site) -> Site:
    crowd.sandbox.heal()
    crowd.keep(1)
    crowd.wait_for_streams(*STREAMED, seconds=30)
    return crowd


# Where the first fault ends the connection and the second meets the next one, each exchange has its own first.
NONE = "nothing but values that are none"
END = ("ws_close", {"count": 1})
NO_ANSWER = ("exchange outage", r"the exchange did not answer: \d+ runs? unreachable in \d+ s")
NO_DATA = ("exchange outage", r"the exchange answered no data: \d+ runs? bad_reply in \d+ s")
BREAKING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "the venue closes": [("ws_close", {})],
    "the connection is reset": [("ws_reset", {})],
    "silence": [("ws_silence", {})],
    "pings unanswered": [("ws_no_pong", {})],
    NONE: [("override", {"params": {"field": "last", "raw": '"NaN"'}})],
    "subscriptions refused": [END, ("ws_refuse", {})],
    "subscriptions unanswered": [END, ("ws_no_answer", {})],
    "handshake 429": [END, ("status", {"params": {"code": 429, "retry_after": 1}})],
    "handshake 503": [END, ("status", {"params": {"code": 503}})],
    "handshake hangs": [END, ("hang", {})],
}


SOME = ("the venue closes", "silence", "handshake 429")  # `make lab` tries them all


def test_a_stream_that_fails_is_polled_meanwhile_and_comes_back(listening: Site):
    assert seen_through(listening, SOME) == set(itertools.product(STREAMED, SOME))


def seen_through(site: Site, names: Iterable[str]) -> set[tuple[str, str]]:
    return _on_each_exchange(site, _is_polled_meanwhile, names)


def test_what_is_not_polled_meanwhile_is_one_gap_of_each_market(listening: Site):
    assert gaps_of(listening, ("silence",)) == set(itertools.product(STREAMED, ("silence",)))


def gaps_of(site: Site, names: Iterable[str]) -> set[tuple[str, str]]:
    with _streamed_only(site):
        return _on_each_exchange(site, _is_a_gap, names)


@contextlib.contextmanager
def _streamed_only(site: Site) -> Iterator[None]:
    _configure(site, "stream", dict.fromkeys(STREAMED, 1.0))
    yield
    _configure(site, "auto", PACES)


def _configure(site: Site, transport: str, intervals: Mapping[str, float]) -> None:
    """Every session begins anew."""
    began = time.time()

    def configure() -> None:
        for exchange, seconds in intervals.items():
            Exchange.objects.filter(pk=exchange).update(transport=transport, poll_interval_seconds=seconds)
            Pipeline.objects.filter(market__exchange_id=exchange).update(expected_seconds=seconds)
        connection.close()

    with ThreadPoolExecutor(1) as pool:  # the test's own connection is in a transaction that is rolled back
        pool.submit(configure).result()
    site.wait_for_all(
        STREAMED,
        lambda exchange: [word for word, _ in site.switches(exchange, since=began)][1:] == ["stream"],
        seconds=20,
        what=f"its end, and a beginning as {transport}",
    )


Check = Callable[[Site, str, str, Sequence[tuple[str, dict[str, Any]]]], None]


def _on_each_exchange(site: Site, check: Check, names: Iterable[str]) -> set[tuple[str, str]]:
    """One fault after the other; the exchanges, side by side, at the pace of each. Which were seen through."""
    done = set()

    def go_through_all(exchange: str) -> None:
        try:
            for name in names:
                check(site, exchange, name, BREAKING[name])
                done.add((exchange, name))
        finally:
            connection.close()  # this thread's own

    with ThreadPoolExecutor(len(STREAMED)) as pool:
        for ended in [pool.submit(go_through_all, exchange) for exchange in STREAMED]:
            ended.result()
    return done


def _is_polled_meanwhile(site: Site, exchange: str, name: str, faults: Sequence[tuple[str, dict[str, Any]]]) -> None:
    began = time.time()
    ordered = [site.sandbox.fault(exchange, kind, path=WEBSOCKETS, **details) for kind, details in faults]
    site.wait_until(
        lambda: exchange in site.switched_to_polls(began),
        seconds=SILENCE_SECONDS + SLACK_SECONDS,
        what=f"{name}: {exchange} is polled",
    )
    polled_at = site.switched_to_polls(began)[exchange]
    site.wait_until(
        lambda: site.rows(exchange, since=polled_at) > 0,
        seconds=2 * PACES[exchange] + SLACK_SECONDS,
        what=f"{name}: rows of {exchange}'s polls",
    )
    site.lift(ordered)
    site.wait_for_streams(exchange)
    assert site.simultaneous_connections(exchange, since=began - 1) == 0, name
    _check_gaps(site, exchange, name, since=began - 1, until=polled_at)


def _is_a_gap(site: Site, exchange: str, name: str, faults: Sequence[tuple[str, dict[str, Any]]]) -> None:
    site.wait_until(
        lambda: site.rows(exchange, since=time.time() - 1) > 0, seconds=SLACK_SECONDS, what=f"rows of {exchange}"
    )
    began = time.time()
    markets = Exchange.objects.get(pk=exchange).markets.collected().count()
    ordered = [site.sandbox.fault(exchange, kind, path=WEBSOCKETS, **details) for kind, details in faults]
    site.wait_until(
        lambda: len(site.gaps(exchange, since=began - 1)) == markets,
        seconds=GAP_INTERVALS + 2 * SLACK_SECONDS,
        what=f"{name}: a gap of each of {markets} markets of {exchange}",
    )
    broken_until = time.time()
    site.lift(ordered)
    site.wait_for_streams(exchange)
    assert _check_gaps(site, exchange, name, since=began - 1, until=broken_until) == markets, name
    assert site.simultaneous_connections(exchange, since=began - 1) == 0, name


def _check_gaps(site: Site, exchange: str, name: str, *, since: float, until: float) -> int:
    """A gap for each silence among the rows, no other, and the fault as its cause. How many there were."""
    gaps = site.judged_gaps(exchange, since=since, until=until)
    found = [(gap.pipeline_id, gap.started_at, gap.ended_at) for gap in gaps]
    assert set(found) == site.silences(exchange, since=since, until=until), name
    assert len(set(found)) == len(found), name
    cause, evidence = NO_DATA if name == NONE else NO_ANSWER
    wrong = [gap.evidence for gap in gaps if gap.cause != cause or not re.fullmatch(evidence, gap.evidence)]
    assert wrong == [], (name, _errors(exchange, since))
    return len(gaps)


def _errors(exchange: str, since: float) -> list[str]:
    runs = Run.objects.filter(exchange_id=exchange, started_at__gt=at(since)).exclude(outcome="stored")
    return list(runs.values_list("error", flat=True))


def test_poisoned_frames_cost_nothing_but_themselves(listening: Site):
    site, began = listening, time.time()
    for kind in ("ws_broken", "ws_nan", "ws_unknown_symbol"):
        site.sandbox.fault("*", kind, path=WEBSOCKETS, for_seconds=SILENCE_SECONDS + 0.5)
    site.sandbox.fault("kraken", "ws_burst", path=WEBSOCKETS, count=1, params={"frames": 3_000})

    time.sleep(SILENCE_SECONDS + 0.7)

    assert site.switched_to_polls(began) == {}
    for exchange in STREAMED:
        assert site.rows(exchange, since=time.time() - 1.5) > 0
        assert site.connections(exchange, since=began) == []
    site.wait_until(lambda: overtaken("kraken", since=began) > 2_700, seconds=2, what="the burst is counted")


def overtaken(exchange_id: str, *, since: float) -> int:
    """Tickers that a newer one of the same market replaced in memory, as runs tell."""
    runs = Run.objects.filter(exchange_id=exchange_id, started_at__gt=at(since - 1), excerpt__contains="overtaken")
    return sum(int(excerpt.split()[0]) for excerpt in runs.values_list("excerpt", flat=True))


def test_a_stream_that_contradicts_a_poll_is_not_believed(listening: Site):
    """And it is not, for as long as it does: it goes on, but nothing of it is stored."""
    site, began = listening, time.time()
    site.sandbox.fault("kraken", "override", path="ws.kraken", params={"field": "last", "value": "64000.0"})

    site.wait_until(
        lambda: "kraken" in site.switched_to_polls(began), seconds=3 * PACES["kraken"] + SLACK_SECONDS, what="a switch"
    )
    assert site.switched_to_polls(began).keys() == {"kraken"}
    time.sleep(2 * PACES["kraken"])
    assert site.switches("kraken")[-1][0] == "poll"

    site.sandbox.heal()
    site.wait_for_streams("kraken")
    assert [word for word, _ in site.switches("kraken", since=began)] == ["poll", "stream"]


def test_a_market_that_the_stream_says_nothing_of_is_polled_beside_it(listening: Site):
    site, began = listening, time.time()
    site.sandbox.fault("kraken", "drop_symbols", path="ws.kraken", params={"symbols": ["ETH/USD"]})
    time.sleep(SILENCE_SECONDS)
    polled = Tick.objects.filter(
        received_at__gt=at(time.time()), pipeline__market__exchange_id="kraken", pipeline__market__symbol="ETH/USD"
    )

    site.wait_until(lambda: polled.count() >= 2, seconds=2 * PACES["kraken"] + SLACK_SECONDS, what="two polls' rows")
    assert "kraken" not in site.switched_to_polls(began)


@pytest.fixture
def recycling(crowd: Site) -> Iterator[Site]:
    crowd.sandbox.heal()
    crowd.stop_all()
    crowd.start(shortened={"collectors.streaming.session.RECYCLE_SECONDS": 1.0})
    crowd.wait_for_streams(*STREAMED, seconds=30)
    yield crowd
    crowd.stop_all()


def test_an_old_connection_is_replaced_by_one_that_has_proven_itself(recycling: Site):
    """No moment without a stream, and no word of a switch."""
    crowd = recycling
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


# --- two processes share the exchanges; each takes over what the other leaves ------------------------------------


@pytest.fixture
def shared(crowd: Site) -> Site:
    crowd.sandbox.heal()
    crowd.keep(2)
    wait_for_a_fair_share(crowd)
    return crowd


def wait_for_a_fair_share(site: Site) -> None:
    half = len(STREAMED) // 2
    site.wait_until(
        lambda: sorted(Counter(site.holders().values()).values()) == [half, half], seconds=25, what="a fair share"
    )


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "killed"])
def test_the_other_takes_over_and_nothing_stale_is_stored(shared: Site, number: signal.Signals):
    site = shared
    victim = site.processes[0]
    lost = {pk for pk, holder in site.holders().items() if f":{victim.pid}:" in holder}
    assert lost

    os.kill(victim.pid, number)
    struck_at = time.time()

    def others_have_all() -> bool:
        holders = site.holders()
        return holders.keys() == set(STREAMED) and not any(f":{victim.pid}:" in one for one in holders.values())

    site.wait_until(
        others_have_all,
        seconds=TAKE_OVER_SECONDS,
        what="the other has them all",
    )
    for exchange in lost:
        others = [one for one in site.connections(exchange, since=struck_at) if one["ended_at"] is None]
        assert len(others) == 1

    if number == signal.SIGSTOP:
        woken_at = time.time()
        os.kill(victim.pid, signal.SIGCONT)
        site.wait_until(
            lambda: all(len(site.open_connections(exchange)) == 1 for exchange in lost),
            seconds=5,
            what="the old ones end",
        )
        wait_for_a_fair_share(site)  # which it is given, and does not take
        assert {pk: site.simultaneous_connections(pk, since=struck_at) for pk in lost} == dict.fromkeys(lost, 0)
        overlaps = {pk: overlapping_runs(pk, since=woken_at - 1) for pk in lost}
        assert overlaps == {pk: [] for pk in lost}


ROUNDING = timedelta(milliseconds=5)  # durations are kept in whole milliseconds


def overlapping_runs(exchange_id: str, *, since: float) -> list[tuple[datetime, datetime]]:
    """Starts of runs of streams that stored something while another run went on: those have two writers. What a process
    stores that had been frozen is in a run that began before it froze."""
    runs = Run.objects.filter(exchange_id=exchange_id, transport=RunTransport.STREAM, outcome="stored")
    spans = [
        (run.started_at, run.started_at + timedelta(milliseconds=run.duration_ms))
        for run in runs.order_by("started_at")
    ]
    recent = [span for span in spans if span[1].timestamp() > since]
    return [(a[0], b[0]) for a, b in itertools.pairwise(recent) if b[0] < a[1] - ROUNDING]
