"""Where a call comes from. X-Forwarded-For is believed only from proxies that the settings name."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CUSTOMER_PREFIX = 64  # of IPv6: what one customer gets
UNKNOWN = "unknown"  # behind a unix socket


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises ValueError naming the first text that is no network."""
    return _networks(tuple(texts))


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in texts)


def validate_networks(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValidationError('A list of texts, like ["203.0.113.7", "10.0.0.0/8"].')
    try:
        networks(value)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def contains(allowed: Sequence[Network], address: Address | None) -> bool:
    return address is not None and any(address in network for network in allowed)


def caller_address(remote: str, forwarded_for: str) -> Address | None:
    """The nearest address that is none of our proxies; None when it cannot be known (a unix socket, or a proxy that
    names none): what is bound to addresses is closed then."""
    return _way(remote, forwarded_for)[-1]


def customer_of(request: HttpRequest) -> str:
    """Whose wrong tries are counted together. Whoever names no address counts as the proxy that let him through."""
    way = _way(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
    address = next((each for each in reversed(way) if each is not None), None)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), CUSTOMER_PREFIX), strict=False))
    return str(address) if address is not None else UNKNOWN


def _way(remote: str, forwarded_for: str) -> list[Address | None]:
    """From who is connected with us back to the first that is none of our proxies."""
    proxies = networks(settings.TRUSTED_PROXIES)
    way = [parse(remote)]
    for hop in reversed(forwarded_for.split(",") if proxies and forwarded_for else []):
        if not contains(proxies, way[-1]):
            break
        way.append(parse(hop))
    return way


def parse(text: str) -> Address | None:
    """An address as headers write it: perhaps with a port, and an IPv6 address then in brackets."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
