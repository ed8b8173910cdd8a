"""Authentication of callers: a presented key becomes a Caller, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from access import key_cache, keys
from access.addresses import Network, caller_address, contains, networks
from access.models import ApiKey, Tier
from lib import clock

LAST_USED_EVERY = timedelta(minutes=1)
HEADER = "X-API-Key"


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a key that is active, and what its tier opens."""

    key_id: int
    public_id: str
    tier: str
    requests_per_minute: int | None
    requests_per_hour: int | None
    monthly_requests: int | None
    monthly_credits: int | None
    max_rows: int
    is_metered: bool
    endpoints: frozenset[str]
    scopes: frozenset[str]
    allowed_ips: tuple[Network, ...]

    def may_come_from(self, request: HttpRequest) -> bool:
        if not self.allowed_ips:
            return True
        meta = request.META
        return contains(
            self.allowed_ips, caller_address(meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""))
        )


def identify(presented: str, now: datetime) -> Caller | None:
    """Returns the caller behind a key that is active now; None for every other text, with no hint why."""
    parsed = keys.parse(presented)
    if parsed is None:
        keys.matches(None, presented[:200], now)
        return None
    public_id, secret = parsed
    key = key_cache.find(public_id)
    if not keys.matches(key, secret, now) or key is None or keys.state(key, now) != "active":
        return None
    _touch(key, secret, now)
    return caller_of(key)


def caller_of(key: ApiKey) -> Caller:
    tier = key.tier
    return Caller(
        key_id=key.pk,
        public_id=key.public_id,
        tier=tier.name,
        requests_per_minute=tier.requests_per_minute,
        requests_per_hour=tier.requests_per_hour,
        monthly_requests=tier.monthly_requests,
        monthly_credits=tier.monthly_credits,
        max_rows=tier.max_rows,
        is_metered=tier.is_metered,
        endpoints=frozenset(tier.endpoints),
        scopes=frozenset(key.scopes),
        allowed_ips=networks(key.allowed_ips),
    )


def is_good(caller: Caller) -> bool:
    """Says whether the key is still not revoked; asked anew, as the call has begun meanwhile."""
    return ApiKey.objects.filter(pk=caller.key_id, revoked_at__isnull=True).exists()


def required_tier(endpoint: str) -> str | None:
    """Returns the lowest plan that opens the endpoint; None where none does."""
    found = Tier.objects.filter(endpoints__contains=[endpoint]).order_by("rank", "name").first()
    return found.name if found else None


def _touch(key: ApiKey, secret: str, now: datetime) -> None:
    """Writes `last_used_at` at most once a minute, and moves the hash to the newest pepper on that occasion."""
    if key.last_used_at is not None and abs(now - key.last_used_at) < LAST_USED_EVERY:
        return
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - LAST_USED_EVERY) | Q(last_used_at__gt=now)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    key.last_used_at = now
    newest = keys.newest_pepper_number()
    fresh, stored = keys.hash_secret(secret, newest), bytes(key.secret_hash)
    if fresh != stored and keys.is_hash_of(secret, stored, key.pepper_number):
        ApiKey.objects.filter(pk=key.pk, secret_hash=stored).update(secret_hash=fresh, pepper_number=newest)
        key.secret_hash, key.pepper_number = fresh, newest


# --- DRF --------------------------------------------------------------------------------------------------------


class KeyAuthentication(BaseAuthentication):
    """Authentication for views of ours that any active key may read: `request.auth` is the Caller."""

    def authenticate(self, request: Any) -> tuple[AnonymousUser, Caller] | None:
        presented = request.headers.get(HEADER)
        if presented is None:
            return None
        caller = identify(presented, clock.now())
        if caller is None or not caller.may_come_from(request):
            raise AuthenticationFailed("Invalid API key.")
        request._request.key_prefix = caller.public_id
        return AnonymousUser(), caller

    def authenticate_header(self, request: Any) -> str:
        return "ApiKey"
