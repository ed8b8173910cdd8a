"""Puts a message together at the moment it is sent: what, since when, why, what it cost, next try, what to do, link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from collectors.models import Worker
from incidents import links
from incidents.models import Delivery, Incident
from incidents.rules.words import IncidentKind, MessageEvent
from lib import clock

MOST_CHILDREN = 5
EVENT_WORDS = {
    MessageEvent.OPENED: "",
    MessageEvent.GREW: "Worse: ",
    MessageEvent.REMINDER: "Still: ",
    MessageEvent.HEALED: "Over: ",
    MessageEvent.ACKNOWLEDGED: "Taken: ",
    MessageEvent.TEST: "Test: ",
}


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """One message, for every kind of channel: a title, lines of text, links, and the body for programs."""

    id: str
    event: str
    key: str  # the same for all messages on one incident
    title: str
    severity: str
    lines: tuple[str, ...]
    url: str
    acknowledge_url: str = ""
    is_drill: bool = False
    is_repeat: bool = False
    opened_at: datetime | None = None
    ended_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def is_over(self) -> bool:
        return self.event == MessageEvent.HEALED


def of(delivery: Delivery, now: datetime) -> AlertMessage:
    """Returns the message of one row of the outbox, with the facts as they are now."""
    if delivery.incident is None:
        return test_message(delivery, now)
    incident = delivery.incident
    is_over = delivery.event == MessageEvent.HEALED
    url = f"{settings.PUBLIC_URL}/board/incidents/{incident.pk}"
    drill = "DRILL " if incident.is_drill else ""
    return AlertMessage(
        id=str(delivery.message_id),
        event=delivery.event,
        key=f"marketmon-{incident.pk}",
        title=f"{drill}{EVENT_WORDS[MessageEvent(delivery.event)]}{incident.title}",
        severity=incident.severity,
        lines=tuple(_lines(incident, delivery, now, url)),
        url=url,
        acknowledge_url="" if is_over else links.acknowledge(incident, channel=delivery.channel.name),
        is_drill=incident.is_drill,
        is_repeat=delivery.is_repeat,
        opened_at=incident.since,
        ended_at=incident.ended_at,
        labels={
            "alertname": "MarketmonIncident",
            "incident": str(incident.pk),
            "kind": incident.kind,
            "cause": incident.cause,
            "severity": incident.severity,
        },
        body=body_of(incident, delivery, url),
    )


def _lines(incident: Incident, delivery: Delivery, now: datetime, url: str) -> Iterator[str]:
    if incident.is_drill:
        yield "This is a DRILL: nothing is wrong. It goes the way that a real message would."
    yield f"What: {incident.title}"
    yield f"Since: {_moment(incident.since)}" + (f", until {_moment(incident.ended_at)}" if incident.ended_at else "")
    if incident.detail:
        yield f"Why: {incident.detail[:500]}"
    yield from _cost(incident)
    if incident.ended_at is None:
        yield from _outlook(incident, now)
    if delivery.is_repeat:
        yield "Sent again: whether an earlier try arrived is unknown."
    yield f"More: {url}"


def _cost(incident: Incident) -> Iterator[str]:
    children = list(incident.children.order_by("pk").values_list("title", flat=True)[: MOST_CHILDREN + 1])
    if children:
        yield f"With it: {'; '.join(children[:MOST_CHILDREN])}{' and more' if len(children) > MOST_CHILDREN else ''}"
    if incident.rows_missing:
        recovered = f", {incident.rows_recovered:,} recovered" if incident.rows_recovered else ""
        yield f"Rows lost: {incident.rows_missing:,}{recovered}"


def _outlook(incident: Incident, now: datetime) -> Iterator[str]:
    """Yields what comes next while it lasts: the next try, what to do, who is on it."""
    next_try = _next_try(incident, now)
    if next_try is not None:
        yield f"Next try: {_moment(next_try)}"
    if incident.advice:
        yield f"What to do: {incident.advice}"
    if incident.reopened:
        times = f"{incident.reopened} time{'s' if incident.reopened > 1 else ''}"
        yield f"It has come back {times}, the last time at {_moment(incident.openings[-1])}."
    if incident.acknowledged_by:
        yield f"{incident.acknowledged_by} is on it until {_moment(incident.acknowledged_until)}."


def _next_try(incident: Incident, now: datetime) -> datetime | None:
    if incident.kind != IncidentKind.EXCHANGE or len(incident.exchanges) != 1:
        return None
    return Worker.objects.filter(pk=incident.exchanges[0], retry_at__gt=now).values_list("retry_at", flat=True).first()


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "-"


def body_of(incident: Incident, delivery: Delivery, url: str) -> dict[str, Any]:
    """Returns the documented body of a webhook."""
    return {
        "id": str(delivery.message_id),
        "version": delivery.version,
        "event": delivery.event,
        "is_drill": incident.is_drill,
        "incident": {
            "id": incident.pk,
            "kind": incident.kind,
            "cause": incident.cause,
            "severity": incident.severity,
            "title": incident.title,
            "exchanges": incident.exchanges,
            "opened_at": clock.microseconds_z(incident.since),
            "ended_at": clock.microseconds_z(incident.ended_at) if incident.ended_at else None,
            "rows_missing": incident.rows_missing,
            "rows_recovered": incident.rows_recovered,
            "url": url,
        },
    }


def test_message(delivery: Delivery, now: datetime) -> AlertMessage:
    """Returns a test, with the code that proves, typed back, that somebody reads this channel."""
    code = delivery.channel.code
    url = f"{settings.PUBLIC_URL}/admin/incidents/alertchannel/{delivery.channel_id}/change/"
    lines = (
        f"This is a test of the channel {delivery.channel.name}. Nothing is wrong.",
        f"Code: {code}. Type it on the channel's page to prove that messages are read here.",
        f"More: {url}",
    )
    body = {
        "id": str(delivery.message_id),
        "version": delivery.version,
        "event": MessageEvent.TEST,
        "is_drill": False,
        "code": code,
        "incident": None,
    }
    return AlertMessage(
        id=str(delivery.message_id),
        event=MessageEvent.TEST,
        key=f"marketmon-test-{delivery.channel_id}",
        title=f"Test: marketmon can reach {delivery.channel.name}",
        severity="info",
        lines=lines,
        url=url,
        opened_at=now,
        is_repeat=delivery.is_repeat,
        labels={"alertname": "MarketmonTest", "severity": "info"},
        body=body,
    )
