"""Claims messages of the outbox and writes down what became of them. By PostgreSQL's clock, any number of notifiers.

A claim lasts half a minute. One that ran out was of a notifier that died: whether it had sent is unknown, so the next
try is marked as a repeat.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q

from incidents import maintenance, outbox
from incidents.channels.sending import SendOutcome
from incidents.models import AlertChannel, Delivery, DeliveryState, EntryKind, Incident, IncidentEntry
from incidents.rules import changes, retries
from incidents.rules.retries import TriedMessage
from incidents.rules.words import MessageEvent

CLAIM_SECONDS = 30
SKIP_FAILING_AFTER = timedelta(seconds=30)  # a channel that fails for so long is passed over by later steps
LOST_CLAIM = "sent by a notifier that ended before it could say so"

# One message after the other for an incident and a channel: what is being tried, or was and is tried again, goes first.
CLAIM = f"""
UPDATE incidents_delivery AS d
SET is_repeat = d.is_repeat OR d.state = 'claimed', state = 'claimed', attempts = d.attempts + 1,
    claimed_until = clock_timestamp() + interval '{CLAIM_SECONDS} seconds'
FROM (
    SELECT w.id FROM incidents_delivery AS w
    WHERE ((w.state = 'queued' AND w.next_try_at <= %(now)s)
           OR (w.state = 'claimed' AND w.claimed_until < clock_timestamp()))
      AND w.channel_id <> ALL(%(busy)s)
      AND NOT EXISTS (
          SELECT FROM incidents_delivery AS before
          WHERE before.incident_id = w.incident_id AND before.channel_id = w.channel_id AND before.id < w.id
            AND (before.state = 'claimed' OR before.state = 'queued' AND before.attempts > 0))
    ORDER BY w.next_try_at LIMIT %(most)s FOR UPDATE OF w SKIP LOCKED
) AS chosen WHERE d.id = chosen.id
RETURNING d.id
"""


def claim(*, most: int, busy: Sequence[int], now: datetime) -> list[Delivery]:
    """Claims messages that are due, but none of the channels that are busy. Those not worth telling end here."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"most": most, "busy": list(busy), "now": now})
        claimed = [number for (number,) in cursor.fetchall()]
    if not claimed:
        return []
    rows = Delivery.objects.filter(pk__in=claimed).select_related("channel", "incident", "route").order_by("pk")
    return [row for row in rows if not _is_put_off(row, now)]


# --- what is not sent now -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PutOff:
    """Why a message is not sent now, and until when; for good where `until` is None."""

    why: str
    until: datetime | None = None


def _is_put_off(row: Delivery, now: datetime) -> bool:
    reason = put_off(row, now)
    if reason is None:
        return False
    changed = {"state": DeliveryState.QUEUED, "next_try_at": reason.until, "attempts": row.attempts - 1}
    if reason.until is None:
        changed = {"state": DeliveryState.EXPIRED}
    mine = Delivery.objects.filter(pk=row.pk, state=DeliveryState.CLAIMED, claimed_until=row.claimed_until)
    mine.update(excerpt=reason.why[:300], **changed)
    return True


def put_off(row: Delivery, now: datetime) -> PutOff | None:
    """Returns why a message is not sent now, None for one that is. What was tried once is never dropped."""
    incident = row.incident
    if not row.channel.is_enabled:
        return PutOff("the channel is switched off")
    if incident is None or row.attempts > 1 or row.event not in outbox.TELLS_OF_TROUBLE:
        return None
    if incident.ended_at is not None:
        return PutOff("it was over before anybody had to be told")
    if incident.parent_id is not None:
        return PutOff("it is part of another incident")
    pauses = [
        ("acknowledged", incident.acknowledged_until),
        ("snoozed", incident.snoozed_until),
        ("planned work", maintenance.covered_until(incident.exchanges, now=now)),
    ]
    for why, until in pauses:
        if until is not None and until > now:
            return PutOff(why, until)
    return None


# --- what came of it ----------------------------------------------------------------------------------------------


def record(row: Delivery, outcome: SendOutcome, now: datetime) -> None:
    """Writes down what one try came to: on the message, its channel, the timeline, and what follows from it."""
    fate = retries.after(
        TriedMessage(outcome.is_good, outcome.is_unconfirmed, outcome.is_final),
        attempts=row.attempts,
        due_at=row.due_at,
        is_repeat=row.is_repeat,
        now=now,
        jitter=random.random(),
    )
    with transaction.atomic():
        mine = Delivery.objects.filter(pk=row.pk, state=DeliveryState.CLAIMED, claimed_until=row.claimed_until)
        won = mine.update(
            state=fate.state,
            is_repeat=fate.is_repeat,
            next_try_at=fate.next_try_at or row.next_try_at,
            claimed_until=None,
            sent_at=now if outcome.is_good else None,
            status=outcome.status,
            elapsed_ms=outcome.elapsed_ms,
            excerpt=outcome.said[:300],
        )
        _note_channel(row.channel_id, outcome, now)
        if won and outcome.is_good:
            _follow_up(row, now)
        elif won and row.incident_id is not None:
            _bring_forward(row, row.incident_id, now)


def _note_channel(number: int, outcome: SendOutcome, now: datetime) -> None:
    channel = AlertChannel.objects.filter(pk=number)
    if outcome.is_good:
        channel.update(last_good_at=now, failing_since=None, last_error="")
        return
    channel.update(last_error=outcome.said[:300])
    channel.filter(failing_since__isnull=True).update(failing_since=now)


def _follow_up(row: Delivery, now: datetime) -> None:
    """Writes the timeline, and the next message where the step repeats or the incident flaps."""
    if row.incident_id is None:
        return
    incident = Incident.objects.get(pk=row.incident_id)
    seconds = (now - row.due_at).total_seconds()
    text = f"{row.channel.name} was told ({row.event}), {max(0.0, seconds):.1f} s after it was due"
    IncidentEntry.objects.create(incident=incident, happened_at=now, kind=EntryKind.NOTIFIED, text=text)
    if incident.ended_at is None and row.event in outbox.TELLS_OF_TROUBLE:
        _repeat(row, incident, now)


def _repeat(row: Delivery, incident: Incident, now: datetime) -> None:
    steps = row.route.steps if row.route is not None else []
    seconds = float(steps[row.step].get("repeat_seconds") or 0) if row.step < len(steps) else 0.0
    if len(changes.recent_openings(incident.openings, now)) >= changes.FLAPPING_OPENINGS:
        seconds = outbox.FLAPPING_REPEAT.total_seconds()
    if not seconds or row.version != incident.version:
        return
    due_at = now + timedelta(seconds=seconds)
    Delivery.objects.bulk_create(
        [
            Delivery(
                incident=incident, channel_id=row.channel_id, route_id=row.route_id, version=row.version,
                step=row.step, repetition=row.repetition + 1, event=MessageEvent.REMINDER, due_at=due_at,
                next_try_at=due_at, created_at=now,
            )
        ],
        ignore_conflicts=True,
    )  # fmt: skip


def _bring_forward(row: Delivery, incident: int, now: datetime) -> None:
    """Sends the later steps of the same incident now, while the channel of this one has failed for a while."""
    failing = AlertChannel.objects.filter(pk=row.channel_id, failing_since__lt=now - SKIP_FAILING_AFTER).exists()
    if failing:
        later = Q(step__gt=row.step, state=DeliveryState.QUEUED, attempts=0, next_try_at__gt=now)
        Delivery.objects.filter(later, incident_id=incident).update(next_try_at=now)
