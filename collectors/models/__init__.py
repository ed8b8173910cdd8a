"""Models of collection: workers, pipelines, history, gaps, runs, status changes and transport changes.

Hot tables (Pipeline, Tick) are written by `store.py` in one SQL statement per poll; the models here are for reading.
"""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models

from collectors.models import history as history_models  # noqa: F401 - Django finds models here
from collectors.models import market_data as depth_models  # noqa: F401 - and here
from collectors.models.currencies import CalmPair as CalmPair
from collectors.models.currencies import CurrencyValue as CurrencyValue
from collectors.models.parts import PartOutage as PartOutage
from collectors.models.reports import RunReport
from collectors.rules import gap_causes, gaps
from exchanges.models import Exchange, Market


class WorkerStatus(models.TextChoices):
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


class Outcome(models.TextChoices):
    """The outcome of a run, in the words of FeedError.kind and of what only we can do."""

    STORED = "stored"
    THROTTLED = "throttled"
    HELD_BACK = "held_back"  # we did not ask, to stay within the exchange's limit
    UNREACHABLE = "unreachable"
    BAD_REPLY = "bad_reply"
    DENIED = "denied"
    NOT_CONNECTED = "not_connected"  # we refused to connect to a private address
    UNSUPPORTED = "unsupported"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class RunTransport(models.TextChoices):
    """The transport that brought a run's rows, whichever process made the run."""

    POLL = "poll"
    STREAM = "stream"  # rows came all the while, not at the run's end


class GapCause(models.TextChoices):
    """The cause of a gap, in the words of `gaps`, which has the rules."""

    OUR_OUTAGE = gap_causes.OUR_OUTAGE
    EXCHANGE_OUTAGE = gap_causes.EXCHANGE_OUTAGE
    RATE_LIMITED = gap_causes.RATE_LIMITED
    MARKET_QUIET = gap_causes.MARKET_QUIET
    NEVER_CAME = gap_causes.NEVER_CAME
    DELISTED = gap_causes.DELISTED
    HALTED = gap_causes.HALTED, gap_causes.LABELS[gap_causes.HALTED]
    REJECTED = gap_causes.REJECTED
    UNKNOWN = gap_causes.UNKNOWN


class GapState(models.TextChoices):
    """The state of a gap: how far the exchange has been asked for what we missed, not whether the silence lasts."""

    OPEN = "open"
    FILLING = "filling"
    FILLED = "filled"
    PARTLY_FILLED = "partly filled"
    NOTHING = "exchange has none"
    EXPIRED = "expired"


TO_FILL = (GapState.OPEN, GapState.FILLING)
TO_FILL_SQL = ", ".join(f"'{state.value}'" for state in TO_FILL)  # for `state IN (...)`, as in the partial index


class Origin(models.IntegerChoices):
    """The origin of a stored row: our own poll, or the exchange's history asked for later. Only LIVE proves life."""

    LIVE = 0
    CANDLE = 1
    TRADE = 2
    MISDATED = 3  # our own poll's, stamped in the future by a clock that ran ahead


class Worker(models.Model):
    """The collector of one exchange: its lease, its health, and what it last proved.

    `generation` fences: every operator's verb raises it, and a run that began under an older one can store nothing.
    """

    exchange = models.OneToOneField(Exchange, on_delete=models.CASCADE, primary_key=True, related_name="worker")
    generation = models.IntegerField(default=1)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    cycle_started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    stored_at = models.DateTimeField(null=True, blank=True)
    stored_count = models.IntegerField(default=0)
    usual_count = models.IntegerField(default=0, db_default=0)  # good rows of the last full answer
    usual_version = models.IntegerField(default=0, db_default=0)  # the market list that it was one of
    resumed_at = models.DateTimeField()
    error_count = models.IntegerField(default=0)
    strikes = models.IntegerField(default=0)
    retry_at = models.DateTimeField(null=True, blank=True)
    last_outcome = models.CharField(max_length=20, blank=True)
    last_error = models.TextField(blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)
    symbols_tracked = models.IntegerField(default=0)
    markets_version = models.IntegerField(default=0)
    markets_loaded_at = models.DateTimeField(null=True, blank=True)
    refused_list = models.CharField(max_length=16, default="", db_default="", blank=True)
    refused_count = models.SmallIntegerField(default=0, db_default=0)  # times in a row that this list came
    # by kind of market: how old its answers were and usually are, and, apart, those that are too old to be believed
    answers = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), editable=False)
    old_answers = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), editable=False)
    missing_markets = models.IntegerField(default=0, db_default=0)  # of the parts that the newest poll went without
    left_out_markets = models.IntegerField(default=0, db_default=0)  # and of those that cannot be asked for at all
    unknown_rows = models.IntegerField(default=0, db_default=0)  # of the newest answer: no market of the list
    accepted_unknown = models.IntegerField(default=0, db_default=0)  # so many were there just after the list
    unknown_version = models.IntegerField(default=0, db_default=0)  # the market list of that
    scheduled_seconds = models.FloatField(null=True, blank=True)
    status = models.CharField(max_length=8, default=WorkerStatus.STOPPED)
    status_since = models.DateTimeField()

    def __str__(self) -> str:
        return self.exchange_id


