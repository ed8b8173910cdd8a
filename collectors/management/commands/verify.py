"""`manage.py verify`: checks that everything is stored as it must be. Read-only, at any time, on the running system."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from collectors.gaps import invariants
from collectors.gaps.invariants import PromiseResult
from lib import clock


class Command(BaseCommand):
    help = (
        "Checks what is stored against what must always be true of it. Reads only; ends with 1 if something is not, "
        "with 2 if nothing is wrong but not all could be judged."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--hours", type=float, default=24.0, help="look back so far (default 24)")
        patience = invariants.PATIENCE_SECONDS
        parser.add_argument("--seconds", type=float, default=patience, help=f"give up after (default {patience:.0f})")

    def handle(self, *args: Any, hours: float, seconds: float, **options: Any) -> None:
        broken = unjudged = 0
        for result in invariants.check(since=clock.now() - timedelta(hours=hours), seconds=seconds):
            broken += result.offences > 0
            unjudged += bool(result.unjudged)
            self._tell(result)
        if broken:
            raise CommandError(f"{broken} of {len(invariants.PROMISES)} promises are broken; nothing was changed")
        if unjudged:
            raise CommandError(f"{unjudged} of {len(invariants.PROMISES)} promises could not be judged", returncode=2)

    def _tell(self, result: PromiseResult) -> None:
        verdict = self.style.SUCCESS("ok")
        if result.unjudged:
            verdict = self.style.WARNING("not judged")
        if result.offences:
            verdict = self.style.ERROR(f"{result.offences:>6} x NOT")
        self.stdout.write(f"{verdict}  {result.promise}")
        for line in (*result.examples, *([result.unjudged] if result.unjudged else [])):
            self.stdout.write(f"      {line}")
