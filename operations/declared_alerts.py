"""Reads who is told of what from the same file as the exchanges: channels, routes and planned work.

channels:
  ops: {kind: webhook, address_from: OPS_WEBHOOK, secret_from: OPS_SECRET}   # names of environment variables
  mail: {kind: email, address: ops@example.com}                              # only a mail address may stand in the file
routes:
  night: {match: {severities: [critical]}, steps: [{channels: [ops], repeat_seconds: 3600}]}
maintenance:
  weekly move: {starts_at: 2026-12-06T02:00Z, ends_at: 2026-12-06T03:00Z, rrule: FREQ=WEEKLY;BYDAY=SU}
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.utils.dateparse import parse_datetime

from incidents import addresses, configuration
from incidents.models import AlertChannel, AlertRoute, ChannelKind, Maintenance
from lib import clock
from operations.transitions import CommandRefused

SECTIONS = ("channels", "routes", "maintenance")
NAME_CHARACTERS = 60
OF_CHANNEL = frozenset({"kind", "address", "address_from", "secret_from", "enabled"})
OF_MATCH = ("exchanges", "kinds", "severities", "pairs")
OF_ROUTE: Mapping[str, Any] = {
    "steps": [], "quiet_hours": None, "shortest_seconds": 0, "tells_recovery": True, "enabled": True,
}  # fmt: skip
OF_WORK = frozenset({"starts_at", "ends_at", "rrule", "zone", "expires_at", "exchanges", "is_public"})
MOMENTS = ("starts_at", "ends_at", "expires_at")


class BadDeclaration(Exception):
    """A section that cannot be followed; the message says where, and repeats no secret."""


@dataclass(frozen=True, slots=True)
class AlertStep:
    """One change that brings channels, routes or planned work nearer to the file, and what a person reads."""

    sentence: str
    verb: str
    what: str
    store: Callable[[], object]


@dataclass(frozen=True, slots=True)
class DeclaredAlerts:
    """The file's sections, those that it has; a section that it does not have is left alone."""

    sections: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def differences(self, others: str) -> list[AlertStep]:
        """Returns what has to be done; channels come before the routes that lead to them. Raises BadDeclaration."""
        found: list[AlertStep] = []
        for section, steps_of in (("channels", _channels), ("routes", _routes), ("maintenance", _works)):
            if section in self.sections:
                found += steps_of(self.sections[section], self.sections.get("channels", {}))
        for section in ("routes", "channels", "maintenance"):
            if others == "remove" and section in self.sections:
                found += _gone(section, self.sections[section])
        return found


def read(content: Mapping[str, Any]) -> DeclaredAlerts:
    """Returns the sections of a file that has been parsed. Raises BadDeclaration."""
    return DeclaredAlerts({name: _section(name, content[name]) for name in SECTIONS if name in content})


def carry_out(step: AlertStep, *, by: str, now: datetime, origin: str = "") -> None:
    """Carries out one step and writes it into the audit log. Raises CommandRefused."""
    try:
        step.store()
    except configuration.Misconfigured as error:
        raise CommandRefused(str(error)) from error
    configuration.record(step.verb, by=by, now=now, what=step.what, origin=origin)


def _section(name: str, values: Any) -> Mapping[str, Mapping[str, Any]]:
    values = values or {}
    if not isinstance(values, dict):
        raise BadDeclaration(f"{name} is a mapping from names to settings")
    for key, each in values.items():
        if not isinstance(key, str) or not 0 < len(key) <= NAME_CHARACTERS or not isinstance(each, dict):
            raise BadDeclaration(
                f"{name}: {str(key)[:60]}: a name of at most {NAME_CHARACTERS} characters, and a mapping"
            )
    return values


