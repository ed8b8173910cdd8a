"""What incidents cost: sums over their gaps, by incident and by what it explains."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import Sum

from collectors.models import Gap, GapCause, Pipeline
from incidents.models import Incident, IncidentGap
from tests.incidents.conftest import START, Story, trouble
from tests.world import add_exchange, add_market

WORKER = "system:worker"


@pytest.fixture
def silent(story: Story) -> dict[str, list[Pipeline]]:
    """Two exchanges with three markets each; all of them have been silent since the story began."""
    found: dict[str, list[Pipeline]] = {}
    for name in ("kraken", "luno"):
        exchange = add_exchange(name, since=START - timedelta(days=1))
        markets = [add_market(exchange, base, since=START - timedelta(days=1)) for base in ("BTC", "ETH", "XRP")]
        found[name] = [market.pipeline for market in markets]
        for pipeline in found[name]:
            Gap.objects.create(
                pipeline=pipeline, started_at=START - timedelta(seconds=10), missed_count=1, detected_at=START,
                cause=GapCause.OUR_OUTAGE,
            )  # fmt: skip
    return found


def close_gaps(story: Story, *, missed: int, filled: int = 0) -> None:
    Gap.objects.filter(ended_at__isnull=True).update(ended_at=story.now, missed_count=missed, filled_count=filled)


def rows(key: str) -> tuple[int, int]:
    row = Incident.objects.get(key=key)
    return row.rows_missing, row.rows_recovered


def test_a_cause_counts_what_it_explains_and_each_gap_once(story: Story, silent: dict[str, list[Pipeline]]) -> None:
    both = [trouble(f"exchange:{name}", cause="silent", explained_by=[WORKER]) for name in silent]
    story.see(trouble(WORKER), *both)
    for _ in range(12):
        story.see(trouble(WORKER), *both, after=10)
    assert rows(WORKER)[0] == 6 * 12  # of each pipeline one in ten seconds
    close_gaps(story, missed=13, filled=5)
    story.see()
    story.see(after=31)

    assert rows(WORKER) == (6 * 13, 6 * 5)
    assert rows("exchange:kraken") == (3 * 13, 3 * 5)
    assert IncidentGap.objects.count() == 6
    assert Gap.objects.aggregate(rows=Sum("missed_count"))["rows"] == rows(WORKER)[0]


def test_what_is_filled_after_the_end_is_counted_and_stays_when_gaps_expire(
    story: Story, silent: dict[str, list[Pipeline]]
) -> None:
    story.see(trouble())
    close_gaps(story, missed=4)
    story.see(after=30)
    story.see(after=31)
    assert rows("exchange:kraken") == (12, 0)

    Gap.objects.update(filled_count=4)
    story.see(trouble("exchange:luno"), after=120)
    assert rows("exchange:kraken") == (12, 12)
    Gap.objects.all().delete()
    story.see(trouble("exchange:luno"), after=120)
    assert rows("exchange:kraken") == (12, 12)


def test_quiet_markets_and_old_silences_are_nobodys(story: Story, silent: dict[str, list[Pipeline]]) -> None:
    first, second, third = Gap.objects.filter(pipeline__in=silent["kraken"]).order_by("pk")
    Gap.objects.filter(pk=first.pk).update(cause=GapCause.MARKET_QUIET)
    Gap.objects.filter(pk=second.pk).update(started_at=START - timedelta(days=3))
    story.see(trouble())

    assert list(IncidentGap.objects.values_list("gap_id", flat=True)) == [third.pk]
