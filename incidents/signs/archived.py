"""Alarms of the archive: rows that wait too long to be archived, and rows that were dropped and are in no file."""

from __future__ import annotations

from datetime import datetime

from collectors.history.archive_times import FAR_TOO_LATE_AFTER, ArchiveTimes
from incidents.rules.verdict import Alarm, Tone


def alarms(times: ArchiveTimes, now: datetime) -> list[Alarm]:
    """Returns alarms on what is archived late, which is an incident only when it is far too late, and what is lost."""
    found = []
    if times.has_lost(now):
        claim = "Rows were lost: they were dropped for want of room, and are in no archived file"
        advice = "see the page Archive for which; make room on the disk, and see why nothing is archived"
        found.append(Alarm(claim, advice, times.lost_at, cause="archive lost"))
    if times.is_late(now):
        found.append(
            Alarm(
                "Rows are not archived: until they are they stay on the database's disk",
                "read the workers' log of archive; see docs/archive.md",
                times.waiting_since,
                tone=Tone.WARNING,
                cause="archive",
                is_told=times.is_late(now, FAR_TOO_LATE_AFTER),
            )
        )
    return found
