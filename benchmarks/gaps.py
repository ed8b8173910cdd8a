"""What gap detection and a long ledger cost: the write path with and without it, and reading beside a million gaps.

A round is one cycle of 20,000 pipelines through `store.finish`. The side without detection runs the same statement,
with the parts that look for gaps, count them and record them taken out.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from benchmarks import world
from benchmarks.comparison import Comparison, alternate, seconds_of
from benchmarks.ingest import cycle_of, rows_of
from benchmarks.world import World
from collectors import lease
from collectors.gaps import causes, ledger, sweep
from collectors.models import Gap, Pipeline, Watermark
from collectors.polling import jumps, store
from collectors.status import pipelines
from lib import clock

# Gaps of the last 24 hours by pipeline, so that many differ: of 50,000, 10,000 and about 1,000,000 together.
FEW = "CASE WHEN p.market_id %% 5 = 0 THEN 1 ELSE 0 END"
MANY = "1 + p.market_id %% 39"
WORKS = {"status": 1.3, "ingest": 1.3, "sweep": None, "forget": None}  # and how much slower it may be
LEDGERS = {"few": FEW, "many": MANY}

FILL = """
INSERT INTO {table} (pipeline_id, started_at, ended_at, missed_count, cause, evidence, detected_at, is_judged)
SELECT p.market_id, at, at + interval '40 seconds', 3, 'our outage', 'no run was finished during the silence',
       at + interval '40 seconds', true
FROM collectors_pipeline AS p CROSS JOIN LATERAL generate_series(1, {gaps}) AS n
CROSS JOIN LATERAL (SELECT %(now)s - interval '1 day' + (n + random()) * interval '86000 seconds' / (2 + {gaps}) AS at)
"""
COUNT = "UPDATE collectors_pipeline AS p SET gaps_24h = {gaps}"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the world's exchanges, `polls` are polled in a round."""

    world: World
    polls: int
    rounds: int


FULL = Sizes(world.PROMISED, polls=40, rounds=7)
SMOKE = Sizes(world.TINY, polls=2, rounds=1)


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    now = clock.now()
    numbers = world.seed(sizes.world, now)
    cycles = Cycles(dict(list(numbers.items())[: sizes.polls]), now)
    detecting, bare = alternate([cycles.detecting, cycles.bare], rounds=sizes.rounds)
    _check(cycles)
    yield Comparison(
        "ingest_gap_detection", detecting, bare, goal=0.8, rounds=sizes.rounds,
        note="the same statement without counting and recording gaps",
    )  # fmt: skip
    yield from _beside_ledgers(cycles, sizes.rounds)


def _beside_ledgers(cycles: Cycles, count: int) -> Iterator[Comparison]:
    ledgers = {name: _fill(name, gaps, cycles.moment) for name, gaps in LEDGERS.items()}
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in LEDGERS}
    for number in range(1 + count):
        for name in LEDGERS:
            with _in_place(name):
                measured[name].append(_milliseconds(cycles, number))
    few, many = (
        {work: statistics.median(one[work] for one in rounds[1:]) for work in WORKS} for rounds in measured.values()
    )
    fewest, most = ledgers.values()
    note = f"{most:,} gaps in 24 h against {fewest:,}"
    for name, goal in WORKS.items():
        yield Comparison(
            f"{name}_beside_a_million_gaps", many[name], few[name], goal=goal, unit="ms", at_most=True,
            rounds=count, note=note,
        )  # fmt: skip


class Cycles:
    """Polls of the same pipelines, ten seconds apart."""

    def __init__(self, numbers: Mapping[str, Sequence[int]], now: datetime) -> None:
        self._numbers = numbers
        self.moment = now
        self.rows_stored = 0

    def detecting(self, cycle: int) -> float:
        return self.rows / self.seconds(cycle)

    def bare(self, cycle: int) -> float:
        with _without_detection():
            return self.rows / self.seconds(cycle)

    @property
    def rows(self) -> int:
        return sum(map(len, self._numbers.values()))

    def seconds(self, cycle: int) -> float:
        self.moment += timedelta(seconds=world.INTERVAL_SECONDS)
        return sum(self._poll(exchange, numbers, cycle) for exchange, numbers in self._numbers.items())

    def _poll(self, exchange: str, numbers: Sequence[int], cycle: int) -> float:
        permit = lease.take(exchange, lease_seconds=60, repeat=True)
        assert permit is not None
        finished = cycle_of(self.moment, rows_of(numbers, self.moment, cycle))
        stored: list[int | None] = []
        seconds = seconds_of(lambda: stored.append(store.finish(permit, finished)))
        assert stored == [len(numbers)]
        self.rows_stored += len(numbers)
        return seconds


