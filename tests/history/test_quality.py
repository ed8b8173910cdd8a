"""The quality that goes with every answer is what the minutes and the gaps say; what falls short is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

import orjson
import pytest

from collectors.gaps import invariants
from collectors.history import quality, rollups
from collectors.models import Gap, Pipeline, Rollup, Watermark
from collectors.models.history import PipelineDay
from collectors.rules.quality import Quality, parse_least
from exchanges.models import Market
from tests.gaps.test_api import ADMIN
from tests.history.conftest import MINUTE, Past

SEALED = "yesterday as of its end is unchanged"
GOOD = {"expected": 10, "stored": 10, "filled": 0, "origins": {}, "has_rows": True}


@pytest.mark.parametrize(
    ("fields", "condition"),
    [
        ({}, "available"),
        ({"stored": 9}, "degraded"),
        ({"stored": 9, "is_pending": True}, "pending"),
        ({"is_frozen": True}, "degraded"),
        ({"is_identity_unproven": True}, "degraded"),
        ({"expected": 0, "stored": 0}, "available"),
        ({"stored": 0, "has_rows": False, "is_pending": True}, "missing"),
        ({"expected": 0, "stored": 0, "has_rows": False}, "missing"),
    ],
)
def test_a_condition_follows_from_the_counts(fields, condition):
    assert Quality(**{**GOOD, **fields}).condition == condition


@pytest.mark.parametrize(
    ("least", "fields", "is_met"),
    [
        ("available", {}, True), ("available", {"stored": 9}, False), ("degraded", {"stored": 9}, True),
        ("degraded", {"stored": 0, "has_rows": False}, False), ("0.9", {"stored": 9}, True),
        ("0.91", {"stored": 9}, False), ("0", {"expected": 0, "stored": 0, "has_rows": False}, False),
    ],
)  # fmt: skip
def test_what_is_asked_for_at_least_is_a_condition_or_a_share(least, fields, is_met):
    assert Quality(**{**GOOD, **fields}).meets(parse_least(least)) is is_met


@pytest.mark.parametrize("text", ["good", "1.01", "-0.1", "nan", ""])
def test_anything_else_cannot_be_asked_for(text):
    with pytest.raises(ValueError, match=r"."):
        parse_least(text)


def of(past: Past, start: float, end: float, **more):
    return quality.of_span(past.pipeline, start=past.at(start), end=past.at(end), now=past.at(600), **more)


def two_of_four(past: Past):
    """Candles of the minutes from 3 to 6; in the last two nobody traded."""
    traded = [past.candle(minute, 1, 2, 1, 2) for minute in (3, 4)]
    return traded + [past.candle(minute, 2, 2, 2, 2, volume=0.0) for minute in (5, 6)]


def test_a_gap_is_missing_until_it_is_filled(past):
    for minutes in (0, 1, 2, 7, 8):
        past.live(minutes)
    past.roll_up(9)
    Gap.objects.exclude(started_at=past.at(2)).delete()

    before = of(past, 0, 9)
    past.fill(two_of_four(past), at=60)
    after = of(past, 0, 9)

    assert (before.expected, before.stored, before.filled, before.condition) == (9, 5, 0, "pending")
    assert before.open_gap_ids == (Gap.objects.get().pk,)
    assert (after.expected, after.stored, after.filled, after.condition) == (9, 7, 2, "degraded")
    assert (after.origins, after.worst_cause) == ({"live": 5, "candle": 2, "trade": 0}, Gap.objects.get().cause)
    assert of(past, 0, 9, as_of=past.at(59)).body() == {
        **before.body(), "condition": "degraded", "open_gap_ids": None, "worst_cause": None, "frozen": None,
        "as_of": f"{past.at(59):%Y-%m-%dT%H:%M:%S.%f}Z",
    }  # fmt: skip


def test_what_may_be_another_markets_is_degraded(past):
    for minute in (1, 2, 3, 4):
        past.live(minute)
    past.roll_up(6)
    Market.objects.update(identity_since=past.at(3))

    before, after = of(past, 1, 5), of(past, 3, 5)

    assert (before.condition, before.body()["identity_unproven"]) == ("degraded", True)
    assert (after.condition, after.body()["identity_unproven"]) == ("available", False)


def test_what_the_exchange_halted_and_what_was_stopped_is_not_missing(past):
    for minutes in (0, 1, 5, 6):
        past.live(minutes)
    past.roll_up(7)
    Gap.objects.filter(started_at=past.at(1)).update(cause="halted")

    assert (of(past, 0, 7).expected, of(past, 0, 7).condition) == (4, "available")


def test_a_market_that_comes_rarely_misses_rows_and_not_minutes(past):
    Pipeline.objects.update(expected_seconds=300)
    for minutes in (0, 5, 25, 30):
        past.live(minutes)
    past.roll_up(30)
    past.roll_up(31)
    gap = Gap.objects.get()

    assert (gap.started_at, gap.missed_count) == (past.at(5), 3)
    assert (of(past, 0, 31).stored, of(past, 0, 31).expected) == (4, 7)


def test_rows_that_are_not_rolled_up_yet_count(past):
    past.live(599.9)

    assert of(past, 599, 600).condition == "available"
    assert of(past, 500, 501).condition == "missing"


# --- days -------------------------------------------------------------------------------------------------------


@pytest.fixture
def day(past) -> Past:
    """Some rows, a gap of minutes, rolled up; everything on one day that is over."""
    midnight = past.start.replace(hour=0)
    for minutes in (0, 1, 2, 7, 8):
        past.live(minutes)
    past.roll_up(9)
    Gap.objects.exclude(started_at=past.at(2)).delete()
    Watermark.objects.filter(name=rollups.CURSOR).update(reached_at=midnight + timedelta(days=1))
    Watermark.objects.create(name=quality.DAYS_CURSOR, reached_at=midnight)
    return past


def over(past: Past) -> datetime:
    return past.start.replace(hour=0) + timedelta(days=1, minutes=2)


def test_a_day_that_is_over_is_counted_once_and_again_when_rows_come_later(day):
    assert quality.run(over(day)) == 1
    assert quality.run(over(day)) == 0
    before = PipelineDay.objects.get()
    day.fill(two_of_four(day), at=(over(day) - day.start) / MINUTE + 5)
    after = PipelineDay.objects.get()

    assert (before.day, before.expected, before.stored, before.filled, before.longest_gap_seconds) == (
        day.start.date(), 9, 5, 0, 300,
    )  # fmt: skip
    assert (after.expected, after.stored, after.filled) == (9, 7, 2)
    assert len(before.fingerprint) == 32
    assert SEALED not in [found.promise for found in invariants.check(since=over(day)) if found.offences]


def test_verify_finds_a_day_that_is_not_as_it_was_when_it_was_over(day):
    quality.run(over(day))
    Rollup.objects.filter(minute_at=day.at(1)).update(high=999)

    assert SEALED in [found.promise for found in invariants.check(since=over(day)) if found.offences]


def test_a_calendar_has_days_that_are_counted_and_those_that_are_not(client, day):
    query = {"exchange": "kraken", "symbol": "c0usd", "from": day.start.date().isoformat()}
    before = client.get("/api/v1/quality/calendar", query).json()["days"]
    quality.run(over(day))

    assert client.get("/api/v1/quality/calendar", query).json()["days"] == before
    assert (before[0]["expected"], before[0]["stored"], before[0]["completeness"]) == (9, 5, 0.555555)


# --- the routes -------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(client, past):
    for minutes in (0, 1, 2, 7, 8):
        past.live(minutes)
    past.roll_up(9)
    span = {"from": past.start.isoformat(), "to": past.at(9).isoformat()}
    routes = {
        "history": (f"/api/v1/pipelines/{past.pipeline}/history", span),
        "candles": ("/api/v1/candles", {**span, "exchange": "kraken", "symbol": "C0/USD"}),
    }
    return lambda route, **query: client.get(routes[route][0], {**routes[route][1], **query})


@pytest.mark.parametrize("route", ["history", "candles"])
def test_what_falls_short_is_refused_with_its_quality(asked, route):
    answer = asked(route, min_quality="0.5")
    packet = answer.json()["quality"]

    assert (answer.status_code, packet["expected"], packet["stored"], packet["condition"]) == (200, 9, 5, "pending")
    for least in ("available", "0.56", "1"):
        refused = asked(route, min_quality=least)
        assert (refused.status_code, refused.json()["error"]) == (409, "quality_too_low")
        assert refused.json()["quality"] == packet
    assert asked(route, min_quality="perfect").status_code == 400


def test_csv_has_its_quality_as_a_header(asked):
    answer = asked("candles", format="csv")

    assert orjson.loads(answer.headers["X-Data-Quality"]) == asked("candles").json()["quality"]


def test_the_quality_of_a_pair_is_told_for_each_exchange(client, asked, past):
    query = {"symbol": "C0-USD", "from": past.start.isoformat(), "to": past.at(9).isoformat()}

    [row] = client.get("/api/v1/quality", query).json()["results"]

    assert (row["exchange"], row["quality"]["stored"]) == ("kraken", 5)
    assert client.get("/api/v1/quality", {**query, "symbole": "x"}).status_code == 400


def test_an_export_carries_its_quality_and_is_refused_below_what_is_asked_for(client, asked, past):
    span = {"from": past.start.isoformat(), "to": past.at(9).isoformat(), "exchange": "kraken"}

    one = client.get("/api/v1/rollups/export", {**span, "symbol": "C0USD"}, headers=ADMIN)
    whole = client.get("/api/v1/rollups/export", span, headers=ADMIN)
    refused = client.get("/api/v1/rollups/export", {**span, "symbol": "C0USD", "min_quality": "0.9"}, headers=ADMIN)

    assert orjson.loads(one.headers["X-Data-Quality"]) == asked("candles").json()["quality"]
    assert orjson.loads(whole.headers["X-Data-Quality"])["condition"] in ("available", "degraded", "missing")
    assert (refused.status_code, refused.json()["error"]) == (409, "quality_too_low")
    b"".join([*one.streaming_content, *whole.streaming_content])


def test_a_badge_shows_the_share_of_a_market(client, asked):
    shown = client.get("/badge/quality/kraken/c0usd.svg")

    assert (shown.status_code, "55.55 % of 30 days" in shown.content.decode()) == (200, True)
    assert client.get("/badge/quality/kraken/none.svg").status_code == 404
