"""GET /metrics: Prometheus' view of the snapshot, read at each scrape, so that a removed exchange's series end.

A part that cannot be read has no series, and `marketmon_component_up` says which one is away; what never happened is
infinitely old, so that silence is never taken for health.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Sum
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from access.models import Tier, UsageDay
from collectors.gaps.sweep import SWEPT_CURSOR
from collectors.models import RunTransport, Watermark, Worker, WorkerStatus
from collectors.rules import worker_status
from collectors.rules.age import of_json
from collectors.rules.snapshot import WorkerView
from collectors.status import backups
from collectors.status import workers as status
from collectors.status.backups import BackupTimes
from collectors.status.dialects.pipelines import DEGRADED_FROM_SECONDS, DOWN_AFTER_SECONDS
from collectors.status.pipelines import JOIN_OLD, SHOWN_AT, old_sources
from lib import clock, processes, queues
from lib.clock import FUTURE_SECONDS
from lib.disk import database_disk
from lib.published import SharedRendering
from metrics import grids, incident_series
from metrics.families import gauge
from metrics.models import Collection, Grid, Series

log = structlog.get_logger(__name__)

HELD_SECONDS = 1.0  # scrapes are many seconds apart
MOST_FORMATS = 8  # Prometheus asks for one of three
RECENT = timedelta(minutes=5)
NEVER = math.inf
DATABASE_AWAY = (DatabaseError, InterfaceError)

# By the time that readers are told, as the pipelines API counts delays; one in the future counts as never.
PIPELINES = f"""
SELECT exchange_id,
       count(*) FILTER (WHERE at > %(now)s - interval '{DEGRADED_FROM_SECONDS} seconds'),
       count(*) FILTER (WHERE at <= %(now)s - interval '{DEGRADED_FROM_SECONDS} seconds'
                          AND at >= %(now)s - interval '{DOWN_AFTER_SECONDS} seconds'),
       count(*) FILTER (WHERE at IS NULL OR at < %(now)s - interval '{DOWN_AFTER_SECONDS} seconds'),
       max(extract(epoch FROM %(now)s - coalesce(at, '-infinity'))),
       count(*) FILTER (WHERE gap_open AND received_at IS NOT NULL AND halted_at IS NULL),
       sum(gaps_24h),
       count(*) FILTER (WHERE halted_at IS NOT NULL),
       count(*) FILTER (WHERE received_at IS NULL),
       count(*) FILTER (WHERE frozen),
       count(*) FILTER (WHERE unconfirmed_count > 0)
FROM (
    SELECT m.exchange_id, m.halted_at, p.received_at, p.gap_open, p.gaps_24h, p.frozen, p.unconfirmed_count,
           CASE WHEN p.received_at <= %(now)s + interval '{FUTURE_SECONDS} seconds'
                THEN least({SHOWN_AT.format(table="p.")}, old.made_at) END AS at
    FROM collectors_pipeline AS p
    JOIN exchanges_market AS m ON m.id = p.market_id
    JOIN exchanges_exchange AS e ON e.id = m.exchange_id
    {JOIN_OLD}
    WHERE m.is_collected AND e.is_collected
) AS shown
GROUP BY exchange_id
"""
RUNS = f"""
SELECT r.exchange_id, r.outcome, count(*), sum(r.rows_stored),
       avg(r.duration_ms) FILTER (WHERE r.transport <> '{RunTransport.STREAM}') / 1000.0
