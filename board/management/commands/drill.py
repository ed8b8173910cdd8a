"""`manage.py drill FAULT EXCHANGE [SYMBOL]`: breaks something in the sandbox and watches the system notice."""

from __future__ import annotations

import re
import socket
import time
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from board.drills import runner
from board.drills.faults import FAULTS
from board.models import Drill, DrillState
from lib import clock
from operations.commands import CommandRefused

LOOK_SECONDS = 0.2
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Command(BaseCommand):
    help = (
        "Break a simulated exchange on purpose; says when that was detected, shown and overcome. Fails if it was not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "faults:\n" + "\n".join(f"  {name:14} {fault.does}" for name, fault in FAULTS.items())
        parser.add_argument("fault", metavar="FAULT", choices=FAULTS)
        parser.add_argument("exchange", help="a simulated one")
        parser.add_argument("symbol", nargs="?", default="", help="whose rows are watched; the busiest if left out")
        parser.add_argument("--for", dest="seconds", type=_seconds, help="how long it is broken: 30s, 2m")

    def handle(self, *_: Any, fault: str, exchange: str, symbol: str, seconds: float | None, **__: Any) -> None:
        origin = f"command line on {socket.gethostname()}"
        try:
            drill = runner.start(
                fault, exchange.lower(), symbol=symbol, seconds=seconds, now=clock.now(), origin=origin
            )
        except CommandRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{drill.exchange_id} {drill.symbol}: {FAULTS[fault].does}, for {drill.seconds:g} s")
        try:
            self._follow(drill)
        except KeyboardInterrupt:
            runner.stop(drill, now=clock.now(), by="hand")
            raise CommandError("stopped; the fault is lifted") from None
        self.stdout.write(f"{drill.state}: {drill.verdict}")
        if drill.state != DrillState.PASSED:
            raise CommandError("the drill failed")

    def _follow(self, drill: Drill) -> None:
        """Prints every fact as soon as it is known, whether this command or the pulse finds it first."""
        told: set[str] = set()
        while True:
            drill.refresh_from_db()
            runner.look(drill, clock.now())
            for name, line in _progress(drill):
                if name not in told:
                    self.stdout.write(line)
                    self.stdout.flush()
                    told.add(name)
            if drill.state != DrillState.RUNNING:
                return
            time.sleep(LOOK_SECONDS)


def _progress(drill: Drill) -> Iterator[tuple[str, str]]:
    moments = {
        "detected": (drill.detected_at, drill.detected_by),
        "shown": (drill.shown_at, drill.shown_by),
        "lifted": (drill.lifted_at, "the fault is over"),
        "healed": (drill.healed_at, "rows are stored again"),
    }
    for name, (moment, words) in moments.items():
        seconds = runner.after(drill.started_at, moment)
        if seconds is not None:
            yield name, f"{seconds:7.1f} s  {name:8}  {words}"


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text)
    if not found:
        raise ArgumentTypeError(f"{text!r} is no duration; like 30s or 2m")
    return float(found[1]) * UNITS[found[2] or "s"]
