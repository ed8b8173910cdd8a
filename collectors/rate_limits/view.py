"""Reads the rate limiter's counts for people: three round trips for all exchanges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collectors.rate_limits import counting
from collectors.rate_limits.counting import RateAccount
from collectors.rules.rate_limits import Priority, RateBudget
from lib import valkey

HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class RateUsage:
    """The usage of one exchange over one address. Seconds are a pause's remainder; `held_back` is of the last hour."""

    exchange_id: str
    address: str
    budget: RateBudget
    used: Mapping[str, float]
    pause_seconds: float
    dial_pause_seconds: float
    held_back: Mapping[str, int]

    @property
    def used_units(self) -> float:
        return sum(self.used.values())

    @property
    def used_share(self) -> float:
        return min(1.0, self.used_units / self.budget.units)


def standings(exchange_ids: Collection[str]) -> list[RateUsage]:
    """Returns the usage of exchanges that were asked within the last hour. Raises redis.RedisError."""
    client: Any = valkey.client()
    seconds, microseconds = client.time()
    now = seconds + microseconds / 1e6
    known = [
        (line, budget)
        for line, budget in _budgets(client.hgetall(counting.BUDGETS), now)
        if line.exchange_id in exchange_ids
    ]
    pipe = client.pipeline(transaction=False)
    for line, _ in known:
        pipe.hgetall(line.key)
        pipe.mget(line.pause_key, line.dial_pause_key)
        pipe.hgetall(line.held_key)
    found = pipe.execute()
    return [
        _standing(line, budget, found[3 * number : 3 * number + 3], now) for number, (line, budget) in enumerate(known)
    ]


def _budgets(said: Mapping[bytes, bytes], now: float) -> Iterator[tuple[RateAccount, RateBudget]]:
    for name, value in sorted(said.items()):
        exchange_id, address = name.decode().split(" ", 1)
        units, seconds, said_at = (float(part) for part in value.split())
        if said_at > now - HOUR_SECONDS:
            yield RateAccount(exchange_id, address), RateBudget(units, seconds)


def _standing(line: RateAccount, budget: RateBudget, found: Sequence[Any], now: float) -> RateUsage:
    window, pauses, held = found
    pause, dial_pause = (max(0.0, int(until) / 1000 - now) if until else 0.0 for until in pauses)
    return RateUsage(
        line.exchange_id, line.address, budget, _used(window, budget, now), pause, dial_pause, _of_last_hour(held, now)
    )


def _used(window: Mapping[bytes, bytes], budget: RateBudget, now: float) -> dict[str, float]:
    """Returns the units used by priority; what a process remembered after an outage is nobody's in particular."""
    used: dict[str, float] = {}
    for field, units in window.items():
        index, word = field.decode().split(":")
        if (int(index) + 1) * budget.bucket_seconds + budget.span_seconds > now:
            used[word] = used.get(word, 0.0) + float(units)
    return used


def _of_last_hour(held: Mapping[bytes, bytes], now: float) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for field, count in held.items():
        minute, word = field.decode().split(":")
        if int(minute) > now / 60 - 60:
            counts[word] += int(count)
    return {priority.value: counts[priority.value] for priority in Priority if counts[priority.value]}
