"""Chooses the gap that is asked about next, and the exchanges that have any."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from collectors.backfill import answers, importing, turns
from collectors.backfill.answers import GapSpan
from collectors.gaps import ledger
from collectors.models import TO_FILL, Backfill, Gap, GapCause
from exchanges.models import Exchange

SETTLE = timedelta(seconds=90)  # exchanges publish the last minute late
CLAIM_MARGIN_SECONDS = 30  # a claim outlasts the request that it is for


@dataclass(frozen=True, slots=True)
class GapSelection:
    """A selection of the gaps to fill; everything by default."""

    market: str = ""
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = GapSelection()


def due(exchange_id: str, now: datetime, wanted: GapSelection = EVERYTHING) -> QuerySet[Gap]:
    """Returns gaps of one exchange that may be asked about now, newest first: exchanges forget the oldest first."""
    found = Gap.objects.filter(
        pipeline__market__exchange_id=exchange_id,
        pipeline__market__is_collected=True,
        state__in=TO_FILL,
        started_at__lt=now - SETTLE,
    ).exclude(next_try_at__gt=now).exclude(ended_at__gt=now - SETTLE).exclude(ended_at__lt=kept_since(now))  # fmt: skip
    found = found.exclude(cause=GapCause.HALTED, ended_at=None)  # nothing is traded that could be asked for
    if wanted.market:
        found = found.filter(pipeline__market__symbol=wanted.market)
    if wanted.since:
        found = found.exclude(ended_at__lte=wanted.since)
    if wanted.until:
        found = found.filter(started_at__lt=wanted.until)
    return found.order_by("-started_at", "-id")


def claim(exchange_id: str, now: datetime, wanted: GapSelection = EVERYTHING) -> GapSpan | None:
    """Returns the next span to ask for, claimed for as long as a request may take; None when there is none."""
    until = now + timedelta(seconds=turns.DEADLINE_SECONDS + CLAIM_MARGIN_SECONDS)
    with transaction.atomic():
        locked = due(exchange_id, now, wanted).select_for_update(of=("self",), skip_locked=True)
        gap = locked.select_related("pipeline__market").first()
        if gap is None:
            return None
        ledger.claim(gap, until=until)
    return _span(gap, now, until)


def _span(gap: Gap, now: datetime, claimed_until: datetime) -> GapSpan:
    return GapSpan(
        gap_id=gap.pk,
        pipeline_id=gap.pipeline_id,
        symbol=gap.pipeline.market.symbol,
        start=max(gap.filled_until or gap.started_at, kept_since(now)).timestamp(),
        end=(gap.ended_at or now - SETTLE).timestamp(),
        is_ended=gap.ended_at is not None,
        expected_seconds=gap.pipeline.expected_seconds,
        claimed_until=claimed_until,
    )


def kept_since(now: datetime) -> datetime:
    """Returns the moment before which raw rows are dropped again."""
    return now - timedelta(hours=settings.RAW_RETENTION_HOURS)


def requests_left(gap: Gap, now: datetime) -> int:
    """Returns a forecast for people: how many requests the rest of a gap takes."""
    if gap.state not in TO_FILL:
        return 0
    rest = ((gap.ended_at or now) - (gap.filled_until or gap.started_at)).total_seconds()
    return max(1, ceil(rest / (answers.PAGE * answers.MINUTE)))


# --- the plan ---------------------------------------------------------------------------------------------------


def plan(now: datetime, *, gives_up: bool = True) -> list[str]:
    """Gives up what is too old to be kept, and notes which exchanges have something to fill; returns their ids."""
    if gives_up:
        ledger.expire(before=kept_since(now))
    wanted = []
    for exchange in Exchange.objects.collected().order_by("id"):
        has_work = due(exchange.id, now).exists() or importing.waiting(exchange.id, now).exists()
        changed = Backfill.objects.filter(pk=exchange.pk).exclude(has_work=has_work).update(has_work=has_work)
        if has_work and not changed:
            Backfill.objects.get_or_create(exchange=exchange, defaults={"has_work": True})
        if has_work:
            wanted.append(exchange.id)
    return wanted


def is_wanted(exchange_id: str) -> bool:
    """Says whether there is something to fill: one look by key, after every good poll."""
    return Backfill.objects.filter(pk=exchange_id, has_work=True).exists()
