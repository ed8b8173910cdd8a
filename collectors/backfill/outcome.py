"""Writes what follows from an answer or a refusal: rows, and the gap's next state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction

from collectors.backfill import refused_history
from collectors.backfill.answers import AnswerRows, GapSpan, MinuteBar
from collectors.gaps import ledger
from collectors.history import partitions, quality, rollups
from collectors.models import Gap, Worker
from collectors.rate_limits.idle_window import RequestSlot
from collectors.rules.history_pages import HistoryMinute
from exchanges.models import Exchange
from feeds.base import FeedError, Throttled
from feeds.request_gate import HeldBack

log = structlog.get_logger(__name__)

OPEN_PAUSE = timedelta(minutes=5)  # a silence that lasts is asked about again
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
THROTTLE_PAUSE = timedelta(minutes=5)

STORE = """
INSERT INTO collectors_tick (pipeline_id, origin, received_at, exchange_at, last, known_at)
SELECT %(pipeline)s, %(origin)s, at, at, price, %(known_at)s
FROM unnest(%(moments)s::timestamptz[], %(prices)s::float8[]) AS found (at, price)
ON CONFLICT DO NOTHING
"""
# The first answer stays: what was said of a minute is never changed, so that it can be asked for as it was known.
KEEP_CANDLES = """
INSERT INTO collectors_minutecandle (pipeline_id, has_trades, opened_at, open, high, low, close, volume, fetched_at)
SELECT %(pipeline)s, f.*, %(fetched_at)s
FROM unnest(%(has_trades)s::boolean[], %(moments)s::timestamptz[], %(opens)s::float8[], %(highs)s::float8[],
            %(lows)s::float8[], %(closes)s::float8[], %(volumes)s::float8[]) AS f
ON CONFLICT DO NOTHING
"""


def save(turn: RequestSlot, span: GapSpan, found: AnswerRows, now: datetime) -> int:
    """Stores the rows and how far the gap is filled, if the gap and the exchange's generation are still the same.

    `now` is read after the answer came: from then on its rows are known.
    """
    partitions.ensure_since(_moment(span.start), now)
    with transaction.atomic():
        gap = _still_ours(turn, span)
        if gap is None:
            return 0
        stored = _store(span, found, now)
        _keep_candles(span, found, now)
        ledger.note_filled(
            gap,
            until=_moment(found.reached),
            rows=len(found.points),
            lacking=found.lacking,
            lacking_reason=_why_lacking(turn, now) if found.lacking else "",
            ask_again_at=now + OPEN_PAUSE,
        )
        if stored or found.candles:
            rollups.again(span.pipeline_id, start=_moment(span.start), end=_moment(found.reached), now=now)
            quality.again(span.pipeline_id, start=_moment(span.start), end=_moment(found.reached), now=now)
    return stored


def _still_ours(turn: RequestSlot, span: GapSpan) -> Gap | None:
    """Returns the locked gap; None when it was withdrawn or claimed anew, or an operator has stopped the exchange."""
    gap = Gap.objects.select_for_update().filter(pk=span.gap_id, next_try_at=span.claimed_until).first()
    is_current = Exchange.objects.collected().filter(pk=turn.exchange.id, worker__generation=turn.generation).exists()
    return gap if is_current else None


def _store(span: GapSpan, found: AnswerRows, now: datetime) -> int:
    if not found.points:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            STORE,
            {
                "pipeline": span.pipeline_id,
                "origin": int(found.origin),
                "moments": [_moment(point.at) for point in found.points],
                "prices": [point.price for point in found.points],
                "known_at": now,
            },
        )
        return int(cursor.rowcount)


def _keep_candles(span: GapSpan, found: AnswerRows, now: datetime) -> None:
    keep_candles(span.pipeline_id, [_minute_of(bar) for bar in found.candles], now)


def _minute_of(bar: MinuteBar) -> HistoryMinute:
    row = bar.candle
    prices = (row.open, row.high, row.low, row.close)
    return HistoryMinute(int(row.opened_at), *prices, row.base_volume, has_trades=bar.has_trades)


def keep_candles(pipeline_id: int, candles: Sequence[HistoryMinute], now: datetime) -> None:
    """Keeps the exchange's own minutes as it told them first, in the caller's transaction."""
    if not candles:
        return
    given: dict[str, Any] = {
        "pipeline": pipeline_id,
        "has_trades": [each.has_trades for each in candles],
        "moments": [_moment(each.opened_at) for each in candles],
        "opens": [each.open for each in candles],
        "highs": [each.high for each in candles],
        "lows": [each.low for each in candles],
        "closes": [each.close for each in candles],
        "volumes": [each.volume for each in candles],
        "fetched_at": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(KEEP_CANDLES, given)


def _why_lacking(turn: RequestSlot, now: datetime) -> str:
    return "; ".join(refused_history.of(turn.exchange.id, generation=turn.generation, now=now).values())


def remember_nothing(turn: RequestSlot, span: GapSpan, why: str) -> None:
    """Notes that the exchange has none of it, so that it is never asked again. What was filled before stays."""
    with transaction.atomic():
        gap = _still_ours(turn, span)
        if gap is None:
            return
        ledger.note_nothing(
            gap,
            until=_moment(span.end),
            lacking=max(1, int((span.end - span.start) / span.expected_seconds)),
            why=why,
            ask_again_at=None if span.is_ended else span.claimed_until + LONGEST_RETRY,
        )


def pause(turn: RequestSlot, span: GapSpan, error: FeedError, now: datetime) -> dict[str, Any]:
    """Puts the gap off after a refusal, holds live polls, too, if they must wait; returns changes of the Backfill."""
    gap = Gap.objects.filter(pk=span.gap_id, next_try_at=span.claimed_until).first()
    if gap is not None:
        ledger.put_off(
            gap.pk,
            claimed_until=span.claimed_until,
            attempts=min(gap.attempts + 1, 1000),
            next_try_at=now + retry_pause(gap.attempts),
        )
    log.warning("backfill_failed", exchange=turn.exchange.id, symbol=span.symbol, outcome=error.kind, error=str(error))
    return pause_of(turn.exchange.id, error, now)


def pause_of(exchange_id: str, error: FeedError, now: datetime) -> dict[str, Any]:
    """Holds live polls, too, if they must wait after a refusal; returns changes of the exchange's Backfill."""
    if not isinstance(error, Throttled):
        return {}
    asked = timedelta(seconds=error.retry_after_seconds or 0)
    if asked or error.banned:
        _hold_polls(exchange_id, until=now + (asked or THROTTLE_PAUSE))
    return {"paused_until": now + max(THROTTLE_PAUSE, asked)}


def retry_pause(attempts: int) -> timedelta:
    return min(LONGEST_RETRY, FIRST_RETRY * float(2 ** min(attempts, 10)))


def _hold_polls(exchange_id: str, *, until: datetime) -> None:
    """Keeps polls from the exchange until then: a poll would be held against us like any other request."""
    worker = Worker.objects.filter(pk=exchange_id)
    worker.exclude(retry_at__gte=until).update(retry_at=until, last_outcome="throttled")


def release(span: GapSpan) -> None:
    ledger.release(span.gap_id, claimed_until=span.claimed_until)


def step_back(span: GapSpan, error: HeldBack, now: datetime) -> dict[str, Any]:
    """Releases the span, as nothing was asked; returns the change that leaves its exchange to others for a while."""
    release(span)
    return {"paused_until": now + timedelta(seconds=max(1.0, error.wait_seconds))}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
