"""Refusals of calls, and how each document words them: one value, two renderings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from lib.clock import seconds_z


class Dialect(Enum):
    """The document whose words the caller expects."""

    PAIRS = 3
    PIPELINES = 4


@dataclass(eq=False)
class CallRefused(Exception):
    """Ends a call. `facts` are extra fields of the pairs API's body."""

    status: int
    code: str
    message: str
    retry_after_seconds: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


UNAUTHORIZED = {
    Dialect.PAIRS: "Invalid or missing API key. Include a valid key in the X-API-Key header.",
    Dialect.PIPELINES: "Missing or invalid api-key.",
}


def unauthorized(dialect: Dialect) -> CallRefused:
    return CallRefused(401, "unauthorized", UNAUTHORIZED[dialect])


def tier_locked(required_tier: str | None) -> CallRefused:
    facts = {"required_tier": required_tier} if required_tier else {}
    return CallRefused(403, "tier_locked", "Your plan does not have access to this endpoint.", facts=facts)


def out_of_scope() -> CallRefused:
    return CallRefused(403, "forbidden", "This key may not be used for this endpoint.")


def address_not_allowed() -> CallRefused:
    return CallRefused(403, "forbidden", "This key may not be used from this address.")


def rate_limited(*, tier: str, limit: int, unit: str, used: int, seconds: float) -> CallRefused:
    wait = max(1, math.ceil(seconds))
    facts = {
        "detail": f"You have used {used}/{limit} requests this {unit}",
        "retry_after_seconds": wait,
        "tier": tier,
        "tier_limit": f"{limit} req/{'min' if unit == 'minute' else unit}",
    }
    return CallRefused(429, "rate_limit_exceeded", f"Rate limit exceeded. Retry after {wait} seconds.", wait, facts)


def quota_used_up(*, tier: str, limit: int, now: datetime) -> CallRefused:
    """Returns the refusal for a month of the pairs API that is over its requests."""
    wait = max(1, math.ceil((next_month(now) - now).total_seconds()))
    facts = {
        "detail": f"You have used {limit}/{limit} requests this month",
        "retry_after_seconds": wait,
        "tier": tier,
        "tier_limit": f"{limit} req/month",
    }
    return CallRefused(429, "monthly_quota_exceeded", "Monthly request quota exceeded.", wait, facts)


def credits_exhausted(*, cost: int, remaining: int, now: datetime) -> CallRefused:
    message = (
        f"This request costs {cost} credits and {remaining} are left. They are renewed at {seconds_z(next_month(now))}."
    )
    return CallRefused(402, "credits_exhausted", message)


def bad_request(code: str, message: str) -> CallRefused:
    return CallRefused(400, code, message)


def not_found() -> CallRefused:
    return CallRefused(404, "not_found", "There is no such route.")


def method_not_allowed(method: str) -> CallRefused:
    return CallRefused(405, "method_not_allowed", f"{method} is not allowed here; use GET.")


def too_large() -> CallRefused:
    return CallRefused(413, "payload_too_large", "The request body is too large; these routes take none.")


def unavailable(message: str = "Status cannot be read now. Try again in some seconds.") -> CallRefused:
    return CallRefused(503, "service_unavailable", message, 5)


def failed(correlation_id: str) -> CallRefused:
    return CallRefused(
        500, "internal_error", f"Unexpected failure; the log has it under correlation id {correlation_id}."
    )


def body(refused: CallRefused, dialect: Dialect) -> dict[str, Any]:
    """Returns the body: the pairs API's errors carry the status and details, the pipelines API's are flat."""
    if dialect is Dialect.PAIRS:
        return {"error": refused.code, "message": refused.message, "status": refused.status, **refused.facts}
    plan = {name: value for name, value in refused.facts.items() if name == "required_tier"}
    return {"error": refused.code, "message": refused.message, **plan}


def next_month(now: datetime) -> datetime:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
