"""The outward heartbeat: a dead man's switch elsewhere is told by proof of work that all is well, or why it is not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from incidents.channels.sending import SendOutcome, post

SWEPT_WITHIN = timedelta(seconds=30)
INTERVALS = 3
LEAST_SECONDS = 30.0
OVERDUE_AFTER = timedelta(seconds=60)

FACTS = """
SELECT (SELECT reached_at FROM collectors_cursor WHERE name = 'pulse'),
       (SELECT max(stored_at) FROM collectors_worker),
       (SELECT min(poll_interval_seconds) FROM exchanges_exchange WHERE is_collected),
       (SELECT count(*) FROM incidents_delivery
        WHERE state IN ('queued', 'claimed') AND due_at < %(overdue)s AND next_try_at < %(now)s),
       (SELECT title FROM incidents_incident
        WHERE ended_at IS NULL AND quiet_since IS NULL AND parent_id IS NULL AND NOT is_drill
          AND severity = 'critical' AND kind IN ('system', 'line') ORDER BY id LIMIT 1)
"""


@dataclass(frozen=True, slots=True)
class HeartbeatState:
    """What is wrong, in words; empty when all is well."""

    reasons: tuple[str, ...]


def read(now: datetime) -> HeartbeatState:
    """Returns the state at a moment, after the caller has proven that the database takes a write."""
    with connection.cursor() as cursor:
        cursor.execute(FACTS, {"now": now, "overdue": now - OVERDUE_AFTER})
        swept_at, stored_at, interval, overdue, broken = cursor.fetchone()
    return HeartbeatState(
        tuple(
            reasons(
                now,
                swept_at=swept_at,
                stored_at=stored_at,
                interval_seconds=interval,
                overdue=int(overdue),
                broken=broken or "",
            )
        )
    )


def reasons(
    now: datetime,
    *,
    swept_at: datetime | None,
    stored_at: datetime | None,
    interval_seconds: float | None,
    overdue: int,
    broken: str = "",
) -> list[str]:
    """Returns why the heartbeat must not say that all is well."""
    found = []
    if swept_at is None or now - swept_at > SWEPT_WITHIN:
        found.append("nobody looks for silences: the pulse does not run")
    if interval_seconds is not None:
        limit = timedelta(seconds=max(LEAST_SECONDS, INTERVALS * interval_seconds))
        if stored_at is None or now - stored_at > limit:
            found.append(f"no row was stored within {limit.total_seconds():.0f} s")
    if broken:
        found.append(broken)
    if overdue:
        found.append(f"{overdue} messages could not be delivered")
    return found


async def send(state: HeartbeatState) -> SendOutcome:
    """Sends the beat, or the failure with its reasons."""
    url = str(settings.HEARTBEAT_URL).rstrip("/")
    if state.reasons:
        return await post(f"{url}/fail", data="; ".join(state.reasons).encode(), secrets=(url,))
    return await post(url, data=b"", secrets=(url,))
