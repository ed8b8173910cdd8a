"""History from before the start: the exchange's own minutes, marked, and nothing that is stored is touched."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from collectors import backfill
from collectors.backfill import candle_stamps, importing
from collectors.history import partitions, rollups
from collectors.models import Backfill, HistoryImport, Pipeline, Rollup, Tick, Watermark, Worker
from collectors.models.history import MinuteCandle
from collectors.rules import history_pages
from exchanges.models import SANDBOX_PLACEHOLDER, AuditEntry, Exchange, Market
from feeds.base import Candle, Trade
from lib import clock
from operations import commands
from tests.world import NO_RATE_LIMIT

HOUR = timedelta(hours=1)


# --- reading a page ---------------------------------------------------------------------------------------------


def candle(minute: float, *prices: float, volume: float | None = 1.0) -> Candle:
    return Candle(minute * 60, *(prices or (10.0, 12.0, 9.0, 11.0)), volume)


def trade(minute: float, price: float = 10.0) -> Trade:
    return Trade(None, minute * 60, price, 2.0, "buy")


def of_candles(*candles: Candle, start: int = 10, end: int = 20):
    page = history_pages.of_candles(candles, start * 60, end * 60)
    return [minute.opened_at // 60 for minute in page.minutes], page.reached // 60, page.lacking


@pytest.mark.parametrize(
    ("candles", "found"),
    [
        ([candle(10), candle(11)], ([10, 11], 12, 0)),
        ([candle(9), candle(10), candle(19), candle(20)], ([10, 19], 20, 8)),
        ([candle(15), candle(16)], ([15, 16], 17, 5)),
        ([], ([], 20, 10)),
        ([candle(500)], ([], 20, 10)),
        ([candle(10.5), candle(11, 10, 9, 8, 10), candle(12, 0, 0, 0, 0)], ([], 20, 10)),
        ([candle(11), candle(10), candle(11)], ([10, 11], 12, 0)),
    ],
    ids=["a full page", "beyond both ends", "begins later", "nothing", "only the newest", "unsound", "out of order"],
)
def test_a_page_of_candles(candles, found):
    assert of_candles(*candles) == found


def test_a_candle_without_trades_has_no_price():
    page = history_pages.of_candles([candle(10, 5, 5, 5, 5, volume=0.0), candle(11, 5, 5, 5, 5)], 600, 1200)

    assert [minute.has_trades for minute in page.minutes] == [False, True]


def of_trades(*trades: Trade, start: int = 10, end: int = 20):
    page = history_pages.of_trades(trades, start * 60, end * 60)
    told = [(minute.opened_at // 60, minute.trades, minute.volume) for minute in page.minutes]
    return told, page.reached // 60, page.lacking


@pytest.mark.parametrize(
    ("trades", "found"),
    [
        ([trade(10.1), trade(10.9), trade(12.5), trade(13.1)], ([(10, 2, 4.0), (12, 1, 2.0)], 13, 0)),
        ([trade(12.1), trade(13.1), trade(14.1)], ([(13, 1, 2.0)], 14, 3)),
        ([trade(9.9), trade(12.1), trade(13.1)], ([(12, 1, 2.0)], 13, 0)),
        ([trade(10.1), trade(19.5), trade(25)], ([(10, 1, 2.0), (19, 1, 2.0)], 20, 0)),
        ([trade(10.1), trade(10.2)], ([(10, 2, 4.0)], 11, 0)),
        ([], ([], 20, 10)),
        ([trade(30), trade(31)], ([], 20, 10)),
    ],
    ids=["the newest may go on", "the oldest may begin before", "an older one proves it", "beyond the end",
         "more than a page in a minute", "nothing", "only later ones"],
)  # fmt: skip
def test_a_page_of_trades(trades, found):
    assert of_trades(*trades) == found


# --- from the sandbox -------------------------------------------------------------------------------------------


@pytest.fixture
def collected(transactional_db, sandbox, settings):
    settings.BACKFILL_REQUESTS_PER_MINUTE = 600
    partitions.ensure(clock.now())
    candle_stamps.forget()
    commands.create("binance", by="test", now=clock.now(), base_url=SANDBOX_PLACEHOLDER)
    Exchange.objects.update(**NO_RATE_LIMIT)
    poll()
    Watermark.objects.update_or_create(name=rollups.CURSOR, defaults={"reached_at": now_minute()})
    return Pipeline.objects.get(market__symbol="BTC/USDT")


def poll() -> None:
    from collectors.polling import poll as ingest

    Worker.objects.update(cycle_started_at=None)
    assert ingest.collect_once("binance", now=clock.now()) == "stored"


def now_minute():
    return clock.now().replace(second=0, microsecond=0)


def fetch() -> int:
    stored = 0
    while HistoryImport.objects.filter(state="running").exists():
        poll()  # requests are made in the pause after a good poll
        stored += _step()
    return stored


def _step() -> int:
    return backfill.fill("binance", clock=clock.now, seconds=1.0)


def test_the_exchanges_minutes_are_stored_marked_and_known_since_now(collected, sandbox):
    began = clock.now()
    start, end = now_minute() - 40 * HOUR, now_minute() - 20 * HOUR
    wanted, is_new = importing.request(collected, start=start, end=end, by="test", now=began)

    stored = fetch()

    wanted.refresh_from_db()
    rows = list(Rollup.objects.filter(pipeline=collected).order_by("minute_at"))
    assert is_new
    assert (wanted.state, wanted.reached_at, wanted.progress) == ("done", end, 1.0)
    assert stored == wanted.stored_count == len(rows) == 1200 - wanted.lacking_count
    assert wanted.requests > 1
    assert [rows[0].minute_at, rows[-1].minute_at] == [start, end - timedelta(minutes=1)]
    for row in rows[::97]:
        assert (row.live, row.candle, row.trade, row.revision) == (0, 1, 0, 0)
        assert row.known_at >= began
        assert row.close == sandbox.price("binance", "BTC/USDT", int(row.minute_at.timestamp()) + 60)
    assert MinuteCandle.objects.filter(pipeline=collected).count() == len(rows)
    assert not Tick.objects.exclude(origin=0).exists()


def test_what_is_stored_already_is_never_touched(collected):
    start = now_minute() - 5 * HOUR
    partitions.ensure_since(start, clock.now())
    Rollup.objects.create(pipeline=collected, minute_at=start, samples=6, open=1, high=1, low=1, close=1, live=6,
                          candle=0, trade=0, revision=0, known_at=start)  # fmt: skip

    importing.request(collected, start=start, end=start + HOUR, by="test", now=clock.now())
    fetch()

    assert Rollup.objects.get(pipeline=collected, minute_at=start).close == 1
    assert HistoryImport.objects.get().known_count == 1
    assert HistoryImport.objects.get().stored_count == 59


def test_it_goes_on_where_it_stopped(collected):
    span = {"start": now_minute() - 60 * HOUR, "end": now_minute() - 10 * HOUR, "by": "test"}
    first, _ = importing.request(collected, **span, now=clock.now())
    poll()
    _one_request()
    importing.stop(HistoryImport.objects.all(), now=clock.now())
    first.refresh_from_db()
    stopped_at = first.reached_at
    poll()
    assert _step() == 0

    again, is_new = importing.request(collected, **span, now=clock.now())
    fetch()

    again.refresh_from_db()
    assert not is_new
    assert again.pk == first.pk
    assert span["start"] < stopped_at < span["end"]
    assert (again.state, again.stored_count) == ("done", 3000 - again.lacking_count)


def _one_request() -> None:
    from collectors.backfill.turns import end_turn, take_turn

    exchange = Exchange.objects.get()
    Backfill.objects.get_or_create(exchange=exchange)
    turn = take_turn(exchange)
    assert turn is not None
    importing.take_step(turn, clock.now())
    end_turn(exchange.id)


def test_a_failing_exchange_is_asked_again_later(collected, sandbox):
    importing.request(collected, start=now_minute() - 5 * HOUR, end=now_minute() - HOUR, by="test", now=clock.now())
    sandbox.fault("binance", "status", path="klines", params={"code": 503})
    poll()

    assert _step() == 0

    wanted = HistoryImport.objects.get()
    assert (wanted.state, wanted.attempts, wanted.reached_at) == ("running", 1, wanted.start_at)
    assert wanted.next_try_at > clock.now()
    assert wanted.reason


def test_a_gap_comes_first(collected):
    importing.request(collected, start=now_minute() - 5 * HOUR, end=now_minute() - HOUR, by="test", now=clock.now())
    assert backfill.plan(clock.now()) == ["binance"]
    assert backfill.is_wanted("binance")


@pytest.mark.parametrize(
    ("start_hours", "end_hours", "words"),
    [(24 * 400, 1, "ROLLUP_RETENTION_DAYS"), (1, 2, "nothing is missing"), (-5, -6, "nothing is missing")],
)
def test_what_cannot_be_imported_is_refused_with_the_reason(collected, start_hours, end_hours, words):
    with pytest.raises(importing.CannotImport, match=words):
        importing.request(
            collected, start=clock.now() - start_hours * HOUR, end=clock.now() - end_hours * HOUR, by="test",
            now=clock.now(),
        )  # fmt: skip


# --- by command -------------------------------------------------------------------------------------------------


def command(*words: str) -> str:
    said = StringIO()
    call_command("history", *words, stdout=said)
    return said.getvalue()


def test_the_command_fetches_and_tells_how_far_it_is(collected):
    said = command("import", "binance", "--symbols", "btc-usdt", "--from", f"{now_minute() - 3 * HOUR:%Y-%m-%dT%H:%MZ}",
                   "--to", f"{now_minute() - HOUR:%Y-%m-%dT%H:%MZ}")  # fmt: skip

    assert "binance BTC/USDT" in said or "BTC/USDT" in said
    assert "done 100.0%" in said
    assert Rollup.objects.filter(pipeline=collected, candle=1).count() >= 118
    assert "done 100.0%" in command("list", "binance")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("import", "binance", "--symbols", "NONE", "--from", "2026-11-01"), "no market that is spelled NONE"),
        (("import", "nowhere", "--symbols", "BTC/USDT", "--from", "2026-11-01"), "not collected"),
        (("import", "binance", "--symbols", "BTC/USDT", "--from", "2020-01-01"), "Minutes are kept since"),
        (("stop", "77"), "No import 77"),
    ],
)
def test_a_command_that_cannot_be_says_why(collected, words, reason):
    with pytest.raises(CommandError, match=reason):
        command(*words)


def test_written_down_it_is_left_to_workers(collected):
    since = f"{now_minute() - 3 * HOUR:%Y-%m-%dT%H:%MZ}"
    said = command("import", "binance", "--symbols", "BTC/USDT,ETH/USDT", "--from", since, "--background")

    assert "Workers fetch it" in said
    assert list(HistoryImport.objects.values_list("pipeline__market__symbol", flat=True).order_by("id")) == [
        "BTC/USDT", "ETH/USDT",
    ]  # fmt: skip
    assert Market.objects.filter(pk__in=HistoryImport.objects.values("pipeline_id")).count() == 2


# --- in the admin -----------------------------------------------------------------------------------------------

PAGE = "/admin/collectors/historyimport/"


def test_an_operator_asks_for_it_on_a_page_and_stops_it(collected, admin_client):
    form = {"exchange": "binance", "symbol": "btcusdt", "start_at_0": f"{now_minute() - 3 * HOUR:%Y-%m-%d}",
            "start_at_1": f"{now_minute() - 3 * HOUR:%H:%M}", "end_at_0": "", "end_at_1": ""}  # fmt: skip

    asked = admin_client.post(f"{PAGE}add/", form)
    wanted = HistoryImport.objects.get()
    listed = admin_client.get(PAGE).content.decode()
    admin_client.post(PAGE, {"action": "stop_imports", "_selected_action": [wanted.pk]})
    wanted.refresh_from_db()

    assert asked.status_code == 302
    assert (wanted.pipeline, wanted.requested_by, wanted.state) == (collected, "admin", "stopped")
    assert "BTC/USDT" in listed
    assert sorted(AuditEntry.objects.filter(origin="admin").values_list("verb", flat=True)) == [
        "import history", "stop import",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"symbol": "NONE"}, "no market that is spelled so"), ({"start_at_0": "2020-01-01"}, "ROLLUP_RETENTION_DAYS"),
     ({"start_at_0": "2999-01-01"}, "nothing is missing"), ({"start_at_0": "x"}, "valid date")],
)  # fmt: skip
def test_what_cannot_be_is_said_in_the_form(collected, admin_client, changed, words):
    form = {"exchange": "binance", "symbol": "BTC/USDT", "start_at_0": f"{clock.now():%Y-%m-%d}", "start_at_1": "00:00",
            "end_at_0": "", "end_at_1": "", **changed}  # fmt: skip

    shown = admin_client.post(f"{PAGE}add/", form)

    assert shown.status_code == 200
    assert words in shown.content.decode()
    assert not HistoryImport.objects.exists()
