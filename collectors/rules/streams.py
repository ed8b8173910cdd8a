"""Decisions on whether a stream is to be believed: pure, from what was heard; `session` carries them out."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from feeds.base import Quote

SMALL_GROUP = 20  # fewer markets may all be quiet at once
SMALL_GROUP_PATIENCE = 10.0  # so they are given so many silence limits
DISAGREEMENT_SHARE = 0.01  # of a price: twice the usual spread, and what a price moves while a poll is under way
DISAGREEING_MARKETS = 0.2  # of those compared: single markets move while a poll is under way
LEAST_SHARE_DELIVERED = 0.5  # of what a poll brings: a stream of less is not the exchange
LOST_SHARE = 0.5  # of the markets for which a poll brings a field
COMPARED_FIELDS = ("bid", "ask", "high", "low", "base_volume", "quote_volume")
PRICES = ("bid", "ask")
TALKING_SHARE = 0.5  # of the silence limit
DIAL_WINDOW_SECONDS = 300.0
BACKOFF_SECONDS = 1.0  # the first pause, which doubles: shorter ones are taken for an attack
STABLE_SECONDS = 60.0  # a stream that lived so long has earned a quick redial


@dataclass(slots=True)
class Heard:
    """The moments, on the monotonic clock, at which each subscription and the whole exchange last brought a quote."""

    started_at: float
    groups: Sequence[frozenset[str]]
    last_at: float
    by_group: list[float] = field(default_factory=list)

    @classmethod
    def since(cls, now: float, groups: Sequence[frozenset[str]]) -> Heard:
        return cls(now, groups, now, [now] * len(groups))

    def note(self, symbols: Collection[str], now: float) -> None:
        if not symbols:
            return
        self.last_at = now
        for number, group in enumerate(self.groups):
            if not group.isdisjoint(symbols):
                self.by_group[number] = now

    def regroup(self, groups: Sequence[frozenset[str]], now: float) -> None:
        """Replaces the groups after markets came or went: what is still asked for keeps its time."""
        known = list(zip(self.groups, self.by_group, strict=True))
        self.by_group = [
            max([at for before, at in known if not group.isdisjoint(before)], default=now) for group in groups
        ]
        self.groups = groups


def silence(heard: Heard, now: float, *, limit_seconds: float) -> str:
    """Returns why the stream is no longer believed; empty while it is."""
    quiet = now - heard.last_at
    if quiet > limit_seconds:
        return f"no ticker for {quiet:.1f} s"
    for group, at in zip(heard.groups, heard.by_group, strict=True):
        patience = 1.0 if len(group) >= SMALL_GROUP else SMALL_GROUP_PATIENCE
        if now - at > limit_seconds * patience:
            return f"no ticker of a subscription of {len(group)} markets for {now - at:.1f} s"
    return ""


def is_talking(heard: Heard, now: float, *, limit_seconds: float) -> bool:
    """Says whether it is talking; else it is nearly silent, and a poll that knows more does not contradict it."""
    return now - heard.last_at < limit_seconds * TALKING_SHARE


def is_complete(heard: Heard) -> bool:
    """Says whether every subscription of a size has brought something since it was made."""
    return all(
        at > heard.started_at
        for group, at in zip(heard.groups, heard.by_group, strict=True)
        if len(group) >= SMALL_GROUP or len(heard.groups) == 1
    )


def shortcomings(unstreamed: str, lost: str) -> str:
    """Says what a stream that delivers does not bring: kinds that are polled, fields that stay empty; empty where it
    brings all."""
    kinds = f"polled, as the exchange does not push them: {unstreamed}" if unstreamed else ""
    beside = ": their rows are stored beside its own" if indispensable(lost) else ""
    fields = f"its stream does not bring {lost}, which polls do{beside}" if lost else ""
    return "; ".join(filter(None, [kinds, fields]))


def lost_fields(pushed: Mapping[str, Quote], polled: Sequence[Quote]) -> str:
    """Says which fields polls bring and the stream does not, for most markets; empty where none. They stay empty: a row
    of two moments would be no row of the exchange's."""
    return ", ".join(name for name in COMPARED_FIELDS if _is_lost(name, pushed, polled))


