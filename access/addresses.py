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
    """The nearest address that is none of our proxies; None when it cannot be known (a unix socket)."""
    proxies = networks(settings.TRUSTED_PROXIES)
    address = parse(remote)
    for hop in reversed(forwarded_for.split(",") if proxies and forwarded_for else []):
        if not contains(proxies, address):
            break
        address = parse(hop)
    return address


def customer_of(request: HttpRequest) -> str | None:
    """Whose wrong tries are counted together; None when nobody knows where the call comes from.

    One count for all of those would let anybody lock everybody out.
    """
    address = caller_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, CUSTOMER_PREFIX), strict=False))
    return str(address) if address is not None else None


def parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
