"""How much is judged at once: days of runs must not keep a sweep from its end, now and ever again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection

from collectors.gaps import causes, sweep
from collectors.models import Gap, Pipeline, Run
from exchanges.models import Market
from tests.gaps.conftest import INTERVAL, Field


def ended(pipeline: int, started_at: datetime, length: timedelta) -> Gap:
    return Gap.objects.create(
        pipeline_id=pipeline, started_at=started_at, ended_at=started_at + length, missed_count=1,
        detected_at=started_at,
    )  # fmt: skip


def test_long_silences_are_judged_a_few_at_a_time(field_: Field) -> None:
    field_.add("kraken", 3)
    length = causes.MOST_JUDGED / 2
    for number, pipeline in enumerate(field_.pipelines["kraken"]):
        ended(pipeline, field_.begun - length + timedelta(seconds=number), length)

    judged = [causes.judge_new(field_.begun + timedelta(minutes=1)) for _ in range(3)]

    assert judged == [2, 1, 0]


def test_one_that_is_longer_than_the_most_is_judged_alone(field_: Field) -> None:
    field_.add("kraken", 2)
    longest, short = field_.pipelines["kraken"]
    ended(longest, field_.begun - 2 * causes.MOST_JUDGED, 2 * causes.MOST_JUDGED)
    ended(short, field_.begun, timedelta(minutes=1))

    judged = [causes.judge_new(field_.begun + timedelta(minutes=2)) for _ in range(2)]

    assert judged == [1, 1]


def test_markets_of_one_silence_are_judged_together_however_many_they_are(field_: Field) -> None:
    field_.add("kraken", 5)
    for pipeline in field_.pipelines["kraken"]:
        ended(pipeline, field_.begun - causes.MOST_JUDGED, causes.MOST_JUDGED)

    assert causes.judge_new(field_.begun + timedelta(minutes=1)) == 5


def test_rejected_rows_are_evidence_for_their_own_market_and_silence_only(field_: Field) -> None:
    field_.add("kraken", 2)
    bad, quiet = field_.pipelines["kraken"]
    start = field_.begun
    field_.store("kraken", start)
    earlier, later = ended(bad, start, timedelta(seconds=40)), ended(bad, start + timedelta(minutes=10), timedelta(40))
    other = ended(quiet, start, timedelta(seconds=40))
    for second in (10, 20, 30):
        run_with_rejected("kraken", start + timedelta(seconds=second), "C0/USD")

    causes.judge_new(start + timedelta(days=50))

    words = dict(Gap.objects.values_list("pk", "evidence"))
    assert words[earlier.pk] == "its quotes were rejected 3 times: bid above ask"
    assert "quarantined" not in words[later.pk] + words[other.pk]


def run_with_rejected(exchange_id: str, at: datetime, symbol: str) -> None:
    Run.objects.create(
        exchange_id=exchange_id, started_at=at, duration_ms=100, outcome="stored", rows_quarantined=1,
        quarantine=[{"symbol": symbol, "reason": "bid above ask", "excerpt": ""}],
    )  # fmt: skip


# --- silences that last -----------------------------------------------------------------------------------------------


def silent_since(field_: Field, at: datetime) -> None:
    """One good poll, and gaps as soon as a sweep finds its rows too old."""
    field_.store("kraken", at)
    sweep.run(at + timedelta(seconds=25))


def test_the_cause_of_a_silence_that_lasts_is_judged_anew_every_minute(field_: Field) -> None:
    """Nobody polled at first, so that it looked like an outage of ours; then the exchange was away for ten minutes."""
    field_.add("kraken", 2)
    start = field_.begun.replace(second=0, microsecond=0) + timedelta(minutes=5)
    silent_since(field_, start)
    assert {gap.cause for gap in Gap.objects.all()} == {"our outage"}
    for slot in range(3, 60):
        field_.fail("kraken", start + timedelta(seconds=slot * INTERVAL), "unreachable")

    sweep.run(start + timedelta(seconds=600))

    assert set(Gap.objects.values_list("cause", "missed_count", "ended_at")) == {("exchange outage", 59, None)}
    assert {gap.evidence for gap in Gap.objects.all()} == {"the exchange did not answer: 57 runs unreachable in 600 s"}


def test_it_is_left_alone_until_the_minute_is_over(field_: Field) -> None:
    field_.add("kraken", 2)
    start = field_.begun.replace(second=0, microsecond=0) + timedelta(minutes=5)
    silent_since(field_, start)

    written = [sweep.run(start + timedelta(seconds=second)).gaps_judged for second in (58, 59, 60, 61, 62, 119, 120)]

    assert written == [0, 0, 2, 0, 0, 0, 2]


def test_rows_whose_words_have_not_changed_are_not_written(field_: Field) -> None:
    field_.add("kraken", 2)
    start = field_.begun.replace(second=0, microsecond=0) + timedelta(minutes=5)
    Market.objects.update(delisted_at=start + timedelta(seconds=10))
    silent_since(field_, start)
    Market.objects.update(active=False)
    sweep.run(start + timedelta(seconds=60))
    before = row_versions()
    assert {gap.cause for gap in Gap.objects.all()} == {"delisted"}

    sweep.run(start + timedelta(seconds=120))

    assert row_versions() == before


def row_versions() -> list[tuple[int, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, ctid::text FROM collectors_gap ORDER BY id")
        return list(cursor.fetchall())


def test_a_round_takes_as_many_sweeps_as_it_needs_and_leaves_nobody_out(
    field_: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    field_.add("kraken", 5)
    start = field_.begun.replace(second=0, microsecond=0) + timedelta(minutes=5)
    for number, pipeline in enumerate(field_.pipelines["kraken"]):
        lasting(pipeline, start + timedelta(seconds=number))
    sweep.run(start + timedelta(seconds=30))
    monkeypatch.setattr(causes, "MOST_SILENCES", 2)

    written = [causes.judge_again(start + timedelta(seconds=second)) for second in (60, 61, 62, 63, 119, 120)]

    assert written == [2, 2, 1, 0, 0, 2]


def test_a_round_stops_where_reading_its_runs_would_take_too_long(
    field_: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    field_.add("kraken", 3)
    start = field_.begun.replace(second=0, microsecond=0) + timedelta(minutes=5)
    for number, pipeline in enumerate(field_.pipelines["kraken"]):
        lasting(pipeline, start + timedelta(seconds=number))
    sweep.run(start + timedelta(seconds=30))
    monkeypatch.setattr(causes, "MOST_JUDGED_AGAIN", timedelta(seconds=119))

    written = [causes.judge_again(start + timedelta(seconds=second)) for second in (60, 61, 62, 63)]

    assert written == [2, 1, 0, 0]


def lasting(pipeline: int, started_at: datetime) -> Gap:
    Pipeline.objects.filter(pk=pipeline).update(received_at=started_at, gap_open=True, gaps_24h=1)
    return Gap.objects.create(
        pipeline_id=pipeline, started_at=started_at, missed_count=1, detected_at=started_at + timedelta(seconds=21)
    )  # fmt: skip
