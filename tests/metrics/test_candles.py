"""Candles from the sandbox: closed ones only, stored once, holes filled, and verdicts that replay alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils.timezone import now as wall_clock

from collectors.models import Pipeline
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from feeds import close_feeds
from feeds.base import Candle as FeedCandle
from metrics import analysis, candles, scheduled, sources
from metrics.collection import TimeBudget
from metrics.models import Candle, Collection, ExitTransition, Notice, Verdict
from tests.metrics.conftest import Place
from tests.metrics.series import HOUR, breaking_out, ranging
from tests.sandbox_client import Sandbox


@pytest.fixture
def live(place: Place, sandbox: Sandbox) -> Iterator[Place]:
    """The two exchanges are the sandbox's, and no new bar begins in the next minute."""
    if place.now.minute >= 58:
        place.now -= timedelta(minutes=5)
    Exchange.objects.update(base_url=SANDBOX_PLACEHOLDER)
    for market in place.markets.values():
        market.exchange.refresh_from_db()
    yield place
    close_feeds()


def feed_candle(opened_at: float, **changes: float) -> FeedCandle:
    return FeedCandle(opened_at, 100.0, 101.0, 99.0, 100.5, 3.0)._replace(**changes)


NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        (NOON + timedelta(seconds=4), NOON - timedelta(hours=2)),
        (NOON + timedelta(seconds=5), NOON - timedelta(hours=1)),
        (NOON + timedelta(minutes=59), NOON - timedelta(hours=1)),
    ],
    ids=["not settled yet", "settled", "an hour later"],
)
def test_the_newest_closed_bar(now: datetime, newest: datetime) -> None:
    assert candles.newest_closed(now, HOUR) == newest.timestamp()


def test_only_closed_and_sane_bars_are_stored_and_only_once(place: Place) -> None:
    newest = candles.newest_closed(place.now, HOUR)
    sane = [feed_candle(newest), feed_candle(newest - HOUR), feed_candle(newest - 5 * HOUR)]
    wrong = [
        feed_candle(newest + HOUR),
        feed_candle(newest - 2 * HOUR, low=0.0),
        feed_candle(newest - 3 * HOUR, high=90.0),
        feed_candle(newest - 4 * HOUR + 60),
    ]

    first = candles.store(place.market(), "1h", [*sane, *wrong], now=place.now)
    again = candles.store(place.market(), "1h", [feed_candle(newest, close=100.9)], now=place.now)

    assert (first, again) == (3, 0)
    stored = Candle.objects.order_by("opened_at").values_list("close", "is_backfilled")
    assert list(stored) == [(100.5, True), (100.5, False), (100.5, False)]


def test_the_first_round_brings_the_whole_window_and_the_next_asks_nobody(live: Place, sandbox: Sandbox) -> None:
    series = live.series()

    stored = candles.collect(series, now=live.now, deadline_seconds=10)
    before = len(sandbox.requests_of("binance"))
    series.refresh_from_db()
    again = candles.collect(series, now=live.now, deadline_seconds=10)

    assert stored == 250
    assert again == 0
    assert len(sandbox.requests_of("binance")) == before


def test_stored_candles_are_what_the_exchange_says(live: Place, sandbox: Sandbox) -> None:
    candles.collect(live.series(), now=live.now, deadline_seconds=10)

    newest = Candle.objects.latest("opened_at")
    closing = int(newest.opened_at.timestamp()) + HOUR - 1
    assert newest.close == pytest.approx(sandbox.price("binance", "BTC/USDT", closing), rel=1e-3)


def test_a_hole_is_filled_and_marked(live: Place) -> None:
    series = live.series()
    candles.collect(series, now=live.now, deadline_seconds=10)
    hole = live.now - timedelta(hours=30)
    Candle.objects.filter(opened_at__range=(hole, hole + timedelta(hours=10))).delete()
    type(series).objects.update(holes_asked_at=live.now - timedelta(hours=1))
    series.refresh_from_db()

    stored = candles.collect(series, now=live.now, deadline_seconds=10)

    assert stored == 10
    assert Candle.objects.filter(opened_at__range=(hole, hole + timedelta(hours=10)), is_backfilled=True).count() == 10


def test_holes_that_stay_are_asked_for_once_an_hour(live: Place, sandbox: Sandbox) -> None:
    series = live.series()
    candles.collect(series, now=live.now, deadline_seconds=10)
    Candle.objects.filter(opened_at__lt=live.now - timedelta(hours=200)).delete()
    series.refresh_from_db()
    before = len(sandbox.requests_of("binance"))

    soon = candles.collect(series, now=live.now + timedelta(seconds=60), deadline_seconds=10)

    assert soon == 0
    assert len(sandbox.requests_of("binance")) == before


def test_a_blacklisted_exchange_is_not_asked(live: Place, sandbox: Sandbox) -> None:
    live.series()
    Exchange.objects.update(blacklisted=True)
    began = wall_clock()

    scheduled.collect_candles(now=live.now)

    assert sandbox.requests_of("binance", since=began.timestamp()) == []


