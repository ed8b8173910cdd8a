"""Keeps one collector per exchange: the lease on the Worker row, and the fence that stops a run between requests.

PostgreSQL's clock decides about leases. Valkey only carries the news of a new generation quickly; a write under an
old one is refused by the database whatever Valkey says.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import redis
from django.db import DatabaseError, InterfaceError, connection

from collectors.rules import age
from collectors.rules.age import AnswerState
from collectors.rules.breaker import BreakerState
from exchanges.models import Exchange
from lib import clock, valkey

LEASE_MARGIN_SECONDS = 2.0  # what storing may take after the deadline of the fetch
SOONEST_REPEAT = 0.5  # of an interval: a task that Celery delivers twice must not poll twice
LONGEST_LEASE_SECONDS = 600.0  # one that ends later was given by a clock that has been set back since
GENERATION_TTL_SECONDS = 86_400
ASK_AGAIN_SECONDS = 1.0
ASKED_SECONDS = 2  # a wish is valid for so long, in case the process that waits has died

TAKE = """
UPDATE collectors_worker AS w
SET lease_token = %(token)s,
    lease_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
    cycle_started_at = clock_timestamp()
FROM exchanges_exchange AS e
WHERE e.id = %(exchange)s AND w.exchange_id = e.id
  AND e.is_collected
  AND (%(despite_pause)s OR w.retry_at IS NULL OR w.retry_at <= clock_timestamp())
  AND (w.lease_until IS NULL OR w.lease_until NOT BETWEEN clock_timestamp()
                                                  AND clock_timestamp() + make_interval(secs => %(longest)s))
  AND (%(repeat)s OR w.cycle_started_at IS NULL OR w.cycle_started_at NOT BETWEEN
       clock_timestamp() - make_interval(secs => %(soonest)s * e.poll_interval_seconds) AND clock_timestamp())
RETURNING w.generation, w.error_count, w.strikes, w.retry_at, w.resumed_at, w.last_outcome,
          CASE WHEN w.usual_version = w.markets_version THEN w.usual_count ELSE 0 END,
          w.markets_version, w.markets_loaded_at, w.refused_count, w.answers::text,
          EXISTS (SELECT FROM collectors_partoutage AS o WHERE o.exchange_id = e.id AND o.ended_at IS NULL),
          w.unknown_rows, w.accepted_unknown, w.unknown_version
"""


# Unless it has been replaced meanwhile.
TAKE_BACK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@dataclass(frozen=True, slots=True)
class UnknownRows:
    """Rows of markets that the list does not have: `seen` in the newest answer, of which so many are `accepted`, since
    the list of that version did not have them either when it was new."""

    seen: int = 0
    accepted: int = 0
    version: int = 0


NO_UNKNOWN = UnknownRows()


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to collect one exchange once, with the worker's state from before."""

    exchange: Exchange
    token: uuid.UUID
    generation: int
    health: BreakerState
    resumed_at: datetime
    last_outcome: str
    usual_count: int
    markets_version: int
    markets_loaded_at: datetime | None
    refused_count: int
    answers: Mapping[str, AnswerState] = field(default_factory=dict)  # the last ones by kind of market
    lacks_parts: bool = False  # the poll before went without some
    unknown: UnknownRows = NO_UNKNOWN


def take(exchange_id: str, *, lease_seconds: float, repeat: bool = False, despite_pause: bool = False) -> Permit | None:
    """Returns the lease, or None when nobody may call now: stopped, told to wait, busy, or already polled this slot.

    `despite_pause` is for those who make no request: a stream that is delivering. Nobody whose host's clock is far off
    is given one.
    """
    if clock.state().is_far_off:
        return None
    token = uuid.uuid4()
    params: dict[str, str | float] = {
        "token": str(token),
        "exchange": exchange_id,
        "lease_seconds": lease_seconds + LEASE_MARGIN_SECONDS,
        "soonest": SOONEST_REPEAT,
        "longest": LONGEST_LEASE_SECONDS,
        "repeat": repeat,
        "despite_pause": despite_pause,
    }
    with connection.cursor() as cursor:
        cursor.execute(TAKE, params)
        row = cursor.fetchone()
    if row is None:
        return None
    generation, error_count, strikes, retry_at, resumed_at, outcome, usual, version, loaded_at, *more = row
    refused_count, told, lacks_parts, *unknown = more
    permit = Permit(
        exchange=Exchange.objects.get(pk=exchange_id),  # not sooner: TAKE may have waited for a verb that changed it
        token=token,
        generation=generation,
        health=BreakerState(error_count, strikes, retry_at),
        resumed_at=resumed_at,
        last_outcome=outcome,
        usual_count=usual,
        markets_version=version,
        markets_loaded_at=loaded_at,
        refused_count=refused_count,
        answers=age.read_states(told),
        lacks_parts=lacks_parts,
        unknown=UnknownRows(*unknown),
    )
    if permit.exchange.is_collected:
        return permit
    release(permit)
    return None


