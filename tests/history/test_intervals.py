"""Where bars begin and end: any interval, any zone, days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from collectors.rules import intervals

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("text", ["1s", "90s", "7m", "1440m", "4h", "24h", "1d", "31d", "1w", "4w", "1M"])
def test_intervals_from_a_second_to_a_month(text):
    assert str(intervals.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "m", "0m", "-1m", "1.5h", "2M", "25h", "32d", "5w", "1y", "1 m", "٣m", "9" * 9 + "s"]
)
def test_anything_else_is_refused_with_the_forms(text):
    with pytest.raises(ValueError, match="30s, 7m, 4h"):
        intervals.parse(text)


def lengths(text: str, start: datetime, days: int, zone: ZoneInfo) -> list[float]:
    found = list(intervals.periods(intervals.parse(text), start, start + timedelta(days=days), zone))
    for before, after in pairwise(found):
        assert before.ended_at == after.started_at
    assert found[0].started_at <= start
    return [(period.ended_at - period.started_at) / timedelta(hours=1) for period in found]


def test_a_day_of_a_zone_is_as_long_as_its_clocks_say():
    spring, autumn = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)

    assert lengths("1d", spring, 2, BERLIN) == [23, 24, 24]
    assert lengths("1d", autumn, 2, BERLIN) == [25, 24]
    assert lengths("1h", autumn, 1, BERLIN) == [25]  # one period, of 25 bars


@pytest.mark.parametrize(
    ("zone", "day"),
    [("Africa/Cairo", (2026, 4, 23)), ("Atlantic/Azores", (2026, 10, 24)), ("America/Havana", (2026, 10, 31)),
     ("Asia/Beirut", (2026, 3, 28)), ("Pacific/Apia", (2011, 12, 28)), ("Australia/Lord_Howe", (2026, 4, 3))],
)  # fmt: skip
def test_zones_that_skip_midnight_or_have_it_twice_lose_no_moment(zone, day):
    """Also the day that Samoa left out."""
    start = datetime(*day, tzinfo=UTC)

    for text in ("1d", "1h", "1w", "1M", "3d"):
        assert sum(lengths(text, start, 4, ZoneInfo(zone))) >= 96


def test_weeks_begin_on_monday_and_months_on_the_first():
    start = datetime(2026, 2, 11, 12, tzinfo=UTC)

    [week] = intervals.periods(intervals.parse("1w"), start, start + timedelta(hours=1), ZoneInfo("UTC"))
    [month] = intervals.periods(intervals.parse("1M"), start, start + timedelta(hours=1), ZoneInfo("UTC"))

    assert week == (datetime(2026, 2, 9, tzinfo=UTC), datetime(2026, 2, 16, tzinfo=UTC))
    assert month == (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
