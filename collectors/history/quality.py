"""Counts the quality of a pipeline's data in a span, from its minutes and the gaps around them; each day for good.

Expected is what is stored and what a gap says is missing: so planned stops and markets that come rarely expect nothing
that could not come. A gap's missing minutes are those that lie whole within it, at most as many as rows were missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection

from collectors.history import archived_rows, knowing, rollups
from collectors.models import TO_FILL_SQL, Watermark
from collectors.rules.gap_causes import UNCOUNTED_SQL
from collectors.rules.gaps import MISSED_BY_NOW
from collectors.rules.quality import MOST_GAPS_NAMED, Quality

DAYS_CURSOR = "pipeline_days"
KEPT_DAYS = 400
BATCH = 500  # pipelines a transaction: below a second
MOST_BATCHES = 20  # of a run
SEALED = 100  # pipelines whose day `manage.py verify` reads again
DAY = timedelta(days=1)

# For each pipeline `p` (market_id, expected_seconds) in [start, until): the gaps that touch it, with the minutes that
# lie whole within them.
GAPS = f"""
SELECT g.id, g.cause, g.ended_at IS NULL OR g.state IN ({TO_FILL_SQL}) AS is_open,
       g.state IN ({TO_FILL_SQL}) AS may_come,
       greatest(g.started_at, {{start}}) AS touches_from, least(coalesce(g.ended_at, %(now)s), {{until}}) AS touches_to,
       greatest(date_trunc('minute', g.started_at) + interval '1 minute', {{start}}) AS whole_from,
       least(date_trunc('minute', coalesce(g.ended_at, {{until}})), {{until}}) AS whole_to,
       greatest(60, extract(epoch FROM coalesce(g.ended_at, %(now)s) - g.started_at)
                    / ({MISSED_BY_NOW.format(gap="g", expected="p.expected_seconds")} + 1)) AS every_seconds,
       g.cause NOT IN ({UNCOUNTED_SQL}) AS counts
FROM collectors_gap AS g
WHERE g.pipeline_id = p.market_id AND g.started_at < {{until}} AND (g.ended_at IS NULL OR g.ended_at > {{start}})
"""
LOST = """
SELECT id, cause, is_open, may_come, extract(epoch FROM touches_to - touches_from) AS seconds,
       CASE WHEN counts AND whole_to > whole_from THEN greatest(0,
           floor(extract(epoch FROM whole_to - whole_from) / every_seconds)::int
           - (SELECT count(*) FROM collectors_rollup AS r WHERE r.pipeline_id = p.market_id
              AND r.minute_at >= whole_from AND r.minute_at < whole_to)::int) ELSE 0 END AS missing
FROM ({gaps}) AS gap
"""
OF_GAPS = """
SELECT coalesce(sum(missing), 0) AS missing, coalesce(max(seconds), 0)::float8 AS longest,
       (array_agg(cause ORDER BY missing DESC, seconds DESC, id))[1] AS worst_cause,
       coalesce(bool_or(may_come AND missing > 0), false) AS is_pending,
       (array_agg(id ORDER BY id) FILTER (WHERE is_open))[:%(most)s] AS open_ids
FROM ({lost}) AS lost
"""


def _counted(column: str) -> str:
    """Returns SQL of a total over whole minutes, null where one of them is from before it was counted."""
    whole = "FILTER (WHERE minute_at < {until})"
    return (f"CASE WHEN count({column}) {whole} = count(*) {whole}"
            f" THEN coalesce(sum({column}) {whole}, 0)::bigint END AS {column}")  # fmt: skip


OF_MINUTES = f"""
SELECT count(*) FILTER (WHERE minute_at < {{until}}) AS stored, count(*) AS rows,
       count(*) FILTER (WHERE live = 0 AND minute_at < {{until}}) AS filled,
       {_counted("live")}, {_counted("candle")}, {_counted("trade")}
FROM ({{minutes}}) AS m
"""
IN_SPAN = "pipeline_id = p.market_id AND minute_at >= {start} AND minute_at < {end}"
TAIL = f"""
UNION ALL SELECT pipeline_id, minute_at, samples, open, high, low, close, bid, ask, base_volume, volume, live, candle,
                 trade, 0, NULL::timestamptz
FROM ({rollups.OF_ONE}) AS newest
"""
PIPELINE = """
(SELECT p.market_id, p.expected_seconds, p.frozen, m.listed_at,
        coalesce(m.identity_since > %(from)s, false) AS is_unproven FROM collectors_pipeline AS p
 JOIN exchanges_market AS m ON m.id = p.market_id WHERE p.market_id = %(pipeline)s) AS p
