"""When a backup was last made, and when one was last proven to be restorable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

MADE, PROVEN, FAILED = "backup_made", "restore_proven", "restore_failed"  # names of watermarks
CURSORS = (MADE, PROVEN, FAILED)


@dataclass(frozen=True, slots=True)
class BackupTimes:
    """The moments of the last backup, the last proof, and the last proof that failed; None for never."""

    made_at: datetime | None = None
    proven_at: datetime | None = None
    failed_at: datetime | None = None

    @property
    def are_expected(self) -> bool:
        """Says whether backups are made here at all, or should be: a laptop's are nobody's business."""
        return self.made_at is not None or bool(settings.BACKUPS_ARE_EXPECTED)

    @property
    def has_failed(self) -> bool:
        return self.failed_at is not None and (self.proven_at is None or self.failed_at > self.proven_at)


def of_marks(marks: dict[str, datetime]) -> BackupTimes:
    return BackupTimes(*(marks.get(name) for name in CURSORS))
