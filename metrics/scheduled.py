"""The round of each minute: candles that are due from all exchanges, and a verdict on every new bar."""

from __future__ import annotations

from datetime import datetime

import structlog

from metrics import analysis, sources
from metrics.collection import TimeBudget
from metrics.models import Series, Verdict

log = structlog.get_logger(__name__)

ROUND_SECONDS = 25.0  # the task's own limit is 30
EXCHANGE_SECONDS = 10.0


def collect_candles(*, now: datetime) -> int:
    """Collects due candles and returns the number of new verdicts. A failed exchange is logged and asked next round."""
    analysis.watch_configured()
    watched = list(Series.objects.watched().select_related("market__exchange"))
    failures = sources.fetch_candles(watched, now=now, budget=TimeBudget(ROUND_SECONDS, EXCHANGE_SECONDS))
    for exchange, reason in failures.items():
        log.warning("candles_not_fetched", exchange=exchange, cause=reason)
    return sum(judge_new_bar(series, now=now) is not None for series in watched)


def judge_new_bar(series: Series, *, now: datetime) -> Verdict | None:
    """Keeps and returns a verdict when its bar is newer than the last one's; a bar is judged once here."""
    verdict = analysis.judge(series, now=now, source="schedule")
    last = (
        Verdict.objects.filter(series=series).order_by("-analyzed_at", "-id").values_list("bar_at", flat=True).first()
    )
    if verdict.bar_at is None or (last is not None and verdict.bar_at <= last):
        return None
    analysis.keep(verdict, now=now)
    return verdict