FROM collectors_run AS r JOIN exchanges_exchange AS e ON e.id = r.exchange_id AND e.removed_at IS NULL
WHERE r.started_at > %(since)s GROUP BY 1, 2
"""


_held: dict[str, SharedRendering[bytes]] = {}  # by content type


def render(accept: str) -> tuple[bytes, str]:
    """Returns the exposition in the format that the scraper accepts, and its content type.

    Those who ask within a second of each other get the same one: it costs as much as some hundred other answers.
    """
    encode, content_type = choose_encoder(accept)
    if content_type not in _held:
        if len(_held) >= MOST_FORMATS:
            _held.clear()
        _held[content_type] = SharedRendering(partial(_encoded, encode), good_for_seconds=HELD_SECONDS)
    return _held[content_type].get(), content_type


def forget() -> None:
    """Forgets what is held: the next answer is rendered anew."""
    _held.clear()


def _encoded(encode: Callable[[CollectorRegistry], bytes]) -> bytes:
    registry = CollectorRegistry()
    registry.register(ExpositionFacts(clock.now()))
    return encode(registry)


class ExpositionFacts(Collector):
    """All metrics at one moment; a part that cannot be read is left out and reported down."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def describe(self) -> Iterable[Metric]:
        return ()  # registering must not read the database

    def collect(self) -> Iterator[Metric]:
        database, is_database_up = self._part(self.from_database, DATABASE_AWAY)
        waiting, is_valkey_up = self._part(from_valkey, (redis.RedisError,))
        up = gauge("component_up", "Whether a part can be read: no other series of it is there when not.", "component")
        up.add_metric(["database"], float(is_database_up))
        up.add_metric(["valkey"], float(is_valkey_up))
        collection = gauge("collection_enabled", "Whether collection is switched on (COLLECTION_ENABLED).")
        collection.add_metric([], float(settings.COLLECTION_ENABLED))
        build = gauge("build_info", "1, and which release this is.", "version")
        build.add_metric([settings.VERSION], 1.0)
        yield from (build, up, collection, *database, *waiting, *disk_families())

    def from_database(self) -> list[Metric]:
        rows = Worker.objects.filter(exchange__removed_at__isnull=True).select_related("exchange").order_by("pk")
        workers = list(rows)
        facts = [status.facts(worker) for worker in workers]
        views = [worker_status.view(each, self.now) for each in facts]
        return [
            *worker_families(views, self.now),
            breaker_family(workers, self.now),
            *part_families(workers),
            *answer_families(workers),
            *pipeline_families(self.now),
            *run_families(views, self.now),
            *process_families(self.now),
            *incident_series.families(self.now),
            *collection_families(self.now),
            *regime_families(),
            grid_family(self.now),
            usage_family(self.now),
        ]

    @staticmethod
    def _part(read: Any, absences: tuple[type[Exception], ...]) -> tuple[list[Metric], bool]:
        try:
            return list(read()), True
        except absences as error:
            log.warning("exposition_incomplete", part=read.__name__, cause=str(error).strip())
            return [], False


def worker_families(views: Iterable[WorkerView], now: datetime) -> Iterator[Metric]:
    state = gauge("worker_status", "1 for the status that the exchange's worker has.", "exchange", "status")
    stored = gauge("worker_freshness_seconds", "Since a row was last stored; +Inf when never.", "exchange")
    heartbeat = gauge("worker_heartbeat_age_seconds", "Since a run was finished; +Inf when never.", "exchange")
    errors = gauge("worker_consecutive_errors", "Failed runs in a row.", "exchange")
    markets = gauge("worker_markets", "Markets that are collected.", "exchange")
    wanted = gauge("worker_wanted", "1 when operators want the exchange collected.", "exchange")
    for view in views:
        for word in WorkerStatus.values:
            state.add_metric([view.exchange, word], float(view.status == word))
        stored.add_metric([view.exchange], age(view.stored_at, now))
        heartbeat.add_metric([view.exchange], age(view.heartbeat_at, now))
        errors.add_metric([view.exchange], view.error_count)
        markets.add_metric([view.exchange], view.symbols_tracked)
        wanted.add_metric([view.exchange], float(view.is_collected))
    yield from (state, stored, heartbeat, errors, markets, wanted)


def breaker_family(workers: Iterable[Worker], now: datetime) -> Metric:
    family = gauge("breaker_open", "1 while an exchange is not called because it failed or asked so.", "exchange")
    for worker in workers:
        family.add_metric([worker.exchange_id], float(worker.retry_at is not None and worker.retry_at > now))
    return family


def part_families(workers: Iterable[Worker]) -> Iterator[Metric]:
    missing = gauge("worker_missing_markets", "Markets of parts that the newest poll went without.", "exchange")
    left_out = gauge("worker_left_out_markets", "Markets of kinds that cannot be asked for.", "exchange")
    unknown = gauge("worker_unknown_rows", "Rows of the newest answer that are of no listed market.", "exchange")
    for worker in workers:
        missing.add_metric([worker.exchange_id], worker.missing_markets)
        left_out.add_metric([worker.exchange_id], worker.left_out_markets)
        unknown.add_metric([worker.exchange_id], worker.unknown_rows)
    yield from (missing, left_out, unknown)


