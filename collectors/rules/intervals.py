"""Intervals of candles, from a second to a month, and where their bars begin and end in a time zone. Pure.

Bars of seconds, minutes and hours are counted from each local midnight, so a day is always a whole number of bars: the
last one is shorter where the interval does not divide the day, or where clocks are put forward or back. Days are
counted from 1 January 1970, weeks begin on Monday, months on the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "M": 30 * 86_400}
MOST = {"s": 86_400, "m": 1440, "h": 24, "d": 31, "w": 4, "M": 1}
EPOCH, FIRST_MONDAY = date(1970, 1, 1), date(1970, 1, 5)
FORMS = "a number and one of s, m, h, d, w, M, from 1s to 1M: 30s, 7m, 4h, 1d, 1w, 1M"


class Period(NamedTuple):
    """A local day with many bars, or one bar of days, weeks or a month; in UTC."""

    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Interval:
    """A length of bars: `7m` is 7 of `m`."""

    count: int
    unit: str

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

    @property
    def seconds(self) -> int:
        """Returns its usual length: a day may be an hour shorter or longer, a month is taken as 30 days."""
        return self.count * SECONDS[self.unit]

    @property
    def is_within_day(self) -> bool:
        return self.unit in "smh"

    @property
    def is_of_minutes(self) -> bool:
        """Says whether its bars are whole minutes."""
        return self.seconds % 60 == 0

    @property
    def stride(self) -> timedelta:
        """Returns the length of bars within a period; longer than any, where a period is one bar."""
        return timedelta(seconds=self.seconds) if self.is_within_day else timedelta(days=36_500)


def parse(text: str) -> Interval:
    """Returns the interval that a text means. Raises ValueError."""
    number, unit = text[:-1], text[-1:]
    if unit not in SECONDS or not number.isascii() or not number.isdecimal() or len(number) > 5:
        raise ValueError(f"An interval is {FORMS}.")
    if not 1 <= int(number) <= MOST[unit]:
        raise ValueError(f"1{unit} to {MOST[unit]}{unit}; {FORMS}.")
    return Interval(int(number), unit)


def periods(interval: Interval, start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[Period]:
    """Yields the periods that touch [start, end), in order and without a hole between them."""
    day = _first_day(interval, start.astimezone(zone).date())
    while (begins := _midnight(day, zone)) < end:
        following = _next_day(interval, day)
        ends = _midnight(following, zone)
        if ends > start and ends > begins:
            yield Period(begins, ends)
        day = following


def _first_day(interval: Interval, day: date) -> date:
    if interval.is_within_day:
        return day
    if interval.unit == "M":
        return day.replace(day=1)
    origin, length = (EPOCH, interval.count) if interval.unit == "d" else (FIRST_MONDAY, 7 * interval.count)
    return day - timedelta(days=(day - origin).days % length)


def _next_day(interval: Interval, day: date) -> date:
    if interval.unit == "M":
        return (day + timedelta(days=31)).replace(day=1)
    if interval.is_within_day:
        return day + timedelta(days=1)
    return day + timedelta(days=interval.count * (1 if interval.unit == "d" else 7))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Returns the first moment of a local day, which is not always midnight: some zones skip it or have it twice."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
