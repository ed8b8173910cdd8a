"""Rows of a clock that ran ahead: never young, never lost, and set aside by the next sweep."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from collectors import retention
from collectors.gaps import invariants, ledger, sweep
from collectors.history import partitions, rollups
from collectors.models import Gap, Origin, Pipeline, Tick, Watermark, Worker
from collectors.rules.snapshot import PipelineRows, RowNames
from collectors.status import pipelines as status
from collectors.status import workers
from collectors.status.dialects import pairs, pipelines
from collectors.status.pipelines import load
from lib import clock
from tests.board.boards import hear
from tests.gaps.conftest import Field, field_, gaps_of

__all__ = ["field_"]
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


@pytest.fixture
def began(field_: Field) -> datetime:
    """Kraken delivers until then; from then on its rows are stamped by a clock that is ahead."""
    field_.add("kraken", 2)
    began = clock.now() - 90 * SECOND
    field_.store("kraken", began)
    return began


def broken(now: datetime) -> list[invariants.PromiseResult]:
    return [each for each in invariants.check(since=now - HOUR) if each.offences]


@pytest.mark.parametrize("ahead", [10 * SECOND, HOUR, timedelta(days=6)])
def test_rows_in_the_future_are_set_aside_and_the_silence_is_a_gap(
    field_: Field, began: datetime, ahead: timedelta
) -> None:
    now = began + 60 * SECOND
    for seconds in (10, 20, 60):
        field_.store("kraken", began + ahead + seconds * SECOND)
    lies_ahead = sum(began + ahead + seconds * SECOND > now + 5 * SECOND for seconds in (10, 20, 60))

    swept = sweep.run(now)

    first = field_.all_pipelines[0]
    assert swept.taken_back == 2
    assert Tick.objects.filter(pipeline_id=first).count() == 4
    assert Tick.objects.filter(pipeline_id=first, origin=Origin.MISDATED).count() == lies_ahead
    newest = Pipeline.objects.get(pk=first).received_at
    assert newest is not None
    assert newest <= now
    if ahead >= HOUR:
        assert [(gap.started_at, gap.ended_at) for gap in gaps_of(first)] == [(began, None)]
    assert not broken(now)


def test_the_next_good_row_ends_the_gap(field_: Field, began: datetime) -> None:
    field_.store("kraken", began + HOUR)
    sweep.run(began + 60 * SECOND)

    field_.store("kraken", began + 70 * SECOND)

    (gap,) = gaps_of(field_.all_pipelines[0])
    assert (gap.started_at, gap.ended_at) == (began, began + 70 * SECOND)
    assert not broken(began + 70 * SECOND)
    assert not broken(began + 3 * HOUR)


def test_gaps_of_a_time_that_never_was_are_corrected(field_: Field, began: datetime) -> None:
    """The whole host leapt by an hour: a gap of an hour was written, and another in the hour after it."""
    first = field_.all_pipelines[0]
    field_.store("kraken", began + HOUR)
    field_.store("kraken", began + HOUR + 50 * SECOND)
    assert [gap.ended_at for gap in gaps_of(first)] == [began + HOUR, began + HOUR + 50 * SECOND]

    sweep.run(began + 60 * SECOND)

    assert [(gap.started_at, gap.ended_at) for gap in gaps_of(first)] == [(began, None)]
    assert not broken(began + 60 * SECOND)


def test_a_row_that_comes_before_the_sweep_sets_them_aside_as_well(field_: Field, began: datetime) -> None:
    field_.store("kraken", began + HOUR)

    field_.store("kraken", began + 70 * SECOND)

    first = field_.all_pipelines[0]
    assert Pipeline.objects.get(pk=first).received_at == began + 70 * SECOND
    assert Tick.objects.filter(pipeline_id=first, origin=Origin.MISDATED).count() == 1
    assert not broken(began + 70 * SECOND)
    assert not broken(began + 3 * HOUR)


def test_a_pipeline_all_of_whose_rows_lie_ahead_has_no_newest(field_: Field) -> None:
    field_.add("luno", 1)
    now = clock.now()
    field_.store("luno", now + HOUR)

    sweep.run(now)

    pipeline = Pipeline.objects.get(pk=field_.pipelines["luno"][0])
    assert (pipeline.received_at, pipeline.last) == (None, None)
    assert not broken(now)


def test_a_worker_in_the_future_is_no_longer_running(field_: Field, began: datetime) -> None:
    now = began + 60 * SECOND
    Worker.objects.update(heartbeat_at=now + HOUR, stored_at=now + HOUR)
    (view,) = workers.read(now).workers
    assert (view.status, view.stored_at, view.heartbeat_at) == ("error", None, None)
    assert "future" in view.reason

    sweep.run(now)

    worker = Worker.objects.get()
    assert worker.heartbeat_at is None
    assert worker.stored_at == began


def test_a_row_within_what_clocks_may_differ_stays(field_: Field, began: datetime) -> None:
    field_.store("kraken", began + 4 * SECOND)

    assert sweep.run(began).taken_back == 0
    assert not Tick.objects.filter(origin=Origin.MISDATED).exists()


def test_nothing_is_set_aside_while_others_wait_for_the_databases_clock_to_come_back(
    field_: Field, began: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    field_.store("kraken", began + HOUR)
    hear(monkeypatch, "worker:here:1", clock.ClockState(-3600.0, True, True, is_held=True))

    assert sweep.run(began).taken_back == 0

    hear(monkeypatch, "worker:here:1", clock.ClockState(0.0, False, False, False))
    assert sweep.run(began).taken_back == 2


def test_what_is_set_aside_says_so(field_: Field, began: datetime) -> None:
    from board import tiles

    field_.store("kraken", began + HOUR)
    sweep.run(clock.now())

    assert any("stamped in the future" in alarm.what for alarm in tiles.read(clock.now()).verdict.alarms)


# --- nobody shows it as young ------------------------------------------------------------------------------------


def test_no_status_of_a_row_in_the_future_is_healthy(field_: Field, began: datetime) -> None:
    now, first = began + 60 * SECOND, field_.all_pipelines[0]
    Pipeline.objects.update(received_at=now + HOUR)

    assert load(now).seconds[first] == status.NEVER
    page = status.read_page(now, limit=10).rows
    assert set(page.stored_seconds) == {None}


@pytest.mark.parametrize(("ahead", "shown"), [(4, b'"healthy"'), (6, b'"down"'), (3600, b'"down"')])
def test_the_pipelines_document_knows_no_negative_age(ahead: int, shown: bytes) -> None:
    now = clock.now().replace(microsecond=0)
    rows = PipelineRows(now, RowNames((("luno", "BTC"),)), [int(now.timestamp()) + ahead], [0])

    assert shown in pipelines.render(rows)
    assert (b'"delay_seconds":null' in pipelines.render(rows)) == (ahead > 5)


def test_no_age_is_known_of_a_second_in_the_future() -> None:
    assert pipelines.json_rows.age_seconds(110, 100) is None
    assert pipelines.json_rows.age_seconds(103, 100) == 0
    assert pairs.status(None) == "unavailable"


# --- cursors -----------------------------------------------------------------------------------------------------


def test_a_rollup_cursor_in_the_future_goes_on_now(field_: Field, began: datetime) -> None:
    Watermark.objects.create(name=rollups.CURSOR, reached_at=began + timedelta(days=10))

    rollups.run(began)

    reached = rollups.reached()
    assert reached is not None
    assert reached <= began


def test_a_gap_cursor_in_the_future_counts_anew(field_: Field, began: datetime) -> None:
    field_.store("kraken", began + 60 * SECOND)
    assert Gap.objects.count() == 2
    sweep.forget_old_gaps(began)
    sweep.forget_old_gaps(began + timedelta(days=10))
    assert Pipeline.objects.get(pk=field_.all_pipelines[0]).gaps_24h == 0

    sweep.forget_old_gaps(began + 70 * SECOND)

    assert Pipeline.objects.get(pk=field_.all_pipelines[0]).gaps_24h == 1
    assert not broken(began + 70 * SECOND)


# --- deletions ---------------------------------------------------------------------------------------------------


def test_a_leap_of_the_time_deletes_nothing_for_an_hour(field_: Field, began: datetime) -> None:
    partitions.ensure(began + timedelta(days=10))
    retention.run_where_believed(began)
    later = began + timedelta(days=10)

    retention.run_where_believed(later)
    assert Tick.objects.count() == 2
    assert not retention.may_delete(later + timedelta(minutes=59))

    for minutes in range(0, 62, 20):
        retention.look_at_the_time(later + timedelta(minutes=minutes))
    assert retention.may_delete(later + timedelta(minutes=61))


def test_a_time_that_goes_back_deletes_nothing_for_an_hour(began: datetime) -> None:
    retention.look_at_the_time(began)
    assert retention.may_delete(began)

    retention.look_at_the_time(began - HOUR)

    assert not retention.may_delete(began - HOUR)


def test_the_ledger_is_not_asked_where_nothing_lies_ahead(
    field_: Field, began: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "take_back", lambda *_: pytest.fail("asked"))

    sweep.run(began + 5 * SECOND)
