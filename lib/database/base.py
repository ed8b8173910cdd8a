"""PostgreSQL as Django speaks to it, of the version that is needed and with limits that hold.

A limit that never reached the server is worse than none: nobody would know. They go with the start of a connection.
A pooler (pgbouncer) refuses them there, or ignores them; behind one they are settings of the role, which
`manage.py prepare` makes, and each new connection looks whether they are.
"""

from __future__ import annotations

from typing import Any, ClassVar

import psycopg2
from django.db import OperationalError
from django.db.backends.postgresql import base

from lib.database.limits import DIRECT, LIMITS, NOW

LEAST_MAJOR = 18  # MERGE … RETURNING old
REFUSED_BY_POOLER = "unsupported startup parameter"
LOOK = f"SELECT current_setting('{DIRECT}', true), {NOW}"


class ServerRefused(OperationalError):
    """A server that answers and cannot be used; the message says what is needed."""


class LimitsMissing(ServerRefused):
    """A pooler that gives connections without the limits of statements."""


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection; `is_pooled` says that a pooler may give each transaction another session of the server."""

    is_pooled = False
    looks_at_limits = True  # `prepare` connects before they are there
    _without_options: ClassVar[set[tuple[Any, Any]]] = set()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        place = conn_params.get("host"), conn_params.get("port")
        if place in self._without_options:
            return super().get_new_connection({**conn_params, "options": ""})
        try:
            return super().get_new_connection(conn_params)
        except psycopg2.OperationalError as error:
            if REFUSED_BY_POOLER not in str(error):
                raise
        self._without_options.add(place)
        return super().get_new_connection({**conn_params, "options": ""})

    def init_connection_state(self) -> None:
        try:
            require_version(self.connection.server_version)
            super().init_connection_state()
            self._look()
        except BaseException:
            self.close()  # Django would go on with it
            raise

    def _look(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(LOOK)
            direct, *limits = cursor.fetchone()
        self.is_pooled = direct != "1"
        if self.looks_at_limits and limits != list(LIMITS.values()):
            raise LimitsMissing(
                "the pooler of DATABASE_URL gives sessions without the limits of statements: "
                "run `manage.py prepare`, which makes them settings of the role"
            )


def require_version(number: int) -> None:
    """Raises ServerRefused for a server that is too old; `number` is PostgreSQL's own, such as 150004."""
    if number // 10_000 < LEAST_MAJOR:
        raise ServerRefused(f"PostgreSQL {LEAST_MAJOR} or newer is needed; this is {number // 10_000}")
