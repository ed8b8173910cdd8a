"""Fire drills: a fault put into the sandbox on purpose, and the system watched while it notices and overcomes it.

All of a drill is in its row. The pulse looks once a second (and the command as often as it likes): a look is a few
queries, so no worker's child waits for a drill, and whoever dies, the next look goes on from the row. The sandbox ends
the fault by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, transaction

from board.drills import faults, observations, sandbox_client
from board.drills.faults import FAULTS, USUAL_SECONDS, CollectionPace, Hits
from board.models import Drill, DrillState
from collectors.models import Pipeline, Stream, Worker, WorkerStatus
from exchanges.models import Exchange, is_exchange_id
from operations.transitions import CommandRefused, record

log = structlog.get_logger(__name__)

SHOWN_WITHIN_SECONDS = 3.0
SPREAD = 1.2  # the breaker's pauses are jittered by up to a fifth
GRACE_SECONDS = 30.0  # after the longest pause and one poll


# --- beginning and ending ------------------------------------------------------------------------------------------


def start(
    fault: str,
    exchange_id: str,
    *,
    now: datetime,
    symbol: str = "",
    seconds: float | None = None,
    by: Any = None,
    origin: str = "",
) -> Drill:
    """Breaks something in the sandbox. `by` is None for a command. Raises CommandRefused, with nothing broken."""
    exchange = _simulated(exchange_id)
    least = _check_fault(fault, exchange)
    symbol = _canary(exchange, symbol)
    seconds = max(USUAL_SECONDS, least) if seconds is None else seconds
    if not least <= seconds <= faults.LONGEST_SECONDS:
        raise CommandRefused(
            f"{fault} on {exchange_id} must last {least:g} to {faults.LONGEST_SECONDS:g} s: shorter, nobody "
            f"would notice for sure; {seconds:g} s were asked for"
        )
    drill = _claim(exchange, fault=fault, symbol=symbol, seconds=seconds, started_at=now, started_by=by)
    order = faults.order(fault, exchange=sandbox_client.name_of(exchange), symbol=symbol, seconds=seconds)
    try:
        drill.fault_number = sandbox_client.put(order)
    except sandbox_client.NoSandbox as error:
        drill.delete()
        raise CommandRefused(f"Nothing was broken: {error}") from error
    drill.save(update_fields=["fault_number"])
    _note(drill, origin)
    log.info("drill_started", drill=drill.pk, exchange=exchange_id, fault=fault, seconds=seconds)
    return drill


def stop(drill: Drill, *, now: datetime, by: str) -> None:
    """Takes the fault back and ends the drill. Raises CommandRefused when it is over, or the sandbox cannot be told."""
    if drill.state != DrillState.RUNNING:  # its fault's number may be another fault's by now
        raise CommandRefused("This drill is over already.")
    try:
        if drill.fault_number is not None:
            sandbox_client.lift(drill.fault_number)
    except sandbox_client.NoSandbox as error:
        raise CommandRefused(f"The fault ends by itself after {drill.seconds:g} s: {error}") from error
    ended = {"state": DrillState.FAILED, "verdict": f"Stopped by {by}.", "lifted_at": drill.lifted_at or now}
    Drill.objects.filter(pk=drill.pk, state=DrillState.RUNNING).update(**ended)


def faults_for(exchange: Exchange) -> dict[str, str]:
    """What may be broken now, with what it does: a stream hides what is wrong with polls, and without one there is
    none to silence."""
    hits = Hits.STREAMS if _is_listened_to(exchange) else Hits.POLLS
    return {name: fault.does for name, fault in FAULTS.items() if fault.hits is hits}


def pace(exchange: Exchange) -> CollectionPace:
    return CollectionPace(
        exchange.poll_interval_seconds, settings.POLL_DEADLINE_SECONDS, settings.STREAM_SILENCE_SECONDS
    )


def _simulated(exchange_id: str) -> Exchange:
    exchange = Exchange.objects.known().filter(pk=exchange_id).first() if is_exchange_id(exchange_id) else None
    if exchange is None:
        raise CommandRefused(f"There is no exchange {exchange_id[:64]}.")
    if not exchange.is_simulated:
        raise CommandRefused(
            f"{exchange_id} is a real exchange: only what the sandbox simulates can be broken on purpose."
        )
    worker = Worker.objects.filter(pk=exchange_id).first()
    if worker is None or worker.status != WorkerStatus.RUNNING or worker.error_count:
        state = f"{worker.status}, with {worker.error_count} errors" if worker else "without a worker"
        raise CommandRefused(f"{exchange_id} is not well now ({state}): a drill would prove nothing.")
    return exchange


def _check_fault(name: str, exchange: Exchange) -> float:
    """How long it must last at the least."""
    if name not in FAULTS:
        raise CommandRefused(f"There is no fault {name[:32]}; there are {', '.join(FAULTS)}.")
    if name in faults_for(exchange):
        return faults.least_seconds(name, pace(exchange))
    if FAULTS[name].hits is Hits.STREAMS:
        raise CommandRefused(f"{exchange.pk} is polled: there is no stream to break. Set its transport to auto first.")
    raise CommandRefused(f"{exchange.pk} is listened to, and would not notice {name}. Set its transport to poll first.")


def _is_listened_to(exchange: Exchange) -> bool:
    return Stream.objects.filter(pk=exchange.pk, is_delivering=True).exists()


def _canary(exchange: Exchange, symbol: str) -> str:
    """The market that is watched; without a wish the one with the largest volume of those that are fresh."""
    pipelines = Pipeline.objects.live().filter(
        market__exchange=exchange, received_at__isnull=False, gap_open=False, frozen=False
    )
    if not symbol.isprintable():
        raise CommandRefused("A market's name has no control characters.")
    if symbol:
        pipelines = pipelines.filter(market__symbol=symbol)
    newest = pipelines.order_by("-quote_volume", "market_id").select_related("market").first()
    if newest is None:
        raise CommandRefused(f"{exchange.pk} has no {symbol or 'market'} that is collected and has no gap now.")
    return newest.market.symbol


def _claim(exchange: Exchange, **fields: Any) -> Drill:
    try:
        with transaction.atomic():
            return Drill.objects.create(exchange=exchange, **fields)
    except IntegrityError as error:
        raise CommandRefused(f"A drill is running on {exchange.pk} already; wait for its end, or stop it.") from error


def _note(drill: Drill, origin: str) -> None:
    """The audit's row."""
    record(
        "drill",
        by=drill.started_by.get_username() if drill.started_by else "command line",
        now=drill.started_at,
        exchange=drill.exchange_id,
        market=drill.symbol,
        why=f"{drill.fault} for {drill.seconds:g} s",
        origin=origin,
    )


