"""The pulse: does once a second what only passing time brings about, and renders what all readers will ask for."""

from __future__ import annotations

import signal
import threading
import time
from datetime import datetime
from functools import partial
from types import FrameType

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from board import live
from board.drills import runner
from collectors.gaps import sweep
from collectors.status import published
from incidents import ledger
from incidents.past import digests
from incidents.rules import findings
from incidents.rules.facts import Found
from incidents.signs import findable, reading, servers
from incidents.signs.reading import AllSigns
from lib import clock, database_clock, liveness
from operations import commands

STARTING_SECONDS = 30.0  # a worker needs about ten until its first sign of life

log = structlog.get_logger(__name__)
_began: float | None = None  # where nobody runs forever, nobody starts


def run_forever() -> None:
    """Beats until SIGTERM or SIGINT. A database that is away costs beats, not the process."""
    global _began
    stopping, _began = threading.Event(), time.monotonic()

    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping.is_set():
        started = time.monotonic()
        tick()
        liveness.note()
        stopping.wait(max(0.0, settings.PULSE_SECONDS - (time.monotonic() - started)))


def tick() -> None:
    """Runs one pulse. Readers are sent what is known though a sweep failed: its mark grows old, the board says so."""
    now = clock.now()
    for part in (lift_expired, run_sweep):
        close_old_connections()  # what the part before has broken
        try:
            part(now)
        except (DatabaseError, InterfaceError) as error:
            log.warning("sweep_skipped", part=part.__name__, error=str(error).strip())
        except Exception:  # an error of ours in one part must not take the board from those who would see it
            log.exception("sweep_failed", part=part.__name__)
    close_old_connections()
    signs = read_signs(now)
    if signs is not None:
        find_incidents(signs, now)
    publish(now, signs)
    look_at_drills(now)


def lift_expired(now: datetime) -> None:
    """Lifts what was blacklisted for a time, which PostgreSQL's clock ends."""
    commands.lift_expired(database_clock.now())


def run_sweep(now: datetime) -> None:
    """Sweeps for what only time brings about."""
    swept = sweep.run(now)
    if swept.gaps_opened or swept.workers_turned:
        log.info("swept", gaps_opened=swept.gaps_opened, workers_turned=swept.workers_turned)


def read_signs(now: datetime) -> AllSigns | None:
    """Reads the signs that the board shows and incidents are found from; None when they cannot be read."""
    try:
        return reading.read(now)
    except (DatabaseError, InterfaceError) as error:
        log.warning("signs_not_read", error=str(error).strip())
        tell_of_database(error, now)
    except Exception:  # the bodies are published all the same
        log.exception("signs_not_read")
    return None


def tell_of_database(error: Exception, now: datetime) -> None:
    """Opens the incident of a database that could not be read, as far as it stores one; well signs end it."""
    close_old_connections()
    try:
        ledger.apply(Found((findings.of_alarm(servers.alarm_of(error), now),), is_partial=True), now)
    except (DatabaseError, InterfaceError) as second:
        log.warning("incidents_not_followed", error=str(second).strip())


def find_incidents(signs: AllSigns, now: datetime) -> None:
    """Opens, follows and ends incidents; who is told is written with them. Should it fail, the board still shows."""
    try:
        seen = findable.of(signs, is_starting=_is_starting())
        ledger.apply(findings.find(seen, now), now)
        digests.keep(seen, now)
    except (DatabaseError, InterfaceError) as error:
        log.warning("incidents_not_followed", error=str(error).strip())
    except Exception:
        log.exception("incidents_not_followed")


def _is_starting() -> bool:
    """Says whether this process has only just begun: the others may have begun with it."""
    return _began is not None and time.monotonic() - _began < STARTING_SECONDS


def look_at_drills(now: datetime) -> None:
    """Looks at drills after readers were sent what is known: a drill wants to know when they were told."""
    try:
        runner.look_at_all(now)
    except (DatabaseError, InterfaceError) as error:
        log.warning("drills_not_looked_at", error=str(error).strip())


def publish(now: datetime, signs: AllSigns | None = None) -> None:
    """Publishes the status bodies and the board, rendered once for all web processes; else each renders for itself."""
    for name, part in (("bodies", published.publish), ("board", partial(live.publish, signs=signs))):
        try:
            part(now)
        except (DatabaseError, InterfaceError, redis.RedisError) as error:
            log.warning("not_published", part=name, error=str(error).strip())
        except Exception:  # a page that cannot be drawn must not stop the sweep; the web says so to who asks
            log.exception("not_published", part=name)
