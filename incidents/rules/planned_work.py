"""Decides when planned work takes place: once, or again and again by a rule of RFC 5545. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

LONGEST = timedelta(days=7)  # of one piece of work: what takes longer is no maintenance
LONGEST_LIFE = timedelta(days=400)  # of a rule, which somebody then renews
MOST_TIMES = 1000
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")


PARTS = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST"})
INTERVALS = frozenset(map(str, range(1, 1000)))
SAMPLE = datetime.fromisoformat("2026-01-01T00:00:00")  # by the clock of no zone, as rules are


class BadRule(ValueError):
    """A rule of recurrence that cannot be followed; the message says why."""


def check_rule(text: str) -> None:
    """Checks a rule of recurrence. Raises BadRule."""
    parts = dict(part.partition("=")[::2] for part in text.upper().removeprefix("RRULE:").split(";"))
    if parts.get("FREQ") not in FREQUENCIES:
        raise BadRule(f"FREQ is one of {', '.join(FREQUENCIES)}")
    interval = parts.get("INTERVAL", "1")
    if not set(parts) <= PARTS or interval not in INTERVALS:
        raise BadRule(f"a rule has {', '.join(sorted(PARTS))}, and INTERVAL is from 1 to 999")
    try:
        rrulestr(text, dtstart=SAMPLE)
    except (ValueError, KeyError, TypeError) as error:
        raise BadRule(f"this is no RRULE: {error}") from error


def times(
    starts_at: datetime, ends_at: datetime, *, rrule: str, zone: str, expires_at: datetime, around: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yields the times of the work that end after `around`, the soonest first; by the clock of its zone."""
    length = ends_at - starts_at
    if not rrule:
        if ends_at > around:
            yield starts_at, ends_at
        return
    place = ZoneInfo(zone)
    local = starts_at.astimezone(place).replace(tzinfo=None)
    rule = rrulestr(rrule, dtstart=local)
    after = (around - length).astimezone(place).replace(tzinfo=None)
    for _ in range(MOST_TIMES):
        found = rule.after(after)
        if found is None:
            return
        begins = found.replace(tzinfo=place).astimezone(starts_at.tzinfo)
        if begins >= expires_at:
            return
        if begins + length > around:
            yield begins, begins + length
        after = found
