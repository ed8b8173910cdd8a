"""Candles of any interval: whole bars are the sum of their parts, and each says what it is made of."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from collectors.history import candle_formats, candles, partitions, rollups
from collectors.history.candles import CandleQuery
from collectors.models import Gap, Pipeline, Watermark
from collectors.rules import intervals
from lib import clock
from tests.world import add_exchange, add_market

MINUTE = timedelta(minutes=1)
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def asked(past) -> Ask:
    def ask(interval: str = "1m", *, tz: str = "UTC", limit: int = 1000, **fields: Any) -> list[dict[str, Any]]:
        usual = {"start": past.start, "end": past.at(600), "now": past.at(600)}
        query = CandleQuery(
            past.pipeline, intervals.parse(interval), zone=ZoneInfo(tz), limit=limit, **{**usual, **fields}
        )
        return candle_formats.as_json(candles.read(query))

    return ask


def told(bar: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(bar[name] for name in ("open", "high", "low", "close", "volume", "samples", "expected", "source"))


def test_a_bar_of_ticks_says_what_it_is_made_of(past, asked):
    for minutes, price in ((0, 100.0), (0.5, 120.0), (2.9, 90.0)):
        past.live(minutes, price=price)
    past.roll_up(4)

    [first, second] = asked()
    [whole] = asked("10m", start=past.at(-10))

    assert told(first) == (100, 120, 100, 120, None, 1, 1, "ticks")
    assert told(second) == (90, 90, 90, 90, None, 1, 1, "ticks")
    assert told(whole)[:4] == (100, 120, 90, 90)
    assert whole["origin"] == {"live": 3, "candle": 0, "trade": 0}
    assert whole["gap_ids"] == sorted(Gap.objects.values_list("pk", flat=True)) != []
    assert first["is_final"]


def test_minutes_that_are_not_rolled_up_yet_are_made_of_their_ticks(past, asked):
    past.live(0)
    past.roll_up(1)
    past.live(1.5, price=130.0)

    [_, running] = asked(now=past.at(2))

    assert (told(running)[:4], running["is_final"], running["known_at"]) == ((130, 130, 130, 130), False, None)


def test_the_exchanges_candles_come_first_where_they_cover_the_whole_bar(past, asked):
    past.live(0)
    past.gap(0, 5)
    past.live(5)
    past.fill([past.candle(minute, 10, 20 + minute, 5, 15, volume=2.0) for minute in (1, 2, 3)], at=10)
    past.roll_up(6)

    bars = {bar["opened_at"]: bar for bar in asked()}
    covered = bars[clock.microseconds_z(past.at(2))]
    [mixed] = asked("1w", start=past.at(-20_000))
    [only_ticks] = [bar for bar in asked(source="ticks") if bar["opened_at"] == covered["opened_at"]]

    assert told(covered) == (10, 22, 5, 15, 2.0, 1, 1, "candles")
    assert (covered["origin"], covered["known_at"]) == (
        {"live": 0, "candle": 1, "trade": 0}, clock.microseconds_z(past.at(10)),
    )  # fmt: skip
    assert (mixed["source"], mixed["high"], mixed["volume"]) == ("ticks", 100, None)
    assert mixed["origin"] == {"live": 2, "candle": 3, "trade": 0}
    assert told(only_ticks) == (10, 22, 5, 15, None, 1, 1, "ticks")


def test_where_nobody_traded_a_bar_has_no_price_and_no_volume(past, asked):
    past.gap(0, 4)
    past.fill([past.candle(minute, 7, 7, 7, 7, volume=0.0) for minute in (0, 1, 2)], at=10)

    bars = asked()

    assert [(*told(bar)[:5], bar["no_trades"]) for bar in bars] == [(None, None, None, None, 0, 1)] * 3


def trade(
    past, number: int, minutes: float, price: float, *, received: float | None = None, filled: bool = False
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO collectors_trade (pipeline_id, trade_id, number, traded_at, received_at, price, amount, side,"
            " is_filled) VALUES (%s, %s, %s, %s, %s, %s, 2, 'buy', %s)",
            [past.pipeline, str(number), number, past.at(minutes), past.at(received or minutes), price, filled],
        )


def test_trades_are_used_where_their_numbers_prove_that_none_is_missing(past, asked):
    """Number 5 is missing: nobody knows what the minute around it was."""
    past.live(1.1, price=1.0)
    past.live(3.1, price=3.0)
    past.roll_up(6)
    for number, minutes, price in ((1, 0.5, 10), (2, 1.2, 20), (3, 1.8, 15), (4, 2.5, 11), (6, 3.5, 9), (7, 5.2, 8)):
        trade(past, number, minutes, price)

    bars = {bar["opened_at"][14:16]: bar for bar in asked()}
    sources = [(minute, bar["source"]) for minute, bar in bars.items()]

    first = past.start.minute
    assert sources == [(f"{(first + 1) % 60:02}", "trades"), (f"{(first + 3) % 60:02}", "ticks")]
    assert told(bars[f"{(first + 1) % 60:02}"]) == (20, 20, 15, 15, 4, 1, 1, "trades")
    assert asked(source="trades", as_of=past.at(1.5)) == []


# --- sum of parts -----------------------------------------------------------------------------------------------


@pytest.fixture
def minutes_of_days(transactional_db) -> Callable[[datetime, int], tuple[int, list[tuple[Any, ...]]]]:
    """Writes minutes at random into days of one pipeline; gives the pipeline and the minutes."""

    def write(start: datetime, days: int) -> tuple[int, list[tuple[Any, ...]]]:
        chance = random.Random(3)
        exchange = add_exchange("kraken", since=start)
        pipeline = add_market(exchange, "BTC", "USD", since=start).pk
        partitions.ensure_since(start, start + timedelta(days=days))
        Watermark.objects.create(name=rollups.CURSOR, reached_at=start + timedelta(days=days))
        rows = []
        for number in range(days * 1440):
            if chance.random() < 0.3:
                low, high = sorted((chance.randrange(1, 100), chance.randrange(1, 100)))
                rows.append((start + number * MINUTE, float(low), float(high), float(low), float(high), number % 7, 1))
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO collectors_rollup (pipeline_id, minute_at, samples, open, high, low, close, live, candle,"
                " trade, revision, known_at) SELECT %s, m, n, o, h, l, c, n, 0, 0, r, m + interval '90 seconds'"
                " FROM unnest(%s::timestamptz[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::int[],"
                " %s::int[]) AS x (m, o, h, l, c, n, r)",
                [pipeline, *(list(column) for column in zip(*rows, strict=True))],
            )
        return pipeline, rows

    return write


ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")


def test_a_whole_is_the_sum_of_its_parts_for_any_interval_and_zone(minutes_of_days, settings):
    """Across the day on which Berlin's clocks go back; each bar is made again in Python, of its minutes."""
    start, days = datetime(2026, 10, 23, tzinfo=UTC), 5
    settings.ROLLUP_RETENTION_DAYS = 3650
    pipeline, rows = minutes_of_days(start, days)
    end = start + timedelta(days=days)
    for zone in ZONES:
        for text in ("7m", "1h", "5h", "1d", "2d", "1w", "1M"):
            interval = intervals.parse(text)
            query = CandleQuery(pipeline, interval, start - timedelta(days=40), end, ZoneInfo(zone), end, 100_000)
            found = [(*row[:6], row[7], row[10]) for row in candles.read(query).rows]
            assert found == summed(interval, rows, ZoneInfo(zone)), (zone, text)


