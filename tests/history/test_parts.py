"""The sum of parts is the whole, wherever the border between raw rows and minutes lies, in any zone and interval."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from collectors.history import candles, partitions, rollups
from collectors.history.candles import CandleQuery
from collectors.models import Watermark
from collectors.rules import intervals
from collectors.rules.intervals import Interval
from tests.world import add_exchange, add_market

MINUTE = timedelta(minutes=1)
Ticks = list[tuple[datetime, float]]
# Each of them changes its clocks on the day in question, or is far from UTC.
DAYS = (
    (datetime(2026, 10, 24, 20, tzinfo=UTC), "Europe/Berlin"),
    (datetime(2026, 3, 7, 22, tzinfo=UTC), "America/New_York"),
    (datetime(2026, 10, 3, 10, tzinfo=UTC), "Australia/Lord_Howe"),
    (datetime(2026, 2, 27, 23, tzinfo=UTC), "Pacific/Chatham"),
)
OF_MINUTES, OF_ROWS = ("1m", "7m", "50m", "1h", "5h", "1d", "3d", "1w", "1M"), ("1s", "10s", "45s", "61s")


@pytest.fixture
def ticked(transactional_db, settings):
    settings.RAW_RETENTION_HOURS = settings.RAW_RETENTION_MOST_HOURS = 24 * 3650
    settings.ROLLUP_RETENTION_DAYS = 3650

    def write(start: datetime, hours: int, chance: random.Random) -> tuple[int, Ticks]:
        """Raw rows at random, of prices at random; nothing is rolled up yet."""
        pipeline = add_market(add_exchange("kraken", since=start), "BTC", "USD", since=start).pk
        partitions.ensure_since(start, start + timedelta(hours=hours))
        Watermark.objects.create(name=rollups.CURSOR, reached_at=start)
        seconds = sorted(chance.sample(range(hours * 3600), hours * 40))
        rows = [(start + timedelta(seconds=at), float(chance.randrange(1, 1000))) for at in seconds]
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO collectors_tick (pipeline_id, origin, received_at, last)"
                " SELECT %s, 0, * FROM unnest(%s::timestamptz[], %s::float8[])",
                [pipeline, *map(list, zip(*rows, strict=True))],
            )
        return pipeline, rows

    return write


@pytest.mark.parametrize(("start", "place"), DAYS, ids=[place for _, place in DAYS])
def test_bars_are_the_same_wherever_the_border_lies(ticked, start, place):
    """Everything raw, all but the newest rolled up, and borders in the midst of bars."""
    chance, hours, zone = random.Random(place), 9, ZoneInfo(place)
    pipeline, rows = ticked(start, hours, chance)
    end = start + timedelta(hours=hours)
    for border in [start, *sorted(start + chance.randrange(hours * 60) * MINUTE for _ in range(2)), end]:
        roll_up(pipeline, border, end)
        for text in OF_MINUTES:
            asked = CandleQuery(pipeline, intervals.parse(text), start - timedelta(days=40), end, zone, end, 100_000)
            assert read(asked) == made_of(asked.interval, rows, zone), (text, border)
    for text in OF_ROWS:
        asked = CandleQuery(pipeline, intervals.parse(text), start, end, zone, end, 100_000)
        assert read(asked) == made_of(asked.interval, rows, zone), text


def test_pages_and_spans_cut_no_bar(ticked):
    """Any span has the bars that open in it, whole: two spans that meet have all of both, and none twice."""
    chance, start, zone = random.Random(4), datetime(2026, 10, 24, 20, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    pipeline, _ = ticked(start, 6, chance)
    end = start + timedelta(hours=6)
    roll_up(pipeline, start + timedelta(hours=4), end)
    for text in ("10s", "1m", "7m", "1h", "1d"):
        whole = read(CandleQuery(pipeline, intervals.parse(text), start - timedelta(days=2), end, zone, end, 100_000))
        for _ in range(5):
            cut = start + timedelta(microseconds=chance.randrange(6 * 3600 * 10**6))
            before = CandleQuery(pipeline, intervals.parse(text), start - timedelta(days=2), cut, zone, end, 100_000)
            behind = CandleQuery(pipeline, intervals.parse(text), cut, end, zone, end, 100_000)
            assert read(before) + read(behind) == whole, (text, cut)


def roll_up(pipeline: int, border: datetime, now: datetime) -> None:
    reached = Watermark.objects.get(name=rollups.CURSOR).reached_at
    if border > reached:
        rollups.again(pipeline, start=reached, end=border - timedelta(microseconds=1), now=now)
        Watermark.objects.filter(name=rollups.CURSOR).update(reached_at=border)


def read(query: CandleQuery) -> list[tuple[Any, ...]]:
    """(opened, ended, open, high, low, close, rows) of each bar."""
    return [(*row[:6], row[10]) for row in candles.read(query).rows]


def made_of(interval: Interval, rows: Sequence[tuple[datetime, float]], zone: ZoneInfo) -> list[tuple[Any, ...]]:
    return [
        (*times, prices[0], max(prices), min(prices), prices[-1], len(prices))
        for times, prices in _grouped(interval, rows, zone)
    ]


def _grouped(interval: Interval, rows: Sequence[tuple[datetime, float]], zone: ZoneInfo) -> Iterator[tuple[Any, ...]]:
    bars: dict[tuple[datetime, datetime], list[float]] = {}
    for at, price in rows:
        bars.setdefault(_bar(interval, at, zone), []).append(price)
    yield from sorted(bars.items())


def _bar(interval: Interval, at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The bar that a moment lies in: counted anew here, by the calendar on the wall of that zone."""
    local, count = at.astimezone(zone), interval.count
    day = local.date()
    if interval.unit == "M":
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
    elif interval.unit in "dw":
        length, origin = (count, "1970-01-01") if interval.unit == "d" else (7 * count, "1970-01-05")
        first = day - timedelta(days=(day - datetime.fromisoformat(origin).date()).days % length)
        following = first + timedelta(days=length)
    else:
        first, following = day, day + timedelta(days=1)
    opened, ended = (
        datetime(each.year, each.month, each.day, tzinfo=zone).astimezone(UTC) for each in (first, following)
    )
    if interval.unit in "smh":
        length = timedelta(seconds=interval.seconds)
        opened += (at - opened) // length * length
        ended = min(ended, opened + length)
    return opened, ended
