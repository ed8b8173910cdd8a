"""The points that charts draw: a bounded number, from ticks while the span is short and from minutes after that."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q

from collectors.admin.collection import BACKFILL_WORDS
from collectors.models import Gap

MOST_POINTS = 1500
MOST_GAPS = 500
LEAST_ROOM = timedelta(minutes=2)
LONGEST_TAIL = timedelta(hours=1)  # ticks stand in for minutes that are not rolled up yet


@dataclass(frozen=True, slots=True)
class ChartSpan:
    """The span of a chart; `step_seconds` is the width of a point; below a minute it is made of ticks."""

    name: str
    length: timedelta
    step_seconds: int

    @property
    def of_ticks(self) -> bool:
        return self.step_seconds < 60


SPANS = {
    span.name: span
    for span in (
        ChartSpan("1h", timedelta(hours=1), 3),
        ChartSpan("6h", timedelta(hours=6), 15),
        ChartSpan("24h", timedelta(hours=24), 60),
        ChartSpan("7d", timedelta(days=7), 600),
    )
}
DEFAULT_SPAN = "6h"

# The last row of each step, and whether any of the step's rows came later than its time.
OF_TICKS = """
SELECT extract(epoch FROM (array_agg(received_at ORDER BY received_at DESC))[1])::float8,
       (array_agg(coalesce(last, (bid + ask) / 2) ORDER BY received_at DESC))[1],
       (array_agg(bid ORDER BY received_at DESC))[1], (array_agg(ask ORDER BY received_at DESC))[1],
       bool_or(origin > 0)
FROM collectors_tick WHERE pipeline_id = %(pipeline)s AND received_at >= %(start)s AND received_at < %(end)s
GROUP BY floor(extract(epoch FROM received_at) / %(step)s) ORDER BY 1
"""
# A minute stands at its end: its close is of then. The minutes that are not rolled up yet come from their ticks.
OF_MINUTES = """
SELECT extract(epoch FROM max(minute_at))::float8 + 60, (array_agg(close ORDER BY minute_at DESC))[1],
       (array_agg(bid ORDER BY minute_at DESC))[1], (array_agg(ask ORDER BY minute_at DESC))[1],
       coalesce(bool_or(candle > 0 OR trade > 0), false)
