"""Asks the regime's rules about a series, keeps the verdict, and now and then notes that it is time to leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from exchanges.models import Market
from metrics import candles
from metrics.models import Collection, ExitTransition, Notice, Series, Verdict
from metrics.rules import regime
from metrics.rules.policy import RegimePolicy, changes_of, with_changes

log = structlog.get_logger(__name__)

DEFAULT_LOOKBACK = 200
STALE_PERIODS = 2  # a verdict on a bar that closed longer ago says nothing of now


def policy() -> RegimePolicy:
    return with_changes(settings.REGIME_POLICY)


def watch_configured() -> int:
    """Makes the series of METRICS_MARKETS whose markets are known by now; what people switched off stays off."""
    names = [tuple(name.split(":", 1)) for name in settings.METRICS_MARKETS if ":" in name]
    markets = Market.objects.filter(symbol__in=[symbol for _, symbol in names])
    chosen = [market.pk for market in markets if (market.exchange_id, market.symbol) in names]
    present = set(Series.objects.filter(market__in=chosen).values_list("market", "timeframe"))
    wanted = {(market, frame) for market in chosen for frame in settings.METRICS_TIMEFRAMES} - present
    made = [Series(market_id=market, timeframe=frame) for market, frame in sorted(wanted)]
    return len(Series.objects.bulk_create(made, ignore_conflicts=True))


def analyze(
    series: Series,
    *,
    now: datetime,
    source: str,
    lookback: int = DEFAULT_LOOKBACK,
    collection: Collection | None = None,
) -> Verdict:
    """Judges what is stored, and keeps the verdict with its transition and notice in one transaction."""
    verdict = judge(series, now=now, source=source, lookback=lookback)
    verdict.collection = collection
    keep(verdict, now=now)
    return verdict


def judge(series: Series, *, now: datetime, source: str, lookback: int = DEFAULT_LOOKBACK) -> Verdict:
    """Returns the verdict as a row that is not saved yet."""
    rules = policy()
    newest_at = candles.newest_closed(now, series.period_seconds)
    window = candles.load_window(series.market_id, series.timeframe, newest_at=newest_at, lookback=lookback)
    found = regime.assess(window, rules)
    return Verdict(
        series=series,
        source=source,
        analyzed_at=now,
        newest_at=datetime.fromtimestamp(newest_at, UTC),
        lookback=lookback,
        policy=changes_of(rules),
        **fields_of(found),
    )


def fields_of(found: regime.Assessment) -> dict[str, object]:
    return {
        "bar_at": None if found.bar_at is None else datetime.fromtimestamp(found.bar_at, UTC),
        "bars_used": found.bars_used,
        "verdict": found.verdict or "",
        "confidence": found.confidence,
        "trend_score": found.trend_score,
        "insufficient_data": found.insufficient_data,
        "lower_bound": found.lower_bound,
        "upper_bound": found.upper_bound,
        "metrics": found.metrics,
        "exit_state": found.exit_state or "",
        "exit_reasons": list(found.exit_reasons),
        "missing_share": found.missing_share,
        "backfilled_share": found.backfilled_share,
        "frozen_share": found.frozen_share,
        "inputs_hash": found.inputs_hash,
        "error": found.error,
    }


@transaction.atomic
def keep(verdict: Verdict, *, now: datetime) -> None:
    """Saves the verdict; what it changes follows from the series' row, which is locked against a second analysis."""
    verdict.save()
    series = Series.objects.select_for_update().get(pk=verdict.series_id)
    if (series.exit_state, series.verdict) != (verdict.exit_state, verdict.verdict):
        ExitTransition.objects.create(
            series=series,
            happened_at=now,
            from_state=series.exit_state,
            to_state=verdict.exit_state,
            from_verdict=series.verdict,
            to_verdict=verdict.verdict,
            reasons=verdict.exit_reasons,
        )
        Series.objects.filter(pk=series.pk).update(exit_state=verdict.exit_state, verdict=verdict.verdict)
    _notify(series, verdict, now=now)


def notice_spans(rules: RegimePolicy) -> dict[str, timedelta]:
    """Returns by exit state how long a notice of it is not repeated."""
    return {
        regime.WARNING: timedelta(hours=rules.notice_hours_warning),
        regime.LATEST_EXIT: timedelta(hours=rules.notice_hours_latest),
        regime.MANDATORY_EXIT: timedelta(hours=rules.notice_hours_mandatory),
    }


def is_stale(verdict: Verdict, now: datetime) -> bool:
    """Says whether the verdict's newest candle is so old that newer ones should long have been there."""
    if verdict.bar_at is None:
        return True
    period = timedelta(seconds=verdict.series.period_seconds)
    return now - verdict.bar_at > period * (1 + STALE_PERIODS)


@dataclass(frozen=True, slots=True)
class Replay:
    """A stored verdict asked again; `differences` names what came out otherwise."""

    verdict: Verdict
    differences: tuple[str, ...]


def replay(verdict: Verdict) -> Replay:
    """Asks the rules again with the candles and numbers of the verdict's time."""
    series = verdict.series
    window = candles.load_window(
        series.market_id,
        series.timeframe,
        newest_at=verdict.newest_at.timestamp(),
        lookback=verdict.lookback,
        known_at=verdict.analyzed_at,
    )
    again = fields_of(regime.assess(window, with_changes(verdict.policy)))
    return Replay(verdict, tuple(name for name, value in again.items() if getattr(verdict, name) != value))


def _notify(series: Series, verdict: Verdict, *, now: datetime) -> None:
    span = notice_spans(with_changes(verdict.policy)).get(verdict.exit_state)
    if span is None or Notice.objects.filter(series=series, state=verdict.exit_state, sent_at__gt=now - span).exists():
        return
    Notice.objects.create(series=series, state=verdict.exit_state, sent_at=now, reasons=verdict.exit_reasons)
    log.warning("regime_exit", market=str(series.market), state=verdict.exit_state, reasons=verdict.exit_reasons)
