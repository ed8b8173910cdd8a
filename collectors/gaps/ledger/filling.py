"""Keeps how far the exchange was asked for what a gap missed, and what came of it."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from collectors.gaps.ledger.statements import execute
from collectors.models import TO_FILL, TO_FILL_SQL, Gap, GapState

FILLED_FIELDS = (
    "filled_until", "filled_count", "lacking_count", "lacking_reason", "attempts", "state", "next_try_at"
)  # fmt: skip
EXPIRE = f"""
UPDATE collectors_gap SET next_try_at = NULL,
    state = CASE WHEN filled_count > 0 THEN '{GapState.PARTLY_FILLED}' ELSE '{GapState.EXPIRED}' END
WHERE id IN (SELECT id FROM collectors_gap WHERE state IN ({TO_FILL_SQL}) AND ended_at < %(before)s
             ORDER BY id LIMIT 10000 FOR UPDATE SKIP LOCKED)
"""


def claim(gap: Gap, *, until: datetime) -> None:
    """Takes a locked gap from all others; `until` is also how its holder knows that it is still theirs."""
    Gap.objects.filter(pk=gap.pk).update(state=GapState.FILLING, next_try_at=until)


def note_filled(
    gap: Gap, *, until: datetime, rows: int, lacking: int, lacking_reason: str, ask_again_at: datetime
) -> None:
    """Notes an answer that reaches to `until`, of a locked gap. One that lasts is due again at `ask_again_at`."""
    gap.filled_until = until
    gap.filled_count += rows
    gap.lacking_count += lacking
    if lacking:
        gap.lacking_reason = lacking_reason
    gap.attempts, gap.next_try_at = 0, None
    if gap.ended_at is None:
        gap.state, gap.next_try_at = GapState.FILLING, ask_again_at
    elif until < gap.ended_at:
        gap.state = GapState.FILLING  # a page was full: the rest stays open, for the next turn
    else:
        gap.state = final_state(gap.filled_count, gap.lacking_count)
    gap.save(update_fields=FILLED_FIELDS)


def note_nothing(gap: Gap, *, until: datetime, lacking: int, why: str, ask_again_at: datetime | None) -> None:
    """Notes that the exchange has nothing of a locked gap up to `until`. What was filled before stays.

    It is never asked again, unless it lasted: then from `ask_again_at` on.
    """
    gap.lacking_count += lacking
    gap.filled_until, gap.next_try_at = until, ask_again_at
    gap.state = GapState.FILLING if ask_again_at else final_state(gap.filled_count, gap.lacking_count)
    gap.lacking_reason = why
    gap.save(update_fields=["lacking_count", "lacking_reason", "filled_until", "next_try_at", "state"])


def final_state(filled_count: int, lacking_count: int) -> GapState:
    """Returns the state of a gap that was asked for to its end."""
    if filled_count == 0:
        return GapState.NOTHING
    return GapState.PARTLY_FILLED if lacking_count else GapState.FILLED


def put_off(gap_id: int, *, claimed_until: datetime, attempts: int, next_try_at: datetime) -> None:
    """Keeps a claimed gap for later after a failed attempt."""
    Gap.objects.filter(pk=gap_id, next_try_at=claimed_until).update(attempts=attempts, next_try_at=next_try_at)


def release(gap_id: int, *, claimed_until: datetime) -> None:
    """Gives a claimed gap back: nothing was asked, and it stays due."""
    Gap.objects.filter(pk=gap_id, next_try_at=claimed_until).update(next_try_at=None)


def ask_again(exchange_id: str, *, claims_end_before: datetime, now: datetime) -> int:
    """Forgets the pauses of an exchange's gaps; returns how many there are to fill.

    A next try before `claims_end_before`, with no failed attempt, is a request that is just being made: it stays.
    """
    mine = Gap.objects.filter(pipeline__market__exchange_id=exchange_id, state__in=TO_FILL)
    paused = Q(next_try_at__gt=claims_end_before) | Q(next_try_at__gt=now, attempts__gt=0)
    mine.filter(paused).update(next_try_at=None, attempts=0)
    return mine.count()


def expire(*, before: datetime) -> int:
    """Gives up what ended before a moment and was not filled: it would be dropped at once. Returns how many."""
    return execute(EXPIRE, {"before": before})
