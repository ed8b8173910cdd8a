"""A gap as a row of a page: when, how long, why, and how far it has been filled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from board import places
from collectors.admin import forecast_words
from collectors.models import Gap


@dataclass(frozen=True, slots=True)
class GapRow:
    number: int
    exchange: str
    symbol: str
    url: str
    started_at: datetime
    ended_at: datetime | None
    lasted: str
    missed_count: int
    cause: str
    evidence: str
    state: str
    filled_count: int
    percent: int
    forecast: str


def rows(gaps: Iterable[Gap], now: datetime) -> list[GapRow]:
    """Of gaps whose market was read with them."""
    return [_row(gap, now) for gap in gaps]


def _row(gap: Gap, now: datetime) -> GapRow:
    market = gap.pipeline.market
    return GapRow(
        number=gap.pk,
        exchange=market.exchange_id,
        symbol=market.symbol,
        url=places.pipeline(market.exchange_id, market.symbol, number=market.pk),
        started_at=gap.started_at,
        ended_at=gap.ended_at,
        lasted=lasted((gap.ended_at or now) - gap.started_at),
        missed_count=gap.missed_count,
        cause=gap.cause,
        evidence=gap.evidence,
        state=gap.state,
        filled_count=gap.filled_count,
        percent=round(100 * gap.progress(now)),
        forecast=forecast_words(gap, now),
    )


def lasted(length: timedelta) -> str:
    """`42 s`, `12 min`, `3 h 5 min`, `2 d 4 h`: two units at the most."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 120:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
