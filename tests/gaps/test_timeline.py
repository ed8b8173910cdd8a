"""Live rows, planned stops and gaps cover a time line exactly; what was filled lies in the gaps that it filled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TransactionTestCase

from collectors.backfill import answers, choice, outcome
from collectors.gaps import sweep
from collectors.history import partitions
from collectors.models import TO_FILL, Gap, Pipeline, Tick
from collectors.rate_limits.idle_window import RequestSlot
from exchanges.models import Exchange
from feeds.base import Candle
from lib import clock
from operations import commands
from tests.gaps.conftest import INTERVAL, Field, gaps_of, live_moments

# What a slot of ten seconds may hold; runs of a few slots, so that silences get long enough for candles.
STEP = st.tuples(
    st.sampled_from(["row", "row", "row", "absent", "failed", "missing", "stopped", "fill", "fill open"]),
    st.integers(1, 25),
)
CANDLES_KEPT = st.integers(1, 4)  # the exchange has every so many-th minute
LINE = {
    "steps": st.lists(STEP, min_size=2, max_size=14),
    "every": CANDLES_KEPT,
    "page": st.sampled_from([2, 5, 300]),
}


class TimeLine(TransactionTestCase):
    @given(**LINE)
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))  # many more in the lab
    def test_everything_is_live_stopped_or_a_gap(self, steps, every, page):
        play(steps, every, page)


def play(steps: Sequence[tuple[str, int]], every: int, page: int) -> None:
    now = clock.now()
    partitions.ensure(now)
    story = Story(now, every, page)
    for kind, slots in steps:
        story.play(kind, slots)
    story.check()


class Story:
    """One market of one exchange, beside another that always comes."""

    def __init__(self, now: datetime, every: int, page: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE collectors_tick, collectors_rollup")
        Exchange.objects.all().delete()
        self.field = Field(begun=now)
        self.field.add("kraken", 2)
        self.pipeline = self.field.pipelines["kraken"][0]
        self.now = now
        self.every, self.page = every, page
        self.field.store("kraken", now)
        self.planned: list[tuple[datetime, datetime]] = []

    def play(self, kind: str, slots: int) -> None:
        if kind.startswith("fill"):
            self.fill()
        elif kind == "stopped":
            self.stop(slots)
        else:
            for _ in range(slots):
                self.now += timedelta(seconds=INTERVAL)
                self.slot(kind)

    def slot(self, kind: str) -> None:
        if kind == "row":
            self.field.store("kraken", self.now)
        elif kind == "failed":
            self.field.fail("kraken", self.now, "unreachable")
        elif kind == "missing":
            self.field.store("kraken", self.now, without=[self.pipeline])
        if kind != "absent":  # then our pulse is away, too
            sweep.run(self.now + timedelta(seconds=1))

    def stop(self, slots: int) -> None:
        self.now += timedelta(seconds=INTERVAL)
        stopped_at = self.now
        commands.disable("kraken", by="test", now=stopped_at)
        for _ in range(slots):
            self.now += timedelta(seconds=INTERVAL)
            sweep.run(self.now)
        self.now += timedelta(seconds=INTERVAL)
        commands.enable("kraken", by="test", now=self.now)
        self.planned.append((stopped_at, self.now))

    def fill(self) -> None:
        """One page of candles for whatever is due, through the real claim and the real save."""
        exchange = Exchange.objects.get()
        turn = RequestSlot(exchange, exchange.worker.generation, 1.0)
        span = choice.claim("kraken", self.now)
        if span is None:
            return
        found = answers.from_candles(self.candles(span), span)
        outcome.save(turn, span, found, self.now)

    def candles(self, span: answers.GapSpan) -> list[Candle]:
        first = int(span.start // 60) * 60
        minutes = range(first, int(span.end) + 120, 60)
        return [Candle(float(at), 1, 2, 0.5, float(at), 3) for at in minutes if at // 60 % self.every == 0][: self.page]

    def check(self) -> None:
        sweep.run(self.now + timedelta(seconds=0.5))
        self.check_that_the_line_is_covered()
        for gap in Gap.objects.all():
            self.check_filling(gap)

    def check_that_the_line_is_covered(self) -> None:
        """Between two neighbouring moments is a planned stop, or a live stretch, or exactly one gap."""
        end = self.now + timedelta(seconds=0.5)
        moments = sorted({*live_moments(self.pipeline), *(at for stop in self.planned for at in stop)})
        stretches = set(pairwise(moments)) - set(self.planned)
        long = {(a, b) for a, b in stretches if (b - a).total_seconds() > 2 * INTERVAL}
        if (end - moments[-1]).total_seconds() > 2 * INTERVAL:
            long.add((moments[-1], None))
        assert {(gap.started_at, gap.ended_at) for gap in gaps_of(self.pipeline)} == long
        assert Pipeline.objects.get(pk=self.pipeline).gap_open == any(b is None for _, b in long)

    def check_filling(self, gap: Gap) -> None:
        """Asked part and open part make the gap; rows are exactly the exchange's, and in the asked part only."""
        asked_until = gap.filled_until or gap.started_at
        assert gap.started_at <= asked_until <= (gap.ended_at or self.now)
        if gap.state not in TO_FILL:
            assert asked_until == gap.ended_at
        rows = Tick.objects.filter(
            pipeline_id=gap.pipeline_id, origin=1, received_at__gt=gap.started_at,
            received_at__lt=gap.ended_at or self.now,
        )  # fmt: skip
        first = int(gap.started_at.timestamp()) // 60 * 60
        closes = range(first + 60, int(asked_until.timestamp()) + 60, 60)
        inside = [at for at in closes if gap.started_at.timestamp() < at <= asked_until.timestamp()]
        had = [at for at in inside if (at // 60 - 1) % self.every == 0 and self.is_inside(gap, at)]
        assert sorted(row.received_at.timestamp() for row in rows) == had
        assert [row.last for row in rows.order_by("received_at")] == [at - 60.0 for at in had]
        assert gap.filled_count == len(had)

    @staticmethod
    def is_inside(gap: Gap, at: int) -> bool:
        return gap.ended_at is None or at < gap.ended_at.timestamp()
