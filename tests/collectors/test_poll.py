"""One collection cycle end to end: real client, real wire, real database."""

import time
from datetime import timedelta

import pytest

from collectors.gaps import sweep
from collectors.history import partitions
from collectors.models import Gap, Pipeline, Run, Tick, Worker
from collectors.polling import poll as ingest
from collectors.rules import breaker
from exchanges.models import Exchange, Market
from lib import clock
from operations import commands
from tests.world import onboard_and_poll

SIX = ["binance", "binanceusdm", "coinbase", "hyperliquid", "kraken", "luno"]


@pytest.fixture
def collect(transactional_db, sandbox, settings):
    """Makes an exchange on the sandbox and gives a function that collects it, whatever the slot."""
    settings.POLL_DEADLINE_SECONDS = 3.0
    partitions.ensure(clock.now())
    return onboard_and_poll


@pytest.mark.parametrize("exchange_id", SIX)
def test_stored_prices_are_the_sandboxs_prices(collect, sandbox, exchange_id):
    began = time.time()
    assert collect(exchange_id) == "stored"

    asked = sandbox.requests_of(exchange_id, since=began)
    seconds = {int(request["at"]) for request in asked}
    ticks = Tick.objects.select_related("pipeline__market").filter(pipeline__market__exchange=exchange_id)
    assert ticks.count() == Market.objects.collected().filter(exchange=exchange_id).count() >= 35
    for tick in ticks[:25]:
        truth = {sandbox.price(exchange_id, tick.pipeline.market.symbol, second) for second in seconds}
        assert tick.last in truth


def test_the_second_poll_downloads_no_market_list(collect, sandbox):
    collect("kraken")
    began = time.time()

    collect("kraken")

    paths = [request["path"] for request in sandbox.requests_of("kraken", since=began)]
    assert [path for path in paths if "Ticker" not in path] == []
    assert len(paths) == 1


def test_a_market_that_is_halted_from_the_first_is_known_and_not_collected(collect):
    collect("kraken")

    halted = Market.objects.get(exchange="kraken", state="halted")
    assert not halted.is_collected
    assert Pipeline.objects.get(pk=halted.pk).received_at is None
    assert Worker.objects.get().symbols_tracked == Market.objects.filter(state="trading").count()


@pytest.mark.parametrize(
    ("kind", "details", "outcome"),
    [
        ("status", {"params": {"code": 500}}, "unreachable"),
        ("html", {}, "bad_reply"),
        ("empty", {}, "bad_reply"),
        ("status", {"params": {"code": 429, "retry_after": 7}}, "throttled"),
        ("hang", {}, "unreachable"),
        ("truncated", {}, "bad_reply"),
        ("reset", {}, "unreachable"),
    ],
    ids=["500", "HTML", "an empty body", "429", "no answer", "half a body", "a reset"],
)
def test_an_answer_without_data_stores_nothing_and_is_named(collect, sandbox, kind, details, outcome):
    collect("kraken")
    stored = Tick.objects.count()
    sandbox.fault("kraken", kind, **details)

    assert collect("kraken") == outcome

    run = Run.objects.latest("id")
    worker = Worker.objects.get()
    assert Tick.objects.count() == stored
    assert (run.outcome, run.rows_stored) == (outcome, 0)
    assert run.error
    assert worker.error_count == 1
    assert worker.stored_at < worker.heartbeat_at


def test_a_connection_that_we_refuse_has_an_outcome_of_its_own(collect, settings):
    collect("kraken")
    settings.ALLOW_PRIVATE_EXCHANGE_URLS = False
    Exchange.objects.update(base_url="http://127.0.0.1:9")

    assert collect("kraken") == "not_connected"

    run, worker = Run.objects.latest("id"), Worker.objects.get()
    assert (run.outcome, worker.last_outcome, worker.status) == ("not_connected", "not_connected", "error")
    assert "127.0.0.1" in run.error
    assert worker.retry_at > clock.now() + timedelta(seconds=breaker.DENIED_PROBE_SECONDS - 10)


@pytest.mark.parametrize(
    ("details", "outcome"),
    [
        ({"params": {"code": 500}}, "stored"),
        ({"params": {"code": 403}}, "stored"),
        ({"params": {"code": 429, "retry_after": 7}}, "throttled"),
    ],
    ids=["500", "403", "a wish to wait"],
)
def test_polls_go_on_by_an_old_market_list_where_no_new_one_is_to_be_had(collect, sandbox, details, outcome):
    collect("kraken")
    Worker.objects.update(markets_loaded_at=clock.now() - timedelta(days=1))
    sandbox.fault("kraken", "status", path="AssetPairs", **details)
    began = time.time()

    assert collect("kraken") == outcome

    assert asked_for_markets(sandbox, since=began) == 1


def test_a_market_list_that_is_not_to_be_had_is_not_asked_for_by_every_poll(collect, sandbox):
    collect("kraken")
    Worker.objects.update(markets_loaded_at=clock.now() - timedelta(days=1))
    sandbox.fault("kraken", "status", path="AssetPairs", params={"code": 500})
    began = time.time()

    outcomes = [collect("kraken") for _ in range(3)]

    assert outcomes == ["stored", "stored", "stored"]
    assert asked_for_markets(sandbox, since=began) == 1


def asked_for_markets(sandbox, *, since: float) -> int:
    return sum(request["path"].endswith("AssetPairs") for request in sandbox.requests_of("kraken", since=since))


