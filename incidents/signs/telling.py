"""Reads the signs of telling: channels that fail, and messages that nobody sends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from incidents.rules.conditions import OLD
from incidents.rules.verdict import Alarm, Tone

NOTIFIER_CURSOR = "notify"
NOTIFIER_DEAD = timedelta(seconds=60)
FAILING_AFTER = timedelta(seconds=60)  # one try that failed is repeated first

TELLING = """
SELECT (SELECT array_agg(name ORDER BY name) FROM incidents_alertchannel
        WHERE is_enabled AND failing_since < %(failing)s),
       (SELECT min(failing_since) FROM incidents_alertchannel WHERE is_enabled AND failing_since < %(failing)s),
       (SELECT min(next_try_at) FROM incidents_delivery WHERE state = 'queued' AND next_try_at < %(dead)s),
       (SELECT reached_at FROM collectors_cursor WHERE name = %(cursor)s),
       (SELECT max(opened_at) FROM incidents_incident WHERE is_drill)
"""


def is_nobody_sending(now: datetime) -> bool:
    """Says whether messages have waited for a minute although nothing keeps them from being tried."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM incidents_delivery WHERE state = 'queued' AND next_try_at < %s)",
            [now - NOTIFIER_DEAD],
        )
        return bool(cursor.fetchone()[0])


def alarms(now: datetime) -> Sequence[Alarm]:
    """Returns alarms on what keeps people from being told. One query."""
    with connection.cursor() as cursor:
        values: dict[str, Any] = {
            "failing": now - FAILING_AFTER,
            "dead": now - NOTIFIER_DEAD,
            "cursor": NOTIFIER_CURSOR,
        }
        cursor.execute(TELLING, values)
        names, failing_since, waiting_since, seen_at, drilled_at = cursor.fetchone()
    found = []
    if drilled_at is not None and now - drilled_at > timedelta(days=settings.DRILL_MAX_AGE_DAYS):
        what = f"The last drill of telling is {(now - drilled_at).days} days old"
        found.append(Alarm(what, "send one through each route", drilled_at, Tone.UNKNOWN, is_old=True, cause="drill"))
    is_dead = seen_at is not None and now - seen_at > NOTIFIER_DEAD
    if waiting_since is not None or is_dead:
        found.append(
            Alarm(
                "No notifier runs: nobody is told of anything",
                "read its log, or start one: manage.py notify",
                waiting_since or seen_at,
                tone=Tone.DANGER if waiting_since is not None else Tone.WARNING,
                is_old=now - (waiting_since or seen_at) > OLD,
                cause="notifier",
            )
        )
    if names:
        found.append(
            Alarm(
                f"Messages do not arrive: {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}",
                "see the channel's last error, and test it",
                failing_since,
                tone=Tone.WARNING,
                is_old=now - failing_since > OLD,
                cause="channel",
            )
        )
    return found