class PipelineQuerySet(models.QuerySet["Pipeline"]):
    def live(self) -> Self:
        """Filters to pipelines whose market is collected on an exchange that operators want collected."""
        return self.filter(market__is_collected=True, market__exchange__is_collected=True)


class Pipeline(models.Model):
    """The newest stored quote of one market. No index but the key: every poll updates every row (HOT updates)."""

    market = models.OneToOneField(Market, on_delete=models.CASCADE, primary_key=True, related_name="pipeline")
    received_at = models.DateTimeField(null=True, blank=True)
    exchange_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)
    last = models.FloatField(null=True, blank=True)
    bid = models.FloatField(null=True, blank=True)
    ask = models.FloatField(null=True, blank=True)
    high = models.FloatField(null=True, blank=True)
    low = models.FloatField(null=True, blank=True)
    base_volume = models.FloatField(null=True, blank=True)
    quote_volume = models.FloatField(null=True, blank=True)
    expected_seconds = models.FloatField()
    gaps_24h = models.IntegerField(default=0)
    gap_open = models.BooleanField(default=False)
    resumed_at = models.DateTimeField(null=True, blank=True)  # no silence before this was a gap
    frozen = models.BooleanField(default=False, db_default=False)  # fresh stamps, old values, while the pair moves
    # a jump that nothing confirms yet: the answers since, and the price before it
    unconfirmed_count = models.SmallIntegerField(default=0, db_default=0)
    trusted_price = models.FloatField(null=True, blank=True)

    objects = PipelineQuerySet.as_manager()

    def __str__(self) -> str:
        return f"pipeline {self.market_id}"

    @property
    def is_unconfirmed(self) -> bool:
        """Says whether its price has jumped, and neither another exchange nor a further answer agrees yet."""
        return self.unconfirmed_count > 0


class Tick(models.Model):
    """One stored quote. Partitioned by day (UTC) of `received_at`; partitions are made ahead and dropped by a task.

    `known_at` is when a row that was fetched later was stored; null for live rows, which are known since `received_at`.
    """

    pk = models.CompositePrimaryKey("pipeline_id", "received_at")
    pipeline = models.ForeignKey(Pipeline, on_delete=models.DO_NOTHING, db_constraint=False, related_name="ticks")
    origin = models.SmallIntegerField(default=0)
    received_at = models.DateTimeField()
    exchange_at = models.DateTimeField(null=True)
    last = models.FloatField(null=True)
    bid = models.FloatField(null=True)
    ask = models.FloatField(null=True)
    high = models.FloatField(null=True)
    low = models.FloatField(null=True)
    base_volume = models.FloatField(null=True)
    quote_volume = models.FloatField(null=True)
    known_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "collectors_tick"

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.received_at:%Y-%m-%d %H:%M:%S}"


