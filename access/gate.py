"""The order in which a call is judged (401, 403, 429, 402, 400), and what is charged for it.

A refused call consumes nothing. A bad request has been answered: it keeps its place in the rate limit and costs no
credits. Credits are taken last, when the answer is ready, so no error is ever paid for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.http import HttpRequest

from access import authentication, meter, refusals
from access.authentication import Caller
from access.meter import CreditBalance, Windows
from access.refusals import CallRefused, Dialect
from lib.clock import seconds_z

Parsed = TypeVar("Parsed")
KEY_NAMES = ("api-key", "api_key")
UNLIMITED = Windows(())


@dataclass(frozen=True, slots=True)
class CallTerms:
    """The terms of an endpoint: what it is called in tiers and scopes, and what a call of it costs."""

    endpoint: str
    credits: int = 0
    requests: int = 0


@dataclass(slots=True)
class Visit:
    """A call on its way through the gate; headers are made of how far it came."""

    dialect: Dialect
    terms: CallTerms
    now: datetime
    caller: Caller | None = None
    windows: Windows = UNLIMITED
    balance: CreditBalance | None = None
    charged: int = 0


def presented_key(request: HttpRequest) -> str:
    """Returns the key that was sent, empty without one; the header wins over the query."""
    header = request.headers.get(authentication.HEADER, "")
    return header or next((request.GET[name] for name in KEY_NAMES if name in request.GET), "")


def enter(visit: Visit, request: HttpRequest) -> Caller:
    """Returns the caller or refuses with 401, 403 or 429. Raises CallRefused."""
    caller = authentication.identify(presented_key(request), visit.now)
    if caller is None:
        raise refusals.unauthorized(visit.dialect)
    visit.caller = caller
    request.key_prefix = f"mm_{caller.public_id}"  # type: ignore[attr-defined]  # for the log
    rates = {"per_minute": caller.requests_per_minute, "per_hour": caller.requests_per_hour}
    try:
        _require_right(caller, visit.terms.endpoint, request)
    except CallRefused:
        visit.windows = meter.look(caller.public_id, **rates)  # for the headers
        raise
    visit.windows = meter.take(caller.public_id, **rates)
    full = visit.windows.refusing
    if full is not None:
        raise refusals.rate_limited(
            tier=caller.tier, limit=full.limit, unit=full.unit, used=full.used, seconds=full.left_seconds
        )
    return caller


def _require_right(caller: Caller, endpoint: str, request: HttpRequest) -> None:
    if not caller.may_come_from(request):
        raise refusals.address_not_allowed()
    if endpoint not in caller.endpoints:
        raise refusals.tier_locked(authentication.required_tier(endpoint))
    if caller.scopes and endpoint not in caller.scopes:
        raise refusals.out_of_scope()


def parsed(visit: Visit, parse: Callable[[], Parsed]) -> Parsed:
    """Parses the request; 402 comes before 400, so that a lack of credits is told first. Raises CallRefused."""
    try:
        return parse()
    except CallRefused:
        caller = _caller(visit)
        visit.balance = meter.balance(caller.key_id, visit.now)
        if caller.is_metered and not _is_covered(visit, caller, visit.balance):
            raise _unpaid(visit) from None
        raise


def settle(visit: Visit) -> None:
    """Takes the price. Raises CallRefused, and then nothing was consumed: 402, 429 for the pairs API's month, 401 when
    the key was revoked meanwhile."""
    caller, terms = _caller(visit), visit.terms
    if not caller.is_metered:
        return
    visit.balance = meter.charge(
        caller.key_id, endpoint=terms.endpoint, credits=terms.credits, requests=terms.requests, now=visit.now
    )
    if visit.balance is None:
        raise _unpaid(visit) if authentication.is_good(caller) else refusals.unauthorized(visit.dialect)
    visit.charged = terms.credits


def _is_covered(visit: Visit, caller: Caller, balance: CreditBalance) -> bool:
    terms = visit.terms
    credits_left = caller.monthly_credits is None or balance.credits_used + terms.credits <= caller.monthly_credits
    requests_left = caller.monthly_requests is None or balance.requests_used + terms.requests <= caller.monthly_requests
    return (credits_left or not terms.credits) and (requests_left or not terms.requests)


def _unpaid(visit: Visit) -> CallRefused:
    caller = _caller(visit)
    meter.give_back(
        caller.public_id, visit.windows, per_minute=caller.requests_per_minute, per_hour=caller.requests_per_hour
    )
    visit.windows = visit.windows.one_less()
    visit.balance = visit.balance or meter.balance(caller.key_id, visit.now)
    if visit.terms.credits:
        remaining = max(0, (caller.monthly_credits or 0) - visit.balance.credits_used)
        return refusals.credits_exhausted(cost=visit.terms.credits, remaining=remaining, now=visit.now)
    return refusals.quota_used_up(tier=caller.tier, limit=caller.monthly_requests or 0, now=visit.now)


def _caller(visit: Visit) -> Caller:
    if visit.caller is None:
        raise RuntimeError("the visit has not passed enter()")
    return visit.caller


# --- headers ----------------------------------------------------------------------------------------------------


def headers(visit: Visit) -> dict[str, str]:
    """Returns headers that say how much is left, in the dialect's spelling; none for a tier without limits."""
    found = _rate_headers(visit)
    if visit.dialect is Dialect.PIPELINES:
        found["X-Credits-Charged"] = str(visit.charged)
        remaining = _credits_remaining(visit)
        if remaining is not None:
            found["X-Credits-Remaining"] = str(remaining)
    return found


def _rate_headers(visit: Visit) -> dict[str, str]:
    window = visit.windows.tightest
    if visit.caller is not None and window is None:
        return {}
    limit, remaining, left = (window.limit, window.remaining, window.left_seconds) if window else (0, 0, 0.0)
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": _reset(visit, left),
    }


def _reset(visit: Visit, left_seconds: float) -> str:
    at = math.ceil(visit.now.timestamp() + left_seconds)
    if visit.dialect is Dialect.PAIRS:
        return str(at)
    return seconds_z(visit.now + timedelta(seconds=at - visit.now.timestamp()))


def _credits_remaining(visit: Visit) -> int | None:
    caller = visit.caller
    if caller is None or caller.monthly_credits is None:
        return None
    if visit.balance is None:
        visit.balance = meter.balance(caller.key_id, visit.now)
    return max(0, caller.monthly_credits - visit.balance.credits_used)
