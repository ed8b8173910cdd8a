"""Wrong tries and how long the next one must wait: the first few are free, then each doubles the pause.

A try is counted before it is looked at, so that many at once are no way around, and taken back when it was right. In
Valkey; without it each process counts for itself.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
import structlog

from lib import valkey

LONGEST_SECONDS = 900.0
FORGET_SECONDS = 3600  # after the last wrong one; longer than the longest pause
MOST_HELD = 10_000  # names that one process remembers without Valkey

log: Any = structlog.get_logger(__name__)

TAKE = """
local count, closed = unpack(redis.call('HMGET', KEYS[1], 'count', 'closed_until'))
local now, free, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if closed and tonumber(closed) > now then return tostring(tonumber(closed) - now) end
count = redis.call('HINCRBY', KEYS[1], 'count', 1)
local pause = count < free and 0 or math.min(longest, 2 ^ math.min(count - free, 30))
redis.call('HSET', KEYS[1], 'closed_until', tostring(now + pause))
redis.call('EXPIRE', KEYS[1], ARGV[4])
return '0'
"""
GIVE_BACK = """
local count = tonumber(redis.call('HGET', KEYS[1], 'count') or '0')
if count <= 1 then return redis.call('DEL', KEYS[1]) end
redis.call('HINCRBY', KEYS[1], 'count', -1)
if count - 1 < tonumber(ARGV[1]) then redis.call('HDEL', KEYS[1], 'closed_until') end
return 0
"""


@dataclass(frozen=True, slots=True)
class Tries:
    """Whose wrong tries are counted together, and how many of them cost no pause."""

    name: str
    free: int


@dataclass(slots=True)
class Held:
    count: int = 0
    closed_until: float = 0.0


def take(tries: Tries) -> float:
    """Counts one try. Seconds to wait when it comes too early: then it is not counted, and must not be looked at."""
    now = time.time()
    try:
        return float(_take_script()(keys=[_key(tries)], args=[now, tries.free, LONGEST_SECONDS, FORGET_SECONDS]))
    except redis.RedisError as error:
        log.warning("tries_are_counted_locally", cause=type(error).__name__)
        return _take_here(tries, now)


def give_back(tries: Tries) -> None:
    """The try that was counted last was a right one."""
    try:
        _give_back_script()(keys=[_key(tries)], args=[tries.free])
    except redis.RedisError:
        _give_back_here(tries)


def forget(tries: Tries) -> None:
    """Whoever tried has shown to be the right one."""
    with _lock:
        _held.pop(tries.name, None)
    try:
        valkey.client().delete(_key(tries))
    except redis.RedisError as error:
        log.warning("tries_not_forgotten", cause=type(error).__name__)


def remember(name: str, seconds: int) -> None:
    """Notes something for so long, for `is_remembered`; lost with Valkey's data, and then nothing is remembered."""
    try:
        valkey.client().set(f"marketmon:remembered:{name}", "1", ex=seconds)
    except redis.RedisError as error:
        log.warning("not_remembered", cause=type(error).__name__)


def is_remembered(name: str) -> bool:
    try:
        return bool(valkey.client().exists(f"marketmon:remembered:{name}"))
    except redis.RedisError:
        return False


def pause_seconds(count: int, free: int) -> float:
    """How long the try after the wrong one number `count` must wait."""
    return 0.0 if count < free else min(LONGEST_SECONDS, 2.0 ** min(count - free, 30))


def _key(tries: Tries) -> str:
    return f"marketmon:tries:{tries.name}"


@cache
def _take_script() -> Any:
    return valkey.client().register_script(TAKE)


@cache
def _give_back_script() -> Any:
    return valkey.client().register_script(GIVE_BACK)


# --- without Valkey -------------------------------------------------------------------------------------------------

_held: dict[str, Held] = {}
_lock = threading.Lock()


def _take_here(tries: Tries, now: float) -> float:
    with _lock:
        held = _held.setdefault(tries.name, Held())
        if held.closed_until > now:
            return held.closed_until - now
        held.count += 1
        held.closed_until = now + pause_seconds(held.count, tries.free)
        if len(_held) > MOST_HELD:
            del _held[next(iter(_held))]
        return 0.0


def _give_back_here(tries: Tries) -> None:
    with _lock:
        held = _held.get(tries.name)
        if held is None:
            return
        held.count = max(0, held.count - 1)
        if held.count < tries.free:
            held.closed_until = 0.0
