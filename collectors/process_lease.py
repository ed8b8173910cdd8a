"""Gives what only one process may do to one: a lease that runs out, on PostgreSQL's clock.

Unlike a lock of a session it ends seconds after its holder's host has vanished, and needs no session of its own.
"""

from __future__ import annotations

from django.db import connection

# A lease that ends later than it can was given by a clock that has been set back since.
TAKE = """
INSERT INTO collectors_processlease AS l (name, holder, held_until)
VALUES (%(name)s, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
WHERE l.holder = excluded.holder
   OR l.held_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => 10 * %(seconds)s)
RETURNING holder
"""


def take(name: str, holder: str, *, seconds: float) -> bool:
    """Takes or renews the lease; returns whether it is held. Raises DatabaseError, InterfaceError."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {"name": name, "holder": holder, "seconds": seconds})
        return cursor.fetchone() is not None


def release(name: str, holder: str) -> None:
    """Gives the lease back at once. Raises DatabaseError, InterfaceError."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM collectors_processlease WHERE name = %s AND holder = %s", [name, holder])
