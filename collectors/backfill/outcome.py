"""What follows of an answer, or of a refusal: rows, and the gap's next state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction

from collectors.backfill import refused_history
from collectors.backfill.answers import AnswerRows, GapSpan
from collectors.history import partitions, rollups
from collectors.models import Gap, GapState, Worker
from collectors.rate_limits.idle_window import RequestSlot
from exchanges.models import Exchange
from feeds.base import FeedError, Throttled
from feeds.request_gate import HeldBack

log = structlog.get_logger(__name__)

OPEN_PAUSE = timedelta(minutes=5)  # a silence that lasts is asked about again
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
THROTTLE_PAUSE = timedelta(minutes=5)

STORE = """
INSERT INTO collectors_tick (pipeline_id, origin, received_at, exchange_at, last)
SELECT %(pipeline)s, %(origin)s, at, at, price
FROM unnest(%(moments)s::timestamptz[], %(prices)s::float8[]) AS found (at, price)
ON CONFLICT DO NOTHING
"""

FILLED_FIELDS = (
    "filled_until", "filled_count", "lacking_count", "lacking_reason", "attempts", "state", "next_try_at"
)  # fmt: skip


def save(turn: RequestSlot, span: GapSpan, found: AnswerRows, now: datetime) -> int:
    """Stores the rows and how far the gap is filled, if the gap and the exchange's generation are still the same."""
    partitions.ensure_since(_moment(span.start), now)
    with transaction.atomic():
        gap = _still_ours(turn, span)
        if gap is None:
            return 0
        stored = _store(span, found)
        gap.filled_until = _moment(found.reached)
        gap.filled_count += len(found.points)
        gap.lacking_count += found.lacking
        if found.lacking:
            closed = refused_history.of(turn.exchange.id, generation=turn.generation, now=now)
            gap.lacking_reason = "; ".join(closed.values())
        gap.attempts = 0
        gap.state, gap.next_try_at = _state_after(gap, now)
        gap.save(update_fields=FILLED_FIELDS)
        if stored:
            rollups.again(span.pipeline_id, start=_moment(span.start), end=_moment(found.reached))
    return stored


def _still_ours(turn: RequestSlot, span: GapSpan) -> Gap | None:
    """The locked gap, or None when it was withdrawn or claimed anew, or an operator has stopped the exchange."""
    gap = Gap.objects.select_for_update().filter(pk=span.gap_id, next_try_at=span.claimed_until).first()
    is_current = Exchange.objects.collected().filter(pk=turn.exchange.id, worker__generation=turn.generation).exists()
    return gap if is_current else None


def _store(span: GapSpan, found: AnswerRows) -> int:
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
            },
        )
        return int(cursor.rowcount)


def _state_after(gap: Gap, now: datetime) -> tuple[str, datetime | None]:
    assert gap.filled_until is not None
    if gap.ended_at is None:
        return GapState.FILLING, now + OPEN_PAUSE
    if gap.filled_until < gap.ended_at:
        return GapState.FILLING, None  # a page was full: the rest stays open, for the next turn
    return final_state(gap.filled_count, gap.lacking_count), None


def final_state(filled_count: int, lacking_count: int) -> str:
    if filled_count == 0:
        return GapState.NOTHING
    return GapState.PARTLY_FILLED if lacking_count else GapState.FILLED


def remember_nothing(turn: RequestSlot, span: GapSpan, why: str) -> None:
    """It cannot be had here: never asked again. What was filled before stays."""
    with transaction.atomic():
        gap = _still_ours(turn, span)
        if gap is None:
            return
        gap.lacking_count += max(1, int((span.end - span.start) / span.expected_seconds))
        gap.filled_until, gap.next_try_at = _moment(span.end), None
        gap.state = final_state(gap.filled_count, gap.lacking_count) if span.is_ended else GapState.FILLING
        if not span.is_ended:
            gap.next_try_at = span.claimed_until + LONGEST_RETRY
        gap.lacking_reason = why
        gap.save(update_fields=["lacking_count", "lacking_reason", "filled_until", "next_try_at", "state"])


def pause(turn: RequestSlot, span: GapSpan, error: FeedError, now: datetime) -> dict[str, Any]:
    """What the exchange's refusal means for this gap, for its backfill, and for live polling, too, if it must wait."""
    gap = Gap.objects.filter(pk=span.gap_id, next_try_at=span.claimed_until).first()
    if gap is not None:
        again_at = now + retry_pause(gap.attempts)
        attempts = min(gap.attempts + 1, 1000)
        Gap.objects.filter(pk=gap.pk, next_try_at=span.claimed_until).update(attempts=attempts, next_try_at=again_at)
    log.warning("backfill_failed", exchange=turn.exchange.id, symbol=span.symbol, outcome=error.kind, error=str(error))
    if isinstance(error, Throttled):
        asked = timedelta(seconds=error.retry_after_seconds or 0)
        if asked or error.banned:
            _hold_polls(turn.exchange.id, until=now + (asked or THROTTLE_PAUSE))
        return {"paused_until": now + max(THROTTLE_PAUSE, asked)}
    return {}


def retry_pause(attempts: int) -> timedelta:
    return min(LONGEST_RETRY, FIRST_RETRY * float(2 ** min(attempts, 10)))


def _hold_polls(exchange_id: str, *, until: datetime) -> None:
    """The exchange told this address to wait; a poll would be held against us like any other request."""
    worker = Worker.objects.filter(pk=exchange_id)
    worker.exclude(retry_at__gte=until).update(retry_at=until, last_outcome="throttled")


def release(span: GapSpan) -> None:
    Gap.objects.filter(pk=span.gap_id, next_try_at=span.claimed_until).update(next_try_at=None)


def step_back(span: GapSpan, error: HeldBack, now: datetime) -> dict[str, Any]:
    """Nothing was asked: the gap stays due, and its exchange is left to others for a while."""
    release(span)
    return {"paused_until": now + timedelta(seconds=max(1.0, error.wait_seconds))}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
