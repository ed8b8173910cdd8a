"""`manage.py history`: fetches what exchanges keep from before we began, shows how far that is, and stops it."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from collectors import backfill
from collectors.backfill import importing
from collectors.models import HistoryImport, ImportState, Pipeline
from exchanges import symbols
from exchanges.models import Exchange
from exchanges.symbols import AmbiguousSymbol
from lib import clock

PATIENCE = timedelta(seconds=75)  # a minute may have used up its requests
STEP_SECONDS = 5.0


class Command(BaseCommand):
    help = "Fetches exchanges' own history from before we began to collect, behind live polls and gaps."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        fetch = verbs.add_parser("import", help="fetch minutes of some markets; the same command again goes on")
        fetch.add_argument("exchange")
        fetch.add_argument("--symbols", required=True, nargs="+", help="BTC/USDT,eth-usd: in any usual spelling")
        fetch.add_argument("--from", dest="since", type=_moment, required=True, help="2026-01-01 (ISO 8601, UTC)")
        fetch.add_argument("--to", dest="until", type=_moment, help="usually the first minute that is stored")
        fetch.add_argument("--seconds", type=float, default=3600.0, help="look on for so long (default 3600)")
        fetch.add_argument("--background", action="store_true", help="only write it down; workers fetch it")
        verbs.add_parser("list", help="imports, the newest first").add_argument("exchange", nargs="?")
        verbs.add_parser("stop", help="stop an import; what is stored stays").add_argument("number", type=int)

    def handle(self, *_: Any, verb: str, **options: Any) -> None:
        getattr(self, f"do_{verb}")(options)

    def do_list(self, options: dict[str, Any]) -> None:
        found = HistoryImport.objects.select_related("pipeline__market").order_by("-requested_at", "-id")
        if options["exchange"]:
            found = found.filter(pipeline__market__exchange_id=options["exchange"].lower())
        for each in found[:100]:
            self.stdout.write(in_words(each, clock.now()))

    def do_stop(self, options: dict[str, Any]) -> None:
        if not importing.stop(HistoryImport.objects.filter(pk=options["number"]), now=clock.now()):
            raise CommandError(f"No import {options['number']} is running; see `manage.py history list`.")
        self.stdout.write(f"Import {options['number']} is stopped; the same `history import` goes on with it.")

    def do_import(self, options: dict[str, Any]) -> None:
        exchange = _collected(options["exchange"])
        numbers = self._write_down(exchange, options)
        if options["background"]:
            self.stdout.write("Workers fetch it in the pauses between polls; see `manage.py history list`.")
            return
        if self._look_on(exchange.id, numbers, clock.now() + timedelta(seconds=options["seconds"])):
            self.stdout.write("Workers go on with what is left; see `manage.py history list`.")

    def _write_down(self, exchange: Exchange, options: dict[str, Any]) -> list[int]:
        texts = [text for each in options["symbols"] for text in each.split(",") if text.strip()]
        pipelines, by, numbers = [_pipeline(exchange.id, text) for text in texts], getpass.getuser(), []
        span = {"start": options["since"], "end": options["until"]}
        for pipeline in pipelines:
            try:
                wanted, is_new = importing.request(pipeline, **span, by=by, now=clock.now())
            except importing.CannotImport as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{'' if is_new else 'goes on: '}{in_words(wanted, clock.now())}")
            numbers.append(wanted.pk)
        return numbers

    def _look_on(self, exchange_id: str, numbers: list[int], give_up_at: datetime) -> bool:
        """Fetches, whenever a request slot is free, and tells how far it is; says whether something is left."""
        told, moved_at = "", clock.now()
        while (now := clock.now()) < give_up_at:
            running = HistoryImport.objects.filter(pk__in=numbers, state=ImportState.RUNNING)
            words = "\n".join(in_words(each, now) for each in _with_markets(numbers))
            if words != told:
                told, moved_at = words, now
                self.stdout.write(words)
            if not running.exists():
                return False
            if now - moved_at > PATIENCE:
                self.stdout.write(f"No request slot between polls for {PATIENCE.total_seconds():.0f} s.")
                return True
            backfill.fill(exchange_id, clock=clock.now, seconds=STEP_SECONDS, patiently=True)
            connection.close_if_unusable_or_obsolete()
        return True


def in_words(wanted: HistoryImport, now: datetime) -> str:
    """Returns one line of an import: what, how far, what came."""
    left = wanted.eta_seconds(now)
    parts = [
        f"{wanted.pk} {wanted.pipeline.market}",
        f"{wanted.start_at:%Y-%m-%d %H:%M} - {wanted.end_at:%Y-%m-%d %H:%M} UTC",
        f"{wanted.state} {wanted.progress:.1%}",
        f"{wanted.stored_count} minutes stored, {wanted.known_count} known, {wanted.lacking_count} lacking",
        *([f"about {timedelta(seconds=round(left))} left"] if left is not None else []),
        *([wanted.reason] if wanted.reason else []),
    ]
    return "  ".join(parts)


def _with_markets(numbers: list[int]) -> list[HistoryImport]:
    return list(HistoryImport.objects.filter(pk__in=numbers).select_related("pipeline__market").order_by("id"))


def _collected(exchange_id: str) -> Exchange:
    found = Exchange.objects.collected().filter(pk=exchange_id.lower()).first()
    if found is None:
        known = ", ".join(Exchange.objects.collected().order_by("id").values_list("id", flat=True)) or "none"
        raise CommandError(f"{exchange_id} is not collected; collected are {known}.")
    return found


def _pipeline(exchange_id: str, text: str) -> Pipeline:
    try:
        market = symbols.find(exchange_id, text)
    except AmbiguousSymbol as error:
        raise CommandError(str(error)) from error
    if market is None:
        raise CommandError(f"{exchange_id} has no market that is spelled {text}.")
    return Pipeline.objects.select_related("market").get(pk=market.id)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
