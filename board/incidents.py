"""The incidents of the public page: those of the incidents' own table, in words for everybody, without errors.

What an incident explains is told with it. Operators' public messages are told as they were written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from incidents.models import Incident, IncidentEntry
from incidents.rules.words import IncidentKind, Level

DAYS = 14
MOST_SHOWN = 50
MOST_READ = 500
LEAST = timedelta(minutes=1)  # shorter ones are over before anybody has read of them

OURS = "Our own collection was interrupted."
SLOWED = "The exchange asked us to slow down."
AWAY = "The exchange did not answer, or answered without data."
PARTLY = "Part of the markets has no current data."
NOTHING = "No current data could be collected."
WORDS: Mapping[str, str] = {"throttled": SLOWED, "held_back": SLOWED, "unreachable": AWAY, "bad_reply": AWAY}
# Of the system's incidents those by which data is missed; a channel that fails is nobody's concern but ours.
OF_DATA = ("worker", "beat", "valkey", "database", "polls", "internal", "disk", "clock")


@dataclass(frozen=True, slots=True)
class PublicMessage:
    """What an operator has written for everybody."""

    at: datetime
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class PublicIncident:
    """A trouble of one exchange, or of several that have one cause. `ended_at` is None while it lasts."""

    id: int
    exchanges: tuple[str, ...]
    words: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    messages: tuple[PublicMessage, ...] = ()

    def lasted(self, now: datetime) -> timedelta:
        return (self.ended_at or now) - self.started_at


def read(now: datetime) -> Sequence[PublicIncident]:
    """Returns the incidents, newest first. Two queries."""
    told = Q(ended_at__isnull=True) | Q(ended_at__gte=now - timedelta(days=DAYS))
    graver = Incident.objects.filter(told, is_drill=False).exclude(severity=Level.INFO)
    rows = list(graver.order_by("-opened_at", "-pk")[:MOST_READ])
    messages = _messages([row.pk for row in rows])
    children: defaultdict[int, list[Incident]] = defaultdict(list)
    for row in rows:
        if row.parent_id is not None:
            children[row.parent_id].append(row)
    roots = [row for row in rows if row.parent_id is None]
    found = [_public(row, _below(row, children), messages.get(row.pk, ())) for row in roots]
    shown = [each for each in found if each is not None and (each.messages or each.lasted(now) >= LEAST)]
    return sorted(shown, key=lambda each: (each.ended_at is None, each.started_at), reverse=True)[:MOST_SHOWN]


def _below(row: Incident, children: Mapping[int, Sequence[Incident]]) -> list[Incident]:
    """Returns all that an incident explains."""
    mine = list(children.get(row.pk, ()))
    return mine + [each for child in mine for each in _below(child, children)]


def _public(row: Incident, below: Sequence[Incident], messages: tuple[PublicMessage, ...]) -> PublicIncident | None:
    exchanges = {name for each in (row, *below) for name in each.exchanges}
    concerns_data = row.kind != IncidentKind.SYSTEM or row.cause in OF_DATA or bool(below)
    if not concerns_data and not messages:
        return None
    ends = [each.ended_at for each in (row, *below)]
    return PublicIncident(
        id=row.pk,
        exchanges=tuple(sorted(exchanges)),
        words=words_of(row),
        state=row.state,
        started_at=min([row.since, *(each.since for each in below)]),
        ended_at=row.ended_at if None in ends else max(end for end in ends if end is not None),
        messages=messages,
    )


def words_of(row: Incident) -> str:
    """Returns what everybody may know of a cause."""
    if row.opened_by:
        return row.title
    if row.kind == IncidentKind.MARKETS:
        return PARTLY
    if row.kind in (IncidentKind.SYSTEM, IncidentKind.LINE) or row.cause == "failed":
        return OURS
    return WORDS.get(row.cause, NOTHING)


def _messages(incidents: Sequence[int]) -> dict[int, tuple[PublicMessage, ...]]:
    """Returns the public messages of each incident, newest first."""
    found: defaultdict[int, list[PublicMessage]] = defaultdict(list)
    public = IncidentEntry.objects.filter(incident_id__in=incidents, is_public=True).order_by("-happened_at", "-pk")
    for entry in public:
        found[entry.incident_id].append(PublicMessage(entry.happened_at, entry.state, entry.text))
    return {number: tuple(messages) for number, messages in found.items()}
