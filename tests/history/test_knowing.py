"""What was known when: the same question as of a moment has the same answer after every later fill."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pytest
from django.db import connection

from collectors.backfill import choice
from collectors.gaps import invariants
from collectors.history import candle_formats, candles, knowing, quality
from collectors.history.candles import CandleQuery
from collectors.models import Rollup, Tick
from collectors.models.history import RollupRevision
from collectors.rules import intervals
from feeds.base import Candle, Trade
from lib import clock
from tests.gaps.test_api import ADMIN
from tests.history.conftest import MINUTE, Past


@pytest.fixture
def broken(past: Past):
    return lambda: [found.promise for found in invariants.check(since=past.start) if found.offences]


def test_live_rows_name_no_time_of_knowing_and_filled_rows_do(past):
    past.live(0)
    past.live(5)
    past.gap(0, 5)
    past.fill([past.candle(2, 100, 120, 90, 110)], at=10)

    assert list(Tick.objects.order_by("received_at").values_list("origin", "known_at")) == [
        (0, None), (1, past.at(10)), (0, None),
    ]  # fmt: skip
    [_, row, _] = past.minutes(grain="raw")
    assert (row["origin"], row["known_at"]) == (1, past.at(10))


def test_a_minute_that_changes_keeps_what_it_was(past, broken):
    for minutes in (0, 0.5, 3.5):
        past.live(minutes)
    past.gap(0.5, 3.5)
    past.roll_up(4)
    before = past.minutes()

    past.fill([past.trade(0.75, 130.0), past.trade(2.5, 140.0)], at=20)

    assert [(row["minute_at"], row["high"], row["revision"]) for row in past.minutes()] == [
        (past.at(0), 130, 1), (past.at(2), 140, 0), (past.at(3), 100, 0),
    ]  # fmt: skip
    assert past.minutes(as_of=19.9) == before
    assert past.minutes(as_of=20) == past.minutes()
    [old] = RollupRevision.objects.all()
    assert (old.minute_at, old.high, old.replaced_at) == (past.at(0), 100, past.at(20))
    assert broken() == []


def test_what_comes_out_the_same_is_no_revision(past):
    past.live(0)
    past.roll_up(1)
    past.gap(0, 5)
    past.fill([past.candle(3, 1, 2, 1, 2)], at=10)

    assert not RollupRevision.objects.exists()
    assert Rollup.objects.get(minute_at=past.at(0)).revision == 0


def test_random_fills_change_no_answer_as_of_an_earlier_moment(past, broken):
    assert fill_at_random(past, random.Random(20260301), rows=60, minutes=150) > 60
    assert RollupRevision.objects.count() > 5
    assert broken() == []


def fill_at_random(past: Past, chance: random.Random, *, rows: int, minutes: int) -> int:
    """Live rows with holes, filled by candles and trades; what was asked before each fill is asked again in the end.

    Returns the number of fills."""
    for second in sorted(chance.sample(range(0, minutes * 60, 10), rows)):
        past.live(second / 60, price=float(chance.randrange(90, 110)))
    for until in range(30, minutes + 60, 30):  # at most half an hour a call
        past.roll_up(until)
    live, fills = _live_rows(past), 0
    asked: list[tuple[Callable[[], bytes], bytes]] = []
    moment = past.at(minutes + 80)
    while choice.due("kraken", moment).exists():
        question = _question(past, moment - timedelta(seconds=1), chance.randrange(minutes), chance)
        asked.append((question, question()))
        past.fill(lambda span: _answer(span, chance), at=(moment - past.start) / MINUTE)
        moment, fills = moment + timedelta(seconds=2), fills + 1
    for question, answer in asked:
        assert question() == answer
    assert _live_rows(past) == live
    return fills


def _live_rows(past: Past) -> list[tuple[object, ...]]:
    """Every live row with the place where PostgreSQL keeps it: one that was written again stands elsewhere."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableoid, ctid::text, t.* FROM collectors_tick AS t WHERE pipeline_id = %s AND origin = 0"
            " ORDER BY received_at", [past.pipeline],
        )  # fmt: skip
        return list(cursor.fetchall())


