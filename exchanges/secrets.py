"""Secrets of exchanges at rest: sealed with a key from the environment, written and used, never shown.

CREDENTIALS_KEY holds Fernet keys, newest first; the first seals, all open, which is how a key is replaced (`manage.py
reseal`). Without it the key follows from SECRET_KEY; keys that follow from SECRET_KEY_FALLBACKS open, too. Public data
needs no credentials at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core import checks

log = structlog.get_logger(__name__)

# ccxt's own words. Nothing else may come in: credentials become part of the client's configuration.
NAMES = ("apiKey", "secret", "password", "uid", "login", "walletAddress", "privateKey", "token")
VALUE_CHARACTERS = 4096
_warned: set[str] = set()


def seal(credentials: Mapping[str, str]) -> str:
    """Returns text for the database; empty for no credentials. Raises ValueError for what no exchange uses."""
    fault = find_fault(credentials)
    if fault:
        raise ValueError(fault)
    kept = {name: value for name, value in credentials.items() if value}
    return _keys().encrypt(json.dumps(kept).encode()).decode() if kept else ""


def unseal(sealed: str) -> dict[str, str]:
    """Returns the credentials. Raises InvalidToken when no key of ours fits."""
    if not sealed:
        return {}
    opened: dict[str, str] = json.loads(_keys().decrypt(sealed.encode()))
    return opened


def seal_text(text: str) -> str:
    """Returns the text sealed, for what passes through the queue, whose server keeps messages on its disk."""
    return _keys().encrypt(text.encode()).decode()


def unseal_text(sealed: str) -> str:
    """Raises InvalidToken when no key of ours fits."""
    return _keys().decrypt(sealed.encode()).decode()


def unseal_or_none(sealed: str) -> dict[str, str] | None:
    """Returns the credentials; None when no key fits, logged once: public data is collected without them then."""
    try:
        return unseal(sealed)
    except InvalidToken:
        _warn_once("credentials_unreadable", sealed)
        return None


def unseal_text_or_none(sealed: str) -> str | None:
    """Returns the text; None when no key fits, logged once."""
    try:
        return unseal_text(sealed)
    except InvalidToken:
        _warn_once("proxy_login_unreadable", sealed)
        return None


def resealed(sealed: str) -> str:
    """Returns the same sealed by the newest key, at its old time. Raises InvalidToken when no key of ours fits."""
    return _keys().rotate(sealed.encode()).decode()


def _warn_once(event: str, sealed: str) -> None:
    mark = hashlib.sha256(sealed.encode()).hexdigest()
    if mark not in _warned:
        _warned.add(mark)
        log.warning(event, hint="CREDENTIALS_KEY or SECRET_KEY has changed; set it again")


def names_in(sealed: str) -> list[str]:
    """Returns which credentials are set; all that is ever shown of them."""
    return sorted(unseal_or_none(sealed) or ())


def find_fault(credentials: Any) -> str:
    """Says why these cannot be credentials; empty when they can. Never repeats a value."""
    if not isinstance(credentials, Mapping):
        return "Credentials are an object of names and values."
    if not set(credentials) <= set(NAMES):
        return f"Credentials have the names {', '.join(NAMES)} and no other."
    if not all(isinstance(value, str) and len(value) <= VALUE_CHARACTERS for value in credentials.values()):
        return f"Credentials are texts of up to {VALUE_CHARACTERS} characters."
    return ""


def check_key(**_: Any) -> list[checks.CheckMessage]:
    """Checks the keys: a wrong one stops start-up, so that no operator finds out by storing credentials."""
    try:
        _keys()
    except ValueError:
        return [
            checks.Error(
                "CREDENTIALS_KEY holds something that is no Fernet key.",
                hint="Make one with: python -c 'from cryptography.fernet import Fernet; "
                "print(Fernet.generate_key().decode())'",
                id="exchanges.E001",
            )
        ]
    return []


def _keys() -> MultiFernet:
    return _made_of(settings.CREDENTIALS_KEY, (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@cache
def _made_of(configured: str, secret_keys: tuple[str, ...]) -> MultiFernet:
    named = [key.strip() for key in configured.replace("\n", ",").split(",") if key.strip()]
    return MultiFernet([Fernet(key) for key in [*named, *map(_derived, secret_keys)]])


def _derived(secret_key: str) -> str:
    digest = hashlib.sha256(b"marketmon credentials" + secret_key.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()
