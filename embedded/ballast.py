"""Keeps a file that is given up when the disk is full, because without room PostgreSQL does not even start."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

FILE = "ballast"
BYTES = 64 * 1024**2  # four files of PostgreSQL's journal
LEAST_FREE_BYTES = 2 * BYTES
FULL_BYTES = 32 * 1024**2
LOOK_SECONDS = 60.0


def keep(folder: Path) -> None:
    """Makes the file while there is room for it. A disk that refuses it stops nobody."""
    path = folder / FILE
    if path.exists() or shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        return
    draft = folder / f".{FILE}"
    with contextlib.suppress(OSError):
        try:
            with draft.open("wb") as file:
                _occupy(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _occupy(descriptor: int) -> None:
    """Takes the room for real: a file that only says how long it is takes none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, BYTES)
        return
    for _ in range(BYTES // 1024**2):
        os.write(descriptor, bytes(1024**2))


def give_up(folder: Path) -> bool:
    """Removes the file if the disk is full; returns whether it did."""
    path = folder / FILE
    if not path.exists() or shutil.disk_usage(folder).free >= FULL_BYTES:
        return False
    path.unlink()
    return True
