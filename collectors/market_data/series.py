"""Keeps the series of requests for an exchange's market data, and when each is due."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from collectors.history import currencies
from collectors.models.market_data import DepthSeries
from exchanges import depth_settings
from exchanges.depth_settings import FUNDING, WantedData
from exchanges.models import Exchange, Market

PERPETUALS = ("swap", "future")
EARLY_SHARE = 0.2  # of the time between two rounds: beat is never on time to the millisecond
PATIENCE_SHARE = 0.5  # of an interval: a stream's row may come that much late
LONGEST_PAUSE = timedelta(minutes=10)
# An exchange may be able tomorrow to do what it cannot today; where a person must act, an hour is soon enough.
PAUSES: Mapping[str, timedelta] = {
    "unsupported": timedelta(days=1),
    "denied": timedelta(hours=1),
    "not_connected": timedelta(hours=1),
}


def sync(exchange: Exchange, now: datetime) -> dict[str, WantedData]:
    """Makes the series that are wanted and deletes the others; returns what is wanted by kind. Twice is harmless."""
    wanted = {each.kind: each for each in depth_settings.parse(exchange.depth)}
    keys = {(kind, market) for kind, each in wanted.items() for market in _markets(exchange, each)}
    there = {(row.kind, row.market_id): row.pk for row in DepthSeries.objects.filter(exchange=exchange)}
    DepthSeries.objects.filter(pk__in=[pk for key, pk in there.items() if key not in keys]).delete()
    new = [
        DepthSeries(exchange=exchange, kind=kind, market_id=market, next_at=now)
        for kind, market in sorted(keys - there.keys(), key=str)
    ]
    DepthSeries.objects.bulk_create(new, ignore_conflicts=True)
    return wanted


def due(exchange_id: str, now: datetime, *, round_seconds: float) -> list[DepthSeries]:
    """Returns due series, the longest due first; also those due in a moment, which would wait for the next round."""
    soon = now + timedelta(seconds=EARLY_SHARE * round_seconds)
    found = DepthSeries.objects.filter(exchange_id=exchange_id, next_at__lte=soon).select_related("market")
    return list(found.order_by("next_at", "id"))


def claim(series: DepthSeries, *, seconds: float, now: datetime) -> bool:
    """Returns True for one of all that see it due; it is due again after its interval, however this goes."""
    following = max(series.next_at + timedelta(seconds=seconds), now + timedelta(seconds=seconds / 2))
    claimed = DepthSeries.objects.filter(pk=series.pk, next_at=series.next_at).update(next_at=following)
    return bool(claimed)


def note(series: DepthSeries, outcome: str, *, error: str = "", seconds: float, now: datetime) -> None:
    """Remembers how it went; a failure waits twice as long each time."""
    changes: dict[str, object] = {"last_outcome": outcome, "error_count": 0}
    if outcome == "stored":
        changes["stored_at"] = now
    else:
        pause = PAUSES.get(outcome, min(LONGEST_PAUSE, timedelta(seconds=seconds * 2 ** min(series.error_count, 12))))
        changes |= {"last_error": error[:2000], "error_count": min(series.error_count + 1, 1_000_000)}
        changes["next_at"] = now + pause
    DepthSeries.objects.filter(pk=series.pk).update(**changes)


def delivered(series: DepthSeries, *, seconds: float, now: datetime) -> None:
    """Notes that a stream stored a row: no request is due while rows keep coming, and soon after they have stopped."""
    following = now + timedelta(seconds=seconds * (1 + PATIENCE_SHARE))
    changes: dict[str, object] = {"stored_at": now, "last_outcome": "stored", "error_count": 0, "next_at": following}
    DepthSeries.objects.filter(pk=series.pk).update(**changes)


def perpetuals(exchange: Exchange, wanted: WantedData) -> dict[str, int]:
    """Returns symbol to pipeline number of the perpetuals whose funding is wanted."""
    found = Market.objects.collected().filter(exchange=exchange, kind__in=PERPETUALS)
    if wanted.markets:
        found = found.filter(symbol__in=wanted.markets)
    return dict(found.values_list("symbol", "id"))


def _markets(exchange: Exchange, wanted: WantedData) -> set[int | None]:
    """Returns the numbers of the markets that have a series each; None for all of funding. None is also for the largest
    where the exchange has told nothing to know them by: that series says why there are none."""
    if wanted.kind == FUNDING:
        return {None}
    collected = Market.objects.collected().filter(exchange=exchange)
    named = set(collected.filter(symbol__in=wanted.markets).values_list("id", flat=True)) if wanted.markets else set()
    if not wanted.top:
        return set(named)
    largest = currencies.by_size(collected).values_list("id", flat=True)[: wanted.top]
    if not largest and collected.filter(pipeline__received_at__isnull=False).exists():
        return {*named, None}
    return {*named, *largest}
