"""One host's wrong clock: the process knows, and goes by PostgreSQL's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from lib import clock, database_clock, processes, valkey

pytestmark = pytest.mark.django_db
HOUR = 3600.0
STEADY = 1_000_000.0


@pytest.fixture(autouse=True)
def _unknown_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    clock.forget()
    monkeypatch.setattr(database_clock, "_told", None)
    monkeypatch.setattr(database_clock, "_ahead_then", None)
    valkey.client().delete(processes.KEY)
    yield
    clock.forget()
    valkey.client().delete(processes.KEY)


def error_of_now() -> float:
    """How far the process's time is from PostgreSQL's."""
    return abs((clock.now() - database_clock.now()).total_seconds())


def shifted(**by: float) -> time_machine.travel:
    return time_machine.travel(clock.now() + timedelta(**by))


@pytest.mark.parametrize("seconds", [10, -10, HOUR, -HOUR, 864_000, -864_000])
def test_a_host_whose_clock_is_wrong_goes_by_the_databases(seconds: float) -> None:
    with shifted(seconds=seconds):
        found = database_clock.compare()

        assert error_of_now() < 0.5
        assert found.is_off
        assert not found.may_delete
        assert found.is_far_off == (abs(seconds) > clock.FAR_SECONDS)
        assert found.ahead_seconds == pytest.approx(seconds, abs=0.5)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_step_between_two_comparisons_stamps_nothing_wrongly(seconds: float) -> None:
    database_clock.compare()
    with shifted(seconds=seconds):
        assert error_of_now() < 0.5
        assert clock.state().is_off
    assert not clock.state().is_off


def test_a_clock_within_the_tolerance_is_believed() -> None:
    with shifted(seconds=1):
        found = database_clock.compare()

        assert not found.is_off
        assert found.may_delete
        assert error_of_now() == pytest.approx(1, abs=0.3)


def test_a_process_that_never_compared_goes_by_its_own() -> None:
    with shifted(seconds=HOUR):
        assert error_of_now() == pytest.approx(HOUR, abs=1)
        assert clock.state().ahead_seconds is None


def test_a_step_is_noticed_before_the_minute_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    database_clock.compare_when_due()
    compared: list[None] = []
    monkeypatch.setattr(database_clock, "compare", lambda: compared.append(None) or clock.state())

    database_clock.compare_when_due()
    assert not compared
    with shifted(seconds=-30):
        database_clock.compare_when_due()
    assert compared


# --- PostgreSQL's own clock --------------------------------------------------------------------------------------


def note(unix_seconds: float, steady: float) -> None:
    clock.note_database(unix_seconds, steady=steady, tolerance_seconds=2.0)


def anchor() -> float:
    return float(clock._known.anchor)


def test_a_database_whose_clock_leaps_ahead_is_followed_and_back_again() -> None:
    note(5000, 100)
    note(5060 + HOUR, 160)
    assert anchor() == 4900 + HOUR

    note(5120, 220)

    assert anchor() == 4900
    assert not clock.state().is_held


def test_a_database_whose_clock_goes_back_is_not_followed_for_ten_minutes() -> None:
    note(5000, 100)
    note(5060 - HOUR, 160)
    assert anchor() == 4900
    assert clock.state().is_held
    assert not clock.state().may_delete

    note(5120, 220)
    assert not clock.state().is_held

    note(5180 - HOUR, 280)
    note(5180 - HOUR + clock.HOLD_SECONDS, 280 + clock.HOLD_SECONDS)
    assert anchor() == 4900 - HOUR
    assert not clock.state().is_held


# --- the others --------------------------------------------------------------------------------------------------


def another_is(ahead: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_mine", f"worker:elsewhere:{ahead:.0f}")
        with shifted(seconds=ahead):
            database_clock.compare()
            processes.say()
    clock.forget()


def test_where_all_differ_alike_collecting_goes_on_and_nothing_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    another_is(HOUR, monkeypatch)
    with shifted(seconds=HOUR):
        found = database_clock.compare()

    assert found.all_differ_alike
    assert not found.is_far_off
    assert not found.may_delete


def test_who_differs_asks_again_as_soon_as_the_others_have_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    with shifted(seconds=HOUR):
        database_clock.compare_when_due()
        assert clock.state().is_far_off
        compared: list[None] = []
        monkeypatch.setattr(database_clock, "compare", lambda: compared.append(None) or clock.state())
        monkeypatch.setattr(processes, "SAY_SECONDS", 0.0)

        database_clock.compare_when_due()

    assert compared


@pytest.mark.parametrize("other", [0, -HOUR, 600])
def test_one_that_differs_alone_takes_no_work(other: float, monkeypatch: pytest.MonkeyPatch) -> None:
    another_is(other, monkeypatch)
    with shifted(seconds=HOUR):
        found = database_clock.compare()

    assert not found.all_differ_alike
    assert found.is_far_off


def test_a_database_that_is_away_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    database_clock.compare_when_due()
    before = clock._known.measured_at
    monkeypatch.setattr(database_clock, "COMPARE_SECONDS", 0.0)
    monkeypatch.setattr(database_clock, "now", lambda: (_ for _ in ()).throw(OperationalError("away")))

    database_clock.compare_when_due()

    assert clock._known.measured_at == before
    assert not clock.state().is_off
