"""Checks and stores what people configure: channels, routes, planned work. The same for API, admin and files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from exchanges.models import AuditEntry, Exchange, is_exchange_id
from incidents import addresses
from incidents.models import AlertChannel, AlertRoute, Maintenance
from incidents.rules import planned_work
from incidents.rules.words import IncidentKind, Level

MOST_STEPS = 10
MOST_NAMES = 500
LONGEST_SECONDS = 7 * 86_400
LEAST_REPEAT_SECONDS = 60
NAME_CHARACTERS = 60


class Misconfigured(Exception):
    """Something that cannot be stored; `faults` has the sentences by field."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {fault}" for name, fault in faults.items()))
        self.faults = dict(faults)


def record(verb: str, *, by: str, now: datetime, what: str, origin: str = "") -> None:
    """Writes the audit log's entry; an address is in none."""
    context = structlog.contextvars.get_contextvars()
    AuditEntry.objects.create(
        happened_at=now, who=by[:150], verb=verb[:20], why=what[:500], origin=origin[:100],
        correlation_id=str(context.get("correlation_id", ""))[:64], before={}, changed=True,
    )  # fmt: skip


# --- channels -----------------------------------------------------------------------------------------------------


def set_address(channel: AlertChannel, kind: str, address: str, secret: str = "") -> str:
    """Gives a channel its address; returns the secret that was made for it, if any. Raises Misconfigured."""
    try:
        parts = addresses.parsed(kind, address, secret)
    except addresses.BadAddress as error:
        raise Misconfigured({"address": str(error)}) from error
    channel.kind, channel.address, channel.shown = kind, addresses.seal(parts), addresses.shown(kind, parts)[:200]
    channel.verified_at = channel.failing_since = None
    channel.code = channel.last_error = ""
    return parts["secret"] if kind == "webhook" and not secret else ""


# --- routes -------------------------------------------------------------------------------------------------------


def check_route(values: Mapping[str, Any], *, channels: Collection[str] | None = None) -> None:
    """Checks a route's fields, those that are there. Raises Misconfigured.

    Its steps may lead to `channels`, or to all that there are.
    """
    checks: dict[str, Callable[[Any], str]] = {
        "exchanges": lambda value: _names(value, is_exchange_id, "ids of exchanges"),
        "kinds": lambda value: _names(value, set(IncidentKind).__contains__, f"of {', '.join(IncidentKind)}"),
        "severities": lambda value: _names(value, set(Level).__contains__, f"of {', '.join(Level)}"),
        "pairs": lambda value: _names(value, is_pair, "pairs such as BTC/USDT"),
        "steps": lambda value: _steps_fault(value, channels),
        "quiet_hours": _quiet_hours_fault,
        "shortest_seconds": lambda value: _seconds_fault(value, LONGEST_SECONDS),
    }
    faults = {name: fault for name, check in checks.items() if name in values and (fault := check(values[name]))}
    if faults:
        raise Misconfigured(faults)


def is_pair(text: str) -> bool:
    base, separator, quote = text.partition("/")
    return bool(separator) and all(part and len(part) <= 25 and part == part.upper() for part in (base, quote))


def _names(value: Any, is_one: Any, what: str) -> str:
    if not isinstance(value, list | tuple) or len(value) > MOST_NAMES:
        return f"A list of at most {MOST_NAMES}."
    wrong = [each for each in value if not isinstance(each, str) or not is_one(each)]
    return f"{str(wrong[0])[:60]!r} is none: {what}." if wrong else ""


def _seconds_fault(value: Any, most: float) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "" if is_number and 0 <= value <= most else f"A number of seconds from 0 to {most:g}."


def _steps_fault(value: Any, channels: Collection[str] | None) -> str:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_STEPS:
        return f"A list of 1 to {MOST_STEPS} steps."
    known = set(AlertChannel.objects.values_list("name", flat=True) if channels is None else channels)
    return next((fault for step in value if (fault := _step_fault(step, known))), "")


def _step_fault(step: Any, known: set[str]) -> str:
    if not isinstance(step, Mapping) or set(step) - {"after_seconds", "channels", "repeat_seconds"}:
        return "A step has after_seconds, channels and repeat_seconds."
    channels = step.get("channels")
    if not isinstance(channels, list) or not channels or not all(isinstance(each, str) for each in channels):
        return "A step names one channel or more."
    unknown = sorted(set(channels) - known)
    if unknown:
        return f"There is no channel {unknown[0][:60]!r}."
    repeat = step.get("repeat_seconds", 0)
    for seconds in (step.get("after_seconds", 0), repeat):
        if fault := _seconds_fault(seconds, LONGEST_SECONDS):
            return fault
    return f"repeat_seconds is 0, or {LEAST_REPEAT_SECONDS} or more." if 0 < repeat < LEAST_REPEAT_SECONDS else ""


def _quiet_hours_fault(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, Mapping) or not {"from", "to"} <= set(value) <= {"from", "to", "zone"}:
        return "Quiet hours have from, to and zone."
    try:
        times = [time.fromisoformat(str(value[name])) for name in ("from", "to")]
        ZoneInfo(str(value.get("zone", "UTC")))
    except (ValueError, ZoneInfoNotFoundError, OSError):
        return "Quiet hours are two times such as 22:00, and a zone such as Europe/Berlin."
    return "From and to are the same." if times[0] == times[1] else ""


# --- planned work -------------------------------------------------------------------------------------------------


def check_maintenance(row: Maintenance, now: datetime) -> None:
    """Checks planned work, and sets when it is forgotten where nobody has. Raises Misconfigured."""
    faults = {}
    if row.ends_at <= row.starts_at:
        faults["ends_at"] = "It ends after it starts."
    elif row.ends_at - row.starts_at > planned_work.LONGEST:
        faults["ends_at"] = f"At most {planned_work.LONGEST.days} days at a time."
    if unknown := _unknown_exchanges(row.exchanges):
        faults["exchanges"] = f"There is no exchange {unknown[0][:60]!r}."
    if fault := _rule_fault(row):
        faults["rrule"] = fault
    longest = max(row.starts_at, now) + planned_work.LONGEST_LIFE if row.rrule else row.ends_at
    row.expires_at = min(row.expires_at, longest) if row.expires_at else longest
    if not row.rrule:
        row.expires_at = row.ends_at
    if row.expires_at <= now:
        faults["expires_at"] = "This work is over."
    if faults:
        raise Misconfigured(faults)


def _unknown_exchanges(names: Sequence[str]) -> list[str]:
    known = set(Exchange.objects.filter(pk__in=names).values_list("pk", flat=True))
    return [name for name in names if name not in known]


def _rule_fault(row: Maintenance) -> str:
    try:
        ZoneInfo(row.zone)
    except (ValueError, ZoneInfoNotFoundError, OSError):
        return f"There is no zone {row.zone[:60]!r}."
    try:
        if row.rrule:
            planned_work.check_rule(row.rrule)
    except planned_work.BadRule as error:
        return str(error)
    return ""


def routes_with(channel: AlertChannel) -> list[str]:
    """Returns the names of the routes that lead to a channel."""
    routes = AlertRoute.objects.order_by("name").values_list("name", "steps")
    return [name for name, steps in routes if any(channel.name in step.get("channels", ()) for step in steps)]
