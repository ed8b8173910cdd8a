"""The ledger of archived files: what each holds, its hash, and the hash of the one before it. The only table here.

A row is written when its file has been read back, and is never deleted: a file that was removed, or rows that were lost
before there was one, stay in the ledger and say so.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from django.db import models


class FileState(models.TextChoices):
    """The state of an entry: a file that is there, one that was removed on purpose, or rows of which there is none."""

    STORED = "stored"
    REMOVED = "removed"
    LOST = "lost"


class ArchiveFile(models.Model):
    """One file: rows of one kind, exchange and day (UTC), or of one hour of it. `path` is below ARCHIVE_URL.

    Files of a kind and exchange are a chain: each names the hash of the one before, in its own metadata, too. `covers`
    counts what the table held when all of that was in this file and those before it; it is 0 once the table's rows
    were dropped (`dropped_at`). Everything known until `known_until` is in it.
    """

    kind = models.CharField(max_length=16)
    exchange = models.CharField(max_length=64)
    day = models.DateField()
    hour = models.SmallIntegerField(null=True)
    state = models.CharField(max_length=8, default=FileState.STORED)
    path = models.TextField(blank=True)
    rows = models.BigIntegerField()
    bytes = models.BigIntegerField(default=0)
    min = models.DateTimeField(null=True)
    max = models.DateTimeField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    previous_sha256 = models.CharField(max_length=64, blank=True)
    known_until = models.DateTimeField()
    written_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True)
    fault = models.TextField(blank=True)  # what the newest verification found wrong
    covers = models.BigIntegerField(default=0)
    dropped_at = models.DateTimeField(null=True)
    described_at = models.DateTimeField(null=True)  # since then the day's manifest names it

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "exchange", "previous_sha256"], condition=~models.Q(state="lost"),
                name="archive_chain_has_no_fork",
            )
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["kind", "exchange", "-id"], name="archive_newest_of_chain"),
            models.Index(fields=["day", "kind", "exchange"], name="archive_by_day"),  # reading, dropping, the page
            models.Index(fields=["id"], condition=models.Q(described_at=None), name="archive_to_describe"),
            models.Index(fields=["-written_at"], condition=models.Q(state="lost"), name="archive_lost"),  # the board
        ]

    def __str__(self) -> str:
        return f"{self.exchange} {self.kind} {self.day}{'' if self.hour is None else f' {self.hour:02}:00'}"

    @property
    def started_at(self) -> datetime:
        return datetime.combine(self.day, time(self.hour or 0), UTC)

    @property
    def ended_at(self) -> datetime:
        return self.started_at + (timedelta(days=1) if self.hour is None else timedelta(hours=1))
