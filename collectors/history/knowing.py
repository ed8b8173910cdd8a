"""Says what was known when: since when that is written down, and how to read rows as of a moment.

A live row is known since it was received. A row that was fetched later says so itself (`known_at`), and so does each
state of a minute. What was filled before the upgrade that brought these columns was known at the latest by then.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection

# Django notes when it applied the migration that added the columns.
SINCE = """
SELECT min(applied) FROM django_migrations WHERE app = 'collectors' AND name LIKE '%_time_of_knowing'
"""
# Rows that arrive are committed by then, so that an answer as of a moment before it never changes any more.
SETTLED_AFTER = timedelta(seconds=30)

# A tick that was known at %(as_of)s. Those that were fetched before the upgrade were known by then.
TICK_WAS_KNOWN = "(CASE WHEN known_at IS NULL THEN received_at ELSE known_at END <= %(as_of)s)"
TICK_KNOWN_AT = "CASE WHEN known_at IS NULL AND origin = 0 THEN received_at ELSE known_at END"

MINUTE_COLUMNS = """pipeline_id, minute_at, samples, open, high, low, close, bid, ask, base_volume, volume,
    live, candle, trade, revision, known_at"""
# Each minute's newest state of those that were known at %(as_of)s; a state is known until the next one is.
MINUTES_AS_OF = f"""
SELECT {MINUTE_COLUMNS} FROM collectors_rollup
WHERE {{where}} AND (known_at IS NULL OR known_at <= %(as_of)s)
UNION ALL
SELECT {MINUTE_COLUMNS} FROM collectors_rolluprevision
WHERE {{where}} AND (known_at IS NULL OR known_at <= %(as_of)s) AND replaced_at > %(as_of)s
"""
MINUTES = f"SELECT {MINUTE_COLUMNS} FROM collectors_rollup WHERE {{where}}"


class AsOfUnknown(Exception):
    """What was known at a moment was not written down then; the caller should ask for a later one."""

    def __init__(self, known_since: datetime) -> None:
        super().__init__(f"What was known when is written down since {known_since:%Y-%m-%d %H:%M:%S} UTC.")
        self.known_since = known_since


def known_since() -> datetime:
    """Returns the moment since which every stored row says when it was known."""
    with connection.cursor() as cursor:
        cursor.execute(SINCE)
        since: datetime = cursor.fetchone()[0]
    return since


def require(as_of: datetime | None) -> None:
    """Raises AsOfUnknown when nobody wrote down what was known at that moment."""
    if as_of is not None and as_of < (since := known_since()):
        raise AsOfUnknown(since)


def is_settled(as_of: datetime, now: datetime) -> bool:
    """Says whether everything known at that moment has been stored by now."""
    return as_of <= now - SETTLED_AFTER


def minutes(where: str, *, as_of: datetime | None) -> str:
    """Returns SQL that selects MINUTE_COLUMNS, as of `%(as_of)s` where a moment is given."""
    return (MINUTES if as_of is None else MINUTES_AS_OF).format(where=where)
