"""Filling from the simulated exchange: real client, real wire; what is stored is compared with its truth."""

from __future__ import annotations

import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from collectors import backfill
from collectors.backfill import answers, asking, candle_stamps, choice, outcome, refused_history, turns
from collectors.history import partitions
from collectors.models import Backfill, Gap, Pipeline, Rollup, Tick, Worker
from collectors.polling import poll as ingest
from collectors.rate_limits.idle_window import RequestSlot
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange, Market
from feeds.deadlines import DeadlineFeed
from lib import clock
from operations import commands


@pytest.fixture
def collected(transactional_db, sandbox):
    """Binance on the sandbox, polled a moment ago; gives a function that polls again."""
    partitions.ensure(clock.now())
    candle_stamps.forget()
    commands.create("binance", by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER)

    def poll() -> None:
        Worker.objects.update(cycle_started_at=None)
        assert ingest.collect_once("binance", now=clock.now()) == "stored"

    poll()
    return poll


def make_gap(
    symbol: str = "BTC/USDT",
    *,
    exchange: str = "binance",
    minutes: float = 12,
    ago_minutes: float = 30,
    ended: bool = True,
) -> Gap:
    started_at = clock.now() - timedelta(minutes=ago_minutes)
    return Gap.objects.create(
        pipeline_id=Market.objects.get(exchange=exchange, symbol=symbol).pk,
        started_at=started_at,
        ended_at=started_at + timedelta(minutes=minutes) if ended else None,
        missed_count=round(minutes * 6),
        detected_at=clock.now(),
    )


def fill(seconds: float = 5.0) -> int:
    return backfill.fill("binance", clock=clock.now, seconds=seconds)


def filled(gap: Gap) -> list[Tick]:
    return list(Tick.objects.filter(pipeline_id=gap.pipeline_id, origin__gt=0).order_by("received_at"))


def history_requests(sandbox, since: float) -> list[str]:
    asked = [request["path"] for request in sandbox.requests_of("binance", since=since)]
    return [path for path in asked if "klines" in path or "rades" in path]


def test_a_gap_is_filled_with_what_the_exchange_had(collected, sandbox):
    gap = make_gap()
    live = Pipeline.objects.get(pk=gap.pipeline_id)

    stored = fill()

    gap.refresh_from_db()
    rows = filled(gap)
    assert (gap.state, gap.filled_until, gap.lacking_count) == ("filled", gap.ended_at, 0)
    assert stored == gap.filled_count == len(rows) >= 11
    for row in rows:
        second = int(row.received_at.timestamp())
        assert gap.started_at < row.received_at < gap.ended_at
        assert row.exchange_at == row.received_at
        assert row.last == sandbox.price("binance", "BTC/USDT", second)
        assert (row.origin, row.high, row.low, row.base_volume, row.bid) == (1, None, None, None, None)
    after = Pipeline.objects.get(pk=gap.pipeline_id)
    assert (after.received_at, after.last, after.changed_at) == (live.received_at, live.last, live.changed_at)
    assert Rollup.objects.filter(pipeline_id=gap.pipeline_id).count() >= 11


@pytest.mark.parametrize("late", [0.0, 60.0], ids=["as they should be", "at their end"])
def test_how_candles_are_stamped_is_learned_from_our_own_rows(collected, sandbox, monkeypatch, late):
    """An exchange that gives each candle the time of its end, and is asked by such times."""
    gap = make_gap(minutes=6, ago_minutes=10)
    remember_minutes_before(gap, sandbox, count=14)
    as_it_is = DeadlineFeed.fetch_candles

    def stamped(self, symbol, *, since, **more):
        return tuple(
            each._replace(opened_at=each.opened_at + late)
            for each in as_it_is(self, symbol, since=since - late, **more)
        )

    monkeypatch.setattr(DeadlineFeed, "fetch_candles", stamped)
    began = time.time()

    assert fill() >= 5

    assert candle_stamps.known_shift("binance") == late
    for row in filled(gap):
        assert row.last == sandbox.price("binance", "BTC/USDT", int(row.received_at.timestamp()))
    assert len(history_requests(sandbox, began)) == 2  # one of them to learn


def remember_minutes_before(gap: Gap, sandbox, *, count: int) -> None:
    """Our rows of whole minutes, every twenty seconds, in the sandbox's own prices."""
    end = gap.started_at.replace(second=0, microsecond=0)
    moments = [end - timedelta(seconds=second) for second in range(1, 60 * count, 20)]
    partitions.ensure_since(moments[-1], clock.now(), tables=("collectors_tick",))
    Tick.objects.bulk_create(
        Tick(pipeline_id=gap.pipeline_id, received_at=moment,
             last=sandbox.price("binance", "BTC/USDT", int(moment.timestamp())))
        for moment in moments
    )  # fmt: skip


