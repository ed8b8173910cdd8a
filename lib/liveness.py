"""A sign of life for a container's health check: every round of a process's loop touches a file."""

import contextlib
from pathlib import Path

from django.conf import settings


def note() -> None:
    """Touches LIVENESS_FILE, if there is one; a disk that refuses stops nobody's work."""
    if settings.LIVENESS_FILE:
        with contextlib.suppress(OSError):
            Path(settings.LIVENESS_FILE).touch()
