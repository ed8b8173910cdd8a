"""The keys of an installation, sealed by a passphrase: without them API keys, credentials and sessions are lost."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from lib.environment import text_of
from marketmon.settings_table import TABLE

# Addresses belong to a place and not to the data; the passphrase seals; the first password is used once.
LEFT_OUT = frozenset(
    {"DATABASE_URL", "DATABASE_PASSWORD", "REDIS_URL", "REDIS_PASSWORD", "BACKUP_PASSPHRASE", "ADMIN_PASSWORD"}
)
NAMES = tuple(setting.name for setting in TABLE if setting.is_secret and setting.name not in LEFT_OUT)
LEAST_CHARACTERS = 12
COST = {"n": 2**15, "r": 8, "p": 1}  # 32 MB and a tenth of a second for each guess
SALT_BYTES = 16


class WrongPassphrase(Exception):
    """A passphrase that does not open the keys of this backup."""


def keys_in_effect() -> dict[str, str]:
    """Returns what is set of NAMES, as it was set: by itself or in a file."""
    found = {setting.name: text_of(setting, os.environ) for setting in TABLE if setting.name in NAMES}
    return {name: text for name, text in found.items() if text}


def seal(keys: Mapping[str, str], passphrase: str) -> dict[str, Any]:
    salt = os.urandom(SALT_BYTES)
    sealed = _box(passphrase, salt, COST).encrypt(json.dumps(dict(keys)).encode())
    return {"scrypt": COST, "salt": base64.b64encode(salt).decode(), "sealed": sealed.decode()}


def unseal(box: Mapping[str, Any], passphrase: str) -> dict[str, str]:
    """Raises WrongPassphrase."""
    try:
        opened = _box(passphrase, base64.b64decode(box["salt"]), box["scrypt"]).decrypt(box["sealed"].encode())
    except InvalidToken:
        raise WrongPassphrase("the passphrase does not open the keys of this backup") from None
    keys: dict[str, str] = json.loads(opened)
    return keys


def _box(passphrase: str, salt: bytes, cost: Mapping[str, int]) -> Fernet:
    key = Scrypt(salt=salt, length=32, **cost).derive(passphrase.encode())
    return Fernet(base64.urlsafe_b64encode(key))