def test_a_gap_without_a_whole_minute_is_filled_with_trades(collected, sandbox):
    started_at = clock.now().replace(second=2, microsecond=0) - timedelta(minutes=20)
    gap = make_gap()
    Gap.objects.update(started_at=started_at, ended_at=started_at + timedelta(seconds=50))
    began = time.time()

    fill()

    gap.refresh_from_db()
    assert len(history_requests(sandbox, began)) >= 1
    assert gap.state in ("filled", "partly filled", "exchange has none")
    for row in filled(gap):
        assert row.origin == 2
        assert gap.started_at < row.received_at < gap.ended_at
        assert row.last == pytest.approx(
            sandbox.price("binance", "BTC/USDT", int(row.received_at.timestamp())), rel=0.01
        )


def test_what_is_filled_or_cannot_be_had_is_not_asked_for_again(collected, sandbox):
    make_gap()
    make_gap("ETH/USDT")
    fill()
    began = time.time()

    assert fill() == 0

    assert history_requests(sandbox, began) == []


def test_what_an_exchange_cannot_give_is_remembered(collected):
    gap = make_gap()
    Market.objects.filter(pk=gap.pipeline_id).update(symbol="NOSUCH/USDT")

    assert fill() == 0

    gap.refresh_from_db()
    assert (gap.state, gap.filled_count, gap.next_try_at) == ("exchange has none", 0, None)


@pytest.fixture
def luno(transactional_db, sandbox):
    """Its candles are for those who have a key; its trades are for everybody."""
    partitions.ensure(clock.now())
    commands.create("luno", by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER)

    def fill_luno() -> int:
        Worker.objects.update(cycle_started_at=None)
        assert ingest.collect_once("luno", now=clock.now()) == "stored"
        return backfill.fill("luno", clock=clock.now, seconds=5.0)

    fill_luno()
    return fill_luno


def test_where_candles_need_a_key_trades_fill_the_gap(luno, monkeypatch):
    monkeypatch.setattr(choice, "SETTLE", timedelta(seconds=10))  # its newest hundred trades are of 100 s
    gap = make_gap("BTC/ZAR", exchange="luno", minutes=1.05, ago_minutes=1.3)  # so long that a minute closes in it

    assert luno() > 0

    gap.refresh_from_db()
    assert gap.state in ("filled", "partly filled")
    assert {row.origin for row in filled(gap)} == {2}
    backfilling = Backfill.objects.get(pk="luno")
    assert "apiKey" in backfilling.closed_ways["candles"]["why"]
    assert backfilling.paused_until is None


def test_where_trades_reach_back_too_little_the_reason_is_told(luno):
    gap = make_gap("BTC/ZAR", exchange="luno", ago_minutes=2000)

    luno()

    gap.refresh_from_db()
    assert gap.state == "exchange has none"
    assert "no candles: " in gap.lacking_reason


def test_where_nothing_is_given_without_a_key_the_reason_is_told_and_nobody_asks_again(luno, sandbox):
    gap = make_gap("BTC/ZAR", exchange="luno")
    sandbox.fault("luno", "status", path="/api/1/trades", params={"code": 403})

    luno()

    gap.refresh_from_db()
    assert (gap.state, gap.next_try_at) == ("exchange has none", None)
    assert "no candles: " in gap.lacking_reason
    assert "no trades: " in gap.lacking_reason
    asked, second = time.time(), make_gap("ETH/ZAR", exchange="luno")
    luno()
    second.refresh_from_db()
    assert second.state == "exchange has none"
    assert not [each for each in sandbox.requests_of("luno", since=asked) if "trades" in each["path"]]


def test_a_closed_way_is_tried_again_after_an_operators_verb(luno):
    make_gap("BTC/ZAR", exchange="luno")
    luno()
    now, generation = clock.now(), Worker.objects.get(pk="luno").generation
    assert list(refused_history.of("luno", generation=generation, now=now)) == ["candles"]

    commands.restart("luno", by="test", now=now)

    assert not refused_history.of("luno", generation=generation + 1, now=now)
    assert not refused_history.of("luno", generation=generation, now=now + timedelta(days=1))


def test_a_silence_that_lasts_is_filled_up_to_a_moment_ago_and_stays_open(collected):
    gap = make_gap(ended=False)

    assert fill() > 20

    gap.refresh_from_db()
    assert gap.state == "filling"
    assert gap.ended_at is None
    assert gap.filled_until < clock.now() - timedelta(seconds=80)
    assert gap.next_try_at > clock.now() + timedelta(minutes=4)


def test_a_fill_is_capped_and_the_rest_stays_open(collected, monkeypatch):
    monkeypatch.setattr(answers, "PAGE", 5)
    monkeypatch.setattr("django.conf.settings.BACKFILL_REQUESTS_PER_MINUTE", 1)
    gap = make_gap(minutes=20)

    fill()

    gap.refresh_from_db()
    assert gap.state == "filling"
    assert 4 <= gap.filled_count <= 7
    assert gap.started_at < gap.filled_until < gap.ended_at
    assert 0.1 < gap.progress(clock.now()) < 0.5


