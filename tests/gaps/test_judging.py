"""How much is judged at once: days of runs must not keep a sweep from its end, now and ever again."""

from __future__ import annotations

from datetime import datetime, timedelta

from collectors import sweep
from collectors.models import Gap, Run
from tests.gaps.conftest import Field


def ended(pipeline: int, started_at: datetime, length: timedelta) -> Gap:
    return Gap.objects.create(
        pipeline_id=pipeline, started_at=started_at, ended_at=started_at + length, missed_count=1,
        detected_at=started_at,
    )  # fmt: skip


def test_long_silences_are_judged_a_few_at_a_time(field_: Field) -> None:
    field_.add("kraken", 3)
    length = sweep.MOST_JUDGED / 2
    for number, pipeline in enumerate(field_.pipelines["kraken"]):
        ended(pipeline, field_.begun - length + timedelta(seconds=number), length)

    judged = [sweep.judge_gaps(field_.begun + timedelta(minutes=1)) for _ in range(3)]

    assert judged == [2, 1, 0]


def test_one_that_is_longer_than_the_most_is_judged_alone(field_: Field) -> None:
    field_.add("kraken", 2)
    longest, short = field_.pipelines["kraken"]
    ended(longest, field_.begun - 2 * sweep.MOST_JUDGED, 2 * sweep.MOST_JUDGED)
    ended(short, field_.begun, timedelta(minutes=1))

    judged = [sweep.judge_gaps(field_.begun + timedelta(minutes=2)) for _ in range(2)]

    assert judged == [1, 1]


def test_markets_of_one_silence_are_judged_together_however_many_they_are(field_: Field) -> None:
    field_.add("kraken", 5)
    for pipeline in field_.pipelines["kraken"]:
        ended(pipeline, field_.begun - sweep.MOST_JUDGED, sweep.MOST_JUDGED)

    assert sweep.judge_gaps(field_.begun + timedelta(minutes=1)) == 5


def test_rejected_rows_are_evidence_for_their_own_market_and_silence_only(field_: Field) -> None:
    field_.add("kraken", 2)
    bad, quiet = field_.pipelines["kraken"]
    start = field_.begun
    field_.store("kraken", start)
    earlier, later = ended(bad, start, timedelta(seconds=40)), ended(bad, start + timedelta(minutes=10), timedelta(40))
    other = ended(quiet, start, timedelta(seconds=40))
    for second in (10, 20, 30):
        run_with_rejected("kraken", start + timedelta(seconds=second), "C0/USD")

    sweep.judge_gaps(start + timedelta(days=50))

    words = dict(Gap.objects.values_list("pk", "evidence"))
    assert words[earlier.pk] == "its quotes were quarantined 3 times: bid above ask"
    assert "quarantined" not in words[later.pk] + words[other.pk]


def run_with_rejected(exchange_id: str, at: datetime, symbol: str) -> None:
    Run.objects.create(
        exchange_id=exchange_id, started_at=at, duration_ms=100, outcome="stored", rows_quarantined=1,
        quarantine=[{"symbol": symbol, "reason": "bid above ask", "excerpt": ""}],
    )  # fmt: skip
