"""Lets a process that starts early wait for what it must not ask before: `make run`'s web, for the tables."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lib import liveness

AWAITED = "AWAITED_FILE"  # names a file that is there once everything is prepared; not named where nothing is awaited
LOOK_SECONDS = 0.1


def wait() -> None:
    """Waits until the awaited file is there. Who asks meanwhile waits, too, and is then answered."""
    awaited = os.environ.get(AWAITED, "")
    while awaited and not Path(awaited).exists():
        liveness.note()  # who waits hangs not
        time.sleep(LOOK_SECONDS)
