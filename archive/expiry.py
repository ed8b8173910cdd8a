"""Removes archived days that are past their time, or the oldest when there are too many bytes. Never what a table has.

The ledger keeps their entries, so that each chain stays whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime

import structlog
from django.db.models import QuerySet, Sum

from archive import datasets, manifests
from archive.datasets import ArchiveSpan, Dataset
from archive.manifests import MANIFEST, NOTES
from archive.models import ArchiveFile, FileState
from archive.targets import ArchivePlace

log = structlog.get_logger(__name__)


def expire(
    target: ArchivePlace, kinds: Mapping[str, Dataset], *, before: date | None, most_bytes: int, now: datetime
) -> int:
    """Removes files of days before a day, and the oldest above so many bytes (0: any number); returns how many."""
    chosen = [*_before(before), *_above(most_bytes)]
    for file in {each.pk: each for each in chosen}.values():
        target.remove(file.path)  # first, so that whoever is stopped here does it again
        ArchiveFile.objects.filter(pk=file.pk).update(state=FileState.REMOVED, described_at=None)
        log.info("archive_removed", file=file.path, rows=file.rows)
    describe_removed(target, kinds, now)
    return len(chosen)


def _before(day: date | None) -> Iterator[ArchiveFile]:
    if day is not None:
        yield from _removable().filter(day__lt=day)


def _above(most_bytes: int) -> Iterator[ArchiveFile]:
    if not most_bytes:
        return
    stored = ArchiveFile.objects.filter(state=FileState.STORED)
    surplus = (stored.aggregate(total=Sum("bytes"))["total"] or 0) - most_bytes
    for file in _removable():
        if surplus <= 0:
            return
        surplus -= file.bytes
        yield file


def _removable() -> QuerySet[ArchiveFile]:
    dropped = ArchiveFile.objects.filter(state=FileState.STORED).exclude(dropped_at=None)
    return dropped.order_by("day", "id")


def describe_removed(target: ArchivePlace, kinds: Mapping[str, Dataset], now: datetime) -> None:
    """Rewrites the manifests of days of which files were removed; with its last file a day's manifest goes, too."""
    removed = ArchiveFile.objects.filter(state=FileState.REMOVED, described_at=None)
    for kind, exchange, day in set(removed.values_list("kind", "exchange", "day")):
        place = datasets.folder(kind, exchange, day)
        left = ArchiveFile.objects.filter(kind=kind, exchange=exchange, day=day, state=FileState.STORED).exists()
        if left and kind in kinds:
            manifests.describe(kinds[kind], ArchiveSpan(exchange, day), target, now)
        elif not left:
            target.remove(f"{place}/{MANIFEST}")
            target.remove(f"{place}/{NOTES}")
        removed.filter(kind=kind, exchange=exchange, day=day).update(described_at=now)
