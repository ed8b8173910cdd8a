"""Alertmanager v2: one alert whose labels stay the same from its opening to its end."""

from __future__ import annotations

from datetime import timedelta

from incidents.channels.sending import Address, SendOutcome, post
from incidents.messages import AlertMessage
from lib import clock

LASTS = timedelta(days=1)  # unless its end is told; an alert without `endsAt` would resolve after five minutes


async def send(message: AlertMessage, address: Address) -> SendOutcome:
    """Posts the alert to `/api/v2/alerts` below the channel's address."""
    token = address.get("secret", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{address['url'].rstrip('/')}/api/v2/alerts"
    return await post(url, json=[alert_of(message)], headers=headers, secrets=(token,))


def alert_of(message: AlertMessage) -> dict[str, object]:
    now = clock.now()
    ends_at = message.ended_at if message.is_over and message.ended_at else now + LASTS
    alert: dict[str, object] = {
        "labels": {**message.labels, **({"drill": "true"} if message.is_drill else {})},
        "annotations": {"summary": message.title, "description": message.text},
        "generatorURL": message.url,
        "endsAt": clock.milliseconds_z(ends_at),
    }
    if message.opened_at is not None:
        alert["startsAt"] = clock.milliseconds_z(min(message.opened_at, ends_at))
    return alert
