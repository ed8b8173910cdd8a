"""Recent troubles, in words for everybody: made of status changes and of long gaps, without anybody's errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from collectors.models import GapCause, WorkerStatus

DAYS = 14
MOST_SHOWN = 50
LONG_GAP = timedelta(minutes=5)
LEAST = timedelta(minutes=1)  # shorter ones are over before anybody has read of them
LATE = timedelta(minutes=10)  # what ended so long before a reading may be written, or judged, after it
PAST_IS_GOOD = timedelta(minutes=5)
APART = timedelta(minutes=5)  # less than this between two troubles is one trouble

# Cause by cause, the one that explains more first.
WORDS = {
    GapCause.OUR_OUTAGE: "Our own collection was interrupted.",
    GapCause.RATE_LIMITED: "The exchange asked us to slow down.",
    GapCause.EXCHANGE_OUTAGE: "The exchange did not answer, or answered without data.",
    "": "No current data could be collected.",
}
CAUSES = list(WORDS)

# Markets that fell silent in the same minutes are one trouble. Gaps that are still open come through their own index.
LONG_GAPS = """
SELECT m.exchange_id, g.cause, min(g.started_at), nullif(max(coalesce(g.ended_at, 'infinity')), 'infinity')
FROM (SELECT * FROM collectors_gap WHERE ended_at >= %(since)s
      UNION ALL SELECT * FROM collectors_gap WHERE ended_at IS NULL) AS g
JOIN exchanges_market AS m ON m.id = g.pipeline_id
JOIN exchanges_exchange AS e ON e.id = m.exchange_id AND e.removed_at IS NULL
WHERE g.cause = ANY(%(causes)s) AND coalesce(g.ended_at, %(now)s) - g.started_at >= %(long)s
GROUP BY m.exchange_id, g.cause, date_bin(%(apart)s, g.started_at, '2000-01-01 00:00:00+00'),
         date_bin(%(apart)s, g.ended_at, '2000-01-01 00:00:00+00')
"""


# The last change before `since` of each exchange is read too: it may have begun what lasts.
ERRORS = """
SELECT exchange_id, happened_at, next_at FROM (
    SELECT exchange_id, to_status, happened_at,
           lead(happened_at) OVER (PARTITION BY exchange_id ORDER BY happened_at, id) AS next_at
    FROM (
        SELECT t.* FROM collectors_transition AS t
        JOIN exchanges_exchange AS e ON e.id = t.exchange_id AND e.removed_at IS NULL
        WHERE t.happened_at >= %(since)s
        UNION ALL
        SELECT last.* FROM exchanges_exchange AS e
        JOIN collectors_worker AS w ON w.exchange_id = e.id
        CROSS JOIN LATERAL (
            SELECT * FROM collectors_transition WHERE exchange_id = e.id AND happened_at < %(since)s
            ORDER BY happened_at DESC, id DESC LIMIT 1) AS last
        WHERE e.removed_at IS NULL
    ) AS changes
) AS spans WHERE to_status = %(error)s AND (next_at IS NULL OR next_at >= %(since)s)
"""


@dataclass(frozen=True, slots=True)
class PublicIncident:
    """A trouble of one exchange, or of several when it was ours. `ended_at` is None while it lasts."""

    exchanges: tuple[str, ...]
    cause: str
    started_at: datetime
    ended_at: datetime | None

    @property
    def words(self) -> str:
        return WORDS[self.cause]

    def lasted(self, now: datetime) -> timedelta:
        return (self.ended_at or now) - self.started_at


def read(now: datetime) -> Sequence[PublicIncident]:
    """Returns the incidents, newest first. Two queries; those of all the days are asked every few minutes."""
    past = _past(now)
    newest = _found(past.read_at - LATE, now)
    return tell([*past.found, *newest], now)[:MOST_SHOWN]


@dataclass(frozen=True, slots=True)
class Past:
    """The incidents that had ended when they were read."""

    read_at: datetime
    found: Sequence[PublicIncident]


_held: Past | None = None


def _past(now: datetime) -> Past:
    global _held
    held = _held
    if held is None or not timedelta() <= now - held.read_at < PAST_IS_GOOD:
        ended = [each for each in _found(now - timedelta(days=DAYS), now) if each.ended_at is not None]
        _held = held = Past(now, ended)
    return held


def forget() -> None:
    """Makes the next reading read anew what is held."""
    global _held
    _held = None


def _found(since: datetime, now: datetime) -> Sequence[PublicIncident]:
    return [*_of_transitions(since), *_of_gaps(since, now)]


def tell(found: Iterable[PublicIncident], now: datetime) -> Sequence[PublicIncident]:
    """Returns one trouble for what overlaps or nearly does, by exchange; then one for all that our outage hit."""
    whole = [each for each in _joined(found, by_exchange=True) if each.lasted(now) >= LEAST]
    ours = [each for each in whole if each.cause == GapCause.OUR_OUTAGE]
    others = [each for each in whole if each.cause != GapCause.OUR_OUTAGE]
    return sorted([*others, *_joined(ours, by_exchange=False)], key=_newest_first, reverse=True)


def _newest_first(incident: PublicIncident) -> tuple[bool, datetime]:
    return incident.ended_at is None, incident.started_at


def _joined(found: Iterable[PublicIncident], *, by_exchange: bool) -> Sequence[PublicIncident]:
    joined: list[PublicIncident] = []
    for incident in sorted(found, key=lambda each: (each.exchanges if by_exchange else (), each.started_at)):
        last = joined[-1] if joined else None
        if last is not None and (not by_exchange or last.exchanges == incident.exchanges) and _touch(last, incident):
            joined[-1] = _one(last, incident)
        else:
            joined.append(incident)
    return joined


def _touch(first: PublicIncident, second: PublicIncident) -> bool:
    return first.ended_at is None or second.started_at - first.ended_at < APART


def _one(first: PublicIncident, second: PublicIncident) -> PublicIncident:
    ends = (first.ended_at, second.ended_at)
    return replace(
        first,
        exchanges=tuple(sorted({*first.exchanges, *second.exchanges})),
        cause=min(first.cause, second.cause, key=CAUSES.index),
        ended_at=None if None in ends else max(end for end in ends if end is not None),
    )


def _of_transitions(since: datetime) -> Sequence[PublicIncident]:
    """Returns spans from a change to `error` to the exchange's next change; those that had not ended by `since`."""
    with connection.cursor() as cursor:
        cursor.execute(ERRORS, {"since": since, "error": WorkerStatus.ERROR})
        return [PublicIncident((exchange,), "", *span) for exchange, *span in cursor.fetchall()]


def _of_gaps(since: datetime, now: datetime) -> Sequence[PublicIncident]:
    with connection.cursor() as cursor:
        spans: dict[str, Any] = {"since": since, "now": now, "long": LONG_GAP, "apart": APART}
        cursor.execute(LONG_GAPS, {**spans, "causes": CAUSES[:-1]})
        return [PublicIncident((exchange,), cause, *span) for exchange, cause, *span in cursor.fetchall()]
