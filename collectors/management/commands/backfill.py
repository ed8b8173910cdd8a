"""`manage.py backfill`: fills gaps now, without waiting for the task, and says what it does."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from collectors import backfill
from collectors.models import TO_FILL, Gap
from exchanges.models import Exchange
from lib import clock

MOST_LISTED = 20
PATIENCE_SECONDS = 75.0  # a minute may have used up its requests


class Command(BaseCommand):
    help = (
        "Asks exchanges for what was missed. Live polling keeps its priority and the requests per minute their bound."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--exchange", help="only this one")
        parser.add_argument("--market", default="", help="only this symbol, such as BTC/USDT")
        parser.add_argument("--from", dest="since", type=_moment, help="only gaps that end after this (ISO 8601, UTC)")
        parser.add_argument("--to", dest="until", type=_moment, help="only gaps that start before this")
        parser.add_argument("--seconds", type=float, default=600.0, help="stop after so many seconds (default 600)")
        parser.add_argument("--dry-run", action="store_true", help="list the gaps and the requests, ask nobody")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = backfill.GapSelection(market=options["market"], since=options["since"], until=options["until"])
        exchanges = _exchanges(options["exchange"])
        if options["dry_run"]:
            self._list(exchanges, wanted)
            return
        give_up_at = clock.now() + timedelta(seconds=options["seconds"])
        for exchange in exchanges:
            self._fill(exchange, wanted, give_up_at)

    def _list(self, exchanges: list[Exchange], wanted: backfill.GapSelection) -> None:
        now = clock.now()
        for exchange in exchanges:
            gaps = backfill.due(exchange.id, now, wanted).select_related("pipeline__market")
            count = gaps.count()
            for gap in gaps[:MOST_LISTED]:
                requests = backfill.requests_left(gap, now)
                ended = "open" if gap.ended_at is None else f"{gap.ended_at:%Y-%m-%d %H:%M:%S}"
                self.stdout.write(
                    f"{gap.pipeline.market}  {gap.started_at:%Y-%m-%d %H:%M:%S} - {ended}  {gap.state}, {gap.cause}, "
                    f"{requests} request{'' if requests == 1 else 's'}"
                )
            if count > MOST_LISTED:
                self.stdout.write(f"{exchange.id}: and {count - MOST_LISTED} more")
            self.stdout.write(f"{exchange.id}: {count} gaps to fill")

    def _fill(self, exchange: Exchange, wanted: backfill.GapSelection, give_up_at: datetime) -> None:
        stored, idle_since = 0, clock.now()
        while (now := clock.now()) < give_up_at and backfill.due(exchange.id, now, wanted).exists():
            new = backfill.fill(exchange.id, clock=clock.now, wanted=wanted, seconds=1.0, patiently=True)
            stored += new
            if new:
                idle_since = now
                left = backfill.due(exchange.id, clock.now(), wanted).count()
                self.stdout.write(f"{exchange.id}: {stored} rows stored, {left} gaps left")
            elif (now - idle_since).total_seconds() > PATIENCE_SECONDS:
                self.stdout.write(
                    f"{exchange.id}: no turn between its polls for {PATIENCE_SECONDS:.0f} s; left to the task"
                )
                break
            connection.close_if_unusable_or_obsolete()
        left = Gap.objects.filter(pipeline__market__exchange=exchange, state__in=TO_FILL).count()
        self.stdout.write(f"{exchange.id}: {stored} rows stored, {left} gaps left to fill")


def _exchanges(exchange_id: str | None) -> list[Exchange]:
    found = Exchange.objects.collected().order_by("id")
    if exchange_id is None:
        return list(found)
    chosen = list(found.filter(pk=exchange_id))
    if not chosen:
        raise CommandError(f"{exchange_id} is not collected; collected are {', '.join(e.id for e in found) or 'none'}")
    return chosen


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
