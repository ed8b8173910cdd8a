"""Reads a pipeline's past: raw ticks while they are kept, else one-minute rollups. The reader picks the grain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import JSONField, QuerySet, Value
from django.db.models.expressions import RawSQL

from collectors.history import archived_kinds, archived_rows, knowing, rollups
from collectors.models import Pipeline

RAW_COLUMNS = (
    "received_at",
    "exchange_at",
    "last",
    "bid",
    "ask",
    "high",
    "low",
    "base_volume",
    "quote_volume",
    "origin",
    "known_at",
)
MINUTE_COLUMNS = (
    "minute_at",
    "samples",
    "open",
    "high",
    "low",
    "close",
    "bid",
    "ask",
    "base_volume",
    "volume",
    "live",
    "candle",
    "trade",
    "revision",
    "known_at",
)
TICKS = f"""
SELECT received_at, exchange_at, last, bid, ask, high, low, base_volume, quote_volume, origin, {knowing.TICK_KNOWN_AT}
FROM collectors_tick
WHERE pipeline_id = %(pipeline)s AND received_at >= %(start)s AND received_at < %(end)s {{known}}
ORDER BY received_at LIMIT %(limit)s
"""
OF_PIPELINE = "pipeline_id = %(pipeline)s AND minute_at >= %(start)s AND minute_at < %(end)s"
ORIGINS_SPAN = timedelta(hours=1)
RAW_SPAN = timedelta(hours=6)  # longer spans are wanted as a curve, not as every tick


@dataclass(frozen=True, slots=True)
class PipelineHistory:
    """Rows of one grain, oldest first; `is_cut` when `limit` left some out."""

    grain: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool


def pick_grain(pipeline_id: int, start: datetime, end: datetime, now: datetime) -> str:
    """Returns `raw` where every tick of the span is kept, or archived, and the span is short, else `minute`."""
    if end - start > RAW_SPAN:
        return "minute"
    kept_since = now - timedelta(hours=settings.RAW_RETENTION_HOURS)
    return "raw" if start >= kept_since or archived_rows.has_ticks(pipeline_id, start) else "minute"


def read(
    pipeline_id: int,
    *,
    start: datetime,
    end: datetime,
    limit: int,
    now: datetime,
    grain: str = "auto",
    as_of: datetime | None = None,
) -> PipelineHistory:
    """Returns the history of one pipeline in [start, end), as it was known at `as_of`. `grain` is auto, raw or minute.

    Raises knowing.AsOfUnknown, CannotReadArchive.
    """
    knowing.require(as_of)
    chosen = pick_grain(pipeline_id, start, end, now) if grain == "auto" else grain
    statement, columns = (_ticks(as_of), RAW_COLUMNS) if chosen == "raw" else (_minutes(as_of), MINUTE_COLUMNS)
    given: dict[str, Any] = {"pipeline": pipeline_id, "start": start, "end": end, "limit": limit + 1, "as_of": as_of}
    kinds = (archived_kinds.TICKS,) if chosen == "raw" else archived_rows.OF_MINUTES
    with archived_rows.readable(pipeline_id, start, end, kinds), connection.cursor() as cursor:
        cursor.execute(statement, given)
        rows = cursor.fetchall()
    return PipelineHistory(chosen, columns, tuple(rows[:limit]), len(rows) > limit)


def _ticks(as_of: datetime | None) -> str:
    return TICKS.format(known=f"AND {knowing.TICK_WAS_KNOWN}" if as_of else "")


def _minutes(as_of: datetime | None) -> str:
    source = knowing.minutes(OF_PIPELINE, as_of=as_of)
    return f"SELECT {', '.join(MINUTE_COLUMNS)} FROM ({source}) AS minute ORDER BY minute_at LIMIT %(limit)s"


# In the list's own query, for the rows of the page only: sixty minutes each, however many rows came in one.
ORIGINS = """
(SELECT jsonb_build_object('live', coalesce(sum(live), 0), 'candle', coalesce(sum(candle), 0),
                           'trade', coalesce(sum(trade), 0))
 FROM collectors_rollup WHERE pipeline_id = collectors_pipeline.market_id AND minute_at >= %s AND minute_at < %s)
"""


def with_origins(pipelines: QuerySet[Pipeline], *, now: datetime) -> QuerySet[Pipeline]:
    """Adds `origins`: how many rows of each origin a pipeline has in the newest hour of minutes that are rolled up.

    It is null while nothing of the last hour is.
    """
    until = rollups.reached()
    if until is None or now - until > ORIGINS_SPAN:
        return pipelines.annotate(origins=Value(None, output_field=JSONField()))
    counted = RawSQL(ORIGINS, [until - ORIGINS_SPAN, until], output_field=JSONField())  # noqa: S611 - constant
    return pipelines.annotate(origins=counted)
