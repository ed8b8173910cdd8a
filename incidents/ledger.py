"""Writes what becomes of incidents: row, timeline and outbox in one transaction.

Any number of pulses may call `apply`: one at a time gets the lock, and the unique key on open incidents decides should
two come through all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import singledispatch
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import F, Q

from incidents import outbox, rows
from incidents.models import EntryKind, Incident, IncidentEntry
from incidents.rules import changes
from incidents.rules.changes import (
    ComesBack,
    FallsQuiet,
    Grows,
    Heals,
    IncidentChange,
    Joins,
    Leaves,
    OpenIncident,
    Opens,
)
from incidents.rules.facts import Found, Trouble
from incidents.rules.words import MessageEvent, Stage

LOCK = 0x696E6364  # one pulse at a time: "incd"

log = structlog.get_logger(__name__)


def apply(found: Found, now: datetime) -> int:
    """Carries out what has changed; returns how many changes. One query while there is none. Raises DatabaseError."""
    held = _held()
    if not changes.plan(held, found, now) and not _is_anything_due(held, now):
        return 0
    with transaction.atomic():
        if not _lock():
            return 0  # another pulse is at it
        held = _held()
        wanted = changes.plan(held, found, now)
        for change in wanted:
            carry_out(change, now)
        expired = _let_expire(now)
        rows.count(now)
    for change in wanted:
        log.info("incident", change=type(change).__name__, key=_key(change))
    return len(wanted) + expired


def _held() -> list[OpenIncident]:
    """Reads what has not ended. One query."""
    return [_as_open(row) for row in Incident.objects.filter(ended_at__isnull=True).select_related("parent")]


def _as_open(row: Incident) -> OpenIncident:
    return OpenIncident(
        id=row.pk,
        key=row.key,
        severity=row.severity,
        cause=row.cause,
        title=row.title,
        detail=row.detail,
        exchanges=tuple(row.exchanges),
        affected=row.affected,
        opened_at=row.openings[-1] if row.openings else row.opened_at,
        quiet_since=row.quiet_since,
        openings=tuple(row.openings),
        parent_id=row.parent_id,
        parent_key=row.parent.key if row.parent is not None else "",
        parent_gone_since=(row.parent.ended_at or row.parent.quiet_since) if row.parent is not None else None,
        by_person=bool(row.opened_by) or row.is_drill,
        pause_ends_at=min(filter(None, (row.acknowledged_until, row.snoozed_until)), default=None),
        counted_at=row.counted_at,
    )


def _is_anything_due(held: Sequence[OpenIncident], now: datetime) -> bool:
    return any(
        (each.pause_ends_at is not None and each.pause_ends_at <= now)
        or each.counted_at is None
        or now - each.counted_at >= rows.COUNT_EVERY
        for each in held
    )


def _lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _key(change: IncidentChange) -> str:
    return change.trouble.key if isinstance(change, Opens) else change.incident.key


def note(incident: Incident, kind: EntryKind, text: str = "", *, now: datetime, **facts: Any) -> IncidentEntry:
    """Appends a line to the timeline."""
    return IncidentEntry.objects.create(incident=incident, happened_at=now, kind=kind, text=text[:2000], **facts)


# --- each change --------------------------------------------------------------------------------------------------


@singledispatch
def carry_out(change: Any, now: datetime) -> None:
    """Carries out one change, in the caller's transaction."""
    raise TypeError(f"no such change: {change!r}")


@carry_out.register
def _opens(change: Opens, now: datetime) -> None:
    trouble = change.trouble
    parent = _open_by_key(change.parent_key)
    incident = _reopened(trouble, parent, now) or _opened(trouble, parent, now)
    if parent is not None:
        _note_joined(incident, parent, now)
    else:
        outbox.tell(incident, MessageEvent.OPENED, now=now, start=now + changes.held_back(trouble))


def _opened(trouble: Trouble, parent: Incident | None, now: datetime) -> Incident:
    incident = Incident.objects.create(
        key=trouble.key,
        kind=trouble.kind,
        parent=parent,
        since=min(trouble.since, now),
        opened_at=now,
        openings=[now],
        **_facts(trouble),
    )
    note(incident, EntryKind.OPENED, _told(trouble), now=now)
    return incident


def _reopened(trouble: Trouble, parent: Incident | None, now: datetime) -> Incident | None:
    """Opens again what ended a short while ago."""
    before = Incident.objects.filter(key=trouble.key, ended_at__gt=now - changes.REOPEN_WITHIN, is_drill=False)
    incident = before.order_by("-ended_at").first()
    if incident is None:
        return None
    openings = changes.recent_openings((*incident.openings, now), now)
    incident.openings = list(openings)
    incident.ended_at = incident.quiet_since = None
    incident.state, incident.parent = Stage.INVESTIGATING, parent
    incident.reopened += 1
    incident.version += 1
    for name, value in _facts(trouble).items():
        setattr(incident, name, value)
    incident.save()
    is_flapping = len(openings) >= changes.FLAPPING_OPENINGS
    note(incident, EntryKind.FLAPPING if is_flapping else EntryKind.REOPENED, _told(trouble), now=now)
    return incident


def _facts(trouble: Trouble) -> dict[str, Any]:
    return {
        "cause": trouble.cause[:40],
        "severity": trouble.severity,
        "title": trouble.title[:200],
        "detail": trouble.detail[:2000],
        "advice": trouble.advice,
        "exchanges": list(trouble.exchanges),
        "affected": trouble.affected,
    }


