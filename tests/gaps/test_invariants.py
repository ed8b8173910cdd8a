"""`manage.py verify` finds nothing in what was stored by the write path, and names each way of breaking it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from collectors.gaps import invariants, ledger
from collectors.history import rollups
from collectors.models import Gap, Pipeline, Rollup, Run
from tests.gaps.conftest import Field

pytestmark = pytest.mark.django_db(transaction=True)
Break = Callable[[int, datetime], object]


def after(start: datetime, seconds: float) -> datetime:
    return start + timedelta(seconds=seconds)


@pytest.fixture
def history(field_: Field) -> tuple[int, datetime]:
    """A pipeline with a closed gap of 60 s, another that is silent since then, and rolled up minutes; its beginning."""
    start = field_.begun.replace(second=0, microsecond=0) + timedelta(minutes=1)
    field_.add("kraken", 2)
    first, second = field_.pipelines["kraken"]
    rollups.run(after(start, 30))
    for seconds in (0, 10, 20):
        field_.store("kraken", after(start, seconds))
    ledger.open_silent(after(start, 45))
    for seconds in (80, 90, 100, 110):
        field_.store("kraken", after(start, seconds), without=[second])
    rollups.run(after(start, 210))
    assert Gap.objects.filter(pipeline=first).count() == Gap.objects.filter(pipeline=second).count() == 1
    return first, start


def broken(start: datetime) -> list[str]:
    return [found.promise for found in invariants.check(since=after(start, -60)) if found.offences]


def test_what_the_write_path_stored_keeps_every_promise(history, capsys):
    _, start = history

    assert broken(start) == []
    call_command("verify", "--hours", "3")
    assert capsys.readouterr().out.count("ok") == len(invariants.PROMISES)


def run(sql: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def add_gap(pipeline: int, start: datetime, end: datetime | None) -> None:
    Gap.objects.create(pipeline_id=pipeline, started_at=start, ended_at=end, missed_count=1, detected_at=start)


BREAKS: dict[str, Break] = {
    "no two gaps of a pipeline overlap": lambda pipeline, start: (
        add_gap(pipeline, after(start, 30), after(start, 70)),
        Pipeline.objects.filter(pk=pipeline).update(gaps_24h=2),
    ),
    "no live row lies inside a gap": lambda pipeline, start: Gap.objects.filter(pipeline=pipeline).update(
        ended_at=after(start, 81)
    ),
    "a pipeline is marked silent exactly while it has an open gap": lambda pipeline, start: Pipeline.objects.filter(
        pk=pipeline
    ).update(gap_open=True),
    "each pipeline's count of gaps is the number of its gaps": lambda pipeline, start: Pipeline.objects.filter(
        pk=pipeline
    ).update(gaps_24h=0),
    "the state shown is the newest row": lambda pipeline, start: Pipeline.objects.filter(pk=pipeline).update(
        received_at=after(start, 100)
    ),
    "one collector at a time stores for an exchange": lambda pipeline, start: Run.objects.create(
        exchange_id="kraken", started_at=after(start, 75), duration_ms=6_000, outcome="stored"
    ),
    "each finished minute's rollup counts all its rows": lambda pipeline, start: run(
        "DELETE FROM collectors_tick WHERE pipeline_id = %s AND received_at = %s", pipeline, after(start, 90)
    ),
    "each changed minute's old state is kept": lambda pipeline, start: run(
        "UPDATE collectors_rollup SET high = 999, revision = 1 WHERE pipeline_id = %s AND minute_at = %s",
        pipeline,
        after(start, 60),
    ),
    "yesterday as of its end is unchanged": lambda pipeline, start: run(
        "INSERT INTO collectors_pipelineday (pipeline_id, day, expected, stored, filled, longest_gap_seconds,"
        " worst_cause, sealed_at, fingerprint) VALUES (%s, %s, 1, 1, 0, 0, '', %s, 'of other minutes')",
        pipeline,
        start.date(),
        after(start, 300),
    ),
}


# Broken in tests/archive, where there are files.
OF_THE_ARCHIVE = {
    "each archived file follows the one before it, and was found sound",
    "no day of minutes was dropped that is not archived",
}


def test_every_promise_can_be_broken():
    assert set(BREAKS) | OF_THE_ARCHIVE == set(invariants.PROMISES)


@pytest.mark.parametrize("promise", BREAKS)
def test_a_broken_promise_is_named(history, promise):
    pipeline, start = history

    BREAKS[promise](pipeline, start)

    assert broken(start) == [promise]


def test_the_command_fails_and_names_the_place(history, capsys):
    pipeline, start = history
    BREAKS["no live row lies inside a gap"](pipeline, start)

    with pytest.raises(CommandError, match=r"1 of 11 promises are broken; nothing was changed"):
        call_command("verify", "--hours", "3")

    moment = f"{after(start, 80):%Y-%m-%d %H:%M:%S}.000"
    assert f"kraken C0/USD {moment}: a live row inside a gap" in capsys.readouterr().out


def test_what_there_was_no_time_for_is_not_judged_and_said(history, capsys):
    with pytest.raises(CommandError, match=r"(\d+) of \1 promises could not be judged") as ended:
        call_command("verify", "--seconds", "0")

    assert ended.value.returncode == 2
    assert "0 of 2 pipelines were judged: time is over" in capsys.readouterr().out


def test_a_statement_that_is_given_up_is_not_judged_and_the_others_are(history, monkeypatch):
    pipeline, start = history
    BREAKS["no live row lies inside a gap"](pipeline, start)
    slow = "SELECT NULL, NULL, now(), 'x' FROM pg_sleep(5) WHERE %(chosen)s IS NOT NULL"
    monkeypatch.setitem(invariants.PROMISES, "no two gaps of a pipeline overlap", slow)

    found = {result.promise: result for result in invariants.check(since=after(start, -60), seconds=2)}

    assert "statement timeout" in found["no two gaps of a pipeline overlap"].unjudged
    assert found["no live row lies inside a gap"].offences == 1
    assert [result.promise for result in found.values() if result.unjudged] == ["no two gaps of a pipeline overlap"]


def test_a_database_that_goes_away_leaves_the_rest_unjudged(history):
    _, start = history
    judging = invariants.check(since=after(start, -60))
    next(judging)
    connection.connection.close()

    rest = list(judging)

    assert [result.promise for result in rest] == list(invariants.PROMISES)[1:]
    assert all(result.unjudged for result in rest)
    connection.close()


def test_minutes_without_raw_rows_are_not_compared(history):
    _, start = history
    run("DELETE FROM collectors_tick")

    [rolled] = [result for result in invariants.check(since=after(start, -60)) if "rollup" in result.promise]

    assert (rolled.offences, bool(rolled.unjudged)) == (0, True)


def test_offences_are_counted_over_all_portions(history, monkeypatch):
    _, start = history
    monkeypatch.setattr(invariants, "PORTION", 1)
    Pipeline.objects.update(gaps_24h=7)

    found = {result.promise: result for result in invariants.check(since=after(start, -60))}

    counted = found["each pipeline's count of gaps is the number of its gaps"]
    assert (counted.offences, len(counted.examples)) == (2, 2)


def test_rows_from_before_the_first_upkeep_are_rolled_up(field_):
    start = field_.begun.replace(second=0, microsecond=0) + timedelta(minutes=1)
    field_.add("kraken", 1)
    for minute in range(5):
        field_.store("kraken", after(start, 60 * minute + 5))

    rollups.run(after(start, 330))

    assert Rollup.objects.count() == 5
