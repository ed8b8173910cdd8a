"""The register of live processes, in Valkey: each says every few seconds what it is, and how its clock differs.

Valkey's own clock tells who was heard lately, so that a process whose clock is wrong neither outlives itself nor buries
others. Losing it costs a few seconds of not knowing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson
import redis

from lib import clock, valkey

KEY = "marketmon:processes"
KINDS = ("worker", "beat", "pulse", "stream", "notifier", "web")
SAY_SECONDS = 3.0
LIVES_SECONDS = 10.0
FORGOTTEN_SECONDS = 3600.0

_SAY = """
local now = redis.call('TIME')[1]
if redis.call('TYPE', KEYS[1])['ok'] ~= 'hash' then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class LiveProcess:
    """A process that was heard lately. `ahead_seconds`: its clock before PostgreSQL's, None when never compared."""

    name: str
    kind: str
    host: str
    ahead_seconds: float | None = None
    is_clock_off: bool = False
    is_clock_held: bool = False
    leapt_seconds: float = 0.0
    all_differ_alike: bool = False


_mine = ""


def begin(kind: str) -> None:
    """Gives this process its name in the register."""
    global _mine
    _mine = f"{kind}:{socket.gethostname()[:60]}:{os.getpid()}"


def say() -> None:
    """Says that this process lives. Raises redis.RedisError."""
    if not _mine:
        return
    found = clock.state()
    ahead = found.ahead_seconds
    said = {
        "ahead": None if ahead is None else round(ahead, 3),
        "off": found.is_off,
        "held": found.is_held,
        "leapt": round(found.leapt_seconds),
        "alike": found.all_differ_alike,
    }
    valkey.client().eval(_SAY, 1, KEY, _mine, orjson.dumps(said).decode(), int(FORGOTTEN_SECONDS))


def leave() -> None:
    """Takes this process out at once. Raises redis.RedisError."""
    if _mine:
        valkey.client().hdel(KEY, _mine)


def ask_in(together: redis.client.Pipeline) -> None:
    """Adds the question who lives to a pipeline: two answers, which `answered` reads."""
    together.time()
    together.hgetall(KEY)


def answered(moment: Any, fields: Any) -> tuple[LiveProcess, ...]:
    """Returns who lives, in the order of names; nobody where something else stands in the register's place."""
    if isinstance(fields, Exception):
        return ()
    now = float(cast("tuple[int, int]", moment)[0])
    return tuple(sorted(_live(cast("Mapping[bytes, bytes]", fields), now), key=lambda each: each.name))


def live() -> tuple[LiveProcess, ...]:
    """Returns who lives. Raises redis.RedisError."""
    with valkey.client().pipeline(transaction=False) as together:
        ask_in(together)
        return answered(*together.execute(raise_on_error=False))


def differences_of_others() -> list[float]:
    """Returns how far the clocks of the other processes are ahead of PostgreSQL's. Raises redis.RedisError."""
    return [each.ahead_seconds for each in live() if each.name != _mine and each.ahead_seconds is not None]


def count(found: Iterable[LiveProcess], kind: str) -> int:
    return sum(each.kind == kind for each in found)


def _live(fields: Mapping[bytes, bytes], now: float) -> Iterable[LiveProcess]:
    for name, text in fields.items():
        said_at, _, said = text.partition(b" ")
        if now - float(said_at) > LIVES_SECONDS:
            continue
        kind, host, _ = name.decode().split(":", 2)
        told = orjson.loads(said)
        yield LiveProcess(
            name.decode(), kind, host, told["ahead"], told["off"], told["held"], told["leapt"], told["alike"]
        )
