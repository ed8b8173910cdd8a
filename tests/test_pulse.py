"""A pulse whose sweep fails: readers are told what is known, and that nobody looks for silences."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection

from board import live, tiles
from collectors.gaps import sweep
from collectors.models import Watermark
from incidents.signs import health
from lib import clock, valkey
from marketmon import pulse
from tests.gaps.conftest import Field, field_

__all__ = ["field_"]

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no gap today''; END';
CREATE TRIGGER refuse BEFORE INSERT ON collectors_gap FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def failing_sweep(field_: Field) -> Iterator[None]:
    """A market has been silent for long, and the database refuses the gap."""
    field_.add("kraken", 1)
    field_.store("kraken", clock.now() - timedelta(minutes=5))
    valkey.client().delete(live.KEY)
    with connection.cursor() as cursor:
        cursor.execute(REFUSE)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse ON collectors_gap; DROP FUNCTION refuse()")
    valkey.client().delete(live.KEY)


def taken_at() -> float:
    return float(valkey.client().hget(live.KEY, "taken_at") or 0)


def test_the_board_is_published_though_the_sweep_failed(failing_sweep: None) -> None:
    began = clock.now()

    pulse.tick()

    assert taken_at() >= began.timestamp()


def test_a_sweep_that_fails_is_soon_said_on_the_board(failing_sweep: None) -> None:
    now = clock.now()
    sweep.note_sweep(now - timedelta(seconds=health.PULSE_DEAD_SECONDS + 1))

    pulse.tick()

    assert Watermark.objects.get(pk=sweep.SWEPT_CURSOR).reached_at < now
    said = [alarm.what for alarm in tiles.read(clock.now()).verdict.alarms]
    assert any(what.startswith("The pulse does not run") for what in said)


def test_an_error_of_ours_in_the_sweep_stops_no_picture(field_: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(now: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(sweep, "run", fail)
    valkey.client().delete(live.KEY)

    pulse.tick()

    assert taken_at() > 0
