"""The heat map: what colour a quarter of an hour has, in which words, and that it stays small and quick."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from board import coverage
from board.rules import heat
from board.rules.heat import Cell, HeatGap
from collectors.models import Coverage, Gap, Rollup
from exchanges.models import Exchange
from tests.board.conftest import make_pipelines

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
QUARTER = NOON - heat.QUARTER
LONG_AGO = NOON - timedelta(days=9)


@pytest.mark.parametrize(
    ("expected", "stored", "level"),
    [
        (None, 0, "unknown"),
        (0, 0, "planned"),
        (1000, 0, "none"),
        (1000, 1, "little"),
        (1000, 499, "little"),
        (1000, 500, "partly"),
        (1000, 899, "partly"),
        (1000, 900, "nearly"),
        (1000, 989, "nearly"),
        (1000, 990, "full"),
        (1000, 1001, "full"),
    ],
)
def test_a_quarter_is_coloured_by_its_share_of_stored_minutes(expected: int | None, stored: int, level: str) -> None:
    assert Cell(expected, stored).level == level


def test_a_quarter_filled_later_is_told_from_one_that_was_always_whole() -> None:
    assert Cell(15, 15, is_filled=True).level == "filled"
    assert Cell(15, 8, is_filled=True).level == "partly"


@pytest.mark.parametrize(
    ("part", "words"), [(None, "not measured"), (1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50.0 %"), (0.0, "0.0 %")]
)
def test_a_share_is_never_rounded_up_to_all(part: float | None, words: str) -> None:
    assert heat.share_words(part) == words


def test_the_window_ends_with_the_running_quarter() -> None:
    at_the_edge, just_before = heat.window(NOON), heat.window(NOON - timedelta(microseconds=1))

    assert len(at_the_edge) == 96
    assert at_the_edge[-1] == NOON
    assert just_before[-1] == NOON - timedelta(minutes=15)
    assert at_the_edge[0] == NOON - timedelta(hours=23, minutes=45)


def test_equal_neighbours_become_one_stretch() -> None:
    cells = [Cell(), Cell(15, 15), Cell(15, 15), Cell(15, 0), Cell(0), Cell(15, 15)]

    found = [(each.level, each.first, each.count) for each in heat.stretches(cells)]

    assert found == [
        ("unknown", 0, 1), ("full", 1, 2), ("none", 3, 1), ("planned", 4, 1), ("full", 5, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([Cell(15, 15), Cell(15, 15)], "11:30 to 12:00 UTC: 30 of 30 expected minutes stored (100 %)"),
        ([Cell(1500, 0), Cell(1500, 0)], "11:30 to 12:00 UTC: none of 3,000 expected minutes stored"),
        ([Cell(0), Cell(0)], "11:30 to 12:00 UTC: not expected (planned stop)"),
        ([Cell(), Cell()], "11:30 to 12:00 UTC: not measured"),
        (
            [Cell(15, 15, is_filled=True)] * 2,
            "11:30 to 12:00 UTC: 30 of 30 expected minutes stored (100 %), a part of them later (backfilled)",
        ),
    ],
)
def test_a_stretch_says_itself_in_words(cells: Sequence[Cell], words: str) -> None:
    (stretch,) = heat.stretches(cells)

    assert heat.said(stretch, [NOON - 2 * heat.QUARTER, NOON - heat.QUARTER]) == words


def test_a_day_without_expectations_has_no_share() -> None:
    assert heat.share([Cell(), Cell(0)]) is None
    assert heat.share([Cell(10, 5), Cell(10, 20), Cell()]) == 0.75


@pytest.mark.parametrize(
    ("elapsed_seconds", "expected_seconds", "minutes"),
    [(30, 10, 0), (89, 10, 0), (150, 10, 1), (15 * 60 + 90, 10, 15), (3600, 10, 15), (3600, 300, 3), (3600, 3600, 0)],
)
def test_minutes_are_expected_once_they_are_rolled_up(
    elapsed_seconds: float, expected_seconds: float, minutes: int
) -> None:
    now = NOON + timedelta(seconds=elapsed_seconds)

    assert heat.expected_minutes(NOON, now=now, expected_seconds=expected_seconds, listed_at=LONG_AGO) == minutes


def test_nothing_is_expected_before_a_market_was_listed() -> None:
    late = NOON + timedelta(hours=1)

    assert heat.expected_minutes(NOON, now=late, expected_seconds=10, listed_at=NOON + timedelta(minutes=5)) == 10
    assert heat.expected_minutes(NOON, now=late, expected_seconds=10, listed_at=NOON + heat.QUARTER) == 0


def cell(
    *, stored: int = 0, silences: Sequence[HeatGap] = (), is_planned: bool | None = False, has_rows: bool = True
) -> Cell:
    return heat.pipeline_cell(
        QUARTER,
        now=NOON + timedelta(hours=2),
        stored=stored,
        expected_seconds=10,
        listed_at=LONG_AGO,
        is_planned=is_planned,
        silences=silences,
        has_rows=has_rows,
    )


SILENT = HeatGap(QUARTER + timedelta(minutes=2), QUARTER + timedelta(minutes=7))


def test_what_the_ledger_calls_a_gap_is_lost() -> None:
    assert cell(stored=10, silences=[SILENT]) == Cell(15, 10)
    assert cell(stored=0, silences=[HeatGap(QUARTER - timedelta(hours=1), None)]).level == "none"


def test_minutes_without_a_row_and_without_a_gap_were_not_expected() -> None:
    assert cell(stored=10).level == "full"
    assert cell(stored=0).level == "planned"
    assert cell(stored=0, is_planned=True).level == "planned"


def test_a_pipeline_that_never_had_a_row_is_not_excused() -> None:
    assert cell(stored=0, has_rows=False).level == "none"
    assert cell(stored=0, has_rows=False, is_planned=True).level == "planned"


def test_a_quarter_that_nobody_counted_is_unknown_and_never_green() -> None:
    assert cell(stored=0, is_planned=None).level == "unknown"
    assert cell(stored=0, is_planned=None, silences=[SILENT]).level == "none"


@pytest.mark.parametrize(
    ("gap", "touches"),
    [
        (HeatGap(QUARTER - heat.QUARTER, QUARTER), False),
        (HeatGap(QUARTER - heat.QUARTER, QUARTER + timedelta(seconds=1)), True),
        (HeatGap(NOON, None), False),
        (HeatGap(NOON - timedelta(seconds=1), None), True),
    ],
    ids=["ends where it begins", "reaches into it", "begins where it ends", "begins in it and lasts"],
)
def test_a_gap_counts_for_the_quarters_that_it_touches(gap: HeatGap, touches: bool) -> None:
    assert (cell(stored=15, silences=[gap]) == Cell(15, 15)) is True
    assert (cell(stored=0, silences=[gap]).level == "none") is touches


# --- on the database --------------------------------------------------------------------------------------------


def test_exchanges_with_the_largest_loss_come_first(day: datetime, now: datetime) -> None:
    for name, stored in (("calm", 15), ("broken", 5), ("wobbly", 12)):
        exchange = Exchange.objects.create(id=name)
        Coverage.objects.create(exchange=exchange, quarter_at=day, expected_minutes=15, stored_minutes=stored)
    Exchange.objects.create(id="new")

    assert [line.name for line in coverage.of_exchanges(now)] == ["broken", "wobbly", "calm", "new"]


def test_an_exchanges_pipelines_are_read_from_rollups_and_gaps(day: datetime, now: datetime) -> None:
    exchange = Exchange.objects.create(id="kraken")
    Coverage.objects.create(exchange=exchange, quarter_at=day, expected_minutes=30, stored_minutes=20)
    whole, broken = make_pipelines(exchange, ["A/USD", "B/USD"], now)
    minutes = [day + timedelta(minutes=number) for number in range(15)]
    Rollup.objects.bulk_create(Rollup(pipeline_id=whole.pk, minute_at=minute, samples=6) for minute in minutes)
    Rollup.objects.bulk_create(Rollup(pipeline_id=broken.pk, minute_at=minute, samples=6) for minute in minutes[:5])
    Gap.objects.create(
        pipeline_id=broken.pk, started_at=minutes[5], ended_at=day + heat.QUARTER, missed_count=60, detected_at=now
    )

    page = coverage.of_pipelines("kraken", now)

    assert [line.name for line in page.lines] == ["B/USD", "A/USD"]
    assert [line.cells[0] for line in page.lines] == [Cell(15, 5), Cell(15, 15)]
    assert page.found == 2


def test_a_page_holds_fifty_pipelines(day: datetime, now: datetime, operator: Client) -> None:
    make_pipelines(Exchange.objects.create(id="kraken"), [f"C{number:03}/USD" for number in range(51)], now)

    first = operator.get("/board/heat/kraken").content.decode()
    second = operator.get("/board/heat/kraken?page=2").content.decode()

    assert first.count("mm-heat-row") == 50
    assert "page 1 of 2" in first
    assert second.count("mm-heat-row") == 1
    assert "C050/USD" in second


def test_a_hundred_exchanges_cost_the_same_queries_as_one(day: datetime, now: datetime, operator: Client) -> None:
    make_covered(1, day)
    with CaptureQueriesContext(connection) as few:
        operator.get("/board/heat")
    make_covered(100, day)
    with CaptureQueriesContext(connection) as many:
        response = operator.get("/board/heat")

    assert len(few) == len(many)
    assert response.content.count(b"mm-heat-row") == 100
    assert len(response.content) < 100_000


def make_covered(count: int, day: datetime) -> None:
    """So many exchanges, each with an hour of loss in a day."""
    Exchange.objects.all().delete()
    names = [f"exchange{number}" for number in range(count)]
    Exchange.objects.bulk_create(Exchange(id=name) for name in names)
    Coverage.objects.bulk_create(
        Coverage(
            exchange_id=name, quarter_at=day + heat.QUARTER * quarter, expected_minutes=7500,
            stored_minutes=0 if 40 <= quarter < 44 else 7500,
        )
        for name in names
        for quarter in range(96)
    )  # fmt: skip


def test_an_unchanged_map_is_not_sent_again(day: datetime, operator: Client) -> None:
    make_covered(2, day)
    first = operator.get("/board/heat")
    again = operator.get("/board/heat", headers={"If-None-Match": first["ETag"]})
    Coverage.objects.filter(exchange_id="exchange1").update(stored_minutes=1)
    changed = operator.get("/board/heat", headers={"If-None-Match": first["ETag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert changed.status_code == 200


def test_every_stretch_has_its_words_and_the_table_says_what_was_lost(day: datetime, operator: Client) -> None:
    make_covered(1, day)

    drawn = operator.get("/board/heat").content.decode()
    table = operator.get("/board/heat?as=table").content.decode()

    start, end = day + heat.QUARTER * 40, day + heat.QUARTER * 44
    lost = f"{start:%H:%M} to {end:%H:%M} UTC: none of 30,000 expected minutes stored"
    assert drawn.count("<title>") == drawn.count("<rect class") - len(heat.WORDS) == 3
    assert f"<title>{lost}</title>" in drawn
    assert lost in table
    assert "95.8 %" in table


def test_a_hostile_symbol_stays_text(day: datetime, now: datetime, operator: Client) -> None:
    hostile = "\"'><script>alert(1)</script>/USD"
    make_pipelines(Exchange.objects.create(id="kraken"), [hostile], now)

    body = operator.get("/board/heat/kraken").content.decode()

    assert "<script>" not in body
    assert escape(hostile) in body


def test_an_unknown_exchange_is_not_found(operator: Client, db: None) -> None:
    assert operator.get("/board/heat/nobody").status_code == 404
    assert operator.get("/board/heat/nobody?page=x").status_code == 404


def test_what_nobody_counted_before_the_beginning_is_no_lack_of_knowledge() -> None:
    """A fresh system's map was grey from edge to edge, as if a day had been lost."""
    quarters = heat.window(NOON)[-4:]
    cells = [Cell(), Cell(), Cell(), Cell(15, 15)]

    found = heat.with_beginning(cells, quarters, quarters[1] + timedelta(minutes=20))

    assert [cell.level for cell in found] == ["before", "before", "unknown", "full"]


def test_what_was_counted_is_never_before_the_beginning() -> None:
    """An exchange that was removed and added again has a past."""
    assert heat.with_beginning([Cell(15, 3)], [QUARTER], NOON)[0].level == "little"


def test_a_day_on_which_collecting_began_says_when(day: datetime, now: datetime, operator: Client) -> None:
    kraken = Exchange.objects.create(pk="kraken")
    began_at = now - timedelta(hours=2)
    Exchange.objects.update(created_at=began_at)
    Coverage.objects.create(exchange=kraken, quarter_at=heat.window(now)[-2], expected_minutes=15, stored_minutes=15)

    page = operator.get("/board/heat").content.decode()
    Exchange.objects.update(created_at=LONG_AGO)
    later = operator.get("/board/heat").content.decode()

    assert f'Collected since <time datetime="{began_at:%Y-%m-%dT%H:%M}' in page
    assert "not collected yet</title>" in page
    assert "Collected since" not in later
    assert "not measured</title>" in later
