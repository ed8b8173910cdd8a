"""`manage.py archive run|list|verify|read`: the archive by hand."""

from __future__ import annotations

import csv
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from archive import switch
from archive.models import ArchiveFile
from collectors import archive_round
from collectors.history.archived_kinds import KINDS
from lib import database_clock

BY_KIND = {dataset.kind: dataset for dataset in KINDS}
WITHOUT_LIMIT_SECONDS = 86_400.0


class Command(BaseCommand):
    help = "Archives what is closed, lists and verifies what is archived, and reads a day of it as CSV."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parts = parser.add_subparsers(dest="verb", required=True)
        parts.add_parser("run", help="archives and drops what is due now, as the task of each minute does")
        listing = parts.add_parser("list", help="lists the ledger, the newest first")
        listing.add_argument("--exchange", default="")
        listing.add_argument("--kind", choices=sorted(BY_KIND), default="")
        listing.add_argument("--day", type=date.fromisoformat)
        listing.add_argument("--limit", type=int, default=100)
        parts.add_parser("verify", help="reads every file and compares it; ends with 1 if something is wrong")
        reading = parts.add_parser("read", help="writes a day's rows as CSV, whether a table has them, too, or not")
        reading.add_argument("exchange")
        reading.add_argument("kind", choices=sorted(BY_KIND))
        reading.add_argument("day", type=date.fromisoformat)
        reading.add_argument("--symbol", default="", help="as its file spells it: BTC/USDT")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if verb != "list" and not switch.is_on():
            raise CommandError("There is no archive here: ARCHIVE_URL is off, or pyarrow is not installed.")
        doing: dict[str, Callable[..., None]] = {
            "run": self._run, "list": self._list, "verify": self._verify, "read": self._read,
        }  # fmt: skip
        doing[verb](**options)

    def _run(self, **_: Any) -> None:
        from archive.ledger import Overtaken
        from archive.targets import TargetFailed

        try:
            written = archive_round.run(database_clock.now(), seconds=WITHOUT_LIMIT_SECONDS)
        except (TargetFailed, Overtaken, archive_round.NoLonger) as error:
            raise CommandError(f"{error}; nothing was dropped that is not archived") from error
        self.stdout.write(f"{written} files written")

    def _list(self, *, exchange: str, kind: str, day: date | None, limit: int, **_: Any) -> None:
        wanted = {"exchange": exchange, "kind": kind, "day": day}
        files = ArchiveFile.objects.filter(**{name: value for name, value in wanted.items() if value})
        for file in files.order_by("-day", "-id")[:limit]:
            state = file.fault or file.state
            self.stdout.write(f"{file}  {file.rows:>11,} rows  {file.bytes:>12,} bytes  {state}  {file.path}")

    def _verify(self, **_: Any) -> None:
        from archive import targets, verifying

        sound = wrong = 0
        try:
            for found in verifying.verify(targets.configured(), database_clock.now()):
                if isinstance(found, verifying.ArchiveFault):
                    wrong += 1
                    self.stdout.write(f"{self.style.ERROR('NOT')}  {found.path}: {found.words}")
                else:
                    sound += 1
        except targets.TargetFailed as error:
            raise CommandError(f"the archive cannot be read: {error}") from error
        if wrong:
            raise CommandError(f"{wrong} things are wrong, {sound} files are as they were written")
        self.stdout.write(f"{self.style.SUCCESS('ok')}  {sound} files are as they were written")

    def _read(self, *, exchange: str, kind: str, day: date, symbol: str, **_: Any) -> None:
        from archive import reading
        from archive.targets import TargetFailed

        writer = csv.writer(self.stdout, lineterminator="")  # each write of a command ends its line
        try:
            names, rows = reading.day_of(BY_KIND[kind], exchange, day)
            writer.writerow(names)
            for row in rows:
                if not symbol or row[0] == symbol:
                    writer.writerow(row)
        except TargetFailed as error:
            raise CommandError(f"the archive cannot be read: {error}") from error
