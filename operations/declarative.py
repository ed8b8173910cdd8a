"""Reads desired exchanges from one YAML file: shows what would have to change, and changes just that.

exchanges:
  kraken: {poll_interval_seconds: 10, market_filter: {quotes: [USD, EUR]}}
  luno: {enabled: false}
others: keep        # or remove: what is not named above, in the sections that the file has

Channels, routes and planned work stand in the same file: see `declared_alerts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml

from exchanges.models import Exchange
from feeds import known_exchange_ids
from operations import declared_alerts, exchange_commands, exchange_settings, onboarding
from operations.declared_alerts import AlertStep, DeclaredAlerts
from web.redaction import hide_named

CHOICES_FOR_OTHERS = ("keep", "remove")
BYTES = 1_000_000


class BadPlan(Exception):
    """The file cannot be followed; the message says where."""


@dataclass(frozen=True, slots=True)
class DesiredExchange:
    """A desired exchange as the file has it."""

    exchange_id: str
    enabled: bool
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One verb that brings us nearer to the file, and what a person reads."""

    sentence: str
    verb: str
    exchange_id: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What the file says: of exchanges (None where it does not speak of them), of alerts, and of all others."""

    exchanges: list[DesiredExchange] | None
    alerts: DeclaredAlerts
    others: str


def read(text: str) -> DesiredState:
    """Returns what the file says. Raises BadPlan."""
    if len(text) > BYTES:
        raise BadPlan("a plan has at most a million characters")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadPlan(f"this is no YAML: {error}") from error
    if not isinstance(content, dict) or set(content) - {"exchanges", "others", *declared_alerts.SECTIONS}:
        raise BadPlan(f"a plan has the keys exchanges, {', '.join(declared_alerts.SECTIONS)} and others")
    others = content.get("others", "keep")
    if others not in CHOICES_FOR_OTHERS:
        raise BadPlan(f"others is one of {', '.join(CHOICES_FOR_OTHERS)}")
    exchanges = content.get("exchanges") or {}
    if not isinstance(exchanges, dict):
        raise BadPlan("exchanges is a mapping from id to settings")
    wanted = [_wanted(str(name), values) for name, values in exchanges.items()]
    speaks_of_exchanges = "exchanges" in content or not set(content) & set(declared_alerts.SECTIONS)
    try:
        alerts = declared_alerts.read(content)
    except declared_alerts.BadDeclaration as error:
        raise BadPlan(str(error)) from error
    return DesiredState(wanted if speaks_of_exchanges else None, alerts, others)


def differences(wanted: DesiredState) -> list[Step | AlertStep]:
    """Returns what has to be done, in the file's order; empty when all is as it should be. Changes nothing.

    Raises BadPlan.
    """
    try:
        alerts = wanted.alerts.differences(wanted.others)
    except declared_alerts.BadDeclaration as error:
        raise BadPlan(str(error)) from error
    exchanges = [] if wanted.exchanges is None else _exchange_steps(wanted.exchanges, wanted.others)
    return [*exchanges, *alerts]


def _exchange_steps(wanted: list[DesiredExchange], others: str) -> list[Step]:
    there = {exchange.id: exchange for exchange in Exchange.objects.known()}
    steps = [step for each in wanted for step in _steps(each, there.get(each.exchange_id))]
    if others == "remove":
        named = {each.exchange_id for each in wanted}
        gone = sorted(there.keys() - named)
        steps += [Step(f"- {name}: remove", "remove", name) for name in gone]
    return steps


def carry_out(step: Step | AlertStep, *, by: str, now: datetime, origin: str = "") -> None:
    """Carries out one step. Raises transitions.CommandRefused, connectivity.CannotOpen."""
    if isinstance(step, AlertStep):
        declared_alerts.carry_out(step, by=by, now=now, origin=origin)
        return
    VERBS[step.verb](step.exchange_id, by=by, now=now, origin=origin, **step.details)


def _wanted(exchange_id: str, values: Any) -> DesiredExchange:
    if exchange_id not in known_exchange_ids():
        raise BadPlan(f"{exchange_id[:64]}: no feed speaks to an exchange of that name")
    values = dict(values or {}) if isinstance(values or {}, dict) else None
    if values is None:
        raise BadPlan(f"{exchange_id}: its settings are a mapping")
    enabled = values.pop("enabled", True)
    if not isinstance(enabled, bool):
        raise BadPlan(f"{exchange_id}: enabled is true or false")
    if "credentials" in values:
        raise BadPlan(f"{exchange_id}: credentials do not belong in a file; set them with the API or the admin")
    strangers = sorted(set(map(str, values)) - set(exchange_settings.SETTINGS))
    if strangers:
        raise BadPlan(f"{exchange_id}: there is no setting {strangers[0][:50]!r}")
    return DesiredExchange(exchange_id, enabled, values)


def _steps(wanted: DesiredExchange, exchange: Exchange | None) -> list[Step]:
    name = wanted.exchange_id
    if exchange is None:
        steps = [Step(f"+ {name}: add {_listed(wanted.settings)}".rstrip(), "add", name, {"wanted": wanted.settings})]
        return steps if wanted.enabled else [*steps, Step(f"~ {name}: disable", "disable", name)]
    changes = exchange_settings.differing(exchange, wanted.settings)
    steps = []
    if changes:
        shown = ", ".join(
            f"{key}: {_said(key, exchange_settings.stored(exchange, key))} -> {_said(key, new)}"
            for key, new in changes.items()
        )
        steps.append(Step(f"~ {name}: {shown}", "configure", name, {"wanted": changes}))
    if wanted.enabled != exchange.enabled:
        verb = "enable" if wanted.enabled else "disable"
        steps.append(Step(f"~ {name}: {verb}", verb, name))
    return steps


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {_said(key, value)}" for key, value in settings.items())


def _said(name: str, value: Any) -> str:
    """Returns a value for a terminal, and for the log of whatever runs the command: without a proxy's password."""
    return hide_named(name, repr(value))


def _configure(exchange_id: str, *, wanted: dict[str, Any], by: str, now: datetime, origin: str) -> None:
    onboarding.configure(exchange_id, wanted, by=by, now=now, origin=origin)


VERBS: dict[str, Callable[..., Any]] = {
    "add": onboarding.add,
    "configure": _configure,
    "enable": exchange_commands.enable,
    "disable": exchange_commands.disable,
    "remove": exchange_commands.remove,
}
