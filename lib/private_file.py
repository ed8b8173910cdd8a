"""Files that only their owner may read. Standard library only: settings.py needs it before Django exists."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write(path: Path, text: str, *, overwrite: bool = True) -> bool:
    """Writes a file that is private from its first byte on, and complete or absent.

    Returns False when it was there and may not change. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return _publish(draft, path, overwrite=overwrite)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path, *, overwrite: bool) -> bool:
    if overwrite:
        draft.replace(path)
        return True
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)  # unlike a rename, a link never replaces what somebody else wrote first
        return True
    return False
