"""Reads the heat map's cells: of exchanges from the counted coverage, of one exchange's pipelines from their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from board.rules import heat
from board.rules.heat import Cell, HeatGap
from collectors.models import Gap
from exchanges.models import Exchange

PER_PAGE = 50

UNKNOWN = Cell()

# A row for each exchange: with one for each quarter, reading them would take longer than drawing them.
COUNTED = """
SELECT exchange_id, array_agg(extract(epoch FROM quarter_at)::bigint),
       array_agg(expected_minutes), array_agg(stored_minutes)
FROM collectors_coverage WHERE quarter_at >= %(start)s {only} GROUP BY 1
"""
# Worst first: by the seconds of the day in which the ledger has it silent. Its gaps are found by their unique key.
WORST = """
SELECT m.id, m.symbol, p.expected_seconds, p.received_at, m.listed_at,
       count(*) OVER () AS found
FROM exchanges_market AS m JOIN collectors_pipeline AS p ON p.market_id = m.id
LEFT JOIN LATERAL (
    SELECT sum(extract(epoch FROM least(coalesce(g.ended_at, %(now)s), %(now)s)
                              - greatest(g.started_at, %(start)s))) AS seconds
    FROM collectors_gap AS g
    WHERE g.pipeline_id = m.id AND g.started_at < %(now)s AND (g.ended_at IS NULL OR g.ended_at > %(start)s)
) AS silent ON true
WHERE m.exchange_id = %(exchange)s AND m.is_collected
ORDER BY p.received_at IS NULL DESC, round(coalesce(silent.seconds, 0)) DESC, m.symbol, m.id
LIMIT %(limit)s OFFSET %(offset)s
"""
STORED = """
SELECT pipeline_id, (extract(epoch FROM minute_at)::bigint / 900) * 900, count(*)
FROM collectors_rollup
WHERE pipeline_id = ANY(%(pipelines)s) AND minute_at >= %(start)s AND minute_at < %(end)s GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A row of the map; `key` is an exchange's id, or a market's number."""

    key: str
    name: str
    cells: tuple[Cell, ...]
    began_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeatPage:
    lines: tuple[HeatRow, ...]
    number: int
    found: int

    @property
    def last(self) -> int:
        return max(1, -(-self.found // PER_PAGE))


def of_exchanges(now: datetime) -> list[HeatRow]:
    """Returns a row for each exchange, those with the largest share of lost minutes first. Two queries."""
    quarters = heat.window(now)
    known = _counted(quarters[0])
    names = Exchange.objects.known().order_by("pk").values_list("pk", "created_at")
    lines = [_begun(_line(name, name, known.get(name, {}), quarters), quarters, began_at) for name, began_at in names]
    return sorted(lines, key=_urgency)


def _begun(line: HeatRow, quarters: Sequence[datetime], began_at: datetime) -> HeatRow:
    return replace(line, cells=heat.with_beginning(line.cells, quarters, began_at), began_at=began_at)


def _line(key: str, name: str, cells: dict[int, Cell], quarters: Sequence[datetime]) -> HeatRow:
    return HeatRow(key, name, tuple(cells.get(int(quarter.timestamp()), UNKNOWN) for quarter in quarters))


def _counted(start: datetime, exchange_id: str = "") -> dict[str, dict[int, Cell]]:
    """Returns the cells by exchange and the Unix second at which a quarter begins."""
    only = "AND exchange_id = %(exchange)s" if exchange_id else ""
    with connection.cursor() as cursor:
        cursor.execute(COUNTED.format(only=only), {"start": start, "exchange": exchange_id})
        rows = cursor.fetchall()
    return {
        name: dict(zip(quarters, map(Cell, expected, stored), strict=True)) for name, quarters, expected, stored in rows
    }


def _urgency(line: HeatRow) -> tuple[float, str]:
    """Returns the sort key, in whole percents, so that rows do not change places for a minute."""
    part = heat.share(line.cells)
    return (1.0 if part is None else round(part, 2), line.name)


def of_exchange(exchange_id: str, now: datetime) -> HeatRow:
    """Returns one exchange's own row. One query."""
    quarters = heat.window(now)
    return _line(exchange_id, exchange_id, _counted(quarters[0], exchange_id).get(exchange_id, {}), quarters)


def of_pipelines(exchange_id: str, now: datetime, *, number: int = 1) -> HeatPage:
    """Returns a page of one exchange's pipelines, worst first. Four queries."""
    quarters = heat.window(now)
    rows = _worst(exchange_id, now, start=quarters[0], number=number)
    pipelines = [row[0] for row in rows]
    counted = of_exchange(exchange_id, now).cells
    stored = _stored(pipelines, quarters[0], heat.counted_until(now))
    silences = _silences(pipelines, quarters[0])
    lines = []
    for pipeline, symbol, expected_seconds, received_at, listed_at, _ in rows:
        cells = tuple(
            heat.pipeline_cell(
                quarter,
                now=now,
                stored=stored.get((pipeline, int(quarter.timestamp())), 0),
                expected_seconds=expected_seconds,
                listed_at=listed_at,
                is_planned=None if whole.expected is None else whole.expected == 0,
                silences=silences.get(pipeline, ()),
                has_rows=received_at is not None,
            )
            for quarter, whole in zip(quarters, counted, strict=True)
        )
        lines.append(_begun(HeatRow(str(pipeline), symbol, cells), quarters, listed_at))
    return HeatPage(tuple(lines), number, rows[0][5] if rows else 0)


def _worst(exchange_id: str, now: datetime, *, start: datetime, number: int) -> list[tuple[Any, ...]]:
    given: dict[str, Any] = {
        "exchange": exchange_id,
        "now": now,
        "start": start,
        "limit": PER_PAGE,
        "offset": (number - 1) * PER_PAGE,
    }
    with connection.cursor() as cursor:
        cursor.execute(WORST, given)
        return list(cursor.fetchall())


def _stored(pipelines: Sequence[int], start: datetime, end: datetime) -> dict[tuple[int, int], int]:
    with connection.cursor() as cursor:
        cursor.execute(STORED, {"pipelines": list(pipelines), "start": start, "end": end})
        return {(pipeline, quarter): count for pipeline, quarter, count in cursor.fetchall()}


def _silences(pipelines: Sequence[int], start: datetime) -> dict[int, list[HeatGap]]:
    gaps = Gap.objects.filter(pipeline_id__in=pipelines).exclude(ended_at__lte=start)
    found: dict[int, list[HeatGap]] = defaultdict(list)
    for pipeline, started_at, ended_at, filled in gaps.values_list(
        "pipeline_id", "started_at", "ended_at", "filled_count"
    ):
        found[pipeline].append(HeatGap(started_at, ended_at, is_filled=filled > 0))
    return found
