"""How long an ill or throttling exchange is left alone: `after` turns an outcome into the worker's next state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

# Outcomes that say the exchange is ill. Throttling is not: it asked us to wait, and we do. Nor is our own restraint.
COUNTS_AS_STRIKE = frozenset({"unreachable", "bad_reply", "failed"})
THROTTLE_PAUSE_SECONDS = 30.0  # after a 429 that names no time: half of the minute that most exchanges count by
DENIED_PAUSE_SECONDS = 900.0  # key, region or certificate: a human must act, and a retry a minute would look hostile
# Outcomes that mostly only a person can end: probed with growing pauses.
NEEDS_A_PERSON = frozenset({"denied", "not_connected"})
# Of them, those that are certain at the first time: we have refused it ourselves. A denial may be one firewall's page.
CERTAIN_AT_ONCE = frozenset({"not_connected"})

BAN_PAUSE_SECONDS = 300.0  # where the exchange names no end; each further ban doubles it
LONGEST_BAN_PAUSE_SECONDS = 3600.0
DENIED_PROBE_SECONDS = 60.0  # one firewall's page or a bad certificate may be gone by then
TOLD_JITTER_SECONDS = 2.0
TOLD_JITTER_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """The breaker's pauses in seconds. The first `failures_until_open` failures cost nothing but their own slot."""

    failures_until_open: int
    pause_max_seconds: float
    throttle_pause_seconds: float
    denied_pause_seconds: float


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A breaker's state. `error_count`: failed runs in a row, of any kind. `strikes`: those that count for it."""

    error_count: int = 0
    strikes: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CycleResult:
    """The facts of a finished run for the breaker; `outcome` is FeedError.kind or `stored`. A time that the exchange
    has told counts whatever the outcome; `banned` says that it has shut this address out."""

    outcome: str
    retry_after_seconds: float | None = None
    banned: bool = False


def after(
    health: BreakerState,
    result: CycleResult,
    now: datetime,
    *,
    interval_seconds: float,
    policy: BreakerPolicy,
    jitter: float,
) -> BreakerState:
    """Returns the state after one more run. Once enough strikes have opened the breaker, each pause ends with one
    probe. `jitter` in 0..1 spreads our own pauses by up to a fifth, and told times by a moment."""
    if result.outcome == "stored":
        return BreakerState()
    if result.outcome == "superseded":
        return health
    strikes = health.strikes + (result.outcome in COUNTS_AS_STRIKE)
    own = _pause_seconds(result, health, strikes, interval_seconds=interval_seconds, policy=policy) * (1 + 0.2 * jitter)
    pause = _told_seconds(result, own, jitter=jitter)
    retry_at = now + timedelta(seconds=pause) if pause else None
    return BreakerState(error_count=health.error_count + 1, strikes=strikes, retry_at=retry_at)


def _told_seconds(result: CycleResult, own: float, *, jitter: float) -> float:
    """Returns the pause: a told time is kept, so the next slot after it is the next try. An ill exchange that names
    an end is not asked before it, nor more often than any ill one."""
    told = result.retry_after_seconds
    if told is None:
        return own
    if result.outcome == "held_back":
        return told  # its own jitter is in it already
    kept = told + jitter * min(TOLD_JITTER_SECONDS, told * TOLD_JITTER_SHARE)
    return kept if result.outcome == "throttled" else max(kept, own)


def _pause_seconds(
    result: CycleResult, health: BreakerState, strikes: int, *, interval_seconds: float, policy: BreakerPolicy
) -> float:
    refusals = health.error_count - health.strikes  # in a row, of those that are no strikes
    if result.outcome == "throttled" and result.banned:
        return ban_seconds(refusals)
    if result.outcome == "throttled":
        return max(policy.throttle_pause_seconds, interval_seconds)
    if result.outcome == "held_back":
        return 0.0
    if result.outcome in NEEDS_A_PERSON:
        return _doubled(DENIED_PROBE_SECONDS, refusals, longest=policy.denied_pause_seconds)
    if strikes < policy.failures_until_open:
        return 0.0
    doubled = interval_seconds * 2.0 ** min(strikes - policy.failures_until_open + 1, 16)
    return min(doubled, max(policy.pause_max_seconds, interval_seconds))


def ban_seconds(bans_before: int) -> float:
    """Returns the pause after a ban that names no end, by how many went before it."""
    return _doubled(BAN_PAUSE_SECONDS, bans_before, longest=LONGEST_BAN_PAUSE_SECONDS)


def _doubled(first: float, times: int, *, longest: float) -> float:
    return min(first * 2.0 ** max(0, min(times, 16)), longest)