def indispensable(lost: str) -> str:
    """Returns those of the lost fields for which polls' rows are stored beside the stream's: prices. Volumes of a day
    are told by any poll beside it."""
    return ", ".join(name for name in lost.split(", ") if name in PRICES)


def _is_lost(name: str, pushed: Mapping[str, Quote], polled: Sequence[Quote]) -> bool:
    known = [pushed[quote.symbol] for quote in polled if quote.symbol in pushed and getattr(quote, name) is not None]
    lost = sum(getattr(quote, name) is None for quote in known)
    return lost > len(known) * LOST_SHARE


def contradiction(pushed: Mapping[str, Quote], polled: Sequence[Quote], *, tolerance: float) -> str:
    """Returns what a poll says against the stream: other prices, or far more markets; empty when they agree."""
    reason = disagreement(pushed, polled, tolerance=tolerance)
    delivered = sum(quote.symbol in pushed for quote in polled)
    if reason or delivered >= len(polled) * LEAST_SHARE_DELIVERED:
        return reason
    return f"the stream brought {delivered} of {len(polled)} markets that a poll brought"


def disagreement(pushed: Mapping[str, Quote], polled: Iterable[Quote], *, tolerance: float) -> str:
    """Returns the disagreement of the prices alone; empty when nothing can be compared."""
    compared, differing = 0, []
    for quote in polled:
        other = pushed.get(quote.symbol)
        if other is None or not other.last or not quote.last:
            continue
        compared += 1
        if abs(other.last / quote.last - 1) > tolerance:
            differing.append(quote.symbol)
    if compared and len(differing) > compared * DISAGREEING_MARKETS:
        return f"{len(differing)} of {compared} prices differ from a poll's by more than {tolerance:.1%}"
    return ""


def backoff_seconds(failures: int, *, base: float, cap: float, jitter: float) -> float:
    """Returns the pause with full jitter: anything from nothing to the doubled pause."""
    return float(min(cap, base * 2.0 ** min(failures, 16)) * jitter)


@dataclass(slots=True)
class Pauses:
    """How long each exchange's session that has died rests before the next: the doubled pause, without jitter."""

    begun_at: dict[str, float] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)

    def holds(self, exchange_id: str, now: float) -> bool:
        return now < self.until.get(exchange_id, now)

    def note_begin(self, exchange_id: str, now: float) -> None:
        self.begun_at[exchange_id] = now

    def note_failure(self, exchange_id: str, now: float, *, cap: float) -> None:
        """Notes a failure; a session that lived for long has earned the shortest pause."""
        lived = now - self.begun_at.get(exchange_id, now)
        failures = 0 if lived > STABLE_SECONDS else self.failures.get(exchange_id, 0)
        self.failures[exchange_id] = failures + 1
        self.until[exchange_id] = now + backoff_seconds(failures, base=BACKOFF_SECONDS, cap=cap, jitter=1.0)


@dataclass(slots=True)
class DialBudget:
    """A limit of so many connections in five minutes, whatever goes wrong."""

    limit: int
    dials: deque[float] = field(default_factory=deque)

    def wait_seconds(self, now: float, count: int) -> float:
        """Returns seconds until `count` more are allowed; more than the whole budget are allowed while it is unused."""
        while self.dials and self.dials[0] <= now - DIAL_WINDOW_SECONDS:
            self.dials.popleft()
        excess = len(self.dials) + count - max(self.limit, count)
        return self.dials[excess - 1] + DIAL_WINDOW_SECONDS - now if excess > 0 else 0.0

    def spend(self, now: float, count: int) -> None:
        self.dials.extend([now] * count)
