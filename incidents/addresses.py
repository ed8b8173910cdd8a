"""Channels' addresses: what may be one, how it is kept (sealed), and what is shown of it.

Where an address leads is judged here when it is entered, and again before each connect (`feeds.network_guard`).
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urlsplit

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from exchanges.secrets import seal_text, unseal_text
from feeds.network_guard import is_metadata, is_public
from incidents.channels.vendors import SCHEMAS
from incidents.models import AlertChannel, ChannelKind

CHARACTERS = 2000
SECRET_BYTES = 24
SIGNING_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{16,200}")
ROUTING_KEY = re.compile(r"[A-Za-z0-9]{20,64}")
NAMES_OF_FILES = frozenset({"attach", "template", "tmpl", "include", "config", "path", "payload"})  # read locally
LOOSENED = frozenset({"verify", "redirect", "rto", "cto"})  # TLS, where it leads, how long it may take: ours to say
TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}")


class BadAddress(Exception):
    """An address that a channel cannot have; the message says why, and never repeats it."""


def parsed(kind: str, text: str, secret: str = "") -> dict[str, str]:
    """Returns an address in its parts. Raises BadAddress."""
    text = text.strip()
    if not text or len(text) > CHARACTERS or not text.isprintable():
        raise BadAddress("An address is one line of text.")
    if kind not in PARSERS:
        raise BadAddress(f"kind is one of {', '.join(PARSERS)}.")
    return PARSERS[kind](text, secret.strip())


def seal(parts: Mapping[str, str]) -> str:
    return seal_text(json.dumps(dict(parts)))


def opened(channel: AlertChannel) -> dict[str, str]:
    """Returns a channel's address in its parts. Raises BadAddress when no key of ours opens it."""
    try:
        found: dict[str, str] = json.loads(unseal_text(channel.address))
    except InvalidToken as error:
        raise BadAddress("CREDENTIALS_KEY or SECRET_KEY has changed: enter the address again") from error
    return found


def shown(kind: str, parts: Mapping[str, str]) -> str:
    """Returns what may be seen of an address: whom it leads to, without what gives access."""
    if kind == ChannelKind.EMAIL:
        return parts["to"]
    if kind == ChannelKind.PAGERDUTY:
        return f"routing key …{parts['key'][-4:]}"
    url = urlsplit(parts["url"])
    if kind == ChannelKind.APPRISE:
        return f"{url.scheme}://…"
    return f"{url.scheme}://{url.hostname}{f':{url.port}' if url.port else ''}/…"


def new_secret() -> str:
    """Returns a secret that signs webhooks, in the form that Standard Webhooks' libraries read."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


# --- by kind ------------------------------------------------------------------------------------------------------


def _email(text: str, secret: str) -> dict[str, str]:
    try:
        validate_email(text)
    except ValidationError as error:
        raise BadAddress("This is no e-mail address.") from error
    return {"to": text}


def _webhook(text: str, secret: str) -> dict[str, str]:
    if secret and not SIGNING_SECRET.fullmatch(secret):
        raise BadAddress("A signing secret is whsec_ and base64; leave it out and one is made.")
    return {"url": _url(text), "secret": secret or new_secret()}


def _pagerduty(text: str, secret: str) -> dict[str, str]:
    if not ROUTING_KEY.fullmatch(text):
        raise BadAddress("A PagerDuty address is the routing key of an Events API v2 integration.")
    return {"key": text}


def _alertmanager(text: str, secret: str) -> dict[str, str]:
    return {"url": _url(text), "secret": secret}


def _ntfy(text: str, secret: str) -> dict[str, str]:
    url = _url(text)
    if not TOPIC.fullmatch(urlsplit(url).path.rpartition("/")[2]):
        raise BadAddress("An ntfy address ends with its topic: https://ntfy.sh/my-topic.")
    return {"url": url, "secret": secret}


def _apprise(text: str, secret: str) -> dict[str, str]:
    scheme = text.partition("://")[0].lower()
    if scheme not in SCHEMAS:
        raise BadAddress(f"Apprise addresses begin with {', '.join(sorted(SCHEMAS))}; others have a kind of their own.")
    named = {name.lower() for name, _ in parse_qsl(urlsplit(text).query, keep_blank_values=True)}
    if named & NAMES_OF_FILES:
        raise BadAddress("An Apprise address names no file and no template of this machine.")
    if named & LOOSENED:
        raise BadAddress(f"An Apprise address has no {', '.join(sorted(LOOSENED))}: certificates are always checked.")
    return {"url": text}


PARSERS: Mapping[str, Callable[[str, str], dict[str, str]]] = {
    ChannelKind.EMAIL: _email,
    ChannelKind.WEBHOOK: _webhook,
    ChannelKind.PAGERDUTY: _pagerduty,
    ChannelKind.ALERTMANAGER: _alertmanager,
    ChannelKind.NTFY: _ntfy,
    ChannelKind.APPRISE: _apprise,
}


def _url(text: str) -> str:
    """Checks a web address: where it leads now. Raises BadAddress."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadAddress("This is no web address.") from error
    schemes = ("https", "http") if settings.ALLOW_PRIVATE_ALERT_URLS else ("https",)
    if parts.scheme not in schemes or not host or any(letter.isspace() or letter == "\\" for letter in text):
        raise BadAddress(f"A web address begins with {' or '.join(f'{each}://' for each in schemes)}.")
    if parts.username is not None or parts.password is not None:
        raise BadAddress("A web address holds no user name; give a token as its secret.")
    _refuse_host(parts, host, port or (443 if parts.scheme == "https" else 80))
    return text


def _refuse_host(parts: SplitResult, host: str, port: int) -> None:
    try:
        found = {ip_address(str(entry[4][0]).partition("%")[0]) for entry in socket.getaddrinfo(host, port)}
    except (OSError, UnicodeError, ValueError):
        found = set()
    if any(map(is_metadata, found)):
        raise BadAddress(f"{host[:100]} is where machines find their cloud's secrets; no setting permits that.")
    if settings.ALLOW_PRIVATE_ALERT_URLS:
        return
    if not found:
        raise BadAddress(f"{host[:100]} has no address.")
    if not all(map(is_public, found)):
        raise BadAddress(f"{host[:100]} is on a private network; ALLOW_PRIVATE_ALERT_URLS=1 permits that.")
