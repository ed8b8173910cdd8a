"""Demo keys for a first run: one for each plan, in a private file of the home. Production start-ups make none."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from django.db import transaction

from access import keys
from access.models import ApiKey, Tier

FILE = "demo_keys.env"
TIERS = {"DEMO_KEY_FREE": "free", "DEMO_KEY_PRO": "pro", "DEMO_KEY_BUSINESS": "business"}


def ensure_demo_keys(home: Path, *, now: datetime) -> Path | None:
    """Writes `<home>/demo_keys.env` (0600) and returns its path; None when it, or any key, is there already."""
    path = home / FILE
    if path.exists() or ApiKey.objects.exists():
        return None
    with transaction.atomic():  # keys that nobody could read are not kept
        issued = {name: keys.issue(f"demo {tier}", Tier.objects.get(pk=tier), now=now) for name, tier in TIERS.items()}
        _write_private(path, "".join(f"{name}={each.text}\n" for name, each in issued.items()))
    return path


def _write_private(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
