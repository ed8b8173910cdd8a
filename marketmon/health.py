"""Probes: /health, /live and /ready. Each part has 2 seconds to answer, whatever state it is in.

A part is asked for what it is used for, not whether it can be reached: the database stores, the broker hands over a
message, the schedule is being sent. What was found is handed out for a second, so that those who wait share one answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import timedelta
from typing import Any

import orjson
import structlog
from django.db import connection
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from collectors.gaps.sweep import SWEPT_CURSOR
from collectors.models import Watermark
from collectors.polling import schedule
from collectors.polling.schedule import BEAT_CURSOR, BEAT_SILENCE, SENT_CURSOR, SENT_SILENCE
from incidents.signs import telling
from lib import clock, processes, valkey
from lib.disk import database_disk
from lib.published import SharedRendering
from marketmon.celery import app

PART_SECONDS = 2.0
HELD_SECONDS = 1.0
PULSE_SILENCE = timedelta(seconds=30)  # it sweeps every second, and notes it every five
PROBE_KEY = "marketmon:probe"
BROKER_KEY = "marketmon:probe:broker"
BROKER_SECONDS = 5
MESSAGE_SECONDS = 60
NO_STORE = {"Cache-Control": "no-store"}
WELL = inline_serializer(
    "Health", {"status": serializers.ChoiceField(["ok", "error"]), "timestamp": serializers.DateTimeField()}
)
READY = inline_serializer(
    "Ready",
    {
        "ready": serializers.BooleanField(),
        "services": serializers.DictField(
            child=serializers.ChoiceField(["ready", "not ready"]),
            help_text="database, redis, broker, beat, pulse, worker, clock and notifier.",
        ),
        "warnings": serializers.ListField(
            child=serializers.CharField(),
            required=False,
            help_text="What will stop the collecting unless somebody acts; left out while there is nothing.",
        ),
    },
)

log = structlog.get_logger(__name__)
# A part that hangs keeps its thread until its own timeout; a full pool answers "not ready", which is then true.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="probe")

Check = Callable[[], None]


class Probe(APIView):
    """A probe, open to everybody and read-only: its routes give it GET and HEAD."""

    authentication_classes = ()
    permission_classes = [AllowAny]


class HealthView(Probe):
    """Says whether the database and Valkey can be used. Nothing external is asked."""

    @extend_schema(operation_id="health", tags=["probes"], auth=[], responses={200: WELL, 500: WELL})
    def get(self, request: Request) -> HttpResponseBase:
        usable = all(USABLE.get().values())
        return _answer(_word("ok" if usable else "error"), 200 if usable else 500)


class Live(Probe):
    """Says that the process is up, and nothing of anything else."""

    @extend_schema(operation_id="live", tags=["probes"], auth=[], responses={200: WELL})
    def get(self, request: Request) -> HttpResponseBase:
        return _answer(_word("ok"), 200)


class Ready(Probe):
    """Says whether everything is here that collecting needs."""

    @extend_schema(operation_id="ready", tags=["probes"], auth=[], responses={200: READY, 503: READY})
    def get(self, request: Request) -> HttpResponseBase:
        parts = USEFUL.get()
        services = {name: "ready" if is_ready else "not ready" for name, is_ready in parts.items()}
        is_ready = all(parts.values())
        body = {"ready": is_ready, "services": services, **_warned()}
        return _answer(body, 200 if is_ready else 503)


def _warned() -> dict[str, list[str]]:
    """Returns what will stop the collecting unless somebody acts, but has not done so yet."""
    disk = database_disk()
    return {"warnings": ["The database's disk is nearly full."]} if disk and disk.is_low else {}


def ask_usable() -> dict[str, bool]:
    return ask({"database": check_database, "redis": check_valkey})


def ask_useful() -> dict[str, bool]:
    return ask(ready_parts())


USABLE = SharedRendering(ask_usable, good_for_seconds=HELD_SECONDS)
USEFUL = SharedRendering(ask_useful, good_for_seconds=HELD_SECONDS)


def ask(checks: Mapping[str, Check]) -> dict[str, bool]:
    """Runs all checks at once; those that raise or are not back in time are False."""
    running = {name: _threads.submit(check) for name, check in checks.items()}
    wait(running.values(), timeout=PART_SECONDS)
    return {name: _passed(name, future) for name, future in running.items()}


def _passed(name: str, future: Future[None]) -> bool:
    if not future.done():
        future.cancel()
        log.warning("probe_failed", part=name, cause=f"no answer within {PART_SECONDS:.0f} s")
        return False
    error = future.exception()
    if error is not None:
        log.warning("probe_failed", part=name, cause=f"{type(error).__name__}: {error}")
    return error is None


class ReadOnly(Exception):
    """A database that answers, and stores nothing."""


def check_database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only')::boolean")
            if cursor.fetchone() == (True,):
                raise ReadOnly("nothing can be stored: the database is read-only")
    finally:
        connection.close()  # a fresh one each time also proves that there is one to be had


def check_valkey() -> None:
    valkey.client().set(PROBE_KEY, 1, ex=10)  # a write: a full or read-only server answers PING


def check_broker() -> None:
    """Sends a message and takes it, unless some process has done so a moment ago."""
    if valkey.client().get(BROKER_KEY):
        return
    name = f"{PROBE_KEY}:{uuid.uuid4().hex}"
    with app.connection_for_write() as broker:
        channel: Any = broker.default_channel
        channel.basic_publish(channel.prepare_message("probe"), exchange="", routing_key=name)
        channel.client.expire(name, MESSAGE_SECONDS)  # should we not come to take it
        if channel.basic_get(name, no_ack=True) is None:
            raise LookupError("a message that was sent cannot be taken")
    valkey.client().set(BROKER_KEY, 1, ex=BROKER_SECONDS)


def check_beat() -> None:
    """Asks whether beat lives, sends, and has the rows that all others hang on."""
    _check_mark(BEAT_CURSOR, BEAT_SILENCE)
    with suppress(Watermark.DoesNotExist):  # nothing was due yet
        _check_mark(SENT_CURSOR, SENT_SILENCE)
    try:
        missing = schedule.jobs_not_sent()
    finally:
        connection.close()
    if missing:
        raise LookupError(f"switched off or missing in the schedule: {', '.join(missing)}")


def check_pulse() -> None:
    _check_mark(SWEPT_CURSOR, PULSE_SILENCE)


def _check_mark(name: str, silence: timedelta) -> None:
    """Checks that a process has moved its mark lately; one in the future was written by a clock that ran ahead."""
    try:
        reached_at = Watermark.objects.values_list("reached_at", flat=True).get(name=name)
    finally:
        connection.close()
    if not -timedelta(seconds=clock.FUTURE_SECONDS) <= clock.now() - reached_at <= silence:
        raise TimeoutError(f"{name} was last seen at {clock.seconds_z(reached_at)}")


def check_worker() -> None:
    if not processes.count(processes.live(), "worker"):
        raise TimeoutError("no worker was heard lately: nobody takes the polls")


def check_clock() -> None:
    """Checks that no process's clock differs from PostgreSQL's."""
    wrong = [each for each in processes.live() if each.is_clock_off or each.is_clock_held]
    if wrong:
        named = ", ".join(f"{each.name} by {each.ahead_seconds} s" for each in wrong[:3])
        raise ClockWrong(f"clocks differ from PostgreSQL's: {named}")


def check_notifier() -> None:
    try:
        if telling.is_nobody_sending(clock.now()):
            raise TimeoutError("messages wait, and nobody sends them: no notifier runs")
    finally:
        connection.close()


class ClockWrong(Exception):
    """The refusal of a system whose clocks differ: what it stamps or deletes may be wrong."""


def ready_parts() -> Mapping[str, Check]:
    """Returns what collecting needs, by the name that /ready gives it."""
    return {
        "database": check_database,
        "redis": check_valkey,
        "broker": check_broker,
        "beat": check_beat,
        "pulse": check_pulse,
        "worker": check_worker,
        "clock": check_clock,
        "notifier": check_notifier,
    }


def _word(status: str) -> Mapping[str, object]:
    return {"status": status, "timestamp": clock.milliseconds_z(clock.now())}


def _answer(body: Mapping[str, object], status: int) -> HttpResponseBase:
    """Answers in JSON, to browsers too when something is not well: a page may need what has failed."""
    if status == 200:
        return Response(body, headers=NO_STORE)
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json", headers=NO_STORE)
