"""Two stream processes share the exchanges; each takes over what the other leaves."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from collectors.models import Tick
from tests.streaming.conftest import LEASE_MARGIN_SECONDS, LEASE_SECONDS, STREAMED, Site, at

pytestmark = [pytest.mark.system, pytest.mark.django_db, pytest.mark.timeout(90)]  # they only read
TAKE_OVER_SECONDS = LEASE_SECONDS + LEASE_MARGIN_SECONDS + 5.0


@pytest.fixture
def shared(crowd: Site) -> Site:
    site = crowd
    site.processes = [running for running in site.processes if running.poll() is None]
    while len(site.processes) < 2:
        site.start()
    wait_for_a_fair_share(site)
    return site


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
        assert rows_closer_than(site, 0.15, since=woken_at - 1) == 0


def rows_closer_than(site: Site, seconds: float, *, since: float) -> int:
    """Rows of one market that two writers must have stored: a stream's own are a batch apart."""
    last: dict[int, float] = {}
    found = 0
    rows = Tick.objects.filter(received_at__gt=at(since)).order_by("received_at")
    for pipeline, received_at in rows.values_list("pipeline_id", "received_at"):
        found += received_at.timestamp() - last.get(pipeline, 0.0) < seconds
        last[pipeline] = received_at.timestamp()
    return found
