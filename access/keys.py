"""Keys: making, hashing and the operator's verbs. A secret leaves this module once, when it is made."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from access import key_cache
from access.models import Allowance, ApiKey, Tier

ID_ALPHABET = string.ascii_lowercase + string.digits
PRESENTED = re.compile(r"mm_([a-z0-9]{8})_([A-Za-z0-9_-]{20,100})\Z", re.ASCII)
DERIVED_PEPPER_NUMBER = 0


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and its full text, which nobody can show again."""

    key: ApiKey
    text: str


# --- hashing ----------------------------------------------------------------------------------------------------


def configured_peppers() -> dict[int, bytes]:
    """Returns the peppers of API_KEY_PEPPERS by number. Raises ValueError for a number that is none."""
    return {int(number): pepper.encode() for number, pepper in settings.API_KEY_PEPPERS.items()}


def peppers() -> dict[int, bytes]:
    """Returns all peppers that hash new keys; number 0 is derived from SECRET_KEY."""
    return {DERIVED_PEPPER_NUMBER: _derived_pepper(settings.SECRET_KEY), **configured_peppers()}


def newest_pepper_number() -> int:
    return max(peppers())


@lru_cache(maxsize=16)
def _derived_pepper(secret_key: str) -> bytes:
    return hmac.digest(secret_key.encode(), b"marketmon api key pepper", hashlib.sha256)


def hash_secret(secret: str, pepper_number: int) -> bytes:
    """Returns the keyed hash; an unknown number hashes with a pepper that no stored key has, so it matches nothing."""
    return _hashed(secret, peppers().get(pepper_number, b"no such pepper"))


def is_hash_of(secret: str, stored: bytes, pepper_number: int) -> bool:
    """Says whether the hash is the secret's, in constant time, by a pepper of an earlier SECRET_KEY as well."""
    hashes = [hash_secret(secret, pepper_number)]
    if pepper_number == DERIVED_PEPPER_NUMBER:
        hashes += [_hashed(secret, _derived_pepper(earlier)) for earlier in settings.SECRET_KEY_FALLBACKS]
    return True in [hmac.compare_digest(each, stored) for each in hashes]  # all of them, in equal time


def _hashed(secret: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, secret.encode(errors="replace"), hashlib.sha256)


def parse(presented: str) -> tuple[str, str] | None:
    """Returns the public id and the secret; None for a text that cannot be a key."""
    found = PRESENTED.match(presented)
    return (found[1], found[2]) if found else None


def matches(key: ApiKey | None, secret: str, now: datetime) -> bool:
    """Says whether the secret is the key's, in constant time; an unknown key costs the same hash as a known one."""
    if key is None:
        is_hash_of(secret, bytes(32), DERIVED_PEPPER_NUMBER)
        return False
    is_current = is_hash_of(secret, bytes(key.secret_hash), key.pepper_number)
    if key.previous_hash is None or key.previous_until is None or key.previous_until <= now:
        return is_current
    number = key.previous_pepper_number if key.previous_pepper_number is not None else DERIVED_PEPPER_NUMBER
    return is_current | is_hash_of(secret, bytes(key.previous_hash), number)


# --- the operator's verbs ---------------------------------------------------------------------------------------


def issue(
    name: str,
    tier: Tier,
    *,
    now: datetime,
    scopes: Sequence[str] = (),
    allowed_ips: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> Issued:
    """Makes a key. Raises ValidationError."""
    key = ApiKey(
        name=name, tier=tier, scopes=list(scopes), allowed_ips=list(allowed_ips), expires_at=expires_at, created_at=now
    )
    return save_new(key)


@transaction.atomic
def save_new(key: ApiKey) -> Issued:
    """Gives an unsaved key its id and secret, and saves it with an untouched allowance."""
    key.public_id = "".join(secrets.choice(ID_ALPHABET) for _ in range(8))
    text = _new_secret(key)
    key.full_clean()
    key.save(force_insert=True)
    Allowance.objects.create(key=key, month=key.created_at.date().replace(day=1))
    return Issued(key, text)


def rotate(key: ApiKey, *, now: datetime, overlap: timedelta = timedelta(hours=24)) -> Issued:
    """Gives the key a new secret; the one before it stays good during the overlap, and none older."""
    with transaction.atomic():
        key = ApiKey.objects.select_for_update().get(pk=key.pk)  # two rotations at once would lose a secret
        key.previous_hash, key.previous_pepper_number = bytes(key.secret_hash), key.pepper_number
        key.previous_until = now + overlap
        text = _new_secret(key)
        key.save(
            update_fields=[
                "secret_hash", "pepper_number", "previous_hash", "previous_pepper_number", "previous_until"
            ]
        )  # fmt: skip
    key_cache.forget()
    return Issued(key, text)


def revoke(key: ApiKey, *, now: datetime) -> None:
    """Revokes the key for good: nothing un-revokes it."""
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now)
    key_cache.forget()


def with_earlier_peppers() -> QuerySet[ApiKey]:
    """Returns the keys that are not revoked and were not used since there is a newer pepper. One that is derived from
    an earlier SECRET_KEY has the number of the newest, and is not told apart."""
    return ApiKey.objects.filter(revoked_at__isnull=True).exclude(pepper_number=newest_pepper_number()).order_by("pk")


def pause(key: ApiKey, *, now: datetime) -> None:
    ApiKey.objects.filter(pk=key.pk, paused_at__isnull=True).update(paused_at=now)
    key_cache.forget()


def resume(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(paused_at=None)
    key_cache.forget()


def _new_secret(key: ApiKey) -> str:
    secret = secrets.token_urlsafe(24)
    key.pepper_number = newest_pepper_number()
    key.secret_hash = hash_secret(secret, key.pepper_number)
    return f"{key.prefix}_{secret}"


def state(key: ApiKey, now: datetime) -> str:
    """Returns the key's state in one word, the strongest first."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "paused" if key.paused_at is not None else "active"
