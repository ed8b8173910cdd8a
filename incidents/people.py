"""What people do with an incident: take it, put it off, write to it, end it, open one."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import transaction

from incidents import ledger, outbox
from incidents.models import EntryKind, Incident, IncidentEntry
from incidents.rules.words import IncidentKind, Level, MessageEvent, Stage

ACKNOWLEDGED_FOR = timedelta(hours=4)
LONGEST_PAUSE = timedelta(days=7)
TEXT_CHARACTERS = 2000
PUBLIC_STAGES = (Stage.INVESTIGATING, Stage.IDENTIFIED, Stage.MONITORING, Stage.RESOLVED)


class IncidentRefused(Exception):
    """Something that cannot be done with this incident now; the message says why."""


class StillLasts(IncidentRefused):
    """An end that nobody can decree: the cause is still there."""


def _locked(number: int) -> Incident:
    """Returns the incident, whose row no other writes meanwhile. Raises Incident.DoesNotExist."""
    return Incident.objects.select_for_update().get(pk=number)


def _open(number: int) -> Incident:
    incident = _locked(number)
    if incident.ended_at is not None:
        raise IncidentRefused("This incident is over.")
    return incident


def _until(until: datetime | None, now: datetime, usual: timedelta) -> datetime:
    """Returns a pause's end, which every pause has. Raises IncidentRefused."""
    end = until or now + usual
    if end <= now:
        raise IncidentRefused("This moment has passed.")
    if end - now > LONGEST_PAUSE:
        raise IncidentRefused(f"At most {LONGEST_PAUSE.days} days; it can be renewed.")
    return end


def acknowledge(number: int, *, by: str, now: datetime, until: datetime | None = None, comment: str = "") -> Incident:
    """Says that somebody is on it, until a moment at which it is told again. Raises IncidentRefused, DoesNotExist."""
    with transaction.atomic():
        incident = _open(number)
        end = _until(until, now, ACKNOWLEDGED_FOR)
        _shift(incident, end, now)
        incident.acknowledged_by, incident.acknowledged_at, incident.acknowledged_until = by[:150], now, end
        if incident.state == Stage.INVESTIGATING:
            incident.state = Stage.IDENTIFIED
        incident.version += 1
        incident.save()
        text = f"until {end:%Y-%m-%d %H:%M} UTC{f': {comment}' if comment else ''}"
        ledger.note(incident, EntryKind.ACKNOWLEDGED, text, now=now, by=by[:150])
        outbox.tell_acknowledged(incident, now=now)
    return incident


def snooze(number: int, *, by: str, now: datetime, until: datetime | None = None, comment: str = "") -> Incident:
    """Puts telling off; nobody is on it. Raises IncidentRefused, DoesNotExist."""
    with transaction.atomic():
        incident = _open(number)
        end = _until(until, now, timedelta(hours=1))
        _shift(incident, end, now)
        incident.snoozed_until = end
        incident.save(update_fields=["snoozed_until"])
        text = f"until {end:%Y-%m-%d %H:%M} UTC{f': {comment}' if comment else ''}"
        ledger.note(incident, EntryKind.SNOOZED, text, now=now, by=by[:150])
    return incident


def _shift(incident: Incident, end: datetime, now: datetime) -> None:
    """Lets timers stand still for what this pause adds to those that run."""
    running = max(filter(None, (incident.acknowledged_until, incident.snoozed_until)), default=now)
    if end > max(running, now):
        outbox.stand_still(incident, until=now + (end - max(running, now)), now=now)


def write(number: int, *, by: str, now: datetime, text: str, is_public: bool = False, state: str = "") -> IncidentEntry:
    """Adds a person's words to the timeline; public ones stand on the status page, with how far it has come.

    Raises IncidentRefused, DoesNotExist.
    """
    if not text.strip():
        raise IncidentRefused("A note has a text.")
    if state and state not in PUBLIC_STAGES:
        raise IncidentRefused(f"state is one of {', '.join(PUBLIC_STAGES)}.")
    with transaction.atomic():
        incident = _locked(number)
        if state and incident.ended_at is None and state != Stage.RESOLVED:
            incident.state = state
            incident.save(update_fields=["state"])
        return ledger.note(
            incident, EntryKind.NOTE, text.strip(), now=now, by=by[:150], is_public=is_public,
            state=(state or incident.state) if is_public else "",
        )  # fmt: skip


def resolve(number: int, *, by: str, now: datetime, text: str = "") -> Incident:
    """Ends an incident that a person opened, or whose signs are gone. Raises StillLasts, IncidentRefused."""
    with transaction.atomic():
        incident = _open(number)
        if not incident.opened_by and not incident.is_drill and incident.quiet_since is None:
            raise StillLasts("Its cause lasts: it ends by itself when its signs are gone.")
        if text:
            ledger.note(incident, EntryKind.NOTE, text, now=now, by=by[:150], is_public=True, state=Stage.RESOLVED)
        ledger.end(incident, ended_at=incident.quiet_since or now, now=now, by=by[:150])
    incident.refresh_from_db()
    return incident


def open_one(
    *, by: str, now: datetime, title: str, severity: str = Level.WARNING, exchanges: list[str] | None = None,
    text: str = "",
) -> Incident:  # fmt: skip
    """Opens an incident that no sign tells of, such as a fault at a customer's."""
    with transaction.atomic():
        incident = Incident.objects.create(
            key=f"person:{uuid.uuid4().hex}", kind=IncidentKind.SYSTEM, cause="person", severity=severity,
            title=title[:200], detail=text[:TEXT_CHARACTERS], exchanges=exchanges or [], since=now, opened_at=now,
            openings=[now], opened_by=by[:150],
        )  # fmt: skip
        ledger.note(incident, EntryKind.OPENED, title, now=now, by=by[:150])
        outbox.tell(incident, MessageEvent.OPENED, now=now, start=now)
    return incident
