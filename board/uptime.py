"""The stored share of each of the last 90 days, from what was counted: a day without a count has no share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as midnight

from django.db import connection

DAYS = 90
PAST_SECONDS = 3600.0  # how long what was read of earlier days is good; all of it is a million rows
NEWEST = timedelta(days=1)  # before today: what is counted late
FULL_SHARE, PART_SHARE = 0.995, 0.95

# Through each exchange's part of the key; the table may hold a million rows.
BY_DAY = """
SELECT e.id, c.day, c.expected, c.stored FROM exchanges_exchange AS e CROSS JOIN LATERAL (
    SELECT (quarter_at AT TIME ZONE 'UTC')::date AS day,
           sum(expected_minutes) AS expected, sum(stored_minutes) AS stored
    FROM collectors_coverage
    WHERE exchange_id = e.id AND quarter_at >= %(start)s AND quarter_at < %(end)s GROUP BY 1) AS c
WHERE e.removed_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Count:
    """The minutes of pipelines that should have held a row, and those that did."""

    expected: int = 0
    stored: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.expected + other.expected, self.stored + other.stored)

    @property
    def share(self) -> float | None:
        return self.stored / self.expected if self.expected else None

    @property
    def level(self) -> str:
        """Returns `full`, `part`, `low`, or `none` without data: never a good word for what nobody knows."""
        if self.share is None:
            return "none"
        return "full" if self.share >= FULL_SHARE else "part" if self.share >= PART_SHARE else "low"


NOTHING = Count()
Counts = Mapping[tuple[str, date], Count]


def percent(count: Count) -> float | None:
    """Returns the percent with two digits, cut and never rounded up: 100 says that not a minute is missing."""
    return count.stored * 10_000 // count.expected / 100 if count.expected else None


def in_words(count: Count) -> str:
    share = percent(count)
    return "no data" if share is None else f"{share:.2f} %" if share < 100 else "100 %"


def days_until(today: date) -> Sequence[date]:
    """Returns the last 90 days, today the last of them."""
    return [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]


def total(counts: Sequence[Count]) -> Count:
    return sum(counts, NOTHING)


def read(now: datetime) -> Counts:
    """Reads counts by exchange and day (UTC). Two queries, of which that for earlier days is asked once an hour."""
    today = _begin_of(now.astimezone(UTC).date())
    return {**_past(today), **_between(today - NEWEST, today + timedelta(days=1))}


_held: tuple[datetime, float, Counts] | None = None


def _past(today: datetime) -> Counts:
    global _held
    held = _held
    if held is None or held[0] != today or time.monotonic() - held[1] > PAST_SECONDS:
        _held = held = (today, time.monotonic(), _between(today - timedelta(days=DAYS - 1), today - NEWEST))
    return held[2]


def forget() -> None:
    """Makes the next reading read anew what is held of earlier days."""
    global _held
    _held = None


def _between(start: datetime, end: datetime) -> Counts:
    with connection.cursor() as cursor:
        cursor.execute(BY_DAY, {"start": start, "end": end})
        return {(exchange, day): Count(int(expected), int(stored)) for exchange, day, expected, stored in cursor}


def _begin_of(day: date) -> datetime:
    return datetime.combine(day, midnight(), UTC)
