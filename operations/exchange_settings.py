"""What an exchange's settings may be: names, values, addresses, and where its credentials may go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError

from exchanges import addresses, connectivity, destinations, secrets
from exchanges.models import Exchange, Market
from feeds import credentials_needed
from operations.transitions import CommandRefused
from web.redaction import hide_login

SETTINGS = (
    "name",
    "poll_interval_seconds",
    "transport",
    "priority",
    "budget_units",
    "budget_seconds",
    "market_filter",
    "depth",
    "base_url",
    "proxy",
    "ca_file",
)
MORE_CREDENTIALS = "more_credentials"  # joined to the stored ones, where these stay
WAYS_TO_REACH = frozenset({"base_url", "proxy", "ca_file", "credentials"})  # a running cycle still uses the old one
ADDRESS_RULES = {
    "base_url": addresses.check_base_url,
    "proxy": addresses.check_proxy,
    "ca_file": addresses.check_ca_file,
}


class InvalidSettings(CommandRefused):
    """A setting cannot be what was asked for; `faults` says which and why."""

    def __init__(self, faults: Mapping[str, Sequence[str]]) -> None:
        self.faults = {field: list(messages) for field, messages in faults.items()}
        super().__init__(" ".join(f"{field}: {' '.join(messages)}" for field, messages in self.faults.items()))


def cleaned(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is wanted, with credentials sealed. Raises InvalidSettings for names that are no setting."""
    strangers = sorted(set(wanted) - {*SETTINGS, "credentials", MORE_CREDENTIALS})
    if strangers:
        raise InvalidSettings({name[:50]: ["There is no such setting."] for name in strangers})
    found = dict(wanted)
    if MORE_CREDENTIALS in found and (fault := secrets.find_fault(found[MORE_CREDENTIALS])):
        raise InvalidSettings({"credentials": [fault]})
    if "credentials" in found:
        try:
            found["credentials"] = secrets.seal(found["credentials"] or {})
        except ValueError as fault:
            raise InvalidSettings({"credentials": [str(fault)]}) from fault
    return found


def with_whole_credentials(exchange: Exchange, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the changes with single credentials joined to the stored ones, unless these would be led elsewhere. The
    row is locked: nobody changes an address between the two."""
    found = dict(changes)
    more = found.pop(MORE_CREDENTIALS, None)
    if more is not None:
        leads_elsewhere = destinations.leading_elsewhere(exchange.base_url, differing(exchange, found))
        kept = {} if leads_elsewhere else secrets.unseal_or_none(exchange.credentials) or {}
        found["credentials"] = secrets.seal({**kept, **more})
    return found


def stored(exchange: Exchange, name: str) -> Any:
    return exchange.proxy_address if name == "proxy" else getattr(exchange, name)


def differing(exchange: Exchange, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if stored(exchange, name) != value}


def columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the changes as the table keeps them: a proxy's login apart from its address, and sealed."""
    if "proxy" not in changes:
        return dict(changes)
    kept = Exchange()
    kept.proxy_address = str(changes["proxy"] or "")
    return {**changes, "proxy": kept.proxy, "proxy_login": kept.proxy_login}


def require_credentials_again(exchange: Exchange, changes: Mapping[str, Any]) -> None:
    """Refuses to lead stored credentials to another address. Raises InvalidSettings."""
    if not exchange.credentials or "credentials" in changes:
        return
    if names := destinations.leading_elsewhere(exchange.base_url, changes):
        raise InvalidSettings({name: [destinations.SEND_AGAIN] for name in names})


def what_is_needed(exchange_id: str) -> str:
    """Says which credentials even public data need there; empty where they need none."""
    names = credentials_needed(exchange_id)
    return f"{exchange_id} gives not even public data without {', '.join(names)}." if names else ""


def require_needed(exchange_id: str, given: Mapping[str, str]) -> None:
    """Refuses an exchange that would answer nothing, before it is asked. Raises InvalidSettings."""
    if not all(given.get(name) for name in credentials_needed(exchange_id)):
        raise InvalidSettings({"credentials": [what_is_needed(exchange_id)]})


def refuse_secrets_in_clear(exchange: Exchange) -> None:
    """Refuses credentials for an address on whose way they could be read. Raises InvalidSettings."""
    if exchange.credentials and destinations.sends_in_clear(exchange.base_url, exchange.proxy):
        raise InvalidSettings({"base_url": [destinations.IN_CLEAR]})


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the audit log keeps: a proxy without its password, and nothing of credentials."""
    kept = {name: value for name, value in values.items() if name != "credentials"}
    return kept | ({"proxy": hide_login(kept["proxy"])} if "proxy" in kept else {})


def check_values(exchange: Exchange, names: Sequence[str]) -> None:
    """Checks only what was named, as an older row may be stricter than it was made. Raises InvalidSettings."""
    others = {field.name for field in Exchange._meta.fields} - set(names)
    try:
        exchange.clean_fields(exclude=others)
        exchange.full_clean(exclude=others, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise InvalidSettings(error.message_dict) from error
    for name in names:  # NaN is neither under the least nor over the most
        value = getattr(exchange, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidSettings({name: ["This is no number."]})
    if "poll_interval_seconds" in names:
        _check_interval(exchange)


def check_new_addresses(exchange_id: str, changes: Mapping[str, Any]) -> None:
    """Looks names up before the exchange is locked: a name server may take its time. Raises InvalidSettings."""
    exchange = Exchange.objects.known().filter(pk=exchange_id).first()
    named = {name: changes[name] for name in ADDRESS_RULES.keys() & changes.keys()}
    check_addresses(differing(exchange, named) if exchange else named)


def check_addresses(wanted: Mapping[str, Any]) -> None:
    for name in ADDRESS_RULES.keys() & wanted.keys():
        try:
            ADDRESS_RULES[name](str(wanted[name] or ""))
        except addresses.Unsafe as fault:
            raise InvalidSettings({name: [str(fault)]}) from fault


def _check_interval(exchange: Exchange) -> None:
    """Refuses an interval under what the rate limit allows for what a poll costs there. Raises InvalidSettings."""
    if exchange.rate_limit_ms is None:
        return
    market_count = Market.objects.collected().filter(exchange_id=exchange.id).count() or None
    least = connectivity.least_interval_seconds(
        exchange.rate_limit_ms, exchange.capabilities, market_count=market_count
    )
    if exchange.poll_interval_seconds < least:
        raise InvalidSettings(
            {"poll_interval_seconds": [f"The rate limit of {exchange.id} allows {least:g} s and more."]}
        )
