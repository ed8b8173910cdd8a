"""Reads a pipeline's past: raw ticks while they are kept, else one-minute rollups. The reader picks the grain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import JSONField, QuerySet
from django.db.models.expressions import RawSQL

from collectors.models import Pipeline, Rollup, Tick

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
)
MINUTE_COLUMNS = ("minute_at", "samples", "open", "high", "low", "close", "bid", "ask", "base_volume")
RAW_SPAN = timedelta(hours=6)  # longer spans are wanted as a curve, not as every tick


@dataclass(frozen=True, slots=True)
class PipelineHistory:
    """Rows of one grain, oldest first; `is_cut` when `limit` left some out."""

    grain: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool


def pick_grain(start: datetime, end: datetime, now: datetime) -> str:
    """Returns `raw` where every tick of the span is still kept and the span is short, else `minute`."""
    kept_since = now - timedelta(hours=settings.RAW_RETENTION_HOURS)
    return "raw" if start >= kept_since and end - start <= RAW_SPAN else "minute"


def read(
    pipeline_id: int, *, start: datetime, end: datetime, limit: int, now: datetime, grain: str = "auto"
) -> PipelineHistory:
    """Returns the history of one pipeline in [start, end). `grain` is auto, raw or minute."""
    chosen = pick_grain(start, end, now) if grain == "auto" else grain
    if chosen == "raw":
        ticks = Tick.objects.filter(pipeline_id=pipeline_id, received_at__gte=start, received_at__lt=end)
        rows = list(ticks.order_by("received_at").values_list(*RAW_COLUMNS)[: limit + 1])
        return PipelineHistory("raw", RAW_COLUMNS, tuple(rows[:limit]), len(rows) > limit)
    minutes = Rollup.objects.filter(pipeline_id=pipeline_id, minute_at__gte=start, minute_at__lt=end)
    rows = list(minutes.order_by("minute_at").values_list(*MINUTE_COLUMNS)[: limit + 1])
    return PipelineHistory("minute", MINUTE_COLUMNS, tuple(rows[:limit]), len(rows) > limit)


# In the list's own query, for the rows of the page only: a few hundred index entries for each.
ORIGINS = """
(SELECT jsonb_object_agg(origin, rows) FROM (
    SELECT t.origin, count(*) AS rows FROM collectors_tick AS t
    WHERE t.pipeline_id = collectors_pipeline.market_id AND t.received_at >= %s GROUP BY t.origin
) AS by_origin)
"""


def with_origins(pipelines: QuerySet[Pipeline], *, since: datetime) -> QuerySet[Pipeline]:
    """Adds `origins`: how many rows of each origin a pipeline has since then; null when it has none."""
    return pipelines.annotate(origins=RawSQL(ORIGINS, [since], output_field=JSONField()))  # noqa: S611 - constant
