"""When may an exchange be asked again? `after` turns a cycle's outcome into the next state; it stores nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

# Outcomes that say the exchange is ill. Throttling is not: it asked us to wait, and we do. Nor is our own restraint.
COUNTS_AS_STRIKE = frozenset({"unreachable", "bad_reply", "failed"})
THROTTLE_PAUSE_SECONDS = 30.0  # after a 429 that names no time: half of the minute that most exchanges count by
DENIED_PAUSE_SECONDS = 900.0  # key, region or certificate: a human must act, and a retry a minute would look hostile


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """All pauses in seconds. The first `failures_until_open` failures cost nothing but their own slot."""

    failures_until_open: int
    pause_max_seconds: float
    throttle_pause_seconds: float
    denied_pause_seconds: float


@dataclass(frozen=True, slots=True)
class BreakerState:
    """`error_count`: failed cycles in a row, of any kind. `strikes`: those that count for the breaker."""

    error_count: int = 0
    strikes: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CycleResult:
    """What the breaker needs to know of a finished cycle; `outcome` is FeedError.kind or `stored`."""

    outcome: str
    retry_after_seconds: float | None = None


def after(
    health: BreakerState,
    result: CycleResult,
    now: datetime,
    *,
    interval_seconds: float,
    policy: BreakerPolicy,
    jitter: float,
) -> BreakerState:
    """The state after one more cycle. Once enough strikes have opened the breaker, each pause ends with one probe.
    `jitter` in 0..1 spreads the pauses by up to a fifth."""
    if result.outcome == "stored":
        return BreakerState()
    if result.outcome == "superseded":
        return health
    strikes = health.strikes + (result.outcome in COUNTS_AS_STRIKE)
    pause = _pause_seconds(result, strikes, interval_seconds=interval_seconds, policy=policy)
    retry_at = now + timedelta(seconds=pause * (1 + 0.2 * jitter)) if pause else None
    return BreakerState(error_count=health.error_count + 1, strikes=strikes, retry_at=retry_at)


def _pause_seconds(result: CycleResult, strikes: int, *, interval_seconds: float, policy: BreakerPolicy) -> float:
    if result.outcome == "throttled":
        return max(result.retry_after_seconds or policy.throttle_pause_seconds, interval_seconds)
    if result.outcome == "held_back":
        return result.retry_after_seconds or 0.0
    if result.outcome == "denied":
        return policy.denied_pause_seconds
    if strikes < policy.failures_until_open:
        return 0.0
    doubled = interval_seconds * 2.0 ** min(strikes - policy.failures_until_open + 1, 16)
    return min(doubled, max(policy.pause_max_seconds, interval_seconds))
