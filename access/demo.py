"""Demo keys for a first run: one for each plan, in a private file of the home. Production start-ups make none."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from django.db import transaction

from access import keys
from access.models import ApiKey, Tier
from lib import private_file

FILE = "demo_keys.env"
TIERS = {"DEMO_KEY_FREE": "free", "DEMO_KEY_PRO": "pro", "DEMO_KEY_BUSINESS": "business"}


def ensure_demo_keys(home: Path, *, now: datetime) -> Path | None:
    """Writes `<home>/demo_keys.env` (0600) and returns its path; None when it, or any key, is there already."""
    path = home / FILE
    if path.exists() or ApiKey.objects.exists():
        return None
    with transaction.atomic():  # keys that nobody could read are not kept
        issued = {name: keys.issue(f"demo {tier}", Tier.objects.get(pk=tier), now=now) for name, tier in TIERS.items()}
        private_file.write(path, "".join(f"{name}={each.text}\n" for name, each in issued.items()))
    return path