"""


def _gaps(start: str, until: str) -> str:
    return OF_GAPS.format(lost=LOST.format(gaps=GAPS.format(start=start, until=until)))


NOW = f"""
SELECT m.*, g.*, p.frozen, p.is_unproven FROM {PIPELINE}
CROSS JOIN LATERAL ({
    OF_MINUTES.format(
        until="%(until)s",
        minutes=knowing.minutes(IN_SPAN.format(start="%(from)s", end="least(%(to)s, %(reached)s)"), as_of=None) + TAIL,
    )
}) AS m
CROSS JOIN LATERAL ({_gaps("%(from)s", "%(until)s")}) AS g
"""
AS_OF = f"""
SELECT m.*, p.listed_at, p.is_unproven FROM {PIPELINE}
CROSS JOIN LATERAL ({
    OF_MINUTES.format(
        until="%(until)s", minutes=knowing.MINUTES_AS_OF.format(where=IN_SPAN.format(start="%(from)s", end="%(to)s"))
    )
}) AS m
"""


def of_span(
    pipeline_id: int, *, start: datetime, end: datetime, now: datetime, as_of: datetime | None = None
) -> Quality:
    """Returns the quality of one pipeline in [start, end), in whole minutes. Two counts by key.

    Raises CannotReadArchive.
    """
    reached = rollups.reached() or now - DAY  # nothing is rolled up in the first minute of all
    moment = now if as_of is None else as_of
    settled = (moment - rollups.SETTLE - rollups.MINUTE).replace(second=0, microsecond=0)
    first = _next_minute(start)
    until = max(first, min(end.replace(second=0, microsecond=0), settled))
    given: dict[str, Any] = {
        "pipeline": pipeline_id, "from": first, "to": max(first, end), "until": until, "now": now, "as_of": as_of,
        "reached": reached, "start": max(first, reached), "end": max(first, min(end, now)), "most": MOST_GAPS_NAMED,
    }  # fmt: skip
    with archived_rows.readable(pipeline_id, start, end, archived_rows.OF_MINUTES), connection.cursor() as cursor:
        cursor.execute(NOW if as_of is None else AS_OF, given)
        row = cursor.fetchone()
    return _as_of(row, first, until, as_of) if as_of is not None else _now(row)


def _next_minute(moment: datetime) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + timedelta(minutes=1)


def _now(row: Sequence[Any]) -> Quality:
    stored, rows, filled, live, candle, trade, missing, _, worst_cause, is_pending, open_ids, frozen, unproven = row
    return Quality(
        expected=stored + int(missing),
        stored=stored,
        filled=filled,
        origins={"live": live, "candle": candle, "trade": trade},
        has_rows=rows > 0,
        open_gap_ids=tuple(open_ids or ()),
        worst_cause=worst_cause,
        is_pending=is_pending,
        is_frozen=frozen,
        is_identity_unproven=unproven,
    )


def _as_of(row: Sequence[Any], first: datetime, until: datetime, as_of: datetime) -> Quality:
    stored, rows, filled, live, candle, trade, listed_at, unproven = row
    began = max(first, _next_minute(listed_at))
    return Quality(
        expected=max(stored, int((until - began).total_seconds() // 60)),
        stored=stored,
        filled=filled,
        origins={"live": live, "candle": candle, "trade": trade},
        has_rows=rows > 0,
        open_gap_ids=None,
        is_pending=None,
        is_frozen=None,
        as_of=as_of,
        is_identity_unproven=unproven,
    )


OF_EXCHANGE = """
SELECT coalesce(sum(expected_minutes), 0), coalesce(sum(stored_minutes), 0) FROM collectors_coverage
WHERE exchange_id = %(exchange)s AND quarter_at < %(end)s AND quarter_at > %(start)s - interval '15 minutes'
"""


def of_exchange(exchange_id: str, *, start: datetime, end: datetime) -> Quality:
    """Returns the quality of all of an exchange's pipelines, by whole quarters of an hour, as it was counted live."""
    with connection.cursor() as cursor:
        cursor.execute(OF_EXCHANGE, {"exchange": exchange_id, "start": start, "end": end})
        expected, stored = cursor.fetchone()
    unknown = dict.fromkeys(("live", "candle", "trade"))
    return Quality(int(expected), int(stored), 0, unknown, has_rows=stored > 0, open_gap_ids=None, is_pending=None,
                   is_frozen=None)  # fmt: skip


# --- days -------------------------------------------------------------------------------------------------------