class Rollup(models.Model):
    """One minute of one pipeline, made of its ticks: what remains when raw rows are dropped. Partitioned by day.

    A minute without ticks of its own is the exchange's candle, if that was fetched. `live`, `candle` and `trade` count
    its rows by origin. They, `revision` and `known_at` are null where a minute was made before they were written down.
    """

    pk = models.CompositePrimaryKey("pipeline_id", "minute_at")
    pipeline = models.ForeignKey(Pipeline, on_delete=models.DO_NOTHING, db_constraint=False, related_name="rollups")
    samples = models.SmallIntegerField()
    minute_at = models.DateTimeField()
    open = models.FloatField(null=True)
    high = models.FloatField(null=True)
    low = models.FloatField(null=True)
    close = models.FloatField(null=True)
    bid = models.FloatField(null=True)
    ask = models.FloatField(null=True)
    base_volume = models.FloatField(null=True)  # of a rolling day, as tickers tell it
    volume = models.FloatField(null=True)  # of this minute, as a candle tells it
    live = models.SmallIntegerField(null=True)
    candle = models.SmallIntegerField(null=True)
    trade = models.SmallIntegerField(null=True)
    revision = models.SmallIntegerField(null=True)
    known_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "collectors_rollup"

    def __str__(self) -> str:
        return f"{self.pipeline_id} {self.minute_at:%Y-%m-%d %H:%M}"


class Coverage(models.Model):
    """A quarter of an hour of one exchange: minutes of its pipelines that should hold a row, and those that do.

    The counts come from rollups, so from stored rows. Planned stops expect nothing; our own downtime does.
    """

    pk = models.CompositePrimaryKey("exchange_id", "quarter_at")
    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="coverage")
    quarter_at = models.DateTimeField()
    expected_minutes = models.IntegerField(default=0, db_default=0)
    stored_minutes = models.IntegerField(default=0, db_default=0)

    class Meta:
        verbose_name_plural = "coverage"

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.quarter_at:%Y-%m-%d %H:%M}"


class Gap(models.Model):
    """A series of missed expected intervals of one pipeline: from its last stored row to the next one.

    `ended_at` is null while the silence lasts. Written by `gaps/ledger.py` only.
    The exchange has been asked for everything before `filled_until`: `filled_count` rows came, and it does not have
    `lacking_count` that should be there.
    """

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="gaps", db_index=False)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    missed_count = models.IntegerField()  # while it lasts: when it was last looked at; readers ask missed(now)
    cause = models.CharField(max_length=16, default=GapCause.UNKNOWN)
    evidence = models.TextField(blank=True)
    is_judged = models.BooleanField(default=False, db_default=False)  # the cause is from all runs of the silence
    detected_at = models.DateTimeField()
    state = models.CharField(max_length=17, default=GapState.OPEN, db_default=GapState.OPEN)
    filled_until = models.DateTimeField(null=True, blank=True)
    filled_count = models.IntegerField(default=0, db_default=0)
    lacking_count = models.IntegerField(default=0, db_default=0)
    lacking_reason = models.TextField(blank=True, default="", db_default="")  # why the exchange has none for us
    attempts = models.SmallIntegerField(default=0, db_default=0)  # failed ones in a row
    next_try_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pipeline", "started_at"], name="gap_once"),
            models.UniqueConstraint(
                fields=["pipeline"], condition=models.Q(ended_at__isnull=True), name="gap_one_running"
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True) | models.Q(ended_at__gt=models.F("started_at")),
                name="gap_has_length",
            ),
        ]
        indexes = [
            models.Index(fields=["ended_at"], name="gap_by_end"),  # the sweep's 24 h window, and pruning
            models.Index(fields=["-started_at", "-id"], name="gap_newest_first"),  # admin and API pages
            models.Index(  # backfill's choice among an exchange's pipelines
                fields=["pipeline"], condition=models.Q(state__in=["open", "filling"]), name="gap_to_fill"
            ),
            models.Index(fields=["id"], condition=models.Q(is_judged=False), name="gap_to_judge"),
            models.Index(fields=["-missed_count", "-id"], name="gap_longest_first"),  # the API's list of the longest
        ]

    def __str__(self) -> str:
        return f"{self.pipeline_id} silent since {self.started_at:%Y-%m-%d %H:%M:%S}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    def missed(self, now: datetime) -> int:
        """Returns how many rows should have come, by now if the gap lasts. Reads the pipeline."""
        if self.ended_at is not None:
            return self.missed_count
        return gaps.missed(self.started_at, now, self.pipeline.expected_seconds)

    def progress(self, now: datetime) -> float:
        """Returns the share of the silence for which the exchange has been asked, from 0 to 1."""
        if self.state not in TO_FILL:
            return 1.0
        whole = ((self.ended_at or now) - self.started_at).total_seconds()
        asked = ((self.filled_until or self.started_at) - self.started_at).total_seconds()
        return min(1.0, asked / whole) if whole > 0 else 0.0


