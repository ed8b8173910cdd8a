"""How much room the database's disk has, where it can be seen from here."""

from __future__ import annotations

import os
from dataclasses import dataclass

from django.conf import settings

LOW_SHARE = 0.05
LOW_LEAST_BYTES, LOW_MOST_BYTES = (
    2 * 1024**3,
    20 * 1024**3,
)  # a twentieth of a small disk is nothing, of a large one much
NEARLY_FULL_BYTES = 512 * 1024**2
STEP_BYTES = 100 * 1024**2  # a figure that moved with every row would be drawn anew with every row


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The room on a disk; `free_bytes` is what may still be written by others than root."""

    free_bytes: int
    total_bytes: int

    @property
    def is_low(self) -> bool:
        limit = min(max(self.total_bytes * LOW_SHARE, LOW_LEAST_BYTES), LOW_MOST_BYTES)
        return self.free_bytes < limit

    @property
    def is_nearly_full(self) -> bool:
        return self.free_bytes < NEARLY_FULL_BYTES

    @property
    def words(self) -> str:
        return f"{in_words(self.free_bytes // STEP_BYTES * STEP_BYTES)} of {in_words(self.total_bytes)} are free"


def database_disk() -> DiskSpace | None:
    """Returns the room that the database has; None when its disk cannot be seen from here, which is no good news."""
    return space_of(settings.DATABASE_FOLDER) if settings.DATABASE_FOLDER else None


def space_of(folder: str) -> DiskSpace | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return DiskSpace(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def in_words(count: int) -> str:
    """Returns a number of bytes as people say it: 1.2 GB."""
    return f"{count / 1024**3:.1f} GB" if count >= 1024**3 else f"{count / 1024**2:.0f} MB"
