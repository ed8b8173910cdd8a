"""`manage.py regime replay`: asks the rules about stored verdicts again and says whether the answers are the same."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from metrics import analysis
from metrics.models import Verdict


class Command(BaseCommand):
    help = "Replays verdicts from the candles that were known when they were made."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["replay"])
        parser.add_argument("--market", help="Only this symbol, e.g. BTC/USDT.")
        parser.add_argument("--timeframe")
        parser.add_argument("--limit", type=int, default=1000, help="Newest first.")

    def handle(self, *_: Any, **options: Any) -> None:
        names = {"series__market__symbol": options["market"], "series__timeframe": options["timeframe"]}
        verdicts = Verdict.objects.filter(**{name: value for name, value in names.items() if value})
        newest = verdicts.select_related("series__market").order_by("-analyzed_at", "-id")[: options["limit"]]
        replays = [analysis.replay(verdict) for verdict in newest]
        different = [each for each in replays if each.differences]
        for each in different:
            self.stdout.write(f"{each.verdict.series} {each.verdict.analyzed_at}: {', '.join(each.differences)} differ")
        if different:
            raise CommandError(f"{len(different)} of {len(replays)} verdicts came out differently")
        self.stdout.write(f"{len(replays)} verdicts replayed, all the same")
