"""Writes the outbox: who has to be told of what, in the transaction of what is told. `notifier` sends it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet

from incidents import maintenance
from incidents.models import (
    WAITING,
    AlertChannel,
    AlertRoute,
    Delivery,
    DeliveryState,
    EntryKind,
    Incident,
    IncidentEntry,
)
from incidents.rules.routing import PlannedMessage, RouteRule, Subject, messages
from incidents.rules.words import MessageEvent

FLAPPING_REPEAT = timedelta(hours=1)
TELLS_OF_TROUBLE = (MessageEvent.OPENED, MessageEvent.GREW, MessageEvent.REMINDER)
FOR_PROGRAMS = ("webhook", "pagerduty", "alertmanager")  # channels that are told of an acknowledgement


def tell(incident: Incident, event: MessageEvent, *, now: datetime, start: datetime) -> int:
    """Queues what the routes ask for; returns how many messages. Planned work that covers it moves their time."""
    covered_until = maintenance.covered_until(incident.exchanges, now=start)
    if covered_until is not None:
        _note(incident, f"planned work until {covered_until:%Y-%m-%d %H:%M} UTC: told then, if it still lasts", now)
    planned = messages(routes(), subject_of(incident), start=max(start, covered_until or start))
    return _queue(incident, event, list(planned), now)


def tell_by(route: AlertRoute, incident: Incident, *, now: datetime) -> int:
    """Queues what one route sends, whatever it matches: for a drill. Returns how many messages."""
    rule = RouteRule(id=route.pk, steps=route.steps, kinds=(incident.kind,), severities=(incident.severity,))
    return _queue(incident, MessageEvent.OPENED, list(messages([rule], subject_of(incident), start=now)), now)


def subject_of(incident: Incident) -> Subject:
    return Subject(incident.key, incident.kind, incident.severity, tuple(incident.exchanges))


def routes() -> list[RouteRule]:
    return [as_rule(row) for row in AlertRoute.objects.filter(is_enabled=True).order_by("pk")]


def as_rule(row: AlertRoute) -> RouteRule:
    """Returns a route as the rules see it."""
    return RouteRule(
        id=row.pk,
        exchanges=tuple(row.exchanges),
        kinds=tuple(row.kinds),
        severities=tuple(row.severities),
        pairs=tuple(row.pairs),
        steps=row.steps,
        quiet_hours=row.quiet_hours,
        shortest_seconds=row.shortest_seconds,
        tells_recovery=row.tells_recovery,
    )


def _queue(incident: Incident, event: MessageEvent, planned: Sequence[PlannedMessage], now: datetime) -> int:
    channels = dict(AlertChannel.objects.filter(is_enabled=True).values_list("name", "pk"))
    rows = [
        Delivery(
            incident=incident,
            channel_id=channels[each.channel],
            route_id=each.route,
            version=incident.version,
            step=each.step,
            event=event,
            due_at=each.due_at,
            next_try_at=each.due_at,
            created_at=now,
        )
        for each in planned
        if each.channel in channels
    ]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def _note(incident: Incident, text: str, now: datetime) -> None:
    IncidentEntry.objects.create(incident=incident, happened_at=now, kind=EntryKind.MAINTENANCE, text=text)


def never_tried(incident: Incident) -> QuerySet[Delivery]:
    return Delivery.objects.filter(incident=incident, state=DeliveryState.QUEUED, attempts=0)


def is_still_to_be_told(incident: Incident) -> bool:
    """Says whether nobody was told yet, and somebody will be."""
    return never_tried(incident).filter(event__in=TELLS_OF_TROUBLE, step=0).exists()


def cancel(incident: Incident, why: str, *, now: datetime) -> int:
    """Drops what nobody has been sent yet; returns how many messages."""
    return never_tried(incident).update(state=DeliveryState.EXPIRED, excerpt=why[:300])


def tell_recovery(incident: Incident, *, now: datetime) -> int:
    """Tells the channels that were told, or may have been; drops what nobody was sent. Returns how many messages."""
    cancel(incident, "it was over before anybody had to be told", now=now)
    told = Q(state__in=[DeliveryState.SENT, DeliveryState.UNCONFIRMED, *WAITING], event__in=TELLS_OF_TROUBLE)
    rows = incident.deliveries.filter(told).order_by("channel_id", "step").select_related("route")
    first = {row.channel_id: row for row in reversed(rows) if row.route is None or row.route.tells_recovery}
    return len(
        Delivery.objects.bulk_create(
            [
                Delivery(
                    incident=incident, channel_id=channel, route=row.route, version=incident.version,
                    step=row.step, event=MessageEvent.HEALED, due_at=now, next_try_at=now, created_at=now,
                )
                for channel, row in first.items()
            ],
            ignore_conflicts=True,
        )
    )  # fmt: skip


def tell_acknowledged(incident: Incident, *, now: datetime) -> int:
    """Tells the programs that were told of the incident who takes care of it; people read it on the board."""
    told = Q(state__in=[DeliveryState.SENT, DeliveryState.UNCONFIRMED], event__in=TELLS_OF_TROUBLE)
    rows = incident.deliveries.filter(told, channel__kind__in=FOR_PROGRAMS)
    channels = sorted(set(rows.values_list("channel_id", flat=True)))
    return len(
        Delivery.objects.bulk_create(
            [
                Delivery(
                    incident=incident, channel_id=channel, version=incident.version,
                    event=MessageEvent.ACKNOWLEDGED, due_at=now, next_try_at=now, created_at=now,
                )
                for channel in channels
            ],
            ignore_conflicts=True,
        )
    )  # fmt: skip


def stand_still(incident: Incident, *, until: datetime, now: datetime) -> int:
    """Moves what waits by the length of a pause: timers stand still in it. Returns how many messages."""
    waiting = never_tried(incident).filter(event__in=TELLS_OF_TROUBLE)
    return waiting.update(next_try_at=F("next_try_at") + (until - now))