def test_backfill_can_be_switched_off(collected, settings):
    settings.BACKFILL_REQUESTS_PER_MINUTE = 0
    make_gap()

    assert fill() == 0


def test_the_requests_of_a_minute_are_bounded(collected, sandbox, settings):
    settings.BACKFILL_REQUESTS_PER_MINUTE = 3
    for symbol in Market.objects.collected().values_list("symbol", flat=True)[:8]:
        make_gap(symbol)
    began = time.time()

    fill()

    assert len(history_requests(sandbox, began)) <= 6  # a new minute may have begun meanwhile
    assert Backfill.objects.get().requests_in_minute <= 3
    assert Gap.objects.filter(state="open").exists()


@pytest.mark.parametrize(
    "hindrance",
    [
        {"error_count": 1, "last_outcome": "unreachable"},
        {"retry_at": clock.now() + timedelta(hours=1)},
        {"lease_until": clock.now() + timedelta(hours=1)},
        {"cycle_started_at": clock.now() - timedelta(seconds=10)},
        {"cycle_started_at": None},
    ],
    ids=["the last poll failed", "told to wait", "a poll is running", "the next poll is due", "never polled"],
)
def test_live_polling_comes_first(collected, sandbox, hindrance):
    make_gap()
    Worker.objects.update(**hindrance)
    began = time.time()

    assert fill() == 0

    assert history_requests(sandbox, began) == []


def test_a_poll_is_never_kept_waiting_by_a_fill(collected):
    make_gap()
    exchange = Exchange.objects.get(pk="binance")
    Backfill.objects.create(exchange=exchange)

    turn = turns.take_turn(exchange)

    assert turn is not None
    assert turns.take_turn(exchange) is None  # one request at a time
    collected()


def test_a_stopped_exchange_is_not_asked(collected, sandbox):
    make_gap()
    commands.blacklist("binance", by="test", now=clock.now())
    began = time.time()

    assert fill() == 0

    assert history_requests(sandbox, began) == []


def test_rows_that_arrive_after_a_stop_are_dropped(collected):
    gap = make_gap()
    exchange = Exchange.objects.get(pk="binance")
    turn = RequestSlot(exchange, exchange.worker.generation, 3.0)
    span = choice.claim("binance", clock.now())
    found = asking.ask(turn, span, clock.now())
    commands.disable("binance", by="test", now=clock.now())

    assert found.points
    assert outcome.save(turn, span, found, clock.now()) == 0

    assert filled(gap) == []


def test_an_exchange_that_asks_to_wait_is_left_alone_by_polls_too(collected, sandbox):
    gap = make_gap()
    sandbox.fault("binance", "status", path="klines", params={"code": 429, "retry_after": 40})

    assert fill() == 0

    gap.refresh_from_db()
    assert gap.attempts == 1
    assert gap.next_try_at > clock.now()
    assert Backfill.objects.get().paused_until > clock.now() + timedelta(minutes=4)
    assert Worker.objects.get().retry_at > clock.now() + timedelta(seconds=30)


def test_a_failed_request_is_tried_again_later_and_less_and_less_often(collected, sandbox):
    gap = make_gap()
    sandbox.fault("binance", "status", path="klines", params={"code": 500})

    fill()

    gap.refresh_from_db()
    assert (gap.state, gap.attempts) == ("filling", 1)
    assert gap.next_try_at > clock.now() + timedelta(seconds=50)
    assert outcome.retry_pause(3) == timedelta(minutes=8)
    assert outcome.retry_pause(50) == timedelta(hours=1)


def test_what_is_older_than_what_is_kept_expires(collected):
    old = make_gap(ago_minutes=60 * 24 * 5)
    new = make_gap("ETH/USDT")

    assert backfill.plan(clock.now()) == ["binance"]

    old.refresh_from_db()
    assert old.state == "expired"
    assert backfill.is_wanted("binance")
    fill()
    assert backfill.plan(clock.now()) == []
    new.refresh_from_db()
    assert new.state == "filled"


def test_what_is_too_old_to_be_kept_is_not_said_to_be_missing_at_the_exchange(collected, sandbox):
    """The plan comes every half minute; a turn may come before it."""
    old, began = make_gap(ago_minutes=60 * 24 * 5), time.time()

    assert fill() == 0

    old.refresh_from_db()
    assert old.state == "open"
    assert sandbox.requests_of("binance", since=began) == []


def test_the_command_lists_and_fills(collected):
    make_gap()
    listed, done = StringIO(), StringIO()

    call_command("backfill", "--dry-run", "--exchange", "binance", stdout=listed)
    assert Tick.objects.filter(origin=1).count() == 0
    call_command("backfill", "--exchange", "binance", "--market", "BTC/USDT", "--seconds", "8", stdout=done)

    assert "binance: 1 gaps to fill" in listed.getvalue()
    assert "1 request" in listed.getvalue()
    assert "0 gaps left to fill" in done.getvalue()
    assert Tick.objects.filter(origin=1).count() >= 11
