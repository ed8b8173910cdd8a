"""Whatever exchanges answer, a stored row is the exchange's own row of that id and stamp, or it is not stored.

A system with two pools of workers and a stream process collects sixteen adversaries. They shift places, rename,
collide, halt, shrink and grow their lists, leave out, answer from caches and fail; each price tells of which market and
which answer it is. Twelve of them are collected by their ids alone, three push.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from sandbox.adversaries.server import VENUES
from tests.lab.adverse import INTERVAL_SECONDS, AdverseSystem, adversaries, adverse_system

pytestmark = [pytest.mark.system, pytest.mark.timeout(3600)]
ANSWERS = int(os.environ.get("ADVERSE_ANSWERS") or 10_000)
LEAST_POLLS = 30  # of each exchange
PUSHED = ("okx", "bybit", "bitget")
LOADED_SINCE = "SELECT exchange_id FROM collectors_worker WHERE markets_loaded_at >= to_timestamp(%s)"


def counted(run: AdverseSystem) -> dict[str, int]:
    return {venue: run.their.served(venue)["answers"] for venue in VENUES}


def let_it_run(run: AdverseSystem, answers: int) -> None:
    """Until so many answers have come in all, and lists are loaded again and again, as an operator may."""
    give_up_at = time.monotonic() + 3000
    while sum((known := counted(run)).values()) < answers or min(known.values()) < LEAST_POLLS:
        assert time.monotonic() < give_up_at, known
        time.sleep(30)
        run.refresh()


def settle(run: AdverseSystem) -> float:
    """Lists stand still and are known, and two polls of each have passed; returns from when on they count."""
    run.their.order("still", still=True)
    began = time.time()

    while lacking := set(VENUES) - {row[0] for row in run.system.sql(LOADED_SINCE, began)}:
        assert time.time() - began < 900, f"lists not loaded: {lacking}"
        run.refresh()  # three times in a row, where a list is short
        time.sleep(30)
    settled = time.time()
    run.wait_until(lambda: all(run.stored_since(venue, settled) for venue in VENUES), what="a poll of each")
    time.sleep(3 * INTERVAL_SECONDS)
    return settled


def test_a_stored_row_is_the_exchanges_own(tmp_path: Path) -> None:
    wrong, stored = [], 0
    with adversaries(1) as their, adverse_system(tmp_path, their) as run:
        their.order("still", still=True)
        for venue in VENUES:
            run.add(venue, transport="auto" if venue in PUSHED else "poll")
        their.order("still", still=False)
        for part in (1, 2):
            let_it_run(run, ANSWERS * part // 2)
            settled = settle(run)
            run.wait_until(
                lambda since=settled: not [each for venue in VENUES for each in run.unexplained(venue, since=since)],
                what=f"a row, a gap or a reason for each market: {[run.unexplained(v, since=settled) for v in VENUES]}",
                seconds=60,
            )
            their.order("still", still=False)
        their.order("still", still=True)
        for venue in VENUES:
            count, faults = run.not_sent(venue)
            stored, wrong = stored + count, wrong + faults
        streams = run.system.sql("SELECT exchange_id FROM collectors_switch WHERE to_transport = 'stream'")
        answers = counted(run)
        run.system.verify()

    sys.stdout.write(f"\n{sum(answers.values())} answers, {stored} rows stored: {answers}\n")
    assert wrong == []
    assert stored > ANSWERS
    assert {row[0] for row in streams} == set(PUSHED)