def test_an_exchange_that_fails_is_noted_and_the_other_goes_on(live: Place, sandbox: Sandbox) -> None:
    broken, sound = live.series(), live.series("kraken:BTC/USD")
    sandbox.fault("binance", "status", params={"code": 503})

    scheduled.collect_candles(now=live.now)

    for series in (broken, sound):
        series.refresh_from_db()
    assert broken.last_error
    assert sound.last_error == ""
    assert Candle.objects.filter(market=sound.market).count() == 250
    assert Verdict.objects.filter(series=sound).count() == 1
    assert not Verdict.objects.filter(series=broken).exists()


def test_a_round_judges_each_new_bar_once(live: Place) -> None:
    live.series()

    first = scheduled.collect_candles(now=live.now)
    second = scheduled.collect_candles(now=live.now + timedelta(seconds=60))

    assert (first, second) == (1, 0)


def test_regime_analyze_asks_for_what_is_missing(live: Place, api: Client) -> None:
    body = {"market": "BTC/USDT", "exchange": "binance", "lookback": 100, "analysis_id": "mine"}

    answer = api.post("/regime/analyze", body, "application/json").json()

    assert list(answer) == ["status", "timestamp", "count", "analysis_id", "regimes"]
    assert answer["analysis_id"] == "mine"
    assert answer["regimes"][0]["bars_used"] == 100
    assert answer["regimes"][0]["verdict"] is not None
    assert api.get("/regime/current?market=BTC/USDT").json()["regimes"] == answer["regimes"]
    assert api.get("/regime/current").json()["count"] == 0  # asked for once is not watched


def test_one_market_that_fails_has_its_error_and_the_other_its_verdict(
    live: Place, sandbox: Sandbox, api: Client
) -> None:
    live.series()
    live.series("kraken:BTC/USD")
    sandbox.fault("kraken", "status", params={"code": 503})

    entries = api.post("/regime/analyze", {}, "application/json").json()["regimes"]

    by_exchange = {entry["exchange"]: entry for entry in entries}
    assert by_exchange["binance"]["verdict"] is not None
    assert "error" not in by_exchange["binance"]
    assert by_exchange["kraken"]["verdict"] is None
    assert by_exchange["kraken"]["error"]


# --- verdicts ---------------------------------------------------------------------------------------------------


REGIME_KEYS = [
    "market",
    "exchange",
    "timeframe",
    "verdict",
    "confidence",
    "trend_score",
    "analyzed_at",
    "bar_time",
    "bars_used",
    "insufficient_data",
    "stale",
    "range",
    "metrics",
    "exit_state",
    "exit_reasons",
]
METRIC_KEYS = [
    "adx",
    "efficiency_ratio",
    "autocorrelation",
    "ou_half_life",
    "normalized_slope",
    "bollinger_bandwidth",
    "atr",
    "volatility_expansion_ratio",
    "zscore",
]


def test_a_regime_has_the_documented_body(place: Place, api: Client) -> None:
    place.candles(ranging(250))
    analysis.analyze(place.series(), now=place.now, source="test")

    body = api.get("/regime/current?market=BTC/USDT&exchange=binance&timeframe=1h").json()

    entry = body["regimes"][0]
    assert list(body) == ["status", "timestamp", "count", "regimes"]
    assert list(entry) == REGIME_KEYS
    assert list(entry["metrics"]) == METRIC_KEYS
    assert list(entry["range"]) == ["lower_bound", "upper_bound"]
    assert entry["stale"] is False
    assert entry["verdict"] == "RANGE_OK"


def test_too_few_candles_are_said_and_nothing_is_invented(place: Place, api: Client) -> None:
    place.candles(ranging(59))
    analysis.analyze(place.series(), now=place.now, source="test")

    entry = api.get("/regime/current").json()["regimes"][0]

    assert entry["insufficient_data"] is True
    assert entry["error"] == "59 closed candles, 60 are needed"
    assert (entry["verdict"], entry["confidence"], entry["exit_state"]) == (None, None, None)
    assert set(entry["metrics"].values()) == {None}


def test_a_verdict_on_old_candles_is_stale(place: Place, api: Client) -> None:
    place.candles(ranging(250), now=place.now - timedelta(hours=4))
    analysis.analyze(place.series(), now=place.now, source="test")

    entry = api.get("/regime/current").json()["regimes"][0]

    assert entry["stale"] is True
    assert entry["confidence"] <= 0.5


