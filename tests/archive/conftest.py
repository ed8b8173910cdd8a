"""A pipeline with days that are over, and an archive in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from archive.models import ArchiveFile
from collectors import archive_round
from collectors.history import archiving, knowing, partitions, quality, rollups
from collectors.models import Watermark
from exchanges.models import Market
from lib import clock
from tests.gaps.conftest import Field

__all__ = ["Archived", "kept"]

DAY = timedelta(days=1)


@dataclass
class Archived:
    """Kraken and luno with two markets each; `day` is the first of three days that are over, `folder` the archive."""

    day: datetime
    folder: Path
    field_: Field
    settings: Any

    @property
    def markets(self) -> list[Market]:
        return list(Market.objects.order_by("id"))

    def store(self, exchange: str = "kraken", *, day: int = 0, rows: int = 6, price: float = 100.0) -> None:
        """Live rows at the beginning of a day, ten seconds apart."""
        for number in range(rows):
            self.field_.store(exchange, self.at(day) + timedelta(seconds=10 * number), price=price + number)

    def fetch_later(
        self, *, day: int = 0, second: float = 3600.0, known_after: float = 2.5, price: float = 55.5
    ) -> None:
        """A trade of the first market that backfill stored `known_after` days after the day began."""
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO collectors_tick (pipeline_id, origin, received_at, last, known_at)"
                " VALUES (%s, 2, %s, %s, %s)",
                [self.markets[0].pk, self.at(day) + timedelta(seconds=second), price, self.at(known_after)],
            )

    def at(self, days: float) -> datetime:
        return self.day + days * DAY

    def roll_up(self, *days: int) -> None:
        for day in days:
            for market in self.markets:
                rollups.again(
                    market.pk, start=self.at(day), end=self.at(day + 1) - timedelta(minutes=1), now=self.at(3)
                )
        Watermark.objects.update_or_create(name=rollups.CURSOR, defaults={"reached_at": self.at(3)})

    def round(self, *, after: float, at: Any = None) -> int:
        """One round of the archive, so many days after the first began."""
        return archive_round.run(self.at(after), seconds=600, at=at)

    def files(self, kind: str = "ticks") -> list[ArchiveFile]:
        return list(ArchiveFile.objects.filter(kind=kind).order_by("id"))

    def on_disk(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


def rows_of_table(table: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
        return list(cursor.fetchall())


@pytest.fixture
def kept(transactional_db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archived]:
    settings.ARCHIVE_URL = f"file://{tmp_path}/archive"
    settings.ARCHIVE_S3_KEY = settings.ARCHIVE_S3_SECRET = settings.ARCHIVE_S3_ENDPOINT = ""
    monkeypatch.setattr(knowing, "known_since", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(archive_round.retention, "may_delete", lambda now: True)
    day = clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 3 * DAY
    tables = (*partitions.QUOTES, *partitions.DEPTH)
    partitions.ensure_since(day, clock.now(), tables=tables)
    for kind in archiving.KINDS:  # tests of before may have left partitions of years ago
        for prefix in (archiving.FIRST, archiving.AGAIN):
            Watermark.objects.create(name=prefix + kind.kind, reached_at=day)
    Watermark.objects.create(name=rollups.CURSOR, reached_at=day + 3 * DAY)
    Watermark.objects.create(name=quality.DAYS_CURSOR, reached_at=day)
    made = Archived(day, tmp_path / "archive", Field(begun=day - DAY), settings)
    made.field_.add("kraken", 2)
    made.field_.add("luno", 2)
    yield made
    partitions.ensure(clock.now())