# --- watching ------------------------------------------------------------------------------------------------------


def look_at_all(now: datetime) -> None:
    """One look at each running drill; one query when there is none."""
    for drill in Drill.objects.filter(state=DrillState.RUNNING):
        look(drill, now)


def look(drill: Drill, now: datetime) -> None:
    """Writes down what has come since the last look. Two at once find the same, and the first to write it wins."""
    found = _news(drill, now)
    outcome = judge(drill, now, patience=timedelta(seconds=_patience_seconds(drill)))
    if outcome is not None:
        found |= {"state": outcome.state, "verdict": outcome.verdict}
    if not found:
        return
    if not Drill.objects.filter(pk=drill.pk, state=DrillState.RUNNING).update(**found):
        drill.refresh_from_db()
    elif outcome is not None:
        drill.state, drill.verdict = outcome.state, outcome.verdict
        log.info("drill_ended", drill=drill.pk, state=outcome.state, verdict=outcome.verdict)


def _news(drill: Drill, now: datetime) -> dict[str, Any]:
    before = {name: getattr(drill, name) for name in ("detected_at", "shown_at", "lifted_at", "healed_at")}
    ends_at = drill.started_at + timedelta(seconds=drill.seconds)
    if drill.detected_at is None and (sign := observations.detection(drill)):
        drill.detected_at, drill.detected_by = sign.moment, sign.words
    if drill.detected_at is not None and drill.shown_at is None and (sign := _showing(drill)):
        drill.shown_at, drill.shown_by = max(sign.moment, drill.detected_at), sign.words
    if drill.lifted_at is None and now >= ends_at:
        drill.lifted_at = ends_at
    if drill.lifted_at is not None and drill.detected_at is not None and (sign := observations.healing(drill)):
        drill.healed_at = sign.moment
    found = {name: getattr(drill, name) for name, was in before.items() if getattr(drill, name) != was}
    words = {"detected_at": ("detected_by", drill.detected_by), "shown_at": ("shown_by", drill.shown_by)}
    return found | dict(words[name] for name in found if name in words)


def _showing(drill: Drill) -> observations.Sign | None:
    """Readers who cannot be reached now are asked again by the next look."""
    try:
        return observations.showing(drill)
    except (DatabaseError, InterfaceError):
        return None


def _patience_seconds(drill: Drill) -> float:
    """After the fault's end: the breaker's longest pause, one more poll, and a while."""
    interval = drill.exchange.poll_interval_seconds
    longest_pause = SPREAD * max(settings.BREAKER_PAUSE_MAX_SECONDS, settings.STREAM_BACKOFF_MAX_SECONDS, interval)
    return float(longest_pause + interval + settings.POLL_DEADLINE_SECONDS + GRACE_SECONDS)


# --- judging -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DrillOutcome:
    state: DrillState
    verdict: str


def judge(drill: Drill, now: datetime, *, patience: timedelta) -> DrillOutcome | None:
    """How it went; None while it is too early to say."""
    ends_at = drill.started_at + timedelta(seconds=drill.seconds)
    if drill.healed_at is not None and drill.shown_at is not None:
        return _whole(drill)
    if now < ends_at + patience:
        return None
    return DrillOutcome(DrillState.FAILED, _missing(drill, (now - ends_at).total_seconds()))


def _whole(drill: Drill) -> DrillOutcome:
    shown = after(drill.detected_at, drill.shown_at) or 0.0
    if shown > SHOWN_WITHIN_SECONDS:
        late = f"Shown only {shown:.1f} s after it was detected; {SHOWN_WITHIN_SECONDS:g} s are allowed."
        return DrillOutcome(DrillState.FAILED, late)
    return DrillOutcome(
        DrillState.PASSED,
        f"Detected after {after(drill.started_at, drill.detected_at):.1f} s, shown {shown:.1f} s later, "
        f"well again {after(drill.lifted_at, drill.healed_at):.1f} s after the fault's end.",
    )


def _missing(drill: Drill, waited_seconds: float) -> str:
    if drill.detected_at is None:
        return "Never noticed: nothing in the database tells of the fault."
    if drill.shown_at is None:
        return "Detected, and never shown to readers."
    return f"Not well again {waited_seconds:.0f} s after the fault's end."


def after(begun: datetime | None, come: datetime | None) -> float | None:
    """Seconds between two of a drill's moments."""
    return (come - begun).total_seconds() if begun and come else None
