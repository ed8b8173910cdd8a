"""Reads and writes the ledger: a chain of files for each kind and exchange, made longer by one writer at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime

from django.db import IntegrityError, connection, transaction
from django.db.models import Sum

from archive.datasets import ArchiveSpan
from archive.models import ArchiveFile, FileState

LOCK = "SELECT pg_advisory_xact_lock(hashtext('archive'), hashtext(%s))"


class Overtaken(Exception):
    """Another writer has made the chain longer meanwhile; the file is in no ledger, and the next run looks again."""


def tip(kind: str, exchange: str) -> str:
    """Returns the hash of the newest file of a chain; empty before the first."""
    chain = ArchiveFile.objects.filter(kind=kind, exchange=exchange).exclude(state=FileState.LOST)
    return chain.order_by("-id").values_list("sha256", flat=True).first() or ""


def files_of(kind: str, span: ArchiveSpan) -> list[ArchiveFile]:
    """Returns the files of a span's whole day that are there, the oldest first."""
    found = ArchiveFile.objects.filter(kind=kind, exchange=span.exchange, day=span.day, state=FileState.STORED)
    return list(found.order_by("id"))


def covered(kind: str, day: date, *, hour: int | None = None) -> dict[str, int]:
    """Returns how much of a table is known to be archived of a day, or an hour of it, by exchange."""
    found = ArchiveFile.objects.filter(kind=kind, day=day).exclude(state=FileState.LOST)
    if hour is not None:
        found = found.filter(hour=hour)
    return dict(found.values_list("exchange").annotate(Sum("covers")))


@transaction.atomic
def append(entry: ArchiveFile) -> None:
    """Adds a file to its chain. Raises Overtaken."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [f"{entry.kind} {entry.exchange}"])
    if tip(entry.kind, entry.exchange) != entry.previous_sha256:
        raise Overtaken(f"{entry}: the chain has become longer")
    try:
        with transaction.atomic():
            entry.save(force_insert=True)
    except IntegrityError as error:
        raise Overtaken(f"{entry}: the chain has become longer") from error


def cover(entry: ArchiveFile, more: int, known_until: datetime) -> None:
    """Notes that so much more of the table was found in a file and those before it."""
    ArchiveFile.objects.filter(pk=entry.pk).update(covers=entry.covers + more, known_until=known_until)


def note_dropped(kind: str, day: date, now: datetime) -> None:
    """Notes, in the transaction that drops them, that a day's rows are in files only."""
    of_day = ArchiveFile.objects.filter(kind=kind, day=day)
    of_day.update(covers=0)
    of_day.filter(dropped_at=None).update(dropped_at=now)


def note_lost(kind: str, day: date, rows: Mapping[str, int], *, why: str, now: datetime) -> None:
    """Notes, in the transaction that drops them, that so many rows of each exchange are in no file."""
    ArchiveFile.objects.bulk_create(
        ArchiveFile(kind=kind, exchange=exchange, day=day, state=FileState.LOST, rows=count, fault=why,
                    known_until=now, written_at=now, dropped_at=now, described_at=now)
        for exchange, count in sorted(rows.items()) if count > 0
    )  # fmt: skip


def only_archived(kind: str, exchange: str, days: tuple[date, date]) -> list[ArchiveFile]:
    """Returns the files of days, both inclusive, whose rows the tables no longer have; the oldest first."""
    found = ArchiveFile.objects.filter(kind=kind, exchange=exchange, day__range=days, state=FileState.STORED)
    return list(found.exclude(dropped_at=None).order_by("day", "id"))


def undescribed() -> Iterable[ArchiveFile]:
    """Returns files that their day's manifest does not name yet."""
    return ArchiveFile.objects.filter(described_at=None, state=FileState.STORED).order_by("id")
