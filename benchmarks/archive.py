"""The archive: bytes of a row hot and archived, what archiving costs, and how fast an archived day and bars come back.

A made day of quotes with the tick sizes and decimals that exchanges have, walking at random.
"""

from __future__ import annotations

import gzip
import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy
from django.conf import settings
from django.db import connection
from django.test import override_settings

from archive.models import ArchiveFile
from benchmarks import world
from benchmarks.comparison import Comparison, seconds_of
from benchmarks.world import INTERVAL_SECONDS, World
from collectors.history import archiving, candle_formats, knowing, partitions, reading, rollups
from collectors.history.archived_kinds import TICKS
from collectors.history.archiving import DAY, DueSpan
from collectors.history.candles import CandleQuery
from collectors.models import Watermark
from collectors.rules import intervals
from lib import clock

TICK_SIZES = (0.1, 0.01, 0.001, 0.0001, 0.00001, 1e-7, 1e-8)
COPY_TICKS = """
COPY collectors_tick (pipeline_id, received_at, exchange_at, last, bid, ask, high, low, base_volume, quote_volume)
FROM STDIN (FORMAT csv)
"""
MINUTES = """
INSERT INTO collectors_rollup (pipeline_id, samples, minute_at, open, high, low, close, live, candle, trade, revision,
    known_at)
SELECT %s, 6, %s + n * interval '1 minute', 100 + n %% 7, 108, 99, 100 + n %% 5, 6, 0, 0, 0, %s
FROM generate_series(0, %s - 1) AS n
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    markets: int
    seconds: int  # of the day
    bars: int


FULL = Sizes(markets=100, seconds=86_400, bars=500_000)
SMOKE = Sizes(markets=3, seconds=3_600, bars=1_000)


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    [markets] = world.seed(World(1, sizes.markets), clock.now()).values()
    day = clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 2 * DAY
    partitions.ensure_since(day, clock.now())
    ArchiveFile.objects.all().delete()
    with tempfile.TemporaryDirectory() as folder, override_settings(ARCHIVE_URL=f"file://{folder}"):
        rows = _store(list(markets), day, sizes)
        yield from _archived(day, rows)
        _drop(day)
        yield _one_day(markets[0], day)
    yield _bars(markets[0], sizes.bars)


def _store(markets: list[int], day: datetime, sizes: Sizes) -> int:
    """Stores a day of quotes; returns how many."""
    chance = numpy.random.default_rng(1)
    count = sizes.seconds // INTERVAL_SECONDS
    content = io.StringIO()
    for number, market in enumerate(markets):
        tick = TICK_SIZES[number % len(TICK_SIZES)]
        decimals = max(0, round(-numpy.log10(tick)))
        steps = 20_000 + numpy.cumsum(chance.integers(-3, 4, count))
        highest, lowest = numpy.maximum.accumulate(steps), numpy.minimum.accumulate(steps)
        spread = chance.integers(1, 4, count)
        volumes = numpy.round(chance.lognormal(8, 1) + numpy.cumsum(chance.exponential(0.7, count)), 4)
        for place in range(count):
            moment = day + timedelta(seconds=place * INTERVAL_SECONDS, microseconds=int(chance.integers(0, 999_999)))
            last, bid, ask = (
                round(float(steps[place] + off) * tick, decimals) for off in (0, -spread[place], spread[place])
            )
            high, low = (round(float(edge[place]) * tick, decimals) for edge in (highest, lowest))
            stamp = (moment - timedelta(milliseconds=300)).replace(microsecond=int(chance.integers(0, 999)) * 1000)
            quote_volume = round(float(volumes[place]) * last, 6)
            values = (market, moment, stamp, last, bid, ask, high, low, volumes[place], quote_volume)
            content.write(",".join(map(str, values)) + "\n")
    content.seek(0)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.copy_expert(COPY_TICKS, content)
    return count * len(markets)


def _archived(day: datetime, rows: int) -> Iterator[Comparison]:
    name = f"collectors_tick_{day:%Y%m%d}"
    span = DueSpan(TICKS, day.date())
    ours = seconds_of(lambda: archiving.archive(span, now=clock.now(), go_on=lambda: None), clock=time.process_time)
    other = seconds_of(lambda: _as_packed_csv(name), clock=time.process_time)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s)", [name])
        hot = cursor.fetchone()[0]
    archived = sum(ArchiveFile.objects.values_list("bytes", flat=True))
    yield Comparison(
        "archive_bytes_per_row", archived / rows, hot / rows, goal=0.3, unit="bytes", at_most=True,
        note=f"{rows:,} quotes of a made day; other: the table with its index",
    )  # fmt: skip
    yield Comparison(
        "archive_cpu_per_million_rows", ours * 1e6 / rows, other * 1e6 / rows, goal=1.0, unit="seconds", at_most=True,
        note="of our process, read back and hashed; other: CSV by COPY, packed by gzip",
    )  # fmt: skip


def _as_packed_csv(table: str) -> None:
    content = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {table} TO STDOUT (FORMAT csv)", content)
    gzip.compress(content.getvalue())


def _drop(day: datetime) -> None:
    gone = archiving.drop(TICKS, f"collectors_tick_{day:%Y%m%d}", now=clock.now())
    assert gone.is_gone, gone


def _one_day(market: int, day: datetime) -> Comparison:
    def read() -> None:
        found = reading.read(market, start=day, end=day + DAY, limit=10_000, now=clock.now(), grain="raw")
        assert found.rows

    seconds = min(seconds_of(read) for _ in range(3))
    return Comparison(
        "archived_pipeline_day_seconds", seconds, 1.0, goal=1.0, unit="seconds", at_most=True,
        note="one market's ticks of an archived day; other: the second that it may take",
    )  # fmt: skip


def _bars(market: int, bars: int) -> Comparison:
    now = clock.now().replace(second=0, microsecond=0)
    start = now - timedelta(minutes=bars + 10)
    partitions.ensure_since(start, now)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(MINUTES, [market, start, knowing.known_since(), bars])
        cursor.execute("ANALYZE collectors_rollup")
    Watermark.objects.update_or_create(name=rollups.CURSOR, defaults={"reached_at": now})
    query = CandleQuery(market, intervals.parse("1m"), start, now, ZoneInfo("UTC"), now, bars)
    with override_settings(ROLLUP_RETENTION_DAYS=max(400, settings.ROLLUP_RETENTION_DAYS)):
        table = candle_formats.arrow_table(query)[0]
        seconds = seconds_of(
            lambda: candle_formats.as_arrow(candle_formats.arrow_table(query)[0], {}), clock=time.process_time
        )
    assert table.num_rows == bars, table.num_rows
    return Comparison(
        "candles_arrow_cpu_seconds", seconds, 1.0, goal=1.0, unit="seconds", at_most=True,
        note=f"of our process, {bars:,} bars of a minute; other: the second that it may take",
    )  # fmt: skip
