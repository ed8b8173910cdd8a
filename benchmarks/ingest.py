"""The write path against the other ways to get the same rows into PostgreSQL.

Ours is `store.finish`: packing, history with its index and partition, state, gaps, run and heartbeat, a commit for
each poll of 500. Every round is one cycle of all pipelines, ten seconds after the one before.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from benchmarks import world
from benchmarks.comparison import Comparison, alternate, seconds_of
from benchmarks.world import World
from collectors import lease
from collectors.models import Gap, Pipeline, Tick
from collectors.polling import copy_format, store
from collectors.rules.quote_checks import QuoteRow
from feeds.base import Quote
from lib import clock

STATE = ["received_at", "exchange_at", "last", "bid", "ask", "high", "low", "base_volume", "quote_volume"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The Django ways are too slow for all of a round's polls: they get `bulk_polls` polls and `single_rows` rows."""

    world: World
    bulk_polls: int
    single_rows: int
    warm_up_cycles: int
    rounds: int


FULL = Sizes(world.PROMISED, bulk_polls=10, single_rows=250, warm_up_cycles=5, rounds=7)
SMOKE = Sizes(world.TINY, bulk_polls=2, single_rows=5, warm_up_cycles=1, rounds=1)


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    now = clock.now()
    cycles = Cycles(sizes, world.seed(sizes.world, now), now)
    _make_bare_table()
    _warm_up(cycles, sizes.warm_up_cycles)
    sides = [cycles.ours, cycles.copy, cycles.bulk_create, cycles.update_or_create]
    ours, copy, bulk, single = alternate(sides, rounds=sizes.rounds)
    _check(cycles, sizes)
    for name, other, goal, note in (
        ("ingest_vs_copy", copy, 0.25, f"text COPY, prebuilt, 1 x {sizes.world.pipelines:,} rows, no index"),
        ("ingest_vs_bulk_create", bulk, 10, "bulk_create + update_conflicts, per poll"),
        ("ingest_vs_update_or_create", single, 150, "create + update_or_create, per row"),
    ):
        yield Comparison(name, ours, other, goal=goal, rounds=sizes.rounds, note=note)


def _warm_up(cycles: Cycles, count: int) -> None:
    """As a server is after its first minutes: used segments of the log are written over, instead of new ones made."""
    for cycle in range(-count, 0):
        cycles.ours(cycle)
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")


class Cycles:
    """The same market data for every side. The sides write at moments of their own, so that no row is old news."""

    def __init__(self, sizes: Sizes, numbers: Mapping[str, Sequence[int]], now: datetime) -> None:
        self._sizes = sizes
        self._numbers = numbers
        self._start = now
        self.polls_stored = 0

    def ours(self, cycle: int) -> float:
        """Rows per second of store.finish; leases are taken and quotes made outside of the clock."""
        seconds, stored = 0.0, 0
        for exchange, numbers in self._numbers.items():
            at = self._moment(cycle, 0)
            permit = lease.take(exchange, lease_seconds=60, repeat=True)
            assert permit is not None
            finished = cycle_of(at, rows_of(numbers, at, cycle))
            started = time.perf_counter()
            answer = store.finish(permit, finished)
            seconds += time.perf_counter() - started
            assert answer == len(numbers)
            stored += answer
            self.polls_stored += 1
        return stored / seconds

    def copy(self, cycle: int) -> float:
        """Text made beforehand, one transaction, a table without index, key or partition: the limit."""
        at = self._moment(cycle, 1)
        lines = [_text(row) for numbers in self._numbers.values() for row in rows_of(numbers, at, cycle)]
        text = io.StringIO("".join(lines))
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE bench_bare")
            seconds = seconds_of(
                lambda: cursor.copy_expert(f"COPY bench_bare ({copy_format.COLUMNS}) FROM STDIN", text)
            )
        return len(lines) / seconds

    def bulk_create(self, cycle: int) -> float:
        """Django's fastest way to write history and state; a transaction per poll, no gaps, no run, no heartbeat."""
        at, seconds = self._moment(cycle, 2), 0.0
        polls = list(self._numbers.values())[: self._sizes.bulk_polls]
        for numbers in polls:
            quotes = rows_of(numbers, at, cycle)
            seconds += seconds_of(lambda quotes=quotes: _bulk_create(quotes))  # type: ignore[misc]
        return sum(map(len, polls)) / seconds

    def update_or_create(self, cycle: int) -> float:
        """The way of the tutorial: two calls per row, each committed."""
        at = self._moment(cycle, 3)
        quotes = rows_of(list(self._numbers.values())[-1][: self._sizes.single_rows], at, cycle)
        return len(quotes) / seconds_of(lambda: _create_each(quotes))

    def _moment(self, cycle: int, side: int) -> datetime:
        return self._start + timedelta(seconds=cycle * world.INTERVAL_SECONDS + side)