def pipeline_families(now: datetime) -> Iterator[Metric]:
    counts = gauge(
        "pipelines",
        f"Pipelines by delay: healthy, degraded ({DEGRADED_FROM_SECONDS} s), down ({DOWN_AFTER_SECONDS} s, or never).",
        "exchange",
        "status",
    )
    delay = gauge("pipeline_delay_seconds_max", "Delay of the pipeline that is furthest behind.", "exchange")
    open_gaps = gauge("gaps_open", "Pipelines that are silent now.", "exchange")
    gaps = gauge("gaps_24h", "Gaps that touch the last 24 hours.", "exchange")
    halted = gauge("markets_halted", "Markets that the exchange lists and does not trade.", "exchange")
    never = gauge("markets_never_came", "Markets that the exchange lists and of which no row ever came.", "exchange")
    frozen = gauge("pipelines_frozen", "Pipelines whose rows come and whose values stand still.", "exchange")
    unconfirmed = gauge("pipelines_unconfirmed", "Pipelines whose price has jumped alone.", "exchange")
    found = _rows(PIPELINES, now=now, **old_sources())
    for exchange, healthy, degraded, down, furthest, silent, day, stopped, dead, still, jumped in found:
        for word, count in (("healthy", healthy), ("degraded", degraded), ("down", down)):
            counts.add_metric([exchange, word], count)
        delay.add_metric([exchange], max(0.0, float(furthest)))
        open_gaps.add_metric([exchange], silent)
        gaps.add_metric([exchange], day)
        halted.add_metric([exchange], stopped)
        never.add_metric([exchange], dead)
        frozen.add_metric([exchange], still)
        unconfirmed.add_metric([exchange], jumped)
    yield from (counts, delay, open_gaps, gaps, halted, never, frozen, unconfirmed)


def answer_families(workers: Iterable[Worker]) -> Iterator[Metric]:
    """Yields what exchanges say of the age of their answers; where they say nothing, there is no series of it."""
    old = gauge("answers_old", "1 while answers are old by the exchange's own time.", "exchange", "kind")
    lag = gauge("answer_age_seconds", "Age of the newest answer when it came, by the exchange.", "exchange", "kind")
    skew = gauge("exchange_clock_behind_seconds", "How far the server's clock is behind ours.", "exchange", "kind")
    for worker in workers:
        for kind, state in sorted(of_json(worker.answers).items()):
            old.add_metric([worker.exchange_id, kind], float(state.is_old))
            if state.lag_seconds is not None:
                lag.add_metric([worker.exchange_id, kind], state.lag_seconds)
            if state.skew_seconds is not None:
                skew.add_metric([worker.exchange_id, kind], state.skew_seconds)
    yield from (old, lag, skew)


def run_families(views: Iterable[WorkerView], now: datetime) -> Iterator[Metric]:
    runs = gauge("runs_5m", "Runs of the last 5 minutes.", "exchange", "outcome")
    stored = gauge("rows_stored_5m", "Rows stored in the last 5 minutes.", "exchange")
    duration = gauge("run_duration_seconds", "Mean duration of a poll in the last 5 minutes.", "exchange", "outcome")
    rows = {view.exchange: 0 for view in views if view.is_collected}
    for exchange, outcome, count, total, seconds in _rows(RUNS, since=now - RECENT):
        runs.add_metric([exchange, outcome], count)
        if seconds is not None:
            duration.add_metric([exchange, outcome], float(seconds))
        rows[exchange] = rows.get(exchange, 0) + int(total)
    for exchange, total in rows.items():
        stored.add_metric([exchange], total)
    yield from (runs, stored, duration)


def process_families(now: datetime) -> Iterator[Metric]:
    beat = gauge("beat_lag_seconds", "Since the scheduler was last seen; +Inf when never.")
    pulse = gauge("pulse_lag_seconds", "Since silences were last looked for, which opens gaps; +Inf when never.")
    names = ("beat", SWEPT_CURSOR, *backups.CURSORS)
    marks = dict(Watermark.objects.filter(name__in=names).values_list("name", "reached_at"))
    beat.add_metric([], age(marks.get("beat"), now))
    pulse.add_metric([], age(marks.get(SWEPT_CURSOR), now))
    yield from (beat, pulse, *backup_families(backups.of_marks(marks), now))


def backup_families(times: BackupTimes, now: datetime) -> Iterator[Metric]:
    """Yields the ages of the last backup and proof; nothing where none are made."""
    if times.are_expected:
        made = gauge("backup_age_seconds", "Since the last backup was made; +Inf when never.")
        proven = gauge("restore_proven_age_seconds", "Since a backup was last restored and proven; +Inf when never.")
        made.add_metric([], age(times.made_at, now))
        proven.add_metric([], age(times.proven_at, now))
        yield from (made, proven)


