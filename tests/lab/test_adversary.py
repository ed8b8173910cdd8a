"""Whatever exchanges answer, a stored row is the exchange's own row of that id and stamp, or it is not stored.

The sandbox's adversaries shift places, rename, collide, halt, shrink and grow their lists, leave out, answer from
caches and fail; each price tells of which market and which answer it is.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from django.db import connection

from collectors.gaps import sweep
from collectors.history import partitions
from collectors.models import Worker
from collectors.polling import poll as polling
from exchanges.models import Exchange
from feeds.base import FeedError
from lib import clock
from operations import commands
from sandbox.adversary import VENUES, whose
from tests.sandbox_client import PROJECT, START_SECONDS, free_port, wait_for_http
from tests.world import NO_RATE_LIMIT, poll

POLLS_A_LIST = 12
STORED = """
SELECT m.venue_id, t.last, extract(epoch FROM t.exchange_at), extract(epoch FROM t.received_at)
FROM collectors_tick AS t JOIN exchanges_market AS m ON m.id = t.pipeline_id WHERE m.exchange_id = %s
"""
UNEXPLAINED = """
SELECT m.venue_id FROM exchanges_market AS m JOIN collectors_pipeline AS p ON p.market_id = m.id
WHERE m.exchange_id = %s AND m.is_collected AND m.venue_id = ANY(%s)
  AND p.received_at IS NULL AND NOT EXISTS (SELECT FROM collectors_gap AS g WHERE g.pipeline_id = p.market_id)
"""


@dataclass
class Verdict:
    """What was stored, and what of it is no row that the exchange has sent."""

    answers: int = 0
    stored: int = 0
    wrong: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def adversaries(seed: int) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", str(port), "adversary", "--seed", str(seed)],
        cwd=PROJECT, env=os.environ, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_http(f"http://127.0.0.1:{port}/_adversary/served?venue=gate", seconds=START_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def add(venue: str, url: str) -> None:
    commands.create(
        venue, by="test", now=clock.now(), base_url=f"{url}/{venue}", poll_interval_seconds=1, transport="poll",
        **NO_RATE_LIMIT,
    )  # fmt: skip


def ask(venue: str, number: int, verdict: Verdict) -> None:
    """One poll; now and then the list before it, as the hourly task would load it."""
    if number % POLLS_A_LIST == 0:
        with contextlib.suppress(FeedError, polling.ExchangeBusy):
            polling.load_markets(venue, now=clock.now(), patience_seconds=1, deadline_seconds=5)
    Worker.objects.filter(pk=venue).update(retry_at=None)
    if number % 5 == 0:
        commands.ask_again(venue, by="test", now=clock.now())
    verdict.outcomes[poll(venue)] += 1


def told(url: str, venue: str) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(f"{url}/_adversary/served", params={"venue": venue}, timeout=30).json()
    return answer


def hold_against(url: str, venue: str, verdict: Verdict) -> None:
    """Compares every stored row with what was served under its id."""
    served = told(url, venue)
    sent = {(id_, number, answer): stamp for id_, number, answer, stamp in served["served"]}
    verdict.answers += served["answers"]
    with connection.cursor() as cursor:
        cursor.execute(STORED, [venue])
        rows = cursor.fetchall()
    verdict.stored += len(rows)
    for venue_id, last, stamp, _ in rows:
        number, answer = whose(last)
        key = (venue_id, number, answer)
        if key not in sent:
            verdict.wrong.append(f"{venue}: {venue_id} has {last}: nobody sent that for it")
        elif stamp is not None and sent[key] is not None and abs(float(stamp) * 1000 - sent[key]) > 1:
            verdict.wrong.append(f"{venue}: {venue_id} at {stamp}, sent with {sent[key]}")


def settle(venues: list[str]) -> None:
    """Two more intervals, so that what is missing is known to be."""
    for _ in range(3):
        time.sleep(1.1)
        for venue in venues:
            Worker.objects.filter(pk=venue).update(retry_at=None)
            poll(venue)
        sweep.run(clock.now())


def unexplained(url: str, venue: str) -> list[str]:
    """Markets that the exchange lists and trades, that are collected, and of which nothing is known or said."""
    listed = [id_ for id_, is_halted in told(url, venue)["listed"].items() if not is_halted]
    if Worker.objects.get(pk=venue).error_count:
        return []  # the exchange itself is said to fail
    with connection.cursor() as cursor:
        cursor.execute(UNEXPLAINED, [venue, listed])
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "polls"), [(1, 60), (2, 1250), (3, 1250)])
def test_a_stored_row_is_the_exchanges_own(transactional_db: None, settings: Any, seed: int, polls: int) -> None:
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = True
    partitions.ensure(clock.now())
    verdict, venues = Verdict(), list(VENUES)
    with adversaries(seed) as url:
        for venue in venues:
            add(venue, url)
        for number in range(polls):
            for venue in venues:
                ask(venue, number, verdict)
        settle(venues)
        for venue in venues:
            hold_against(url, venue, verdict)
        silent = {venue: found for venue in venues if (found := unexplained(url, venue))}

    sys.stdout.write(f"\n{verdict.answers} answers, {verdict.stored} rows stored, {dict(verdict.outcomes)}\n")
    assert verdict.stored > polls * 20
    assert verdict.wrong == []
    assert silent == {}
    assert Exchange.objects.count() == len(venues)