def _strangers(where: str, values: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = sorted(set(map(str, values)) - set(known))
    if unknown:
        raise BadDeclaration(f"{where}: there is no setting {unknown[0][:50]!r}")


# --- channels -----------------------------------------------------------------------------------------------------


def _channels(wanted: Mapping[str, Mapping[str, Any]], _: Collection[str]) -> Iterator[AlertStep]:
    there = {channel.name: channel for channel in AlertChannel.objects.all()}
    for name, values in wanted.items():
        channel = there.get(name)
        _strangers(f"channels: {name}", values, OF_CHANNEL)
        kind, address, secret = _address(name, values)
        enabled = bool(values.get("enabled", True))
        changed = _differing(channel, kind, address, secret, enabled) if channel is not None else [kind]
        if changed:
            sign = "~" if channel is not None else "+"
            yield AlertStep(
                f"{sign} channel {name}: {', '.join(changed)}", f"{'change' if channel else 'add'} channel", name,
                partial(_store_channel, name, channel, kind, address, secret, enabled),
            )  # fmt: skip


def _address(name: str, values: Mapping[str, Any]) -> tuple[str, str, str]:
    """Returns kind, address and secret, the latter two from the environment. Raises BadDeclaration."""
    kind = values.get("kind")
    if kind not in ChannelKind.values:
        raise BadDeclaration(f"channels: {name}: kind is one of {', '.join(ChannelKind.values)}")
    if ("address" in values) == ("address_from" in values):
        raise BadDeclaration(f"channels: {name}: either address or address_from, the name of an environment variable")
    if "address" in values and kind != ChannelKind.EMAIL:
        raise BadDeclaration(f"channels: {name}: an address that gives access does not belong in a file: address_from")
    address = str(values["address"]) if "address" in values else _variable(name, values["address_from"])
    secret = _variable(name, values["secret_from"]) if "secret_from" in values else ""
    try:
        addresses.parsed(kind, address, secret)
    except addresses.BadAddress as error:
        raise BadDeclaration(f"channels: {name}: {error}") from error
    return kind, address, secret


def _variable(channel: str, name: Any) -> str:
    value = os.environ.get(str(name), "")
    if not value:
        raise BadDeclaration(f"channels: {channel}: the environment has no {str(name)[:60]!r}")
    return value


def _differing(channel: AlertChannel, kind: str, address: str, secret: str, enabled: bool) -> list[str]:
    """Returns what differs, in words without any address. A secret that the file does not name stays."""
    wanted = addresses.parsed(kind, address, secret)
    try:
        kept = addresses.opened(channel)
    except addresses.BadAddress:
        kept = {}
    if not secret and channel.kind == kind:
        wanted["secret"] = kept.get("secret", "")
        kept.setdefault("secret", "")
    found = [f"kind: {channel.kind} -> {kind}"] if channel.kind != kind else []
    if wanted != kept:
        found.append("address")
    if channel.is_enabled != enabled:
        found.append("enable" if enabled else "disable")
    return found


def _store_channel(
    name: str, channel: AlertChannel | None, kind: str, address: str, secret: str, enabled: bool
) -> None:
    row = channel or AlertChannel(name=name)
    if channel is None or "address" in " ".join(_differing(channel, kind, address, secret, enabled)):
        if channel is not None and not secret and channel.kind == kind:
            secret = addresses.opened(channel).get("secret", "")
        configuration.set_address(row, kind, address, secret)
    row.is_enabled = enabled
    row.save()


# --- routes -------------------------------------------------------------------------------------------------------


def _routes(wanted: Mapping[str, Mapping[str, Any]], channels: Collection[str]) -> Iterator[AlertStep]:
    there = {route.name: route for route in AlertRoute.objects.all()}
    known = {*channels, *AlertChannel.objects.values_list("name", flat=True)}
    for name, values in wanted.items():
        _strangers(f"routes: {name}", values, {"match", *OF_ROUTE})
        fields = _route_fields(name, values)
        try:
            configuration.check_route(fields, channels=known)
        except configuration.Misconfigured as error:
            raise BadDeclaration(f"routes: {name}: {error}") from error
        route = there.get(name)
        changed = [key for key, value in fields.items() if route is None or getattr(route, key) != value]
        if changed:
            said = ", ".join(changed) if route is not None else _leads_to(fields["steps"])
            yield AlertStep(
                f"{'~' if route else '+'} route {name}: {said}", f"{'change' if route else 'add'} route", name,
                partial(AlertRoute.objects.update_or_create, name=name, defaults=fields),
            )  # fmt: skip


def _route_fields(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    match = values.get("match") or {}
    if not isinstance(match, dict):
        raise BadDeclaration(f"routes: {name}: match is a mapping")
    _strangers(f"routes: {name}: match", match, OF_MATCH)
    fields = {key: values.get(key, usual) for key, usual in OF_ROUTE.items() if key != "enabled"}
    return {
        **{key: match.get(key) or [] for key in OF_MATCH},
        **fields,
        "is_enabled": bool(values.get("enabled", True)),
    }


def _leads_to(steps: Any) -> str:
    return ", then ".join(", ".join(step["channels"]) for step in steps)


# --- planned work -------------------------------------------------------------------------------------------------


def _works(wanted: Mapping[str, Mapping[str, Any]], _: Collection[str]) -> Iterator[AlertStep]:
    there = {row.reason: row for row in Maintenance.objects.order_by("pk")}
    for reason, values in wanted.items():
        _strangers(f"maintenance: {reason}", values, OF_WORK)
        kept = there.get(reason)
        row = _work(reason, values, kept)
        before = _work_values(kept) if kept is not None else {}
        changed = [key for key, value in _work_values(row).items() if before.get(key) != value]
        if changed:
            said = (
                ", ".join(changed) if kept is not None else f"{row.starts_at:%Y-%m-%d %H:%M} UTC {row.rrule}".rstrip()
            )
            verb = "change maintenance" if kept is not None else "add maintenance"
            yield AlertStep(f"{'~' if kept else '+'} maintenance {reason}: {said}", verb, reason, row.save)


def _work(reason: str, values: Mapping[str, Any], kept: Maintenance | None) -> Maintenance:
    """Returns the row as the file wants it, checked and not stored. Raises BadDeclaration."""
    moments = {name: _moment(reason, name, values[name]) for name in MOMENTS if name in values}
    if {"starts_at", "ends_at"} - moments.keys():
        raise BadDeclaration(f"maintenance: {reason}: starts_at and ends_at say when")
    plain = {name: values[name] for name in OF_WORK if name in values and name not in MOMENTS}
    row = Maintenance(pk=kept.pk if kept else None, reason=reason, created_by=kept.created_by if kept else "a file")
    expires_at = kept.expires_at if kept is not None and row.rrule else None
    for name, value in {"expires_at": expires_at, **plain, **moments}.items():
        setattr(row, name, value)
    try:
        configuration.check_maintenance(row, clock.now())
    except configuration.Misconfigured as error:
        raise BadDeclaration(f"maintenance: {reason}: {error}") from error
    return row


def _work_values(row: Maintenance) -> dict[str, Any]:
    """Returns what a file can say; when a rule ends by itself is none of it, for that moves with each reading."""
    names = OF_WORK - ({"expires_at"} if row.rrule else set())
    return {name: getattr(row, name) for name in sorted(names)}


def _moment(reason: str, name: str, value: Any) -> datetime:
    try:
        found = value if isinstance(value, datetime) else parse_datetime(str(value))
    except ValueError:
        found = None
    if found is None:
        raise BadDeclaration(f"maintenance: {reason}: {name} is a time such as 2026-12-06T02:00Z")
    return found if found.tzinfo is not None else found.replace(tzinfo=clock.now().tzinfo)


# --- what the file does not name ------------------------------------------------------------------------------------


def _gone(section: str, named: Collection[str]) -> Iterator[AlertStep]:
    model, name, word = {
        "routes": (AlertRoute, "name", "route"),
        "channels": (AlertChannel, "name", "channel"),
        "maintenance": (Maintenance, "reason", "maintenance"),
    }[section]
    for row in model.objects.exclude(**{f"{name}__in": named}).order_by(name):  # type: ignore[attr-defined]
        yield AlertStep(f"- {word} {row}: remove", f"delete {word}", str(row), partial(_remove, row))


def _remove(row: AlertChannel | AlertRoute | Maintenance) -> None:
    if isinstance(row, AlertChannel) and (led := configuration.routes_with(row)):
        raise CommandRefused(f"routes lead to it: {', '.join(led[:5])}")
    row.delete()
