"""Everybody at once: polls, sweeps, verbs, learning and upkeep, in threads. What must always hold, holds afterwards."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from django.db import connection

from collectors import lease
from collectors.gaps import invariants, ledger, sweep
from collectors.models import Pipeline
from collectors.polling import store
from operations import commands
from tests.gaps.conftest import INTERVAL, Field
from tests.world import cycle

SECONDS = 4.0  # longer in the lab
CLOCK_RUNS = 60.0  # so many times as fast


def keep_doing(work: Callable[[random.Random], None], seed: int, until: float) -> int:
    chance, times = random.Random(seed), 0
    try:
        while time.monotonic() < until:
            with suppress(commands.CommandRefused):
                work(chance)
            times += 1
    finally:
        connection.close()
    return times


@pytest.mark.timeout(120)
def test_a_crowd_leaves_every_gap_once_and_every_count_right(field_: Field) -> None:
    crowd(field_, seconds=SECONDS, seed=0)


def crowd(field_: Field, *, seconds: float, seed: int) -> None:
    for exchange_id in ("kraken", "luno"):
        field_.add(exchange_id, 6)
    begun_at, origin = time.monotonic(), field_.begun + timedelta(minutes=5)
    until = begun_at + seconds

    def now() -> datetime:
        return origin + timedelta(seconds=CLOCK_RUNS * (time.monotonic() - begun_at))

    def poll(exchange_id: str) -> Callable[[random.Random], None]:
        def work(chance: random.Random) -> None:
            permit = lease.take(exchange_id, lease_seconds=60, repeat=True)
            if permit is not None:
                at = now()
                without = [number for number in field_.pipelines[exchange_id] if chance.random() < 0.4]
                quotes = field_.quotes(exchange_id, at, without)
                time.sleep(chance.random() * 0.1)
                if quotes and store.finish(permit, cycle(at, accepted=quotes)) is None:
                    lease.release(permit)
            time.sleep(chance.random() * 2 * INTERVAL / CLOCK_RUNS)

        return work

    def look(_: random.Random) -> None:
        sweep.run(now())
        time.sleep(0.01)

    def operate(chance: random.Random) -> None:
        exchange_id = chance.choice(["kraken", "luno"])
        verb = chance.choice([commands.disable, commands.enable, commands.enable, commands.restart])
        verb(exchange_id, by="test", now=now())
        market_verb = chance.choice([commands.blacklist_market, commands.lift_market])
        market_verb(exchange_id, f"C{chance.randrange(6)}/USD", by="test", now=now())
        time.sleep(chance.random() * 0.1)

    def keep_up(chance: random.Random) -> None:
        ledger.end_orphans()
        sweep.forget_old_gaps(now())
        Pipeline.objects.filter(pk=chance.choice(field_.all_pipelines)).update(expected_seconds=chance.choice([10, 20]))
        time.sleep(0.02)

    jobs = [poll("kraken"), poll("luno"), look, look, operate, keep_up]
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(keep_doing, job, seed + number, until) for number, job in enumerate(jobs)]
    assert all(future.result() > 10 for future in futures)

    broken = {kept.promise: kept.examples for kept in invariants.check(since=field_.begun) if kept.offences}
    assert broken == {}