def test_an_old_market_list_is_loaded_anew_by_a_poll_that_can(collect, settings):
    settings.POLL_DEADLINE_SECONDS = 30.0  # in which the list has to come, too
    collect("kraken")
    Worker.objects.update(markets_loaded_at=clock.now() - timedelta(days=1))

    assert collect("kraken") == "stored"

    assert clock.now() - Worker.objects.get().markets_loaded_at < timedelta(minutes=1)


def test_three_failures_turn_the_worker_to_error_and_pause_it(collect, sandbox):
    collect("kraken")
    sandbox.fault("kraken", "status", params={"code": 503})

    outcomes = [collect("kraken") for _ in range(4)]

    worker = Worker.objects.get()
    assert outcomes == ["unreachable"] * 3 + ["skipped"]
    assert worker.status == "error"
    assert worker.retry_at > clock.now() + timedelta(seconds=15)


def test_nobody_calls_during_retry_after(collect, sandbox):
    collect("kraken")
    sandbox.fault("kraken", "status", params={"code": 429, "retry_after": 47})
    collect("kraken")
    began = time.time()

    assert collect("kraken") == "skipped"

    assert sandbox.requests_of("kraken", since=began) == []
    assert Worker.objects.get().retry_at >= clock.now() + timedelta(seconds=44)


@pytest.mark.parametrize(
    ("params", "outcome", "seconds"),
    [
        ({"code": 503, "retry_after": 90}, "unreachable", 90),
        ({"code": 429, "retry_after": 7}, "throttled", 7),
        ({"code": 418}, "throttled", breaker.BAN_PAUSE_SECONDS),
        ({"code": 403, "body": '{"message":"Forbidden"}'}, "denied", breaker.DENIED_PROBE_SECONDS),
    ],
    ids=["maintenance that names its end", "a short wait", "a ban without an end", "a denial"],
)
def test_a_told_time_is_kept_and_asked_for_once(collect, sandbox, params, outcome, seconds):
    collect("kraken")
    sandbox.fault("kraken", "status", path="Ticker", params=params)
    began, now = time.time(), clock.now()

    assert collect("kraken") == outcome

    worker = Worker.objects.get()
    assert timedelta(0) <= worker.retry_at - now - timedelta(seconds=seconds) < timedelta(seconds=2 + 0.2 * seconds)
    assert sum("Ticker" in request["path"] for request in sandbox.requests_of("kraken", since=began)) == 1
    assert worker.status == "running"


def test_a_denial_is_told_when_it_came_three_times(collect, sandbox):
    collect("kraken")
    sandbox.fault("kraken", "status", path="Ticker", params={"code": 403, "body": '{"message":"Forbidden"}'})

    told = []
    for _ in range(3):
        Worker.objects.update(retry_at=None)
        collect("kraken")
        told.append(Worker.objects.get().status)

    assert told == ["running", "running", "error"]


def test_one_poisoned_market_does_not_spoil_the_others(collect, sandbox):
    collect("binance")
    market = Market.objects.get(exchange="binance", symbol="BTC/USDT")
    sandbox.fault("binance", "override", params={"symbol": "BTC/USDT", "field": "lastPrice", "value": "-5"})
    before = Pipeline.objects.get(pk=market.pk)

    assert collect("binance") == "stored"

    run = Run.objects.latest("id")
    assert [bad["symbol"] for bad in run.quarantine] == ["BTC/USDT"]
    assert run.rows_stored == Market.objects.collected().count() - 1
    assert Pipeline.objects.get(pk=market.pk).last == before.last


def test_recovery_forgets_the_failures_and_closes_the_gaps(collect, sandbox):
    collect("kraken")
    Pipeline.objects.update(expected_seconds=0.2)
    sandbox.fault("kraken", "status", params={"code": 500})
    collect("kraken")
    sweep.run(clock.now() + timedelta(seconds=1))
    assert Gap.objects.filter(ended_at=None).count() == Worker.objects.get().symbols_tracked

    sandbox.heal()
    assert collect("kraken") == "stored"

    assert not Gap.objects.filter(ended_at=None).exists()
    assert Worker.objects.get().error_count == 0


def test_a_blacklisted_exchange_is_never_called(collect, sandbox):
    collect("kraken")
    commands.blacklist("kraken", by="test", reason="maintenance", now=clock.now())
    began = time.time()

    assert collect("kraken") == "skipped"

    assert sandbox.requests_of("kraken", since=began) == []


def test_a_blacklist_stops_a_cycle_that_is_running(collect, sandbox):
    """hyperliquid needs several requests for one poll; the stop comes after the first."""
    collect("hyperliquid")
    began, stored = time.time(), Tick.objects.count()
    permit = ingest.lease.take("hyperliquid", lease_seconds=8, repeat=True)
    commands.blacklist("hyperliquid", by="test", now=clock.now())

    with pytest.raises(ingest.FeedError) as caught:
        ingest._fetch_and_judge(permit, now=clock.now())

    assert caught.value.kind == "superseded"
    assert sandbox.requests_of("hyperliquid", since=began) == []
    assert Tick.objects.count() == stored


def test_a_refresh_notices_a_delisted_market(collect, sandbox):
    collect("kraken")
    victim = Market.objects.collected().filter(exchange="kraken").order_by("symbol").first()
    Market.objects.filter(pk=victim.pk).update(symbol="GONE/USD", venue_id="GONEUSD")

    assert ingest.refresh_markets("kraken", now=clock.now()) == "stored"

    gone = Market.objects.get(pk=victim.pk)
    assert not gone.active
    assert gone.delisted_at is not None
    assert Market.objects.filter(symbol=victim.symbol, active=True).exists()
