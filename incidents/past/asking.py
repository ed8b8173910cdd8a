"""Asks what a route would have told in the last 30 days with another limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from incidents.models import AlertRoute
from incidents.outbox import as_rule
from incidents.past import digests
from incidents.past.models import SignSpan
from incidents.rules.replay import RouteOutcome, outcomes, replay

LIMITS = (0, 15, 30, 60, 120, 300, 600, 1800, 3600)  # seconds that something must last


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """What a limit would have meant, beside the present one. `later_seconds`: of what both tell, in the mean."""

    limit_seconds: int
    alerts: int
    found_after_seconds: float | None
    later_seconds: float | None
    is_present: bool

    @property
    def than_now(self) -> str:
        """Returns how much later or earlier the same is found, in words."""
        if self.later_seconds is None:
            return "nothing in common"
        seconds = round(self.later_seconds)
        return f"{abs(seconds)} s {'later' if seconds > 0 else 'earlier'}" if seconds else "as soon"


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer for all limits, and since when there are digests."""

    since: datetime | None
    outcomes: Sequence[LimitOutcome]


def of_route(route: AlertRoute, now: datetime, *, exchange: str = "") -> WhatIf:
    """Returns what the route would have told with each limit; of one exchange alone where it is named. Two queries."""
    rule = as_rule(route)
    if exchange:
        rule = replace(rule, exchanges=(exchange,))
    since = now - digests.KEPT
    first = SignSpan.objects.order_by("first_at").values_list("first_at", flat=True).first()
    tellings = replay(digests.moments(since, now), now)
    limits = sorted({*LIMITS, route.shortest_seconds})
    found = outcomes(tellings, rule, limits)
    present = next(each for each in found if each.limit_seconds == route.shortest_seconds)
    return WhatIf(first and max(first, since), [_beside(each, present) for each in found])


def _beside(each: RouteOutcome, present: RouteOutcome) -> LimitOutcome:
    both = each.found_after.keys() & present.found_after.keys()
    later = [each.found_after[number] - present.found_after[number] for number in both]
    after = list(each.found_after.values())
    return LimitOutcome(
        each.limit_seconds,
        each.alerts,
        sum(after) / len(after) if after else None,
        sum(later) / len(later) if later else None,
        each.limit_seconds == present.limit_seconds,
    )
