"""`manage.py verify`: checks that everything is stored as it must be. Read-only, at any time, on the running system."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from collectors.gaps import invariants
from lib import clock


class Command(BaseCommand):
    help = "Checks what is stored against what must always be true of it. Reads only; ends with 1 if something is not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--hours", type=float, default=24.0, help="look back so far (default 24)")

    def handle(self, *args: Any, **options: Any) -> None:
        broken = 0
        for finding in invariants.check(since=clock.now() - timedelta(hours=options["hours"])):
            broken += finding.offences > 0
            verdict = self.style.ERROR(f"{finding.offences:>6} x NOT") if finding.offences else self.style.SUCCESS("ok")
            self.stdout.write(f"{verdict}  {finding.promise}")
            for example in finding.examples:
                self.stdout.write(f"      {example}")
        if broken:
            raise CommandError(f"{broken} of {len(invariants.PROMISES)} promises are broken; nothing was changed")
