"""Key rows by public id, remembered by each process for half a second: a busy key is not read for every call."""

from __future__ import annotations

import threading
import time

from access.models import ApiKey

REMEMBERED_MAX = 10_000
REMEMBERED_SECONDS = 0.5  # a revoked key is refused everywhere within a second, as documented

_remembered: dict[str, tuple[float, ApiKey]] = {}
_lock = threading.Lock()


def find(public_id: str) -> ApiKey | None:
    """Returns the key's row, at most REMEMBERED_SECONDS old; None where there is none."""
    now = time.monotonic()
    known = _remembered.get(public_id)
    if known and now - known[0] < REMEMBERED_SECONDS:
        return known[1]
    key = ApiKey.objects.for_callers().filter(public_id=public_id).first()
    with _lock:
        if len(_remembered) >= REMEMBERED_MAX:
            _remembered.clear()
        if key is None:
            _remembered.pop(public_id, None)
        else:
            _remembered[public_id] = (now, key)
    return key


def forget() -> None:
    """Forgets what this process remembers; the others follow within REMEMBERED_SECONDS."""
    with _lock:
        _remembered.clear()