def summed(interval: intervals.Interval, rows: list[tuple[Any, ...]], zone: ZoneInfo) -> list[tuple[Any, ...]]:
    periods = iter(intervals.periods(interval, rows[0][0], rows[-1][0] + MINUTE, zone))
    period, bars = next(periods), {}
    for row in rows:
        while row[0] >= period.ended_at:
            period = next(periods)
        opened = period.started_at + (row[0] - period.started_at) // interval.stride * interval.stride
        bars.setdefault((opened, min(opened + interval.stride, period.ended_at)), []).append(row)
    return [
        (*times, of[0][1], max(row[2] for row in of), min(row[3] for row in of), of[-1][4], len(of),
         sum(row[5] for row in of))
        for times, of in bars.items()
    ]  # fmt: skip


# --- the route --------------------------------------------------------------------------------------------------


@pytest.fixture
def route(client, past):
    for number in range(10):
        past.live(number, price=100.0 + number)
    past.roll_up(11)

    def get(**query: Any):
        usual = {"exchange": "kraken", "symbol": "c0-usd", "interval": "1m", "from": past.start.isoformat(),
                 "to": past.at(20).isoformat()}  # fmt: skip
        return client.get("/api/v1/candles", {**usual, **query})

    return get


def test_pages_follow_each_other_without_a_hole_or_a_repeat(route):
    cursor, opened = None, []
    for _ in range(4):
        body = route(limit=3, **({"cursor": cursor} if cursor else {})).json()
        opened += [bar["opened_at"] for bar in body["candles"]]
        cursor = body["next_cursor"]

    assert cursor is None
    assert len(opened) == len(set(opened)) == 10
    assert opened == sorted(opened)
    assert (body["symbol"], body["tz"]) == ("C0/USD", "UTC")