def test_unknown_markets_are_not_found(place: Place, api: Client) -> None:
    answers = [
        api.get("/regime/current?market=NO/NE"),
        api.get("/regime/current?exchange=nowhere"),
        api.post("/regime/analyze", {"market": "NO/NE"}, "application/json"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert list(answers[0].json()) == ["status", "timestamp", "error"]
    assert api.get("/regime/current?timeframe=7h").status_code == 422
    assert api.post("/regime/analyze", {"lookback": 10}, "application/json").status_code == 422


def test_a_replay_gives_what_was_said_then_whatever_came_later(place: Place) -> None:
    place.candles(ranging(250), now=place.now - timedelta(hours=3))
    verdict = analysis.analyze(place.series(), now=place.now, source="test")
    place.candles(ranging(250), fetched_at=place.now + timedelta(hours=1))  # what was missing then is here now

    replay = analysis.replay(Verdict.objects.select_related("series").get(pk=verdict.pk))

    assert verdict.missing_share > 0
    assert replay.differences == ()


def test_the_replay_command_says_which_verdict_was_tampered_with(place: Place) -> None:
    place.candles(ranging(250))
    verdict = analysis.analyze(place.series(), now=place.now, source="test")
    said = StringIO()

    call_command("regime", "replay", stdout=said)
    Verdict.objects.filter(pk=verdict.pk).update(confidence=0.123)

    assert said.getvalue() == "1 verdicts replayed, all the same\n"
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("regime", "replay", stdout=StringIO())


def test_a_change_is_kept_once_and_told_once_in_its_span(place: Place) -> None:
    place.candles(breaking_out(6))
    series = place.series()

    for minutes in (0, 1, 59):
        analysis.analyze(series, now=place.now + timedelta(minutes=minutes / 60), source="test")

    assert ExitTransition.objects.count() == 1
    assert ExitTransition.objects.get().to_state == "MANDATORY_EXIT"
    assert Notice.objects.count() == 1


@pytest.mark.parametrize(("hours", "notices"), [(0.99, 1), (1.01, 2)])
def test_the_notice_of_a_mandatory_exit_comes_again_after_an_hour(place: Place, hours: float, notices: int) -> None:
    place.candles(breaking_out(6))
    series = place.series()
    analysis.analyze(series, now=place.now, source="test")
    Notice.objects.update(sent_at=place.now - timedelta(hours=hours))

    analysis.analyze(series, now=place.now, source="test")

    assert Notice.objects.count() == notices


def test_configured_markets_are_watched_and_stay_off_once_switched_off(place: Place, settings: Any) -> None:
    settings.METRICS_MARKETS = ["binance:BTC/USDT", "kraken:NO/NE", "nonsense"]
    settings.METRICS_TIMEFRAMES = ["1h", "4h"]
    analysis.watch_configured()
    place.series().__class__.objects.filter(timeframe="4h").update(enabled=False)

    analysis.watch_configured()

    assert sorted(place.series().__class__.objects.values_list("timeframe", "enabled")) == [("1h", True), ("4h", False)]


# --- balances -----------------------------------------------------------------------------------------------------


def test_a_signed_balance_is_collected_and_a_wrong_key_is_a_failure(live: Place, settings: Any) -> None:
    from exchanges import secrets

    settings.METRICS_WEBHOOK_TOKEN = "let-me-in"
    api = Client(headers={"X-Webhook-Token": "let-me-in"}, raise_request_exception=False)

    sealed = secrets.seal({"apiKey": "sandbox-api-key", "secret": "sandbox-secret"})
    Exchange.objects.filter(pk="binance").update(credentials=sealed)

    api.post("/metrics/collect", {"collection_id": "right"}, "application/json")
    Exchange.objects.filter(pk="binance").update(credentials=secrets.seal({"apiKey": "x", "secret": "y"}))
    api.post("/metrics/collect", {"collection_id": "wrong"}, "application/json")

    wrong, right = api.get("/metrics/history?include=snapshot").json()["metrics"]
    assert Collection.objects.get(collection_id="right").failures == []
    assert right["snapshot"]["account_balance"] == [
        {"exchange": "binance", "asset": "BTC", "free": 0.5, "used": 0.1, "total": 0.6},
        {"exchange": "binance", "asset": "ETH", "free": 4.0, "used": 0.0, "total": 4.0},
        {"exchange": "binance", "asset": "USDT", "free": 12000.5, "used": 3500.0, "total": 15500.5},
    ]
    assert wrong["snapshot"]["account_balance"] == []
    assert wrong["status"] == "success"


def test_what_is_stale_is_asked_for_through_the_write_path(live: Place, api: Client) -> None:
    live.age("kraken", 600)

    body = api.post("/metrics/collect", {}, "application/json").json()

    assert Pipeline.objects.filter(market__exchange="kraken", received_at__gte=live.now).exists()
    assert body["data_points_collected"] >= 6


def test_a_budget_that_is_used_up_gives_its_reason(place: Place) -> None:
    answers = sources.per_exchange(
        Exchange.objects.filter(pk="kraken"), lambda exchange: sources_sleep(), TimeBudget(0.05, 0.0)
    )

    assert answers == {"kraken": (None, "no answer within the budget")}


def sources_sleep() -> None:
    started = wall_clock()
    while wall_clock() - started < timedelta(seconds=0.4):
        pass