@contextmanager
def _without_detection() -> Iterator[None]:
    """store.finish under a statement of its own, prepared like the real one."""
    store._ensure_stage()
    real = store.EXECUTE
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name = 'finish_bare'")
        if cursor.fetchone()[0] == 0:
            cursor.execute(_bare(store.PREPARE).replace("finish_with_quotes", "finish_bare"))
    store.EXECUTE = real.replace("finish_with_quotes", "finish_bare")
    try:
        yield
    finally:
        store.EXECUTE = real


def _bare(statement: str) -> str:
    for part, instead in (
        (r",\s+gaps_24h = p\.gaps_24h \+ CASE.*?END,\s+gap_open = false", ""),
        (r"RETURNING\s+p\.market_id.*?\), history AS", f"RETURNING p.market_id, {jumps.RETURNED}), history AS"),
        (r"\), closed AS \(.*?WHERE collectors_gap\.ended_at IS NULL\s+\)", ")"),
        (r"EXISTS \(SELECT FROM merged WHERE [^()]*\)", "false"),
    ):
        statement, found = re.subn(part, instead, statement, count=1, flags=re.DOTALL)
        if not found:
            raise AssertionError(f"the write path has changed: nothing looks like {part}")
    return statement


def _fill(name: str, gaps: str, now: datetime) -> int:
    """A ledger of its own, with all indexes; how many gaps it holds."""
    table = f"bench_gap_{name}"
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(f"DROP TABLE IF EXISTS {table}")
        cursor.execute(f"CREATE TABLE {table} (LIKE collectors_gap INCLUDING ALL)")
        cursor.execute(FILL.format(table=table, gaps=gaps), {"now": now})
        count = int(cursor.rowcount)
        cursor.execute(f"VACUUM ANALYZE {table}")
    return count


@contextmanager
def _in_place(name: str) -> Iterator[None]:
    """That ledger as the real one, its counts on the pipelines, and the disk at rest."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE collectors_gap RENAME TO bench_gap_put_aside")
        cursor.execute(f"ALTER TABLE bench_gap_{name} RENAME TO collectors_gap")
        try:
            cursor.execute(COUNT.format(gaps=LEDGERS[name].replace("%%", "%")))
            cursor.execute("VACUUM collectors_pipeline")
            cursor.execute("CHECKPOINT")
            yield
        finally:
            cursor.execute(f"ALTER TABLE collectors_gap RENAME TO bench_gap_{name}")
            cursor.execute("ALTER TABLE bench_gap_put_aside RENAME TO collectors_gap")


def _milliseconds(cycles: Cycles, number: int) -> dict[str, float]:
    now = cycles.moment
    since = now - sweep.GAP_WINDOW + timedelta(minutes=number)
    Watermark.objects.update_or_create(name=sweep.GAP_CURSOR, defaults={"reached_at": since})
    cycles.seconds(number)  # the statement is planned anew for this ledger
    works: dict[str, Callable[[], object]] = {
        "status": lambda: pipelines.read_all(now),
        "sweep": lambda: (ledger.open_silent(now), causes.judge_new(now)),
        "forget": lambda: sweep.forget_old_gaps(since + sweep.GAP_WINDOW + timedelta(minutes=1)),
    }
    figures = {name: seconds_of(work) for name, work in works.items()} | {"ingest": cycles.seconds(number)}
    return {name: 1000 * seconds for name, seconds in figures.items()}


def _check(cycles: Cycles) -> None:
    """Nobody was silent, and both sides stored every row."""
    assert not Gap.objects.exists()
    assert Pipeline.objects.filter(received_at__isnull=False).count() == cycles.rows
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM collectors_tick")
        assert cursor.fetchone()[0] == cycles.rows_stored