def test_csv_has_the_same_bars(route):
    bars = route().json()["candles"]

    answer = route(format="csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert [(row["opened_at"], float(row["close"]), int(row["live"])) for row in rows] == [
        (bar["opened_at"], bar["close"], bar["origin"]["live"]) for bar in bars
    ]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_arrow_and_parquet_have_the_same_bars(route, form):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    bars, content = route().json()["candles"], route(format=form).content
    table = (
        parquet.read_table(io.BytesIO(content)) if form == "parquet" else pyarrow.ipc.open_stream(content).read_all()
    )

    assert table.column_names == list(candle_formats.FLAT_COLUMNS)
    assert [clock.microseconds_z(at.as_py()) for at in table["opened_at"]] == [bar["opened_at"] for bar in bars]
    for name in ("open", "close", "volume", "samples", "expected", "source", "is_final", "gap_ids", "revision"):
        assert table[name].to_pylist() == [bar[name] for bar in bars], name
    assert table.schema.metadata[b"symbol"] == b"C0/USD"
    empty = route(format=form, **{"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"})
    assert empty.status_code == 200


def test_without_pyarrow_the_refusal_says_what_is_missing(route, monkeypatch):
    monkeypatch.setattr(candle_formats, "has_arrow", lambda: False)

    refused = route(format="arrow")

    assert (refused.status_code, refused.headers["Content-Type"]) == (501, "application/json")
    assert "pyarrow" in refused.json()["message"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"interval": "2M"}, "interval"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"tz": "../etc/passwd"}, "tz"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"symbol": "NONE"}, "symbol"),
        ({"exchange": "nowhere"}, "exchange"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"cursor": "x"}, "cursor"),
        ({"source": "guess"}, "source"),
        ({"price": "1"}, "price"),
        ({"as_of": "2999-01-01T00:00:00Z"}, "as_of"),
        ({"limit": "1001", "format": "csv"}, "limit"),
    ],
)
def test_bad_questions_are_refused_by_name(route, query, field):
    refused = route(**query)

    assert refused.status_code == 400
    assert refused.headers["Content-Type"] == "application/json"
    assert field in refused.json()["details"]


def test_a_cursor_belongs_to_its_question(route):
    cursor = route(limit=3).json()["next_cursor"]

    assert "cursor" in route(cursor=cursor, interval="2m").json()["details"]


def test_the_same_bars_as_of_a_moment_after_a_fill(past, asked):
    past.live(0)
    past.gap(0, 5)
    past.live(5)
    past.roll_up(6)
    before = asked("5m", as_of=past.at(9)) + asked("10s", as_of=past.at(9))

    past.fill([past.trade(0.5, 500.0), past.trade(2.5, 400.0)], at=10)

    assert asked("5m", as_of=past.at(9)) + asked("10s", as_of=past.at(9)) == before
    assert max(bar["high"] for bar in asked("5m", start=past.at(-10))) == 500
    assert Pipeline.objects.get().received_at == past.at(5)
