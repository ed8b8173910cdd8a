"""Up to when rows are archived, and when some were lost last, as the watermarks tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from archive import switch
from collectors.history.archived_kinds import KINDS

FIRST, AGAIN = "archive:", "archive again:"  # names of watermarks, before the kind
BEGUN, LOST = "archive begun", "archive lost"
CURSORS = (BEGUN, LOST, *(FIRST + dataset.kind for dataset in KINDS))
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LATE_AFTER, FAR_TOO_LATE_AFTER = timedelta(hours=1), timedelta(hours=6)  # the board says so; it is an incident
LOST_TOLD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ArchiveTimes:
    """The moment since which something should be archived that is not, and when rows were lost; None for never."""

    waiting_since: datetime | None = None
    lost_at: datetime | None = None

    def is_late(self, now: datetime, after: timedelta = LATE_AFTER) -> bool:
        return self.waiting_since is not None and now - self.waiting_since > after

    def has_lost(self, now: datetime) -> bool:
        return self.lost_at is not None and now - self.lost_at < LOST_TOLD


def grain() -> timedelta:
    """Returns how long a span is archived at once."""
    return HOUR if settings.ARCHIVE_GRAIN == "HOUR" else DAY


def of_marks(marks: Mapping[str, datetime]) -> ArchiveTimes:
    """Returns what the watermarks tell; nothing waits where there is no archive."""
    reached = [moment for name, moment in marks.items() if name.startswith(FIRST)]
    if not reached or not switch.is_on():
        return ArchiveTimes(lost_at=marks.get(LOST))
    # What was stored before there was an archive has waited since then.
    since = max(min(reached) + grain(), marks.get(BEGUN, min(reached)))
    return ArchiveTimes(since, marks.get(LOST))