def _answer(span, chance: random.Random):
    opened = range(int(span.start // 60) * 60, int(span.end), 60)
    if len(opened) > 1 and chance.random() < 0.7:
        return [Candle(at, 100, 101 + chance.random(), 99, 100, chance.choice([0.0, 1.5, None])) for at in opened]
    moments = sorted(span.start + (span.end - span.start) * chance.random() for _ in range(4))
    return [Trade(None, at, 111.0, 1.0, "buy") for at in moments]


def test_a_clock_that_runs_behind_leaves_no_hole_between_two_states(past, broken):
    past.live(0)
    past.live(5)
    past.roll_up(30)
    past.fill([past.trade(0.5, 130.0)], at=20)

    [old], [new] = RollupRevision.objects.all(), Rollup.objects.filter(revision=1)
    assert old.known_at == old.replaced_at == new.known_at == past.at(30.5)
    assert broken() == []


def _question(past: Past, moment: datetime, first: int, chance: random.Random) -> Callable[[], bytes]:
    """One of the questions that may be asked as of a moment."""
    span = {"start": past.at(first), "end": past.at(first + 60)}
    if chance.random() < 0.5:
        grain = chance.choice(["minute", "raw"])
        return lambda: orjson.dumps(past.minutes(as_of=moment, grain=grain, **span))
    if chance.random() < 0.3:
        return lambda: orjson.dumps(quality.of_span(past.pipeline, **span, now=past.at(600), as_of=moment).body())
    interval, zone = intervals.parse(chance.choice(["10s", "1m", "7m", "1h", "1d"])), ZoneInfo("Asia/Kathmandu")
    query = CandleQuery(past.pipeline, interval, **span, zone=zone, now=past.at(600), limit=1000, as_of=moment)
    return lambda: orjson.dumps(candle_formats.as_json(candles.read(query)))


def test_a_moment_before_anybody_wrote_that_down_is_refused(client, past, monkeypatch):
    monkeypatch.undo()
    since = knowing.known_since()
    path = f"/api/v1/pipelines/{past.pipeline}/history/"

    refused = client.get(path, {"as_of": (since - timedelta(seconds=1)).isoformat()})
    answered = client.get(path, {"as_of": clock.now().isoformat()})

    assert refused.status_code == 409
    assert refused.json()["error"] == "as_of_unknown"
    assert datetime.fromisoformat(refused.json()["known_since"]) == since
    assert (answered.status_code, answered.headers["X-As-Of-Settled"]) == (200, "false")


def test_the_future_is_not_known(client, past):
    path = f"/api/v1/pipelines/{past.pipeline}/history/"

    refused = client.get(path, {"as_of": (clock.now() + timedelta(minutes=1)).isoformat()})

    assert refused.status_code == 400
    assert "as_of" in refused.json()["details"]


@pytest.mark.parametrize("kind", ["ticks", "rollups"])
def test_an_export_as_of_a_moment_is_the_same_after_a_fill(client, past, kind):
    past.live(0)
    past.live(5)
    past.roll_up(6)
    past.gap(0, 5)
    query = {"from": past.start.isoformat(), "to": past.at(6).isoformat(), "pipeline": past.pipeline}

    def exported(**more: str) -> bytes:
        answer = client.get(f"/api/v1/{kind}/export/", {**query, **more}, headers=ADMIN)
        assert answer.status_code == 200
        return b"".join(answer.streaming_content)

    before, then = exported(), {"as_of": past.at(9).isoformat()}
    asked = exported(**then)
    past.fill([past.candle(2, 100, 120, 90, 110)], at=10)

    assert exported(**then) == asked == before != exported()


def test_rows_from_before_the_upgrade_were_known_by_then(past):
    past.live(0)
    past.roll_up(1)
    past.gap(0, 5)
    past.fill([past.candle(2, 100, 120, 90, 110)], at=10)
    Tick.objects.update(known_at=None)
    Rollup.objects.update(known_at=None, live=None)

    assert [row["known_at"] for row in past.minutes(as_of=400, grain="raw")] == [past.at(0), None]
    assert [row["known_at"] for row in past.minutes(as_of=400)] == [None, None]
    assert datetime(2020, 1, 1, tzinfo=UTC) == knowing.known_since()
