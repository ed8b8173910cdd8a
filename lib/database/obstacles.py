"""What stands between us and the database, in words for somebody who was woken by it."""

from __future__ import annotations

from typing import NamedTuple


class DatabaseObstacle(NamedTuple):
    """What is wrong, and what can be done."""

    what: str
    do: str


AWAY = DatabaseObstacle("The database does not answer", "check that PostgreSQL runs, and DATABASE_URL")
NOBODY_LISTENS = DatabaseObstacle(
    "Nothing listens at the database's address", "start PostgreSQL, or correct DATABASE_URL"
)
NAMELESS = DatabaseObstacle(
    "The name of the database's host cannot be resolved", "check DNS, and the host in DATABASE_URL"
)
REFUSED = DatabaseObstacle(
    "The database refuses our user or password", "correct DATABASE_URL, or see the server's pg_hba.conf"
)
NO_DATABASE = DatabaseObstacle("There is no database of that name", "correct DATABASE_URL, or create it")
FULL_HOUSE = DatabaseObstacle(
    "The database takes no more connections: all are in use",
    "see in pg_stat_activity who holds them; end some, or raise max_connections",
)
LOCKED = DatabaseObstacle(
    "Statements wait in the database for somebody else's lock",
    "see pg_locks and pg_stat_activity for who holds it, and end that session: pg_terminate_backend(pid)",
)
SLOW = DatabaseObstacle(
    "The database did not answer a statement in time", "see pg_stat_activity for what it does, and its disk's load"
)
STARTING = DatabaseObstacle(
    "The database starts, recovers or shuts down", "wait for it; should it take minutes, read its log"
)
DISK_FULL = DatabaseObstacle("The database's disk is full: nothing is stored", "make room on it")
READ_ONLY = DatabaseObstacle(
    "The database is read-only: nothing is stored",
    "promote it where it is a standby, or let DATABASE_URL name the primary; else see default_transaction_read_only",
)

BY_CODE = {
    "25006": READ_ONLY,
    "28P01": REFUSED,
    "28000": REFUSED,
    "3D000": NO_DATABASE,
    "53100": DISK_FULL,
    "53300": FULL_HOUSE,
    "55P03": LOCKED,
    "57014": SLOW,
    "57P01": STARTING,
    "57P02": STARTING,
    "57P03": STARTING,
}
# A connection that was not made has no code, only words; the first that fits.
BY_WORDS = (
    ("too many clients already", FULL_HOUSE),
    ("remaining connection slots", FULL_HOUSE),
    ("too many connections for", FULL_HOUSE),
    ("is starting up", STARTING),
    ("is shutting down", STARTING),
    ("in recovery mode", STARTING),
    ("not yet accepting connections", STARTING),
    ("could not translate host name", NAMELESS),
    ("authentication failed", REFUSED),
    ("no pg_hba.conf entry", REFUSED),
    ("Connection refused", NOBODY_LISTENS),
    ("No such file or directory", NOBODY_LISTENS),
)


def of(error: BaseException) -> DatabaseObstacle:
    """Returns what a database error means."""
    said, code = str(error), getattr(error.__cause__, "pgcode", None)
    if code in BY_CODE:
        return BY_CODE[code]
    return next((obstacle for words, obstacle in BY_WORDS if words in said), AWAY)