def rows_of(numbers: Sequence[int], at: datetime, cycle: int) -> tuple[QuoteRow, ...]:
    moment, drift = at.timestamp(), 1 + cycle / 1000
    return tuple(QuoteRow(number, _quote((0.01 + number * 1.2345) * drift, moment)) for number in numbers)


def _quote(last: float, moment: float) -> Quote:
    bid, ask, high, low = last * 0.9999, last * 1.0001, last * 1.02, last * 0.97
    return Quote("", last, bid, ask, high, low, 12_345.678, 801_234.56, moment - 0.4, moment)


def cycle_of(at: datetime, accepted: Sequence[QuoteRow]) -> store.Cycle:
    return store.Cycle(
        started_at=at, finished_at=at, outcome="stored", error_count=0, strikes=0, retry_at=None, status="running",
        accepted=accepted, rows_answered=len(accepted),
    )  # fmt: skip


def _make_bare_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_bare")
        cursor.execute(
            "CREATE TABLE bench_bare (pipeline_id int, received_at timestamptz, last float8, bid float8, ask float8, "
            "high float8, low float8, base_volume float8, quote_volume float8, exchange_at timestamptz)"
        )


def _text(row: QuoteRow) -> str:
    quote = row.quote
    numbers = (quote.last, quote.bid, quote.ask, quote.high, quote.low, quote.base_volume, quote.quote_volume)
    return "\t".join([str(row.pipeline_id), str(_time(quote.received_at)), *map(str, numbers), _stamp(quote)]) + "\n"


def _stamp(quote: Quote) -> str:
    return r"\N" if quote.exchange_at is None else str(_time(quote.exchange_at))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _bulk_create(quotes: Sequence[QuoteRow]) -> None:
    ticks = [Tick(pipeline_id=row.pipeline_id, **_values(row.quote)) for row in quotes]
    states = [Pipeline(market_id=row.pipeline_id, expected_seconds=10, **_values(row.quote)) for row in quotes]
    with transaction.atomic():
        Tick.objects.bulk_create(ticks)
        Pipeline.objects.bulk_create(states, update_conflicts=True, unique_fields=["market"], update_fields=STATE)


def _create_each(quotes: Sequence[QuoteRow]) -> None:
    for row in quotes:
        values = _values(row.quote)
        Tick.objects.create(pipeline_id=row.pipeline_id, **values)
        Pipeline.objects.update_or_create(
            market_id=row.pipeline_id, defaults=values, create_defaults=values | {"expected_seconds": 10}
        )


def _values(quote: Quote) -> dict[str, Any]:
    return {
        "received_at": _time(quote.received_at),
        "exchange_at": None if quote.exchange_at is None else _time(quote.exchange_at),
        **{name: getattr(quote, name) for name in STATE[2:]},
    }


def _check(cycles: Cycles, sizes: Sizes) -> None:
    """What was measured is what was promised: every row is there, and no cycle looked like a gap."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM bench_bare")
        assert cursor.fetchone()[0] == sizes.world.pipelines
    ours = cycles.polls_stored * sizes.world.markets
    singles = (sizes.rounds + 1) * (sizes.bulk_polls * sizes.world.markets + sizes.single_rows)
    assert Tick.objects.count() == ours + singles
    assert not Gap.objects.exists()
    assert Pipeline.objects.filter(received_at__isnull=True).count() == 0
