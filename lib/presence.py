"""Counts the live processes of one kind: each says so again and again, in a sorted set of Valkey."""

from __future__ import annotations

import redis

from lib import valkey


class Presence:
    """The processes of one kind by name, each with the moment until which it counts (Unix seconds)."""

    def __init__(self, key: str) -> None:
        self._key = key

    def say(self, name: str, *, now: float, seconds: float) -> list[str]:
        """Says that a process lives for `seconds` more. Returns the names of all that do, in order.

        Raises redis.RedisError.
        """
        with valkey.client().pipeline() as together:
            together.zadd(self._key, {name: now + seconds})
            together.zremrangebyscore(self._key, "-inf", now)
            together.zrange(self._key, 0, -1)
            return sorted(each.decode() for each in together.execute()[2])

    def leave(self, name: str) -> None:
        """Takes a process out at once. Raises redis.RedisError."""
        valkey.client().zrem(self._key, name)

    def count_in(self, together: redis.client.Pipeline, *, now: float) -> None:
        """Adds the question how many live to a pipeline; its answer is a whole number."""
        together.zcount(self._key, now, "+inf")
