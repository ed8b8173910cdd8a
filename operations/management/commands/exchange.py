"""`manage.py exchange VERB`: does from a terminal what the API and the admin do."""

from __future__ import annotations

import getpass
import socket
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime

from collectors.status import workers as status
from exchanges import connectivity
from exchanges.connectivity import ConnectivityReport
from exchanges.models import AuditEntry, Exchange
from lib import clock
from lib.clock import seconds_z
from operations import commands, declarative, onboarding, probe, probe_words, recording

LONGEST_RECORDING_SECONDS = 3600


class Command(BaseCommand):
    help = (
        "Probe, record, add, list, blacklist, lift, restart, ask again, refresh, accept a list, enable, disable, "
        "remove, check, undo; plan and apply a file."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        verbs.add_parser("list", help="every exchange and its worker")
        add = verbs.add_parser("add", help="add an exchange and start collecting it")
        add.add_argument("exchange")
        add.add_argument("--base-url", default="", help="send its requests there; {SANDBOX_URL} is the sandbox")
        add.add_argument("--proxy", default="", help="CONNECT proxy for REST and websocket")
        add.add_argument("--ca-file", default="", help="PEM file with the authorities to trust")
        add.add_argument("--interval", type=float, help="seconds between polls")
        add.add_argument("--quotes", help="collect only these quote currencies: USDT,EUR")
        add.add_argument("--top", type=int, help="collect only so many markets, those with the largest volume")
        blacklist = verbs.add_parser(
            "blacklist", help="stop all requests to an exchange, or one market (kraken:BTC/USD)"
        )
        blacklist.add_argument("exchange")
        blacklist.add_argument("--reason", default="")
        blacklist.add_argument("--until", type=_moment, help="2026-03-04T00:00:00Z; lifts itself then")
        for name, help_text in VISITS.items():
            visit = verbs.add_parser(name, help=help_text)
            visit.add_argument("exchange")
            visit.add_argument("--base-url", help="ask it there; {SANDBOX_URL} is the sandbox")
            visit.add_argument("--proxy", help="ask it through this proxy")
            visit.add_argument("--ca-file", help="trust these certificates")
            if name == "record":
                visit.add_argument("--for", dest="seconds", type=_seconds, default=60.0, metavar="60s")
                visit.add_argument("--to", dest="path", type=Path, help="the file; usually EXCHANGE-TIME.json.gz here")
        for name, help_text in SIMPLE.items():
            verbs.add_parser(name, help=help_text).add_argument("exchange")
        verbs.add_parser("refresh", help="reload markets and capabilities of all")
        verbs.add_parser("history", help="the newest entries of the audit").add_argument("exchange", nargs="?")
        verbs.add_parser("undo", help="take a verb back within ten minutes").add_argument("entry", type=int)
        for name, help_text in (("plan", "show what a file would change"), ("apply", "change what differs")):
            verbs.add_parser(name, help=help_text).add_argument("file", type=Path)

    def handle(self, *_: Any, verb: str, **options: Any) -> None:
        now = clock.now()
        call = {"by": getpass.getuser(), "now": now, "origin": f"command line on {socket.gethostname()}"}
        try:
            getattr(self, f"do_{verb.replace('-', '_')}")(options, call)
        except (commands.CommandRefused, connectivity.CannotOpen, declarative.BadPlan, OSError) as error:
            raise CommandError(str(error)) from error

    def do_list(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        workers = {worker.exchange: worker for worker in status.read(call["now"]).workers}
        for exchange in Exchange.objects.known().order_by("id"):
            worker = workers.get(exchange.id)
            told = [exchange.id, worker.status if worker else "-", f"every {exchange.poll_interval_seconds:g} s"]
            told += [f"{worker.symbols_tracked} markets", f"{worker.error_count} errors"] if worker else []
            told += ["blacklisted"] * exchange.blacklisted + ["disabled"] * (not exchange.enabled)
            self.stdout.write("  ".join(told))

    def do_add(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        filtered = {"quotes": options["quotes"].split(",") if options["quotes"] else None, "top": options["top"]}
        wanted = {
            "base_url": options["base_url"],
            "proxy": options["proxy"],
            "ca_file": options["ca_file"],
            "poll_interval_seconds": options["interval"],
            "market_filter": {name: value for name, value in filtered.items() if value},
        }
        exchange_id = options["exchange"].lower()
        report = commands.add(exchange_id, wanted={name: value for name, value in wanted.items() if value}, **call)
        self._say_checks(exchange_id, report)

    def do_blacklist(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        exchange_id, _, symbol = options["exchange"].partition(":")
        details = {"reason": options["reason"], "expires_at": options["until"]}
        if symbol:
            commands.blacklist_market(exchange_id.lower(), symbol, **details, **call)
            self.stdout.write(f"{exchange_id}:{symbol} is not collected any more")
            return
        stopped = commands.blacklist(exchange_id.lower(), **details, **call)
        self.stdout.write(f"{exchange_id}: nobody calls it any more")
        if not stopped.was_delivered:
            self.stdout.write("one request was already on its way; its answer will not be stored")

    def do_lift(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        exchange_id, _, symbol = options["exchange"].partition(":")
        if symbol:
            commands.lift_market(exchange_id.lower(), symbol, **call)
            self.stdout.write(f"{exchange_id}:{symbol} is collected again")
            return
        commands.lift(exchange_id.lower(), **call)
        self._say_checks(exchange_id, commands.check(exchange_id.lower(), occasion="lift", now=call["now"]))

    def do_check(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        exchange_id = options["exchange"].lower()
        self._say_checks(exchange_id, commands.check(exchange_id, occasion="on demand", now=call["now"]))

    def do_restart(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        is_new = commands.restart(options["exchange"].lower(), **call)
        self.stdout.write("restarted" if is_new else "was restarted a moment ago, and nothing has gone wrong since")

    def do_ask_again(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        was_paused = commands.ask_again(options["exchange"].lower(), **call)
        self.stdout.write(
            "the pause is over, it is polled now" if was_paused else "there was no pause; it is polled now"
        )

    def do_accept_list(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        count = commands.accept_list(options["exchange"].lower(), **call)
        self.stdout.write(f"accepted: {count} active markets")

    def do_enable(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        commands.enable(options["exchange"].lower(), **call)
        self.stdout.write("enabled")

    def do_disable(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        commands.disable(options["exchange"].lower(), **call)
        self.stdout.write("disabled")

    def do_remove(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        commands.remove(options["exchange"].lower(), **call)
        self.stdout.write("removed; its history stays, and `add` brings it back")

    def do_preview(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        exchange_id = options["exchange"].lower()
        if not Exchange.objects.known().filter(pk=exchange_id).exists():
            commands.require_known(exchange_id)
            needed = commands.what_is_needed(exchange_id) or "Its public data need no credentials."
            self.stdout.write(f"{exchange_id} is not added. {needed}")
            return
        for sentence in commands.preview_stop(exchange_id).sentences():
            self.stdout.write(sentence)

    def do_refresh(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        for result in commands.refresh(**call):
            self.stdout.write(f"{result.exchange_id}: {result.error or 'refreshed'}")

    def do_probe(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        exchange = onboarding.candidate(options["exchange"].lower(), _ways_to_reach(options))
        report = probe.probe(exchange, now=call["now"].timestamp(), say=lambda step: self.stderr.write(f"{step} ..."))
        self.stdout.write(probe_words.page(report))
        if not report.is_usable:
            raise CommandError("it cannot be collected as it is")

    def do_record(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        exchange = onboarding.candidate(options["exchange"].lower(), _ways_to_reach(options))
        path = options["path"] or Path(f"{exchange.id}-{call['now']:%Y%m%dT%H%M%SZ}.json.gz")
        done = recording.record(exchange, path, seconds=options["seconds"], now=call["now"].timestamp())
        self.stdout.write(f"{path}: {done.answers} answers, {done.frames} frames")
        if done.left_out:
            self.stdout.write(f"{done.left_out} more did not fit into it")
        for fault in done.faults:
            self.stdout.write(f"  {fault}")
        self.stdout.write(f"play it with: python -m sandbox replay {path}")

    def do_history(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        entries = AuditEntry.objects.order_by("-happened_at", "-id")
        if options["exchange"]:
            entries = entries.filter(exchange=options["exchange"].lower())
        for entry in entries[:20]:
            place = entry.exchange + (f":{entry.market}" if entry.market else "")
            undone = "  undone" if entry.undone_at else ""
            told = f"{entry.pk}  {seconds_z(entry.happened_at)}  {entry.who}  {entry.verb} {place}  {entry.why}{undone}"
            self.stdout.write(told.rstrip())

    def do_undo(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        entry = commands.undo(options["entry"], **call)
        self.stdout.write(f"undone: {entry.verb} {entry.exchange}")

    def do_plan(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        steps = declarative.differences(declarative.read(options["file"].read_text(encoding="utf-8")))
        for step in steps:
            self.stdout.write(step.sentence)
        self.stdout.write(f"{len(steps)} changes" if steps else "nothing to change")

    def do_apply(self, options: dict[str, Any], call: dict[str, Any]) -> None:
        steps = declarative.differences(declarative.read(options["file"].read_text(encoding="utf-8")))
        failed = 0
        for step in steps:
            try:
                declarative.carry_out(step, **call)
                self.stdout.write(step.sentence)
            except (commands.CommandRefused, connectivity.CannotOpen) as error:
                failed += 1
                self.stderr.write(f"{step.sentence}: {error}")
        self.stdout.write(f"{len(steps) - failed} changed" if steps else "nothing to change")
        if failed:
            raise CommandError(f"{failed} of {len(steps)} steps could not be carried out")

    def _say_checks(self, exchange_id: str, report: ConnectivityReport) -> None:
        for finding in report.findings:
            self.stdout.write(f"{exchange_id}  {finding.name}: {finding.result}  {finding.reason}".rstrip())


SIMPLE = {
    "lift": "take an exchange, or one market (kraken:BTC/USD), off the blacklist",
    "restart": "forget errors and replace the running loop",
    "ask-again": "end the pause that the exchange asked for, and poll now",
    "accept-list": "load the market list and believe it, however short it is",
    "enable": "switch an exchange on",
    "disable": "switch an exchange off",
    "remove": "take an exchange out; its history stays",
    "check": "run the four connectivity checks",
    "preview": "what a blacklist or removal would stop; of one that is not added, what it needs",
}


VISITS = {
    "probe": "find out what an exchange does for us, before it is added",
    "record": "write requests, answers and frames to a file, without keys and addresses",
}


def _ways_to_reach(options: dict[str, Any]) -> dict[str, str]:
    """Returns the addresses that were given; what was not given is as it is stored."""
    return {name: options[name] for name in ("base_url", "proxy", "ca_file") if options[name] is not None}


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        raise CommandError(f"{text!r} is no time like 60s") from None
    if not 1 <= seconds <= LONGEST_RECORDING_SECONDS:
        raise CommandError(f"a recording takes 1 to {LONGEST_RECORDING_SECONDS} seconds")
    return seconds


def _moment(text: str) -> datetime:
    moment = parse_datetime(text)
    if moment is None or moment.tzinfo is None:
        raise CommandError(f"{text!r} is no moment like 2026-03-04T00:00:00Z")
    if moment <= clock.now():
        raise CommandError(f"{text} has passed")
    return moment
