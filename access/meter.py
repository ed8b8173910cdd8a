"""How much is left: request windows in Valkey, credits and monthly requests in PostgreSQL. Exact under concurrency.

Both windows of a key are tried in one Lua script, so that a refusal by the hour takes nothing from the minute. Without
Valkey each process counts for itself, under a quarter of the limits; credits are exact in any case.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import redis
import structlog
from django.db import connection
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter

from lib import valkey

FALLBACK_SHARE = 4  # so that up to four processes together stay within the limit

log = structlog.get_logger(__name__)

# For each window: its count and its remaining milliseconds. First value: which window refuses (from 1), 0 for none.
TAKE = """
local refused = 0
local state = {}
for i, key in ipairs(KEYS) do
    local count = tonumber(redis.call('GET', key) or '0')
    local left = redis.call('PTTL', key)
    if count + 1 > tonumber(ARGV[2 * i - 1]) and refused == 0 then refused = i end
    state[#state + 1] = count
    state[#state + 1] = left > 0 and left or tonumber(ARGV[2 * i]) * 1000
end
if refused == 0 then
    for i, key in ipairs(KEYS) do
        state[2 * i - 1] = redis.call('INCR', key)
        if redis.call('PTTL', key) < 0 then redis.call('EXPIRE', key, ARGV[2 * i]) end
    end
end
table.insert(state, 1, refused)
return state
"""
# A window that has run out meanwhile has nothing to give back.
GIVE_BACK = """
for _, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or '0') > 0 then redis.call('DECR', key) end
end
"""


class WindowStorage(RedisStorage):
    """The storage of `limits` on our own connections, with several windows in one step."""

    def __init__(self) -> None:
        super().__init__("redis://", connection_pool=valkey.client().connection_pool)
        self._take = self.get_connection().register_script(TAKE.encode())
        self._give_back = self.get_connection().register_script(GIVE_BACK.encode())

    def take(self, keys: Sequence[str], limits: Sequence[RateLimitItem]) -> list[int]:
        arguments = [number for item in limits for number in (item.amount, item.get_expiry())]
        return [int(value) for value in self._take([self.prefixed_key(key) for key in keys], arguments)]

    def give_back(self, keys: Sequence[str]) -> None:
        self._give_back([self.prefixed_key(key) for key in keys])


@dataclass(frozen=True, slots=True)
class LimitWindow:
    """A window of a key after this call. `is_refusing` says that it was full before."""

    unit: str
    limit: int
    used: int
    left_seconds: float
    is_refusing: bool = False

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class Windows:
    """The key's windows, the minute first; a tier without a limit has none of that unit.

    `is_local`: counted by this process alone, for want of Valkey.
    """

    all: tuple[LimitWindow, ...]
    is_local: bool = False

    @property
    def refusing(self) -> LimitWindow | None:
        return next((window for window in self.all if window.is_refusing), None)

    @property
    def full(self) -> LimitWindow | None:
        """Returns the first window that would refuse the next call, or None."""
        return next((window for window in self.all if not window.remaining), None)

    @property
    def tightest(self) -> LimitWindow | None:
        """Returns the window that headers speak of: the one that refuses, else the one that will refuse first."""
        return self.refusing or min(self.all, key=lambda window: window.remaining, default=None)

    def one_less(self) -> Windows:
        """Returns the windows after this call was given back."""
        return replace(self, all=tuple(replace(window, used=max(0, window.used - 1)) for window in self.all))

    def used(self, unit: str) -> int | None:
        """Returns how many requests were used; None where nothing limits, for then nobody counts."""
        return next((window.used for window in self.all if window.unit == unit), None)


UNITS = ("minute", "hour")


def take(public_id: str, *, per_minute: int | None, per_hour: int | None) -> Windows:
    """Takes one request from each window of the key, or from none."""
    items = _items(per_minute, per_hour)
    if not items:
        return Windows(())
    keys = [item.key_for(public_id) for item in items]
    if _availability.is_worth_a_try():
        try:
            refused, *state = _shared().take(keys, items)
        except redis.RedisError as error:
            _valkey_failed(error)
        else:
            return _windows(items, refused, state)
    return _take_here(public_id, items)


def look(public_id: str, *, per_minute: int | None, per_hour: int | None) -> Windows:
    """Returns the key's windows as they are: nothing is taken."""
    items = _items(per_minute, per_hour)
    if items and _availability.is_worth_a_try():
        try:
            return _seen(FixedWindowRateLimiter(_shared()), items, public_id)
        except redis.RedisError as error:
            _valkey_failed(error)
    with _local_lock:
        return replace(_seen(_local_limiter, _strict(items), public_id), is_local=True)


def give_back(public_id: str, windows: Windows, *, per_minute: int | None, per_hour: int | None) -> None:
    """Gives a request back to each window: a call that was refused after all consumes nothing."""
    items = _items(per_minute, per_hour)
    if windows.is_local:
        _give_back_here(public_id, items)
    elif items and _availability.is_worth_a_try():
        try:
            _shared().give_back([item.key_for(public_id) for item in items])
        except redis.RedisError as error:
            _valkey_failed(error)


def _items(per_minute: int | None, per_hour: int | None) -> list[RateLimitItem]:
    items: list[RateLimitItem] = []
    if per_minute is not None:
        items.append(RateLimitItemPerMinute(per_minute))
    if per_hour is not None:
        items.append(RateLimitItemPerHour(per_hour))
    return items


def _windows(items: Sequence[RateLimitItem], refused: int, state: Sequence[int]) -> Windows:
    return Windows(
        tuple(
            LimitWindow(_unit(item), item.amount, state[2 * n], state[2 * n + 1] / 1000, is_refusing=refused == n + 1)
            for n, item in enumerate(items)
        )
    )


def _unit(item: RateLimitItem) -> str:
    return str(item.GRANULARITY.name)


@cache
def _shared() -> WindowStorage:
    return WindowStorage()


# --- without Valkey ---------------------------------------------------------------------------------------------

_local = MemoryStorage()
_local_limiter = FixedWindowRateLimiter(_local)
_local_lock = threading.Lock()
_availability = valkey.Availability()


def forget() -> None:
    """Makes this process as it was at its start: nothing counted here, Valkey worth a question."""
    _local.reset()
    _availability.forget()
    _shared.cache_clear()


def _valkey_failed(error: Exception) -> None:
    _availability.failed()
    log.warning("rate_limits_are_local", cause=type(error).__name__, share=f"1/{FALLBACK_SHARE}")


def _strict(items: Sequence[RateLimitItem]) -> list[RateLimitItem]:
    return [type(item)(min(item.amount, max(1, item.amount // FALLBACK_SHARE))) for item in items]


def _give_back_here(public_id: str, items: Sequence[RateLimitItem]) -> None:
    with _local_lock:
        for item in _strict(items):
            key = item.key_for(public_id)
            if _local.get(key) > 0:
                _local.incr(key, item.get_expiry(), amount=-1)


def _take_here(public_id: str, items: Sequence[RateLimitItem]) -> Windows:
    strict = _strict(items)
    with _local_lock:
        refusing = [not _local_limiter.test(item, public_id) for item in strict]
        if not any(refusing):
            for item in strict:
                _local_limiter.hit(item, public_id)
        seen = _seen(_local_limiter, strict, public_id).all
    first = refusing.index(True) if any(refusing) else None
    return Windows(
        tuple(replace(window, is_refusing=n == first) for n, window in enumerate(seen)),
        is_local=True,
    )


def _seen(limiter: FixedWindowRateLimiter, items: Sequence[RateLimitItem], public_id: str) -> Windows:
    stats = [limiter.get_window_stats(item, public_id) for item in items]
    return Windows(
        tuple(
            LimitWindow(_unit(item), item.amount, item.amount - stat.remaining, max(0.0, stat.reset_time - time.time()))
            for item, stat in zip(items, stats, strict=True)
        )
    )


# --- credits and monthly requests -------------------------------------------------------------------------------

# A call that began in the last second of a month may be charged when another has begun the next one: it counts there,
# for going back would forget what that month has used. A month further ahead comes from a clock that was wrong.
IS_RUNNING = "a.month IN (%(month)s, (%(month)s::date + interval '1 month')::date)"
USED_CREDITS = f"CASE WHEN {IS_RUNNING} THEN a.credits_used ELSE 0 END"
USED_REQUESTS = f"CASE WHEN {IS_RUNNING} THEN a.requests_used ELSE 0 END"

# One statement, so one transaction: nothing is written unless all of it is. The limits are read here and not from a
# cache, and a key that was revoked a moment ago pays for nothing.
CHARGE = f"""
WITH paid AS (
    UPDATE access_allowance AS a SET
        month = CASE WHEN {IS_RUNNING} THEN a.month ELSE %(month)s END,
        credits_used = {USED_CREDITS} + %(credits)s,
        requests_used = {USED_REQUESTS} + %(requests)s
    FROM access_apikey AS k JOIN access_tier AS t ON t.name = k.tier_id
    WHERE a.key_id = %(key)s AND k.id = a.key_id AND k.revoked_at IS NULL
      AND (%(credits)s = 0 OR t.monthly_credits IS NULL OR {USED_CREDITS} + %(credits)s <= t.monthly_credits)
      AND (%(requests)s = 0 OR t.monthly_requests IS NULL OR {USED_REQUESTS} + %(requests)s <= t.monthly_requests)
    RETURNING a.credits_used, a.requests_used
), entry AS (
    INSERT INTO access_creditentry (key_id, request_id, charged_at, endpoint, credits)
    SELECT %(key)s, %(request_id)s::uuid, %(now)s, %(endpoint)s, %(credits)s FROM paid WHERE %(credits)s > 0
), day AS (
    INSERT INTO access_usageday AS d (key_id, day, calls, credits)
    SELECT %(key)s, %(today)s, 1, %(credits)s FROM paid
    ON CONFLICT (key_id, day) DO UPDATE SET calls = d.calls + 1, credits = d.credits + excluded.credits
)
SELECT credits_used, requests_used FROM paid
"""

BALANCE = f"SELECT {USED_CREDITS}, {USED_REQUESTS} FROM access_allowance AS a WHERE a.key_id = %(key)s"


@dataclass(frozen=True, slots=True)
class CreditBalance:
    """The use of one key in the running month."""

    credits_used: int
    requests_used: int


def charge(key_id: int, *, endpoint: str, credits: int, requests: int, now: datetime) -> CreditBalance | None:
    """Takes credits or requests out of the month. None when there are not enough: nothing is taken then."""
    parameters: dict[str, Any] = {
        "key": key_id,
        "request_id": str(uuid.uuid4()),
        "month": month_of(now),
        "today": now.date(),
        "now": now,
        "endpoint": endpoint,
        "credits": credits,
        "requests": requests,
    }
    with connection.cursor() as cursor:
        cursor.execute(CHARGE, parameters)
        row = cursor.fetchone()
    return CreditBalance(*row) if row else None


def balance(key_id: int, now: datetime) -> CreditBalance:
    with connection.cursor() as cursor:
        cursor.execute(BALANCE, {"key": key_id, "month": month_of(now)})
        row = cursor.fetchone()
    return CreditBalance(*row) if row else CreditBalance(0, 0)


def month_of(now: datetime) -> date:
    return now.date().replace(day=1)


def days_of(now: datetime, count: int) -> list[date]:
    """Returns the last `count` days, today last."""
    return [now.date() - timedelta(days=back) for back in range(count - 1, -1, -1)]
