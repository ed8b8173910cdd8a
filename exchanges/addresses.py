"""Checks where an exchange may be: operators' addresses never lead into our own network, unless a setting says so."""

from __future__ import annotations

import socket
import ssl
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import PurePosixPath
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from exchanges.models import SANDBOX_PLACEHOLDER
from feeds.network_guard import is_metadata, is_public
from web.redaction import HIDDEN

PORTS = frozenset({80, 443, 8443})  # of exchanges; a proxy listens where it likes
SCHEMES = ("http", "https")


class Unsafe(Exception):
    """An address that may not be used; the message says why and what would be allowed."""


def check_base_url(text: str) -> None:
    """Checks an exchange's address; empty is the exchange's own. Raises Unsafe."""
    if not text:
        return
    if SANDBOX_PLACEHOLDER in text:
        _refuse_unless_private_is_allowed(text)
        text = text.replace(SANDBOX_PLACEHOLDER, "http://127.0.0.1:1")
    parts = _parts(text)
    if parts.username is not None or parts.password is not None:
        raise Unsafe("An exchange's address may hold no user name; use credentials instead.")
    if parts.query or parts.fragment:
        raise Unsafe("An exchange's address ends with its path.")
    if _port(parts) not in PORTS and not settings.ALLOW_PRIVATE_EXCHANGE_URLS:
        raise Unsafe(f"An exchange's address may have the ports {', '.join(map(str, sorted(PORTS)))}.")
    _refuse_host(parts)


def check_proxy(text: str) -> None:
    """Checks a proxy's address; empty is no proxy. Raises Unsafe."""
    if not text:
        return
    if f"{HIDDEN}@" in text:  # what pages show of a stored one
        raise Unsafe("Give user and password again: those that were stored are not shown.")
    _refuse_host(_parts(text))


def check_ca_file(text: str) -> None:
    """Checks a file of certificates; empty is the system's own. Raises Unsafe: a file that is not there, or holds none,
    would end every request."""
    if not text:
        return
    path = PurePosixPath(text)
    if not path.is_absolute() or "\x00" in text:
        raise Unsafe("Give the whole path, from / on.")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=text)
    except ssl.SSLError:
        raise Unsafe(f"{path.name[:100]} holds no certificate in PEM.") from None
    except OSError as error:
        raise Unsafe(f"{path.name[:100]} cannot be read here: {error.strerror or type(error).__name__}.") from None


def _parts(text: str) -> SplitResult:
    if any(not letter.isprintable() or letter.isspace() or letter == "\\" for letter in text):
        raise Unsafe("An address has no spaces, control characters or backslashes.")
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        raise Unsafe("This is no address.") from None
    if parts.scheme not in SCHEMES or not host:
        raise Unsafe("An address begins with http:// or https:// and names a host.")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise Unsafe("The port is no number from 1 to 65535.")
    return port or (443 if parts.scheme == "https" else 80)


def _refuse_host(parts: SplitResult) -> None:
    """Refuses a host by what its name resolves to now, so that decimal and hexadecimal names are seen through.

    What it resolves to later is asked again before each connect (`feeds.network_guard`). Where private addresses are
    allowed a name may be one that is not known yet.
    """
    host = parts.hostname or ""
    found = _resolved(host, _port(parts))
    if not found and not settings.ALLOW_PRIVATE_EXCHANGE_URLS:
        raise Unsafe(f"{host[:100]} has no address.")
    if any(map(is_metadata, found)):
        raise Unsafe(f"{host[:100]} is where machines find their cloud's secrets; no setting permits that.")
    if not all(map(is_public, found)):
        _refuse_unless_private_is_allowed(host)


def _resolved(host: str, port: int) -> set[IPv4Address | IPv6Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return {ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    except (OSError, UnicodeError, ValueError):
        return set()


def _refuse_unless_private_is_allowed(host: str) -> None:
    if not settings.ALLOW_PRIVATE_EXCHANGE_URLS:
        raise Unsafe(
            f"{host[:100]} is on a private network; "
            "ALLOW_PRIVATE_EXCHANGE_URLS=1 permits that, for exchanges that run here."
        )