def collection_families(now: datetime) -> Iterator[Metric]:
    since = gauge("metrics_collection_age_seconds", "Since the webhook last stored a snapshot; +Inf when never.")
    points = gauge("metrics_collection_data_points", "Rows stored by the newest snapshot.")
    failures = gauge("metrics_collection_failures", "Sources that failed in the newest snapshot.")
    seconds = gauge("metrics_collection_duration_seconds", "How long the newest snapshot took.")
    newest = Collection.objects.filter(status="success").order_by("-started_at", "-id").first()
    since.add_metric([], age(newest.started_at if newest else None, now))
    if newest is not None:
        points.add_metric([], newest.data_points_collected)
        failures.add_metric([], len(newest.failures))
        seconds.add_metric([], newest.duration_ms / 1000)
    yield from (since, points, failures, seconds)


def regime_families() -> Iterator[Metric]:
    state = gauge(
        "regime_exit_state", "1 for the exit state that the series has.", "exchange", "market", "timeframe", "state"
    )
    verdicts = gauge("regime_verdict", "1 for the verdict on the series.", "exchange", "market", "timeframe", "verdict")
    watched = Series.objects.watched().select_related("market").order_by("pk")
    for series in watched:
        names = [series.market.exchange_id, series.market.symbol, series.timeframe]
        state.add_metric([*names, series.exit_state or "unknown"], 1)
        verdicts.add_metric([*names, series.verdict or "unknown"], 1)
    yield from (state, verdicts)


def grid_family(now: datetime) -> Metric:
    family = gauge("grid_state", "1 for the state that the grid has.", "grid", "exchange", "market", "state")
    for each in grids.standings(Grid.objects.select_related("market").order_by("pk"), now=now):
        market = each.grid.market
        family.add_metric([each.grid.pk, market.exchange_id, market.symbol, each.state or "unknown"], 1)
    return family


def usage_family(now: datetime) -> Metric:
    family = gauge("api_calls_today", "Calls by API keys today (UTC), by tier.", "tier")
    used = UsageDay.objects.filter(day=now.date()).values_list("key__tier").annotate(calls=Sum("calls"))
    calls = dict.fromkeys(Tier.objects.order_by("rank").values_list("pk", flat=True), 0) | dict(used)
    for tier, count in calls.items():
        family.add_metric([tier], count)
    return family


def disk_families() -> Iterator[Metric]:
    """Yields the room on the database's disk; nothing where it cannot be seen from here."""
    disk = database_disk()
    if disk is not None:
        free = gauge("database_disk_free_bytes", "What may still be written on the database's disk.")
        total = gauge("database_disk_bytes", "The size of the database's disk.")
        low = gauge("database_disk_low", "1 while the database's disk is nearly full.")
        free.add_metric([], disk.free_bytes)
        total.add_metric([], disk.total_bytes)
        low.add_metric([], float(disk.is_low))
        yield from (free, total, low)


def from_valkey() -> list[Metric]:
    """Returns the queues by their names, of all priorities, and the processes that were heard lately."""
    waiting = gauge("queue_depth", "Tasks that wait.", "queue")
    for queue, depth in queues.depths().items():
        waiting.add_metric([queue], depth)
    counts = gauge("processes", "Processes that were heard in the last seconds.", "kind")
    ahead = gauge("clock_ahead_seconds", "A process's clock before PostgreSQL's.", "process")
    wrong = gauge("clocks_wrong", "Processes whose clock differs from PostgreSQL's by more than is tolerated.")
    live = processes.live()
    for kind in processes.KINDS:
        counts.add_metric([kind], processes.count(live, kind))
    for each in live:
        if each.ahead_seconds is not None:
            ahead.add_metric([each.name], each.ahead_seconds)
    wrong.add_metric([], sum(each.is_clock_off or each.is_clock_held for each in live))
    return [waiting, counts, ahead, wrong]


def age(moment: datetime | None, now: datetime) -> float:
    """Returns the age in seconds; infinite for what never was, and for what is stamped in the future."""
    seconds = NEVER if moment is None else (now - moment).total_seconds()
    return NEVER if seconds < -FUTURE_SECONDS else max(0.0, seconds)


def _rows(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
