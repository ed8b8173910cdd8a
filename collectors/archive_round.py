"""One round of the archive: what is closed goes into files, and what is past its time and in a file is dropped.

A round may take minutes, and is killed without harm at any moment; a lease keeps a second one from doing the same.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain

import structlog
from django.conf import settings

from archive import ledger, switch
from collectors import process_lease, retention
from collectors.history import archiving, partitions
from collectors.history.archiving import DueSpan
from collectors.retention import PastPartition
from lib import disk

log = structlog.get_logger(__name__)

LEASE, LEASE_SECONDS = "archive", 180.0  # longer than one statement of a copy may take
LOW_DISK_SHARE = 0.1
Checkpoint = Callable[[str], None]


class NoLonger(Exception):
    """The lease has gone to another while this round stood still."""


def run(now: datetime, *, seconds: float, at: Checkpoint | None = None) -> int:
    """Archives and drops what is due, and begins nothing new after `seconds`; returns the number of new files.

    Raises TargetFailed, once what may be dropped is; then nothing else was.
    """
    if not switch.is_on():
        return 0
    holder = f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    if not process_lease.take(LEASE, holder, seconds=LEASE_SECONDS):
        return 0
    try:
        return _Round(now, holder, time.monotonic() + seconds, at).run()
    finally:
        process_lease.release(LEASE, holder)


class _Round:
    def __init__(self, now: datetime, holder: str, give_up_at: float, at: Checkpoint | None) -> None:
        self._now, self._holder, self._give_up_at, self._at = now, holder, give_up_at, at
        self._written = 0

    def run(self) -> int:
        from archive.targets import TargetFailed

        failure: Exception | None = None
        past = retention.past_partitions(self._now) if retention.may_delete(self._now) else []
        waiting = [each for each in past if not self._drop(each)]
        try:
            self._archive(waiting)
            if retention.may_delete(self._now):
                archiving.expire(self._now)
        except (TargetFailed, ledger.Overtaken) as error:
            log.warning("archive_failed", error=str(error))
            failure = error
        for each in waiting:
            self._drop(each, may_be_lost=failure is not None)
        if failure is not None:
            raise failure
        return self._written

    def _archive(self, waiting: list[PastPartition]) -> None:
        archiving.describe_again(self._now)
        for span in chain(archiving.due(self._now), _days_of(waiting)):
            if time.monotonic() > self._give_up_at:
                return
            self._written += archiving.archive(span, now=self._now, go_on=self._go_on, at=self._at)

    def _go_on(self) -> None:
        if not process_lease.take(LEASE, self._holder, seconds=LEASE_SECONDS):
            raise NoLonger("another round of the archive has begun")

    def _drop(self, past: PastPartition, *, may_be_lost: bool = False) -> bool:
        """Drops a partition that is archived; returns whether it is gone."""
        self._go_on()
        why = _why_lost() if may_be_lost and past.may_be_lost else ""
        at = self._at or (lambda _: None)
        return archiving.drop(past.dataset, past.name, now=self._now, though_lost=why, at=at).is_gone


def _days_of(waiting: list[PastPartition]) -> Iterator[DueSpan]:
    for each in waiting:
        if (day := partitions.day_of(each.name)) is not None:
            yield DueSpan(each.dataset, day)


def _why_lost() -> str:
    """Returns why rows have to go that are in no file; empty where the disk has room, or cannot be seen."""
    room = disk.database_disk()
    if room is None or room.free_bytes >= room.total_bytes * LOW_DISK_SHARE:
        return ""
    hours = settings.RAW_RETENTION_MOST_HOURS
    return f"not archived within {hours} h, and of the database's disk only {room.words}"