COLUMNS = "pipeline_id, day, expected, stored, filled, longest_gap_seconds, worst_cause"
# What a pipeline's minutes and gaps make of whole days.
OF_DAYS = f"""
SELECT p.market_id, d.day::date, m.stored + g.missing, m.stored, m.filled, g.longest, coalesce(g.worst_cause, '')
FROM (SELECT market_id, expected_seconds FROM collectors_pipeline WHERE {{which}}) AS p
CROSS JOIN unnest(%(days)s::timestamptz[]) AS d (day)
CROSS JOIN LATERAL ({
    OF_MINUTES.format(
        until="d.day + interval '24 hours'",
        minutes=knowing.MINUTES.format(where=IN_SPAN.format(start="d.day", end="d.day + interval '24 hours'")),
    )
}) AS m
CROSS JOIN LATERAL ({_gaps("d.day", "least(d.day + interval '24 hours', %(now)s)")}) AS g
"""
COUNT = f"""
INSERT INTO collectors_pipelineday AS k ({COLUMNS}) {{of_days}}
ON CONFLICT (day, pipeline_id) DO UPDATE SET expected = excluded.expected, stored = excluded.stored,
    filled = excluded.filled, longest_gap_seconds = excluded.longest_gap_seconds, worst_cause = excluded.worst_cause
"""
UNCOUNTED = """
market_id IN (SELECT p.market_id FROM collectors_pipeline AS p WHERE p.received_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM collectors_pipelineday AS k WHERE k.day = %(day)s AND k.pipeline_id = p.market_id)
    ORDER BY p.market_id LIMIT %(batch)s)
"""
# A fingerprint of all that was known of a pipeline's day at a moment.
FINGERPRINT = f"""
SELECT md5(coalesce(string_agg(row(extract(epoch FROM minute_at)::bigint, samples, open, high, low, close, bid, ask,
    base_volume, volume, live, candle, trade, revision)::text, E'\\n' ORDER BY minute_at), ''))
FROM ({
    knowing.MINUTES_AS_OF.replace("%(as_of)s", "{as_of}").format(
        where="pipeline_id = {pipeline} AND minute_at >= {day} AND minute_at < {day} + interval '24 hours'",
        as_of="{as_of}",
    )
}) AS m
"""
SEAL = f"""
UPDATE collectors_pipelineday AS k SET sealed_at = %(sealed_at)s, fingerprint = ({
    FINGERPRINT.format(pipeline="k.pipeline_id", day="%(start)s::timestamptz", as_of="%(sealed_at)s")
})
WHERE day = %(day)s AND pipeline_id IN (
    SELECT pipeline_id FROM collectors_pipelineday WHERE day = %(day)s
    ORDER BY hashint8(pipeline_id::bigint * 1000 + %(number)s) LIMIT {SEALED})
"""


def run(now: datetime) -> int:
    """Counts the days that are over and rolled up, so many pipelines a run; returns the rows. Idempotent."""
    yesterday = datetime.combine(now.date() - DAY, time(), UTC)
    mark, _ = Watermark.objects.get_or_create(name=DAYS_CURSOR, defaults={"reached_at": yesterday})
    written, reached = 0, rollups.reached()
    for _ in range(MOST_BATCHES):
        start = mark.reached_at
        if reached is None or start + DAY > reached or start + DAY > now:
            return written
        rows = _count(UNCOUNTED, [start], now, {"day": start.date(), "batch": BATCH})
        written += rows
        if rows < BATCH:
            _seal(start, now)
            mark.reached_at = start + DAY
            mark.save(update_fields=["reached_at"])
    return written


def again(pipeline_id: int, *, start: datetime, end: datetime, now: datetime) -> None:
    """Counts the days anew that are counted already and were touched by rows that came later."""
    reached = Watermark.objects.filter(name=DAYS_CURSOR).values_list("reached_at", flat=True).first()
    days = [day for day in days_between(start, end) if reached is not None and day < reached]
    if days:
        _count("market_id = %(pipeline)s", days, now, {"pipeline": pipeline_id})


def days_between(start: datetime, end: datetime) -> list[datetime]:
    """Returns the beginnings of the days (UTC) that [start, end] touches."""
    first = datetime.combine(start.astimezone(UTC).date(), time(), UTC)
    return [first + number * DAY for number in range((end.astimezone(UTC).date() - first.date()).days + 1)]


def _count(which: str, days: Sequence[datetime], now: datetime, more: dict[str, Any]) -> int:
    statement = COUNT.format(of_days=OF_DAYS.format(which=which))
    with connection.cursor() as cursor:
        cursor.execute(statement, {"days": list(days), "now": now, "most": MOST_GAPS_NAMED, **more})
        return int(cursor.rowcount)


def _seal(start: datetime, now: datetime) -> None:
    given: dict[str, Any] = {"start": start, "day": start.date(), "number": start.toordinal(),
                             "sealed_at": now - 2 * knowing.SETTLED_AFTER}  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(SEAL, given)


def calendar(pipeline_id: int, *, first: date, last: date, now: datetime) -> list[tuple[Any, ...]]:
    """Returns (day, expected, stored, filled, longest_gap_seconds, worst_cause) for each day, the oldest first.

    Days that are not counted yet are made of the minutes that are still kept.
    """
    given: dict[str, Any] = {"pipeline": pipeline_id, "first": first, "last": last}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT day, expected, stored, filled, longest_gap_seconds, worst_cause FROM collectors_pipelineday"
            " WHERE pipeline_id = %(pipeline)s AND day BETWEEN %(first)s AND %(last)s", given,
        )  # fmt: skip
        counted = {row[0]: row for row in cursor.fetchall()}
        lacking = [day for day in days_between(_midnight(first), _midnight(last)) if day.date() not in counted]
        cursor.execute(OF_DAYS.format(which="market_id = %(pipeline)s"),
                       {**given, "days": lacking, "now": now, "most": MOST_GAPS_NAMED})  # fmt: skip
        counted |= {row[1]: row[1:] for row in cursor.fetchall()}
    return [counted[day] for day in sorted(counted)]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