FROM collectors_rollup
WHERE pipeline_id = %(pipeline)s AND minute_at >= %(start)s AND minute_at < %(end)s
GROUP BY floor(extract(epoch FROM minute_at) / %(step)s) ORDER BY 1
"""

Point = tuple[float, float | None, float | None, float | None, bool]


@dataclass(frozen=True, slots=True)
class Shade:
    """A gap as the chart shades it, in Unix seconds; `filled_until` is where backfilled rows end."""

    start: float
    end: float
    is_open: bool
    cause: str
    words: str
    filled_until: float | None


def read(pipeline_id: int, span: ChartSpan, *, now: datetime, not_before: datetime) -> dict[str, Any]:
    """Returns columns for the chart, and the gaps. Two queries, a third for the newest minutes."""
    start = max(now - span.length, not_before - LEAST_ROOM)
    shades = _shades(pipeline_id, start, now)
    rows = _rows(pipeline_id, span, start=start, end=now)
    return {"span": span.name, "start": start.timestamp(), "end": now.timestamp(), **columns(rows, shades),
            "gaps": [_shade_body(shade) for shade in shades]}  # fmt: skip


def _rows(pipeline_id: int, span: ChartSpan, *, start: datetime, end: datetime) -> list[Point]:
    given = {"pipeline": pipeline_id, "start": start, "end": end, "step": span.step_seconds}
    if span.of_ticks:
        return _fetch(OF_TICKS, given)
    rows = _fetch(OF_MINUTES, given)
    rolled_up = datetime.fromtimestamp(rows[-1][0], UTC) if rows else start
    recent = max(rolled_up, end - LONGEST_TAIL)
    return rows + _fetch(OF_TICKS, {**given, "start": recent, "step": 60})


def _fetch(statement: str, given: dict[str, Any]) -> list[Point]:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        return [(row[0], row[1], row[2], row[3], row[4]) for row in cursor.fetchall()]


def _shades(pipeline_id: int, start: datetime, now: datetime) -> list[Shade]:
    gaps = Gap.objects.filter(Q(ended_at__isnull=True) | Q(ended_at__gt=start), pipeline_id=pipeline_id)
    newest = list(gaps.filter(started_at__lt=now).order_by("-started_at")[:MOST_GAPS])
    return [shade(gap, now) for gap in reversed(newest)]


def shade(gap: Gap, now: datetime) -> Shade:
    end = gap.ended_at or now
    rows = "1 row" if gap.filled_count == 1 else f"{gap.filled_count} rows"
    filled = f", {rows} from the exchange's history" if gap.filled_count else ""
    return Shade(
        start=gap.started_at.timestamp(),
        end=end.timestamp(),
        is_open=gap.is_open,
        cause=gap.cause,
        words=f"{gap.evidence or 'no evidence yet'}; backfill {BACKFILL_WORDS.get(gap.state, gap.state)}{filled}",
        filled_until=min(end, gap.filled_until or end).timestamp() if gap.filled_count else None,
    )


def _shade_body(each: Shade) -> dict[str, Any]:
    return {
        "start": each.start,
        "end": each.end,
        "open": each.is_open,
        "cause": each.cause,
        "words": each.words,
        "filled_until": each.filled_until,
    }


def columns(rows: Sequence[Point], shades: Sequence[Shade]) -> dict[str, list[Any]]:
    """Returns live and backfilled prices in columns of their own; an empty point breaks the line where a gap lies."""
    starts = [each.start for each in shades]
    points: list[tuple[float, float | None, float | None, float | None, float | None]] = []
    for at, price, bid, ask, came_later in rows:
        gap = _gap_over(at, starts, shades)
        is_filled = came_later or (gap is not None and gap.filled_until is not None and at <= gap.filled_until)
        if points and not (is_filled and points[-1][4] is not None):
            between = (points[-1][0] + at) / 2
            if _gap_over(between, starts, shades) is not None:
                points.append((between, None, None, None, None))
        points.append((at, None, bid, ask, price) if is_filled else (at, price, bid, ask, None))
    names = ("at", "price", "bid", "ask", "filled")
    return {name: [point[place] for point in points] for place, name in enumerate(names)}


def _gap_over(at: float, starts: Sequence[float], shades: Sequence[Shade]) -> Shade | None:
    """Returns the gap around a moment; the rows at both its ends are live ones. One pipeline's gaps do not overlap."""
    place = bisect_left(starts, at) - 1
    return shades[place] if place >= 0 and at < shades[place].end else None


# --- several sources of one pair ----------------------------------------------------------------------------------

MOST_SOURCES = 12
SIDE_BY_SIDE = """
SELECT pipeline_id, (floor(extract(epoch FROM minute_at) / %(step)s) * %(step)s)::bigint,
       (array_agg(close ORDER BY minute_at DESC))[1]
FROM collectors_rollup
WHERE pipeline_id = ANY(%(pipelines)s) AND minute_at >= %(start)s AND minute_at < %(end)s
GROUP BY 1, 2 ORDER BY 2
"""
SIDE_STEPS = {"1h": 60, "6h": 60, "24h": 240, "7d": 1800}


def read_side_by_side(names: dict[int, str], span: ChartSpan, *, now: datetime, not_before: datetime) -> dict[str, Any]:
    """Returns the closes of several pipelines on one grid of time; null where one has none. One query."""
    start = max(now - span.length, not_before - LEAST_ROOM)
    given: dict[str, Any] = {"pipelines": list(names), "start": start, "end": now, "step": SIDE_STEPS[span.name]}
    with connection.cursor() as cursor:
        cursor.execute(SIDE_BY_SIDE, given)
        rows = cursor.fetchall()
    return {"span": span.name, "start": start.timestamp(), "end": now.timestamp(), **aligned(rows, names)}


def aligned(rows: Sequence[tuple[int, int, float | None]], names: dict[int, str]) -> dict[str, Any]:
    moments = sorted({at for _, at, _ in rows})
    place = {at: number for number, at in enumerate(moments)}
    lines: dict[int, list[float | None]] = {pipeline: [None] * len(moments) for pipeline in names}
    for pipeline, at, close in rows:
        lines[pipeline][place[at]] = close
    return {"at": moments, "lines": [{"name": name, "values": lines[pipeline]} for pipeline, name in names.items()]}
