"""Keeps a digest of the signs of each minute for 30 days, and reads it: what stays the same is one row.

A digest has what the rules ask for. Figures that change with every look, and words for people, are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from incidents.past.models import SignSpan
from incidents.rules.conditions import Condition, SourceState
from incidents.rules.facts import BudgetSigns, ExchangeSigns, FindableSigns, GapSigns, PairSigns
from incidents.rules.findings import LEAST_MARKETS
from incidents.rules.replay import PastMoment
from incidents.rules.verdict import Alarm, Tone

KEPT = timedelta(days=30)
MINUTE = timedelta(minutes=1)
ALL = "all"  # the subject of what concerns no single exchange
BATCH = 5000

# Spans that go on are prolonged, others begin. One statement; twice in a minute changes nothing.
KEEP = """
WITH given AS (
    SELECT * FROM unnest(%(subjects)s::text[], %(bodies)s::jsonb[]) AS g (subject, body)
), there AS (
    SELECT DISTINCT ON (s.subject) s.id, s.subject, s.body FROM incidents_signspan AS s
    WHERE s.last_at >= %(minute)s - interval '1 minute' ORDER BY s.subject, s.first_at DESC
), kept AS (
    UPDATE incidents_signspan AS s SET last_at = greatest(s.last_at, %(minute)s)
    FROM there, given WHERE there.id = s.id AND given.subject = there.subject AND given.body = there.body
    RETURNING s.subject
)
INSERT INTO incidents_signspan (subject, first_at, last_at, body)
SELECT subject, %(minute)s, %(minute)s, body FROM given WHERE subject NOT IN (SELECT subject FROM kept)
ON CONFLICT (subject, first_at) DO NOTHING
"""
_kept: tuple[str, datetime] | None = None  # the database and minute that this process has kept last


def keep(signs: FindableSigns, now: datetime) -> bool:
    """Keeps the digest of this minute, where this process has not; says whether it did. Raises DatabaseError."""
    global _kept
    minute = now.replace(second=0, microsecond=0)
    mark = (str(connection.settings_dict["NAME"]), minute)
    if _kept == mark:
        return False
    bodies = digest(signs)
    values: dict[str, Any] = {
        "minute": minute,
        "subjects": list(bodies),
        "bodies": [json.dumps(body) for body in bodies.values()],
    }
    with connection.cursor() as cursor:
        cursor.execute(KEEP, values)
    _kept = mark
    return True


def prune(now: datetime) -> int:
    """Drops what is older than KEPT, a batch a call; returns how many rows."""
    old = SignSpan.objects.filter(last_at__lt=now - KEPT).order_by("last_at").values_list("pk", flat=True)[:BATCH]
    return SignSpan.objects.filter(pk__in=list(old)).delete()[0]


# --- signs as JSON ------------------------------------------------------------------------------------------------


def digest(signs: FindableSigns) -> dict[str, Any]:
    """Returns the signs as JSON by subject."""
    exchanges = {f"exchange:{each.condition.exchange}": _of_exchange(each) for each in signs.exchanges}
    rest = {
        "alarms": [[each.cause, each.what[:40], each.tone, _stamp(each.since)] for each in signs.alarms],
        "gaps": [
            [each.exchange, each.cause, LEAST_MARKETS, _stamp(each.since)]
            for each in signs.gaps
            if each.lasting >= LEAST_MARKETS
        ],
        "pairs": [[each.pair, each.exchanges, _stamp(each.since), each.fresh] for each in signs.pairs],
        "budgets": [[each.number, each.name, each.burn, each.exchanges, each.is_known] for each in signs.budgets],
        "flags": [signs.is_off, signs.is_valkey_away, signs.is_starting, signs.is_beat_late],
    }
    return {**exchanges, ALL: rest}


def _of_exchange(each: ExchangeSigns) -> list[Any]:
    condition = each.condition
    since = None if condition.state == SourceState.DELIVERS else _stamp(condition.since)
    short = [each.is_stream_wanted, _stamp(each.stream_short_since)]
    return [condition.state, condition.cause, since, each.address, each.is_streamed, *short]


def _stamp(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _moment(stamp: int | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)


def signs_of(bodies: Mapping[str, Any]) -> FindableSigns:
    """Returns the signs of digests by subject, as the rules want them."""
    rest = bodies.get(ALL, {})
    is_off, is_valkey_away, is_starting, is_beat_late = rest.get("flags", (False,) * 4)
    return FindableSigns(
        exchanges=[_exchange(name.partition(":")[2], body) for name, body in bodies.items() if name != ALL],
        alarms=[
            Alarm(what, "", _moment(at), Tone(tone), cause=cause) for cause, what, tone, at in rest.get("alarms", ())
        ],
        gaps=[GapSigns(name, cause, lasting, _known(at)) for name, cause, lasting, at in rest.get("gaps", ())],
        pairs=[PairSigns(pair, tuple(names), _known(at), fresh) for pair, names, at, fresh in rest.get("pairs", ())],
        budgets=[
            BudgetSigns(number, name, burn, tuple(names), is_known=is_known)
            for number, name, burn, names, is_known in rest.get("budgets", ())
        ],
        is_off=is_off,
        is_valkey_away=is_valkey_away,
        is_starting=is_starting,
        is_beat_late=is_beat_late,
    )


def _known(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)


def _exchange(name: str, body: Sequence[Any]) -> ExchangeSigns:
    state, cause, since, address, is_streamed, is_wanted, short_since = body
    condition = Condition(name, SourceState(state), since=_moment(since), cause=cause)
    return ExchangeSigns(condition, address, is_streamed, is_wanted, _moment(short_since))


# --- the past -----------------------------------------------------------------------------------------------------


def moments(since: datetime, until: datetime) -> Iterator[PastMoment]:
    """Yields the minutes of [since, until) at which the signs changed, or nobody looked. One query."""
    spans = SignSpan.objects.filter(last_at__gte=since, first_at__lt=until)
    edges: dict[datetime, list[tuple[str, Any]]] = {}
    for subject, first_at, last_at, body in spans.values_list("subject", "first_at", "last_at", "body"):
        edges.setdefault(max(first_at, since), []).append((subject, body))
        edges.setdefault(last_at + MINUTE, []).append((subject, None))
    there: dict[str, Any] = {}
    for at in sorted(edges):
        for subject, body in sorted(edges[at], key=lambda edge: edge[1] is not None):  # ends before beginnings
            if body is None:
                there.pop(subject, None)
            else:
                there[subject] = body
        if at < until:
            yield PastMoment(at, signs_of(there) if ALL in there else None)