def wait_for(exchange_id: str, *, patience_seconds: float, lease_seconds: float) -> Permit | None:
    """Waits for the run under way to end, then returns the lease, whatever was polled in this slot; None in the end.

    A stream, which would keep the lease for ever, is asked to step aside for so long.
    """
    give_up_at, ask_at = time.monotonic() + patience_seconds, 0.0
    while (permit := take(exchange_id, lease_seconds=lease_seconds, repeat=True)) is None:
        now = time.monotonic()
        if now > give_up_at:
            break
        if now >= ask_at:
            _ask_for(exchange_id)
            ask_at = now + ASK_AGAIN_SECONDS
        time.sleep(0.1)
    if ask_at:
        is_asked_for(exchange_id)  # withdraws the wish, now that nothing waits here; others that wait ask again
    return permit


def extend(permit: Permit, *, lease_seconds: float) -> None:
    """Keeps the lease for longer than it was taken for. Without effect when it was lost: the write will be refused."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE collectors_worker SET lease_until = clock_timestamp() + make_interval(secs => %s) "
            "WHERE exchange_id = %s AND lease_token = %s",
            [lease_seconds + LEASE_MARGIN_SECONDS, permit.exchange.id, str(permit.token)],
        )


def release(permit: Permit) -> None:
    """Gives the lease back without a word about the exchange's health."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE collectors_worker SET lease_token = NULL, lease_until = NULL "
            "WHERE exchange_id = %s AND lease_token = %s",
            [permit.exchange.id, str(permit.token)],
        )


def announce(exchange_id: str, generation: int) -> None:
    """Tells runs under way that they are out of date. Raises redis.RedisError when it cannot."""
    valkey.client().set(_key(exchange_id), generation, ex=GENERATION_TTL_SECONDS)


def is_current(exchange_id: str, generation: int) -> bool:
    """Says whether no newer generation was announced; True when Valkey does not answer.

    A newer one is only news: the database's row says whether it is true. After a failover or a restore it may not be,
    and then it is taken back, or the exchange would not be collected for as long as the news lasts.
    """
    try:
        announced = cast("bytes | None", valkey.client().get(_key(exchange_id)))
    except redis.RedisError:
        return True
    if announced is None or (announced.isdigit() and int(announced) <= generation):
        return True
    try:
        return _is_in_database(exchange_id, generation, announced)
    except (DatabaseError, InterfaceError):
        return False  # what is stored is judged by the database, when it is back


def _is_in_database(exchange_id: str, generation: int, announced: bytes) -> bool:
    """Says whether the row has this generation, and takes back news that it contradicts."""
    was_open = connection.connection is not None
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT generation FROM collectors_worker WHERE exchange_id = %s", [exchange_id])
            row = cursor.fetchone()
    finally:
        if not was_open:  # a thread that dials has none of its own, and may not come again
            connection.close()
    if row is None or int(row[0]) != generation:
        return False
    with contextlib.suppress(redis.RedisError):
        valkey.client().eval(TAKE_BACK, 1, _key(exchange_id), announced)
    return True


def wait_until_idle(exchange_id: str, *, at_most_seconds: float) -> bool:
    """Waits until no run of an older generation is under way; returns False when one still is after the wait."""
    give_up_at = time.monotonic() + at_most_seconds
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT lease_until IS NULL OR lease_until < clock_timestamp() "
                "FROM collectors_worker WHERE exchange_id = %s",
                [exchange_id],
            )
            row = cursor.fetchone()
        if row is None or row[0]:
            return True
        if time.monotonic() >= give_up_at:
            return False
        time.sleep(0.02)


def is_asked_for(exchange_id: str) -> bool:
    """Says whether somebody waits for the lease, once to each who asks; False when Valkey does not answer."""
    try:
        return bool(valkey.client().delete(f"marketmon:lease-wanted:{exchange_id}"))
    except redis.RedisError:
        return False


def _ask_for(exchange_id: str) -> None:
    with contextlib.suppress(redis.RedisError):
        valkey.client().set(f"marketmon:lease-wanted:{exchange_id}", 1, ex=ASKED_SECONDS)


def _key(exchange_id: str) -> str:
    return f"marketmon:generation:{exchange_id}"