class Run(RunReport):
    """One collection of an exchange's tickers: a poll, or what a stream brought in some seconds."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="runs", db_index=False)
    transport = models.CharField(max_length=6, default=RunTransport.POLL, db_default=RunTransport.POLL)
    correlation_id = models.CharField(max_length=64, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)  # nobody asks before this: a pause, not an outage of ours

    class Meta:
        indexes = [
            models.Index(fields=["exchange", "-started_at"], name="run_by_exchange"),  # an exchange's page
            models.Index(fields=["-started_at", "-id"], name="run_newest_first"),  # lists and pruning
            models.Index(  # lists of one outcome: nearly all runs are stored ones
                fields=["-started_at", "-id"], condition=~models.Q(outcome=Outcome.STORED), name="run_not_stored"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.started_at:%Y-%m-%d %H:%M:%S} {self.outcome}"

    @property
    def is_listened(self) -> bool:
        return self.transport == RunTransport.STREAM


class Transition(models.Model):
    """A status change of a worker, with the reason."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="transitions")
    happened_at = models.DateTimeField()
    from_status = models.CharField(max_length=8)
    to_status = models.CharField(max_length=8)
    reason = models.TextField(blank=True)

    class Meta:
        verbose_name = "status change"
        indexes = [models.Index(fields=["-happened_at", "-id"], name="transition_newest_first")]

    def __str__(self) -> str:
        return f"{self.exchange_id}: {self.from_status} to {self.to_status}"


class Stream(models.Model):
    """The lease by which a stream process listens to one exchange. Who may store is said by the worker's lease."""

    exchange = models.OneToOneField(Exchange, on_delete=models.CASCADE, primary_key=True, related_name="stream")
    holder = models.CharField(max_length=100, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    is_delivering = models.BooleanField(default=False)
    since = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"stream of {self.exchange_id}"


class Switch(models.Model):
    """One transport change, to listening or to polling, and why."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="switches")
    happened_at = models.DateTimeField()
    to_transport = models.CharField(max_length=10)
    reason = models.TextField(blank=True)

    class Meta:
        verbose_name = "transport change"
        indexes = [models.Index(fields=["-happened_at", "-id"], name="switch_newest_first")]

    def __str__(self) -> str:
        return f"{self.exchange_id}: to {self.to_transport}"


class Backfill(models.Model):
    """The request slots of one exchange's backfill: one request at a time, so many a minute."""

    exchange = models.OneToOneField(Exchange, on_delete=models.CASCADE, primary_key=True, related_name="backfill")
    has_work = models.BooleanField(default=False)
    busy_until = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True)
    minute_at = models.DateTimeField(null=True, blank=True)
    requests_in_minute = models.IntegerField(default=0)
    closed_ways = models.JSONField(  # kept by the module of that name
        default=dict, blank=True, db_default=models.Value({}, models.JSONField())
    )

    def __str__(self) -> str:
        return f"backfill of {self.exchange_id}"


class ProcessLease(models.Model):
    """The right to do what only one process may, held until a moment on PostgreSQL's clock. Its holder renews it."""

    name = models.CharField(primary_key=True, max_length=40)
    holder = models.CharField(max_length=100)
    held_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder}"


class Watermark(models.Model):
    """The place that a job that walks through time has reached, moved in the transaction of the work itself."""

    name = models.CharField(primary_key=True, max_length=40)
    reached_at = models.DateTimeField()

    class Meta:
        db_table = "collectors_cursor"  # the old name: processes of the release before still run beside ours

    def __str__(self) -> str:
        return f"{self.name} {self.reached_at:%Y-%m-%d %H:%M:%S}"
