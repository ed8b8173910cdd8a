"""Every silence is one gap, with its bounds and its cause; what is no silence is none. Hours pass in seconds."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from collectors.gaps import causes, ledger, sweep
from collectors.models import Gap, Pipeline, Run, Worker
from collectors.polling import market_list
from exchanges.models import Market
from operations import commands
from tests.gaps.conftest import INTERVAL, Field, gaps_of, live_moments

EXCHANGES = ("binance", "kraken", "luno", "coinbase")
MARKETS = 8
EPOCH_SLOTS = 12  # a disturbance and the quiet after it
KINDS = ("exchange outage", "rate limited", "market quiet", "our outage", "restart", "planned", "market quiet")


@dataclass(frozen=True)
class Disturbance:
    """What goes wrong in one epoch: from slot `first` on, for `slots` slots."""

    kind: str
    first: int
    slots: int
    exchanges: tuple[str, ...]
    pipelines: frozenset[int]

    def covers(self, slot: int) -> bool:
        return self.first <= slot % EPOCH_SLOTS < self.first + self.slots


def disturbances(field_: Field, epochs: int, *, seed: int) -> list[Disturbance]:
    chance = random.Random(seed)
    found = []
    for number in range(epochs):
        kind = KINDS[number % len(KINDS)]
        slots = chance.randint(3, 7)
        one = (chance.choice(EXCHANGES),)
        if kind == "market quiet":
            some = frozenset(chance.sample(field_.all_pipelines, 14))
            found.append(Disturbance(kind, 1, slots, (), some))
        else:
            whom = EXCHANGES if kind in ("our outage", "restart") else one
            them = frozenset(pipeline for exchange in whom for pipeline in field_.pipelines[exchange])
            found.append(Disturbance(kind, 1, slots, whom, them))
    return found


def play(field_: Field, plan: list[Disturbance], start: datetime) -> datetime:
    """Polls every exchange in every slot as the plan says; the pulse sweeps as long as we are there ourselves."""
    chance = random.Random(7)
    moment = start
    for slot in range(len(plan) * EPOCH_SLOTS):
        now = plan[slot // EPOCH_SLOTS]
        moment = start + timedelta(seconds=INTERVAL * slot)
        is_on = now.covers(slot)
        for exchange_id in EXCHANGES:
            poll(field_, exchange_id, now if is_on else None, moment + timedelta(seconds=chance.random()))
        plan_stop(now, slot, moment)
        if not (is_on and now.kind == "our outage"):
            sweep.run(moment + timedelta(seconds=5))
    return moment


def poll(field_: Field, exchange_id: str, now: Disturbance | None, at: datetime) -> None:
    if now is None or now.kind == "market quiet":
        field_.store(exchange_id, at, without=() if now is None else now.pipelines)
    elif exchange_id not in now.exchanges:
        field_.store(exchange_id, at)
    elif now.kind == "exchange outage":
        field_.fail(exchange_id, at, random.choice(["unreachable", "bad_reply"]))
    elif now.kind == "rate limited":
        field_.fail(exchange_id, at, "throttled", pause_seconds=30)


def plan_stop(now: Disturbance, slot: int, moment: datetime) -> None:
    if now.kind == "planned" and slot % EPOCH_SLOTS == now.first - 1:
        commands.disable(now.exchanges[0], by="test", now=moment + timedelta(seconds=2))
    if now.kind == "planned" and slot % EPOCH_SLOTS == now.first + now.slots - 1:
        commands.enable(now.exchanges[0], by="test", now=moment + timedelta(seconds=2))
    if now.kind == "restart" and now.covers(slot):
        Worker.objects.filter(pk="kraken").update(generation=5 + slot)  # nobody polls while it comes up


def silences(field_: Field, plan: list[Disturbance], start: datetime) -> Counter[tuple[int, datetime, datetime, str]]:
    """The truth: for each disturbed pipeline, its last row before and its first row after, and why."""
    found: Counter[tuple[int, datetime, datetime, str]] = Counter()
    moments = {pipeline: live_moments(pipeline) for pipeline in field_.all_pipelines}
    for number, one in enumerate(plan):
        if one.kind == "planned":
            continue
        begins = start + timedelta(seconds=INTERVAL * (number * EPOCH_SLOTS + one.first))
        ends = begins + timedelta(seconds=INTERVAL * one.slots)
        cause = "our outage" if one.kind == "restart" else one.kind
        for pipeline in one.pipelines:
            before = max(at for at in moments[pipeline] if at < begins)
            after = min(at for at in moments[pipeline] if at >= ends)
            found[(pipeline, before, after, cause)] += 1
    return found


@pytest.mark.timeout(300)
def test_five_hundred_silences_are_each_found_once_with_their_cause(field_):
    for exchange_id in EXCHANGES:
        field_.add(exchange_id, MARKETS)
    start = field_.begun + timedelta(hours=1)
    plan = disturbances(field_, 42, seed=4)

    end = play(field_, plan, start)
    while causes.judge_new(end + timedelta(seconds=6)):
        pass

    truth = silences(field_, plan, start)
    found = Counter(Gap.objects.values_list("pipeline_id", "started_at", "ended_at", "cause"))
    assert sum(truth.values()) >= 500
    assert set(truth.values()) == {1}
    assert found == truth
    assert not Pipeline.objects.filter(gap_open=True).exists()
    for pipeline in field_.all_pipelines:
        assert Pipeline.objects.get(pk=pipeline).gaps_24h == len(gaps_of(pipeline))


def test_a_quiet_hour_has_no_gap(field_):
    field_.add("kraken", 40)
    start = field_.begun + timedelta(hours=1)
    chance = random.Random(3)

    for slot in range(360):
        late = chance.random() * 6 if slot % 7 else 9.9  # slow answers, and one that came at the last moment
        moment = start + timedelta(seconds=INTERVAL * slot)
        field_.store("kraken", moment + timedelta(seconds=late))
        sweep.run(moment + timedelta(seconds=9.95))

    assert not Gap.objects.exists()
    assert set(Pipeline.objects.values_list("gaps_24h", flat=True)) == {0}


def test_a_gap_that_no_sweep_has_seen_names_the_exchange_that_was_away(field_):
    """The pulse was down, the worker was not: the row that ends the silence finds what the runs say."""
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    field_.store("kraken", start)
    for slot in range(1, 9):
        field_.fail("kraken", start + timedelta(seconds=INTERVAL * slot), "unreachable")
    field_.store("kraken", start + timedelta(seconds=90))

    causes.judge_new(start + timedelta(seconds=91))

    assert {(gap.cause, gap.missed_count) for gap in Gap.objects.all()} == {("exchange outage", 8)}


def test_one_failed_poll_after_a_long_absence_does_not_make_it_the_exchanges_fault(field_):
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    field_.store("kraken", start)
    field_.fail("kraken", start + timedelta(seconds=590), "unreachable")
    field_.store("kraken", start + timedelta(seconds=600))

    causes.judge_new(start + timedelta(seconds=601))

    assert {gap.cause for gap in Gap.objects.all()} == {"our outage"}


@pytest.mark.parametrize(
    ("transport", "cause"), [("poll", "exchange outage"), ("stream", "market quiet")], ids=["a poll", "a stream"]
)
def test_a_poll_that_took_long_to_end_a_silence_did_not_store_other_markets_during_it(field_, transport, cause):
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    field_.store("kraken", start)
    field_.fail("kraken", start + timedelta(seconds=10), "unreachable")
    field_.store("kraken", start + timedelta(seconds=50))
    Run.objects.filter(started_at=start + timedelta(seconds=50)).update(
        started_at=start + timedelta(seconds=20), duration_ms=30_000, transport=transport
    )

    causes.judge_new(start + timedelta(seconds=51))

    assert {gap.cause for gap in Gap.objects.all()} == {cause}


def test_a_poll_that_failed_after_long_was_under_way_all_the_while(field_):
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    field_.store("kraken", start)
    field_.fail("kraken", start + timedelta(seconds=10), "unreachable")
    Run.objects.filter(outcome="unreachable").update(duration_ms=70_000)
    field_.store("kraken", start + timedelta(seconds=100))

    causes.judge_new(start + timedelta(seconds=101))

    assert {gap.cause for gap in Gap.objects.all()} == {"exchange outage"}


def test_a_pause_that_the_exchange_asked_for_is_not_our_absence(field_):
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    field_.store("kraken", start)
    field_.fail("kraken", start + timedelta(seconds=10), "throttled", pause_seconds=3600)
    field_.store("kraken", start + timedelta(seconds=3610))

    causes.judge_new(start + timedelta(seconds=3611))

    assert {gap.cause for gap in Gap.objects.all()} == {"rate limited"}


def test_a_market_that_is_delisted_while_silent_says_so(field_):
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    gone = field_.pipelines["kraken"][0]
    field_.store("kraken", start)
    for slot in range(1, 6):
        field_.store("kraken", start + timedelta(seconds=INTERVAL * slot), without=[gone])
        sweep.run(start + timedelta(seconds=INTERVAL * slot + 5))
    Market.objects.filter(pk=gone).update(active=False, delisted_at=start + timedelta(seconds=55))
    Pipeline.objects.filter(pk=gone).update(gap_open=False)
    Gap.objects.filter(pipeline_id=gone).update(ended_at=start + timedelta(seconds=56), is_judged=False)

    sweep.run(start + timedelta(seconds=60))

    (gap,) = gaps_of(gone)
    assert gap.cause == "delisted"
    assert Gap.objects.count() == 1


def test_a_market_whose_quotes_were_bad_is_not_called_quiet(field_):
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    bad = field_.pipelines["kraken"][0]
    field_.store("kraken", start)
    for slot in range(1, 6):
        field_.store("kraken", start + timedelta(seconds=INTERVAL * slot), without=[bad])
    Run.objects.filter(started_at__gt=start).update(
        rows_quarantined=1, quarantine=[{"symbol": "C0/USD", "reason": "bid above ask", "excerpt": ""}]
    )

    sweep.run(start + timedelta(seconds=55))

    (gap,) = gaps_of(bad)
    assert (gap.cause, gap.is_judged) == ("rejected", True)
    assert "bid above ask" in gap.evidence


def test_a_gap_that_lost_its_pipelines_mark_is_ended_where_rows_went_on(field_):
    field_.add("kraken", 1)
    start = field_.begun + timedelta(hours=1)
    (pipeline,) = field_.pipelines["kraken"]
    field_.store("kraken", start)
    sweep.run(start + timedelta(seconds=25))
    Pipeline.objects.update(gap_open=False)
    Worker.objects.update(resumed_at=start + timedelta(seconds=30))
    field_.store("kraken", start + timedelta(seconds=40))
    field_.store("kraken", start + timedelta(seconds=50))

    assert ledger.end_orphans() == 1

    (gap,) = gaps_of(pipeline)
    assert gap.ended_at == start + timedelta(seconds=40)
    assert ledger.end_orphans() == 0


def test_a_planned_stop_does_not_hide_the_silence_before_it(field_):
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    field_.store("kraken", start)

    commands.disable("kraken", by="test", now=start + timedelta(seconds=100))
    sweep.run(start + timedelta(seconds=300))

    ends = Gap.objects.values_list("started_at", "ended_at", "cause")
    assert set(ends) == {(start, start + timedelta(seconds=100), "our outage")}
    assert len(ends) == 2


def test_taking_a_market_out_does_not_hide_its_silence_before(field_):
    field_.add("kraken", 2)
    start = field_.begun + timedelta(hours=1)
    field_.store("kraken", start)

    commands.blacklist_market("kraken", "C0/USD", by="test", now=start + timedelta(seconds=100))
    commands.blacklist_market("kraken", "C1/USD", by="test", now=start + timedelta(seconds=15))

    (gap,) = Gap.objects.all()
    assert (gap.pipeline_id, gap.started_at) == (field_.pipelines["kraken"][0], start)
    assert gap.ended_at == start + timedelta(seconds=100)


def stop_all(field_: Field, now: datetime) -> None:
    commands.disable("kraken", by="test", now=now)


def take_out(field_: Field, now: datetime) -> None:
    with market_list.changing("kraken", now=now):
        Market.objects.update(blacklisted=True)


def delist(field_: Field, now: datetime) -> None:
    Market.objects.update(active=False, delisted_at=now)
    ledger.end_of_delisted("kraken", now)


def lose_its_mark(field_: Field, now: datetime) -> None:
    Pipeline.objects.update(gap_open=False, received_at=now)
    ledger.end_orphans()


@pytest.mark.parametrize("end", [stop_all, take_out, delist, lose_its_mark])
def test_what_was_missed_is_counted_whoever_ends_the_gap(field_: Field, end: Callable[[Field, datetime], None]) -> None:
    field_.add("kraken", 1)
    start = field_.begun + timedelta(minutes=5)
    field_.store("kraken", start)
    ledger.open_silent(start + timedelta(seconds=25))

    end(field_, start + timedelta(minutes=10))

    (gap,) = gaps_of(field_.pipelines["kraken"][0])
    assert (gap.ended_at, gap.missed_count) == (start + timedelta(minutes=10), 59)


@pytest.mark.parametrize("end", [stop_all, take_out])
def test_a_gap_that_an_operator_ends_is_judged_by_all_of_it(
    field_: Field, end: Callable[[Field, datetime], None]
) -> None:
    """Seen at first as the absence of everybody, it was the exchange's for ten minutes."""
    field_.add("kraken", 1)
    start = field_.begun + timedelta(minutes=5)
    field_.store("kraken", start)
    sweep.run(start + timedelta(seconds=25))
    for slot in range(3, 60):
        field_.fail("kraken", start + timedelta(seconds=slot * INTERVAL), "unreachable")

    end(field_, start + timedelta(minutes=10))
    causes.judge_new(start + timedelta(minutes=11))

    assert Gap.objects.get().cause == "exchange outage"


def test_a_gap_that_is_noticed_late_counts_what_was_missed_by_then(field_: Field) -> None:
    field_.add("kraken", 1)
    start = field_.begun + timedelta(minutes=5)
    field_.store("kraken", start)

    ledger.open_silent(start + timedelta(minutes=10))

    assert Gap.objects.get().missed_count == 59


def test_a_gap_opened_while_the_row_that_is_in_time_is_being_stored_is_withdrawn(field_: Field) -> None:
    """The batch has begun and waits for its worker's row; the sweep that holds it finds the silence too long."""
    field_.add("kraken", 2)
    start = field_.begun + timedelta(minutes=5)
    field_.store("kraken", start)
    storing = field_.begin_to_store("kraken", start + timedelta(seconds=2 * INTERVAL - 1))

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Worker.objects.select_for_update().get(pk="kraken")
        stored = pool.submit(storing)
        wait_for_a_waiting_statement()
        assert ledger.open_silent(start + timedelta(seconds=2 * INTERVAL + 1)) == 2

    assert stored.result() == 2
    assert not Gap.objects.exists()
    assert set(Pipeline.objects.values_list("gap_open", "gaps_24h")) == {(False, 0)}


def wait_for_a_waiting_statement() -> None:
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits")