def _told(trouble: Trouble) -> str:
    return f"{trouble.title}: {trouble.detail}" if trouble.detail else trouble.title


def _open_by_key(key: str) -> Incident | None:
    return Incident.objects.filter(key=key, ended_at__isnull=True).first() if key else None


@carry_out.register
def _joins(change: Joins, now: datetime) -> None:
    parent = _open_by_key(change.parent_key)
    incident = Incident.objects.get(pk=change.incident.id)
    if parent is None or parent.pk == incident.pk or parent.parent_id == incident.pk:
        return
    incident.parent = parent
    incident.save(update_fields=["parent"])
    outbox.cancel(incident, f"it is part of: {parent.title}", now=now)
    _note_joined(incident, parent, now)


def _note_joined(incident: Incident, parent: Incident, now: datetime) -> None:
    note(incident, EntryKind.JOINED, parent.title, now=now)
    note(parent, EntryKind.CHILD_JOINED, incident.title, now=now)


@carry_out.register
def _leaves(change: Leaves, now: datetime) -> None:
    incident = Incident.objects.get(pk=change.incident.id)
    incident.parent = None
    incident.version += 1
    incident.save(update_fields=["parent", "version"])
    note(incident, EntryKind.LEFT, "what explained it is over, or explains it no longer", now=now)
    outbox.tell(incident, MessageEvent.OPENED, now=now, start=now)


@carry_out.register
def _grows(change: Grows, now: datetime) -> None:
    incident, trouble = Incident.objects.get(pk=change.incident.id), change.trouble
    facts = _facts(trouble)
    facts["affected"] = max(trouble.affected, incident.affected)
    facts["exchanges"] = [*incident.exchanges, *(set(trouble.exchanges) - set(incident.exchanges))]
    for name, value in facts.items():
        setattr(incident, name, value)
    incident.version += change.is_graver
    incident.save()
    note(incident, EntryKind.GREW, _told(trouble), now=now)
    if change.is_graver and incident.parent_id is None:
        outbox.tell(incident, MessageEvent.GREW, now=now, start=now)


@carry_out.register
def _falls_quiet(change: FallsQuiet, now: datetime) -> None:
    incident = Incident.objects.get(pk=change.incident.id)
    incident.quiet_since, incident.state = now, Stage.MONITORING
    incident.save(update_fields=["quiet_since", "state"])
    note(incident, EntryKind.QUIET, "its signs are gone", now=now)


@carry_out.register
def _comes_back(change: ComesBack, now: datetime) -> None:
    incident = Incident.objects.get(pk=change.incident.id)
    incident.quiet_since, incident.openings = None, list(change.openings)
    incident.state = Stage.IDENTIFIED if incident.acknowledged_by else Stage.INVESTIGATING
    incident.reopened += 1
    incident.save(update_fields=["quiet_since", "openings", "state", "reopened"])
    kind = EntryKind.FLAPPING if change.is_flapping else EntryKind.REOPENED
    note(incident, kind, f"its signs are back, for the {len(change.openings)}. time in half an hour", now=now)
    if change.is_flapping and incident.parent_id is None:
        incident.version += 1
        incident.save(update_fields=["version"])
        outbox.tell(incident, MessageEvent.REMINDER, now=now, start=now + outbox.FLAPPING_REPEAT)


@carry_out.register
def _heals(change: Heals, now: datetime) -> None:
    incident = Incident.objects.get(pk=change.incident.id)
    end(incident, ended_at=max(change.ended_at, incident.since), now=now)


def end(incident: Incident, *, ended_at: datetime, now: datetime, by: str = "") -> None:
    """Ends an incident, counts its rows, and tells those who were told of it."""
    rows.link(now)
    incident.refresh_from_db()
    incident.ended_at, incident.state = ended_at, Stage.RESOLVED
    incident.version += 1
    incident.save(update_fields=["ended_at", "state", "version"])
    rows.count_of([incident.pk], now)
    note(incident, EntryKind.HEALED, "over", now=now, by=by)
    incident.refresh_from_db()
    outbox.tell_recovery(incident, now=now)


# --- what ends by itself ------------------------------------------------------------------------------------------


def _let_expire(now: datetime) -> int:
    """Ends acknowledgements and snoozes whose time is over: what lasts is told again."""
    due = Q(acknowledged_until__lte=now) | Q(snoozed_until__lte=now)
    expired = list(Incident.objects.select_for_update().filter(due, ended_at__isnull=True))
    for incident in expired:
        was = "snoozed" if incident.snoozed_until is not None and incident.snoozed_until <= now else "acknowledged"
        by = incident.acknowledged_by
        _clear(incident.pk, was)
        incident.refresh_from_db()
        note(incident, EntryKind.EXPIRED, f"no longer {was}{f' by {by}' if by else ''}, and it lasts", now=now)
        if incident.parent_id is None and not outbox.is_still_to_be_told(incident):
            outbox.tell(incident, MessageEvent.REMINDER, now=now, start=now)
    return len(expired)


def _clear(number: int, was: str) -> None:
    cleared: dict[str, Any] = {"snoozed_until": None}
    if was == "acknowledged":
        cleared = {"acknowledged_until": None, "acknowledged_by": "", "acknowledged_at": None}
    Incident.objects.filter(pk=number).update(version=F("version") + 1, **cleared)


def roots(incidents: Iterable[Incident]) -> list[Incident]:
    """Returns those that no other explains."""
    return [each for each in incidents if each.parent_id is None]
